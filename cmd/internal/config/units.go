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

// Rate is a share of all requests, from 0 to 1.
type Rate float64

// String writes 0.0003, which is read as it is written.
func (r Rate) String() string { return strconv.FormatFloat(float64(r), 'g', -1, 64) }

// rate reads key as a share such as 0.03% or 3e-4, between low and high.
func (s *section) rate(key string, def, low, high float64) Rate {
	n := s.get(key)
	if n == nil {
		return Rate(def)
	}
	text, percent := strings.CutSuffix(n.Value, "%")
	if percent {
		text += "e-2"
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case n.Kind != yaml.ScalarNode || !decimal.MatchString(text) || err != nil:
		s.r.wrong(n, "%s: want a share of all requests such as 0.03%% or 3e-4, have %s", s.path(key), kindOf(n))
	case v < low || v > high:
		s.r.wrong(n, "%s: %s is out of range: %g to %g", s.path(key), n.Value, low, high)
	default:
		return Rate(v)
	}
	return Rate(def)
}

// decimal is how a number may be written: none of YAML's other ways, and neither sign nor infinity.
var decimal = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,15})?([eE][-+]?[0-9]{1,3})?$`)

// number reads key as a number between low and high.
func (s *section) number(key string, def, low, high float64) float64 {
	n := s.get(key)
	if n == nil {
		return def
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!str" || !decimal.MatchString(n.Value) || err != nil:
		s.r.wrong(n, "%s: want a number such as 3 or 2.5, have %s", s.path(key), kindOf(n))
	case v < low || v > high:
		s.r.wrong(n, "%s: %s is out of range: %g to %g", s.path(key), n.Value, low, high)
	default:
		return v
	}
	return def
}
