package logs

import (
	"fmt"
	"strings"
	"time"

	"scap/canary"
)

// rule turns the figures of one look into a verdict and a reason that a person can check.
func (g *Gate) rule(w canary.Window, s *sums) (canary.Verdict, string) {
	if len(w.Canary) == 0 {
		return canary.Hold, "no canary host is in the window"
	}
	of := max(s.Requests, s.Failing) // a request that killed its worker may be in no access log
	rate := share(s.Failing, of)
	said := fmt.Sprintf("%s: %d of %d requests failing (%s)", names(w.Canary), s.Failing, of, percent(rate))
	often := s.Failing >= g.MinFailing && rate > g.Rate
	many := s.Failing > g.Threshold && rate > g.Rate/background
	if often || many {
		said += fmt.Sprintf(", threshold %s", percent(g.Rate))
		if !often {
			said += fmt.Sprintf(" or more than %d above %s", g.Threshold, percent(g.Rate/background))
		}
		said += top(s.Top)
		if c := share(s.Control.Failing, s.Control.Requests); s.Control.Failing > 0 && rate < worse*c {
			return canary.Hold, fmt.Sprintf("not this release: %s; but the hosts without it fail alike: %d of %d (%s)",
				said, s.Control.Failing, s.Control.Requests, percent(c))
		}
		return canary.Fail, said
	}
	if hold := g.wants(w, s, rate); hold != "" {
		return canary.Hold, hold
	}
	return canary.Pass, said + top(s.Top)
}

// wants says what a pass still lacks.
func (g *Gate) wants(w canary.Window, s *sums, rate float64) string {
	list := s.Missing
	const most = 5
	if len(list) > most {
		list = append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
	}
	if s.Vouched < g.MinRequests {
		list = append(list, fmt.Sprintf("%d of %d requests", s.Vouched, g.MinRequests))
	}
	if s.Failing > 0 && rate > g.Rate {
		list = append(list, fmt.Sprintf("%d of %d requests failing (%s): too few to tell%s", s.Failing, max(s.Requests, s.Failing), percent(rate), top(s.Top)))
	}
	if open := w.Now.Sub(w.Opened); w.Opened.IsZero() || open < g.Dwell {
		list = append(list, fmt.Sprintf("%s of %s", max(0, min(open, g.Dwell)).Round(time.Second), g.Dwell))
	}
	return strings.Join(list, "; ")
}

func share(n, of int64) float64 {
	if of <= 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func percent(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*f), ".0") + " %"
}

func names(hosts []canary.Host) string {
	const most = 4
	list := make([]string, 0, most+1)
	for i, h := range hosts {
		if i == most && len(hosts) > most+1 {
			list = append(list, fmt.Sprintf("and %d more", len(hosts)-most))
			break
		}
		list = append(list, h.Name)
	}
	return "canary " + strings.Join(list, ", ")
}

func top(list []Fingerprint) string {
	const most = 3
	if len(list) == 0 {
		return ""
	}
	parts := make([]string, 0, most)
	for _, f := range list[:min(len(list), most)] {
		parts = append(parts, fmt.Sprintf("%s (%d)", f.Text, f.Count))
	}
	return "; top: " + strings.Join(parts, ", ")
}
