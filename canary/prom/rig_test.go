package prom_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/canary"
	"scap/canary/prom"
	"scap/canary/sourcetest"
	fixture "scap/fixtures/prom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const step = 5 * time.Second

// worlds numbers the rigs, so that several can share one server.
var worlds atomic.Int64

// config asks for what a fixture.World shows.
func config(url, job string) prom.Config {
	sel := func(metric string) string { return fmt.Sprintf("%s{job=%q}", metric, job) }
	return prom.Config{
		URL: url, Step: step, ReleaseLabel: "release",
		Requests: sel("app_requests_total"), Failing: sel("app_failing_total"),
		Good: map[string]string{
			sourcetest.Edits:  fmt.Sprintf("app_good_total{job=%q,signal=%q}", job, sourcetest.Edits),
			sourcetest.Logins: fmt.Sprintf("app_good_total{job=%q,signal=%q}", job, sourcetest.Logins),
		},
		Nonce: sel("app_release_info"),
	}
}

func newSource(t testing.TB, c prom.Config) *prom.Source {
	t.Helper()
	s, err := prom.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// newWorld brings hosts up that are scraped into a store every every, behind a front.
func newWorld(t testing.TB, store fixture.Store, every time.Duration, epoch time.Time, hosts ...string) (*fixture.World, *fixture.Front) {
	w := &fixture.World{Store: store, Job: fmt.Sprintf("world-%d", worlds.Add(1)), Every: every, Release: sourcetest.Release}
	w.Begin(epoch.Truncate(every), hosts...) // events have whole seconds, ticks whole steps: so every tick begins with a scrape
	return w, fixture.NewFront(t, store)
}

func rig(store fixture.Store, epoch time.Time, change func(*prom.Config)) func(t *testing.T, hosts []canary.Host) sourcetest.Rig {
	return func(t *testing.T, hosts []canary.Host) sourcetest.Rig {
		var names []string
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		w, front := newWorld(t, store, step/2, epoch, names...)
		c := config(front.URL, w.Job)
		if change != nil {
			change(&c)
		}
		return sourcetest.Rig{
			Source: newSource(t, c), Again: newSource(t, c), Step: step, Epoch: epoch,
			NoPrints: true, NoIDs: true, NoNonce: c.Nonce == "", NoRelease: c.ReleaseLabel == "",
			NoArms: c.ReleaseLabel == "", NoStrays: true,
			Log: func(_ *testing.T, es ...sourcetest.Event) {
				for _, e := range es {
					w.Serve(fixture.Event{Host: e.Host, Release: e.Release, At: e.At, Failing: e.Failing, Good: e.Good})
				}
			},
			Beat: func(t *testing.T, at time.Time, hosts ...string) {
				if err := w.Scrape(t.Context(), at, hosts...); err != nil {
					t.Fatal(err)
				}
			},
			Nonce:  func(_ *testing.T, h canary.Host) { w.Nonce(h.Name, h.Nonce, h.Since) },
			Faults: rigFaults(w, front),
		}
	}
}

const (
	vector  = `{"status":"success","data":{"resultType":"vector","result":[]}}`
	nothing = `{"status":"success","data":{"resultType":"matrix","result":null}}`
	inside  = `{"status":"error","errorType":"timeout","error":"query timed out"}`
)

func rigFaults(w *fixture.World, front *fixture.Front) map[string]func(*testing.T) func() {
	faults := map[string]func(*testing.T) func(){
		"no scrape works": func(*testing.T) func() {
			all := func(down bool) {
				for _, h := range w.Hosts() {
					w.Down(h, down)
				}
			}
			all(true)
			return func() { all(false) }
		},
		"one host is not scraped": func(*testing.T) func() {
			w.Down("mw1002", true)
			return func() { w.Down("mw1002", false) }
		},
		"processes restart": func(*testing.T) func() {
			for _, h := range w.Hosts() {
				w.Restart(h)
			}
			return func() { w.Restart("mw1001") }
		},
	}
	for name, fault := range map[string]http.HandlerFunc{
		"429":           fixture.Says(429, "slow down", "Retry-After", "3600"),
		"503":           fixture.Says(503, "<html>busy</html>"),
		"422":           fixture.Says(422, inside),
		"200 and error": fixture.Says(200, inside),
		"redirect":      fixture.Says(302, "", "Location", "http://127.0.0.1:1/login"),
		"a web page":    fixture.Says(200, "<html>please log in</html>"),
		"empty":         fixture.Says(200, ""),
		"no content":    fixture.Says(204, ""),
		"a vector":      fixture.Says(200, vector),
		"null":          fixture.Says(200, nothing),
		"hangs":         fixture.Hangs,
		"truncated":     fixture.Truncated(w.Store),
		"warnings":      fixture.Warned(w.Store),
	} {
		faults[name] = func(*testing.T) func() { return front.Break(fault) }
	}
	return faults
}

// TestModel holds the source over the model to the suite of all sources, with and without what a fleet may lack.
func TestModel(t *testing.T) {
	epoch := time.Date(2023, 1, 17, 20, 13, 2, 0, time.UTC)
	for name, change := range map[string]func(*prom.Config){
		"complete":   nil,
		"no release": func(c *prom.Config) { c.ReleaseLabel = "" },
		"heartbeat, no nonce": func(c *prom.Config) {
			c.Nonce, c.Heartbeat = "", strings.Replace(c.Requests, "app_requests_total", "up", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			mk := rig(fixture.NewModel(t), epoch, change)
			sourcetest.Run(t, func(t *testing.T, hosts []canary.Host) sourcetest.Rig {
				r := mk(t, hosts)
				if change != nil {
					r.Faults = nil // once is enough
				}
				return r
			})
		})
	}
}

// TestPrometheus holds the source over Debian's Prometheus to the same suite; its samples come by remote write, with the times
// that the suite chooses.
func TestPrometheus(t *testing.T) {
	server := fixture.Start(t, time.Minute, nil)
	sourcetest.Run(t, rig(server, time.Now().Add(-30*time.Minute).Truncate(time.Second), nil))
}

// total is what a reading counts of one host.
func total(h canary.HostReading) (n, x int64) {
	for _, k := range h.Ticks {
		n, x = n+k.Requests, x+k.Failing
	}
	return n, x
}

// awaitThrough reads until all hosts are closed to q.To.
func awaitThrough(t *testing.T, s *prom.Source, q canary.Query) canary.Reading {
	t.Helper()
	var r canary.Reading
	err := fixture.Await(60*time.Second, func() (err error) {
		q.Now = time.Now()
		if r, err = s.Read(context.Background(), q); err != nil {
			return err
		}
		for _, h := range r.Hosts {
			if h.Problem != "" || h.Through.Before(q.To) {
				return fmt.Errorf("%s: through %s, want %s; problem %q", h.Host, h.Through, q.To, h.Problem)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
