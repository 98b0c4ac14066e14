package prom_test

import (
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/prom"
	"scap/canary/sourcetest"
	fixture "scap/fixtures/prom"
)

// armsOf are both releases of mw1001, and mw1002 that has one.
func armsOf() []canary.Host {
	return []canary.Host{
		{Name: "mw1001 canary", On: "mw1001", Trial: true, Release: sourcetest.Release, Beside: sourcetest.Earlier},
		{Name: "mw1001", On: "mw1001", Release: sourcetest.Earlier, Beside: sourcetest.Release},
		{Name: "mw1002", Release: sourcetest.Release},
	}
}

// serveArms lets both releases serve for a minute, and a part of it without a word of which it was.
func serveArms(t *testing.T, change func(*prom.Config), nameless ...string) (*prom.Source, canary.Query) {
	t.Helper()
	epoch := time.Date(2023, 1, 17, 20, 13, 0, 0, time.UTC)
	w, front := newWorld(t, fixture.NewModel(t), step/2, epoch, "mw1001", "mw1002")
	for i := range 60 {
		at := epoch.Add(time.Duration(i) * time.Second)
		for _, release := range append([]string{sourcetest.Release, sourcetest.Earlier}, nameless...) {
			w.Serve(fixture.Event{Host: "mw1001", Release: release, At: at, Failing: i%10 == 0})
		}
		w.Serve(fixture.Event{Host: "mw1002", Release: sourcetest.Release, At: at})
	}
	if err := w.Scrape(t.Context(), epoch.Add(90*time.Second), "mw1001", "mw1002"); err != nil {
		t.Fatal(err)
	}
	c := config(front.URL, w.Job)
	change(&c)
	return newSource(t, c), canary.Query{From: epoch.Add(10 * time.Second), To: epoch.Add(50 * time.Second), Step: step, Now: epoch.Add(91 * time.Second), Hosts: armsOf()}
}

// Without the label of releases nothing is mixed: before a deploy, when there is one release so far, it is said already, also on a
// host that serves nobody just now.
func TestTwoReleasesNeedTheirLabel(t *testing.T) {
	s, q := serveArms(t, func(c *prom.Config) { c.ReleaseLabel = "" })
	quiet := q
	quiet.From, quiet.To = q.From.Add(60*time.Second), q.From.Add(70*time.Second)
	before := q
	before.Hosts = []canary.Host{{Name: "mw1001", On: "mw1001"}}
	for _, q := range []canary.Query{q, quiet, before} {
		r, err := s.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range r.Hosts {
			two := q.Hosts[i].On != ""
			if two != strings.Contains(h.Problem, "name release_label") || two && (h.Cause != canary.SourceDown || len(h.Ticks) > 0) {
				t.Errorf("%s: %q (%s), %d ticks", h.Host, h.Problem, h.Cause, len(h.Ticks))
			}
		}
	}
}

// Counts without a release may be of either, and are no reason to give up on hosts with one release.
func TestTwoReleasesAndCountsOfNeither(t *testing.T) {
	s, q := serveArms(t, func(*prom.Config) {}, "")
	before := q
	before.Hosts = []canary.Host{{Name: "mw1001", On: "mw1001"}}
	for _, q := range []canary.Query{q, before} {
		r, err := s.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range r.Hosts {
			if two := q.Hosts[i].On != ""; two != strings.Contains(h.Problem, "without label release") {
				t.Errorf("%s: %q", h.Host, h.Problem)
			}
		}
	}
	s, q = serveArms(t, func(*prom.Config) {})
	r, err := s.Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hosts {
		if n, _ := total(h); h.Problem != "" || n != 40 {
			t.Errorf("%s: %d requests, problem %q", h.Host, n, h.Problem)
		}
	}
}
