package prom_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/prom"
	fixture "scap/fixtures/prom"
)

// scraped is a Prometheus that scrapes exporters as one does in production, in the time of this machine.
type scraped struct {
	t         *testing.T
	server    *fixture.Server
	exporters []*fixture.Exporter
	source    *prom.Source
}

const every = 250 * time.Millisecond

func newScraped(t *testing.T, hosts int, change func(*prom.Config)) *scraped {
	w := &scraped{t: t}
	var addresses []string
	for range hosts {
		e := fixture.NewExporter(t)
		e.Add("app_requests_total", 0)
		w.exporters = append(w.exporters, e)
		addresses = append(addresses, e.Address())
	}
	w.server = fixture.Start(t, every, map[string][]string{"app": addresses})
	c := prom.Config{
		URL: w.server.URL(), Step: time.Second, Requests: "app_requests_total", Failing: `app_failing_total{job="app"}`,
		Good: map[string]string{"edits": "app_edits_total"},
	}
	if change != nil {
		change(&c)
	}
	w.source = newSource(t, c)
	for i := range w.exporters {
		w.scrape(i, 10) // more than two ticks before what a test does
	}
	return w
}

// scrape waits until n scrapes of a host have begun after now, so that what it counted before is in a sample.
func (w *scraped) scrape(i, n int) {
	w.t.Helper()
	e := w.exporters[i]
	want := e.Scrapes() + n
	if err := fixture.Await(60*time.Second, func() error {
		if got := e.Scrapes(); got < want {
			return fmt.Errorf("%d scrapes, want %d", got, want)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *scraped) host(i int, since time.Time) canary.Host {
	return canary.Host{Name: w.exporters[i].Address(), Since: since}
}

// query is about all ticks from one time to another, and one on each side, for what is displaced by less than a scrape.
func query(from, to time.Time, hosts ...canary.Host) canary.Query {
	from, to = from.Truncate(time.Second).Add(-time.Second), to.Truncate(time.Second).Add(2*time.Second)
	return canary.Query{Hosts: hosts, From: from, To: to, Step: time.Second}
}

// promql asks the server itself, and answers the first value.
func (w *scraped) promql(expr string) string {
	w.t.Helper()
	r, err := http.Get(w.server.URL() + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&answer); err != nil {
		w.t.Fatal(err)
	}
	if len(answer.Data.Result) == 0 {
		return "none"
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

// TestNothingIsLost drives counters at all times between scrapes, and wants every request and failure counted once: also
// those of a counter that is born with its first failures, which PromQL's increase does not see.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	w := newScraped(t, 2, nil)
	begin := time.Now()
	for round := range 12 {
		w.exporters[0].Add(`app_requests_total`, 100+round)
		w.exporters[0].Add(`app_requests_total{code="404"}`, round)
		w.exporters[0].Add(`app_edits_total`, 2)
		w.scrape(0, 1)
	}
	w.exporters[0].Add(`app_requests_total`, 7)
	w.exporters[0].Add(`app_failing_total`, 7)
	w.scrape(0, 3)
	r := awaitThrough(t, w.source, query(begin, time.Now(), w.host(0, time.Time{}), w.host(1, time.Time{})))
	n, x := total(r.Hosts[0])
	if want := int64(12*100 + 2*66 + 7); n != want || x != 7 {
		t.Errorf("counted %d of %d failing, want 7 of %d", x, n, want)
	}
	var edits int64
	for _, k := range r.Hosts[0].Ticks {
		edits += k.Good["edits"]
	}
	if edits != 24 {
		t.Errorf("counted %d edits, want 24", edits)
	}
	if n, x := total(r.Hosts[1]); n != 0 || x != 0 {
		t.Errorf("a host without traffic counts %d of %d failing", x, n)
	}
	if promql := w.promql(`increase(app_failing_total[1m])`); promql != "0" {
		t.Errorf("PromQL's increase now says %s of these 7 failures: it was 0, the reason why raw samples are read", promql)
	}
}

// TestReset lets the process of a host begin anew, in the middle and at a deploy.
func TestReset(t *testing.T) {
	t.Parallel()
	w := newScraped(t, 1, nil)
	e := w.exporters[0]
	begin := time.Now()
	e.Add("app_requests_total", 500)
	e.Add("app_failing_total", 5)
	w.scrape(0, 3)
	e.Restart()
	since := time.Now()
	e.Add("app_requests_total", 40)
	e.Add("app_failing_total", 9) // more than before: only the requests show that it began anew
	w.scrape(0, 3)
	e.Add("app_requests_total", 60)
	w.scrape(0, 3)
	end := time.Now()
	r := awaitThrough(t, w.source, query(begin, end, w.host(0, time.Time{})))
	if n, x := total(r.Hosts[0]); n != 600 || x != 14 {
		t.Errorf("counted %d of %d failing, want 14 of 600", x, n)
	}
	r = awaitThrough(t, w.source, query(begin, end, w.host(0, since)))
	if n, x := total(r.Hosts[0]); n != 100 || x != 9 {
		t.Errorf("since the runtime began: counted %d of %d failing, want 9 of 100", x, n)
	}
	if r.Hosts[0].Nonce {
		t.Error("a runtime is called proven, although neither nonce nor release is told")
	}
}

// TestStale takes a host away from a Prometheus that goes on answering.
func TestStale(t *testing.T) {
	t.Parallel()
	w := newScraped(t, 2, nil)
	gone, there := w.exporters[0], w.exporters[1]
	begin := time.Now()
	gone.Add("app_requests_total", 10)
	w.scrape(0, 3)
	gone.Down(true)
	down := time.Now()
	gone.Add("app_requests_total", 1000) // nobody reads it
	there.Add("app_requests_total", 20)
	up := fmt.Sprintf("up{instance=%q}", gone.Address())
	if err := fixture.Await(60*time.Second, func() error {
		if v := w.promql(up); v != "0" {
			return fmt.Errorf("%s is %s", up, v)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.scrape(1, 12) // time goes by
	end := time.Now()
	r := awaitThrough(t, w.source, query(begin, end, w.host(1, time.Time{})))
	if n, _ := total(r.Hosts[0]); n != 20 {
		t.Errorf("the host that is there counts %d, want 20", n)
	}
	q := query(begin, end, w.host(0, time.Time{}))
	q.Now = time.Now()
	r, err := w.source.Read(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Hosts[0]; h.Problem != "" || h.Through.After(down.Add(every)) || h.Through.Before(begin) {
		t.Errorf("a host whose scrapes fail since %s is known through %s; problem %q", down, h.Through, h.Problem)
	}
	gone.Down(false)
	w.scrape(0, 3)
	if err := fixture.Await(60*time.Second, func() error {
		q.Now = time.Now()
		if r, err = w.source.Read(context.Background(), q); err != nil {
			return err
		}
		if h := r.Hosts[0]; h.Cause != canary.Late {
			return fmt.Errorf("through %s, cause %q, problem %q", h.Through, h.Cause, h.Problem)
		}
		return nil
	}); err != nil {
		t.Errorf("a hole of several ticks is no problem: %v", err)
	}
}

// TestRelease follows a switch by the label: the new release's series begin with it.
func TestRelease(t *testing.T) {
	t.Parallel()
	w := newScraped(t, 1, func(c *prom.Config) { c.ReleaseLabel = "release" })
	e := w.exporters[0]
	e.Restart()
	e.Add(`app_requests_total{release="old"}`, 0)
	w.scrape(0, 3)
	begin := time.Now()
	e.Add(`app_requests_total{release="old"}`, 70)
	e.Add(`app_failing_total{release="old"}`, 1)
	w.scrape(0, 3)
	e.Restart()
	since := time.Now()
	e.Add(`app_requests_total{release="new"}`, 30)
	e.Add(`app_failing_total{release="new"}`, 3)
	w.scrape(0, 3)
	e.Add(`app_requests_total{release="new"}`, 30)
	w.scrape(0, 3)
	h := w.host(0, since)
	h.Release, h.Nonce = "new", "d41d8cd9"
	r := awaitThrough(t, w.source, query(begin, time.Now(), h))
	if n, x := total(r.Hosts[0]); n != 60 || x != 3 || !r.Hosts[0].Nonce {
		t.Errorf("counted %d of %d failing, proven %v; want 3 of 60, proven", x, n, r.Hosts[0].Nonce)
	}
	h.Release = "newer"
	r, err := w.source.Read(context.Background(), query(begin, time.Now(), h))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Hosts[0]; got.Cause != canary.NoTraffic || got.Nonce || len(got.Ticks) > 0 {
		t.Errorf("a release that nobody runs: cause %q, proven %v, %d ticks; want %q", got.Cause, got.Nonce, len(got.Ticks), canary.NoTraffic)
	}
}

// TestReady finds a selector that matches nothing.
func TestReady(t *testing.T) {
	t.Parallel()
	w := newScraped(t, 1, nil)
	w.exporters[0].Add("app_failing_total", 0)
	w.scrape(0, 3)
	err := fixture.Await(60*time.Second, func() error {
		err := w.source.Ready(context.Background(), time.Now())
		if err == nil || err.Error() != `prometheus: signal "edits": no series has matched in the last week: look at the selector, or let the exporter begin the counter at 0` {
			return fmt.Errorf("want the signal alone to be missing: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.exporters[0].Add("app_edits_total", 0)
	if err := fixture.Await(60*time.Second, func() error { return w.source.Ready(context.Background(), time.Now()) }); err != nil {
		t.Fatal(err)
	}
}

// TestAccepted asks the real server with every kind of selector that is taken for one, and for hosts with hostile names.
func TestAccepted(t *testing.T) {
	t.Parallel()
	server := fixture.Start(t, time.Minute, nil)
	for _, text := range []string{
		`up`, ` job:requests:sum { } `, `r{job="mw",code=~"5.{2}|\\d{3}",}`, "{__name__=~'r|s' , x!=`}\\`}", `r{a="\"}[1h]\n\x41\u00e9\101"}`,
		`r{a=~"\\p{Greek}"}`, `r{a!~'\''}`, "r{\n\ta=\"b\"\n}", `r{a="",b!=""}`,
	} {
		s := newSource(t, prom.Config{URL: server.URL(), Requests: text, Failing: text, Heartbeat: text})
		q := query(time.Now(), time.Now())
		for _, name := range []string{"mw1", `mw1"} or vector(1) #`, "a\nb", "a\\", ".*", "`", "\x1b[31m", "é|ＭＷ"} {
			q.Hosts = append(q.Hosts, canary.Host{Name: name})
		}
		r, err := s.Read(t.Context(), q)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, h := range r.Hosts {
			if h.Cause != canary.SourceDown {
				t.Errorf("%s: %q is answered: %+v", text, h.Host, h)
			}
		}
	}
}
