package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var durationParts = regexp.MustCompile(`^([0-9]+d)?((?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))*)$`)

// ParseDuration reads a time with its unit: ms, s, m, h and d (24 hours), such as "90s", "1h30m" or "7d". It is never negative.
func ParseDuration(text string) (time.Duration, error) {
	m := durationParts.FindStringSubmatch(text)
	if m == nil || text == "" {
		return 0, fmt.Errorf("%q is not a time with a unit, such as 500ms, 90s, 10m, 24h or 7d", clip(text))
	}
	var total time.Duration
	if m[1] != "" {
		days, err := strconv.Atoi(strings.TrimSuffix(m[1], "d"))
		if err != nil || days > 10000 {
			return 0, fmt.Errorf("%q is too long a time", clip(text))
		}
		total = time.Duration(days) * 24 * time.Hour
	}
	if m[2] != "" {
		rest, err := time.ParseDuration(m[2])
		if err != nil || rest > 1<<62 {
			return 0, fmt.Errorf("%q is too long a time", clip(text))
		}
		total += rest
	}
	return total, nil
}

// FormatDuration writes what ParseDuration reads, as people write it: 7d, 1h30m, 90s, 250ms.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Width says how many of a group: a count, or a share in percent.
type Width struct {
	Count   int // used when Percent is 0
	Percent int
}

// Of returns how many of n that is: a share is rounded down; at least 1, and no more than n unless n is 0.
func (w Width) Of(n int) int {
	k := w.Count
	if w.Percent > 0 {
		k = n * w.Percent / 100
	}
	return max(1, min(k, n))
}

// String writes 3 or 25%.
func (w Width) String() string { return share(w.Count, w.Percent, w.Percent > 0) }

// Budget says how many of a group may fail: a count, or a share in percent. The zero Budget allows none.
type Budget struct {
	Count   int // used when Percent is 0
	Percent int
}

// Of returns how many of n may fail: a share is rounded down.
func (b Budget) Of(n int) int {
	if b.Percent > 0 {
		return n * b.Percent / 100
	}
	return min(b.Count, n)
}

// String writes 3 or 25%.
func (b Budget) String() string { return share(b.Count, b.Percent, b.Percent > 0) }

// Percent is a share of 100.
type Percent int

// String writes 80%.
func (p Percent) String() string { return share(0, int(p), true) }

// Of returns how many of n the share is, rounded up, but never all of several nor the only one: something must be free to
// change.
func (p Percent) Of(n int) int { return max(min((n*int(p)+99)/100, n-1), 0) }

func share(count, percent int, relative bool) string {
	if relative {
		return strconv.Itoa(percent) + "%"
	}
	return strconv.Itoa(count)
}

// amount reads key as a count of at least low or as a percentage between low and 100.
func (s *section) amount(key string, low int) (count, percent int, ok bool) {
	n := s.get(key)
	if n == nil {
		return 0, 0, false
	}
	const most = 100000
	text, relative := strings.CutSuffix(n.Value, "%")
	v, err := strconv.Atoi(text)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil || text != strconv.Itoa(v):
		s.r.wrong(n, "%s: want a count such as 2 or a share such as 10%%, have %s", s.path(key), kindOf(n))
	case relative && (v < low || v > 100):
		s.r.wrong(n, "%s: %s is out of range: %d%% to 100%%", s.path(key), n.Value, low)
	case !relative && (v < low || v > most):
		s.r.wrong(n, "%s: %s is out of range: %d to %d", s.path(key), n.Value, low, most)
	case relative:
		return 0, v, true
	default:
		return v, 0, true
	}
	return 0, 0, false
}

func (s *section) width(key string, def Width) Width {
	if count, percent, ok := s.amount(key, 1); ok {
		return Width{Count: count, Percent: percent}
	}
	return def
}

func (s *section) budget(key string, def Budget) Budget {
	if count, percent, ok := s.amount(key, 0); ok {
		return Budget{Count: count, Percent: percent}
	}
	return def
}

// percent reads key as a percentage, sign included.
func (s *section) percent(key string, def Percent) Percent {
	count, percent, ok := s.amount(key, 0)
	if !ok {
		return def
	}
	if count > 0 || !strings.HasSuffix(s.values[key].Value, "%") {
		s.r.wrong(s.values[key], "%s: want a share such as 75%%, have %s", s.path(key), kindOf(s.values[key]))
		return def
	}
	return Percent(percent)
}
