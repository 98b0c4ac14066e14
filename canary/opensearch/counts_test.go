package opensearch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/sourcetest"
	model "scap/fixtures/opensearch"
)

// Ingestion lags as it did on 2020-06-11: the watermark stays where the records are, however new the ones that arrive.
func TestLag(t *testing.T) {
	now := at(0)
	w := newWorld(t)
	w.Clock = func() time.Time { return now }
	w.Lag(10 * time.Minute)
	s := source(t, w.config())
	for sec := 0; sec < 60; sec += 5 {
		now = at(sec)
		w.log(t, bad("a", fmt.Sprint(sec), sec))
		w.beat(t, now, "a")
	}
	for _, c := range []struct {
		now     int
		through time.Time
	}{{60, time.Time{}}, {599, time.Time{}}, {600, at(-10)}, {630, at(20)}, {660, at(45)}} {
		now = at(c.now)
		q := ask("a")
		q.Now = now
		r, err := s.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		h := r.Hosts[0]
		if !h.Through.Equal(c.through) || c.through.IsZero() && h.Cause != canary.Late {
			t.Errorf("at %ds: through %s (%s: %s), want %s", c.now, h.Through, h.Cause, h.Problem, c.through)
		}
	}
}

func TestWhatCounts(t *testing.T) {
	w := newWorld(t)
	w.log(t, bad("a", "1", 3))
	put := func(more model.Doc) {
		d := model.Doc{"@timestamp": w.at("a", at(4)), "host": "a", "type": "mediawiki", "channel": "exception", "reqId": fmt.Sprint(more)}
		for k, v := range more {
			d[k] = v
		}
		w.Put(index, d)
	}
	put(model.Doc{"level": "DEBUG"})                                   // as scap leaves it out
	put(model.Doc{"channel": "fatal"})                                 // not in scap's query
	put(model.Doc{"level": "ERROR"})                                   // says no release: it failed before it knew
	put(model.Doc{"level": "ERROR", "release": sourcetest.Earlier})    // another release's
	put(model.Doc{"level": "ERROR", "@timestamp": w.at("a", at(120))}) // later
	w.beat(t, at(80), "a")
	for name, c := range map[string]struct {
		change func(*Config)
		want   int64
	}{
		"as configured":          {func(*Config) {}, 2},
		"fatals too":             {func(c *Config) { c.Failing = Fatal }, 3},
		"release is not known":   {func(c *Config) { c.Fields.Release = "" }, 3},
		"request is not known":   {func(c *Config) { c.Fields.Request = "" }, 2},
		"kinds are not known":    {func(c *Config) { c.Fields.Class, c.Fields.File, c.Fields.Message = "", "", "" }, 2},
		"nothing below an error": {func(c *Config) { c.Failing = "type:mediawiki AND level:ERROR" }, 2},
	} {
		cfg := w.config()
		c.change(&cfg)
		r, err := source(t, cfg).Read(t.Context(), ask("a"))
		if err != nil || r.Hosts[0].Problem != "" || len(r.Hosts[0].Ticks) != 1 || r.Hosts[0].Ticks[0].Failing != c.want {
			t.Errorf("%s: %+v, %v; want %d failing", name, r, err, c.want)
		}
	}
}

func TestShortNames(t *testing.T) {
	w := newWorld(t)
	w.log(t, bad("mw1", "1", 3), bad("mw2", "2", 3))
	w.beat(t, at(80), "mw1", "mw2")
	c := w.config()
	c.Host = "{short}"
	s := source(t, c)
	r, err := s.Read(t.Context(), ask("mw1.eqiad.wmnet", "mw2.eqiad.wmnet"))
	if err != nil || r.Hosts[0].Problem != "" || len(r.Hosts[0].Ticks) != 1 || r.Hosts[0].Host != "mw1.eqiad.wmnet" {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = s.Read(t.Context(), ask("mw1.eqiad.wmnet", "mw1.codfw.wmnet"))
	if err != nil || r.Hosts[1].Cause != canary.Contradict {
		t.Errorf("two hosts of one name: %+v, %v", r, err)
	}
}

func TestKindsThatAreNotSure(t *testing.T) {
	w := newWorld(t)
	w.log(t, bad("a", "1", 3))
	w.beat(t, at(80), "a")
	w.Break(model.Approximate(3))
	s := source(t, w.config())
	q := ask("a")
	if r, err := s.Read(t.Context(), q); err != nil || r.Hosts[0].Cause != canary.Contradict {
		t.Errorf("kinds counted to within 3: %+v, %v", r, err)
	}
	q.Prints = false // the counts are not in doubt
	if r, err := s.Read(t.Context(), q); err != nil || r.Hosts[0].Problem != "" || len(r.Hosts[0].Ticks) != 1 {
		t.Errorf("without kinds: %+v, %v", r, err)
	}
}

// Messages that differ by numbers only are one kind, also when the field is not quite normalised.
func TestKindsThatAreOne(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		e := bad("a", fmt.Sprint(i), 3)
		e.Print.Text = fmt.Sprintf("TypeError in src/Hook.php:12: Too few, %d given", i)
		w.log(t, e)
		if i > 0 {
			w.log(t, bad("a", fmt.Sprint("more", i), 3))
		}
	}
	w.beat(t, at(80), "a")
	r, err := source(t, w.config()).Read(t.Context(), ask("a"))
	if err != nil {
		t.Fatal(err)
	}
	ps := r.Hosts[0].Prints
	if len(ps) != 2 || ps[0].Count != 3 || ps[1].Count != 2 || r.Hosts[0].Ticks[0].Failing != 5 {
		t.Errorf("%+v", r.Hosts[0])
	}
	w2 := newWorld(t)
	for i := range 2 {
		e := bad("a", fmt.Sprint(i), 3)
		e.Print.Text = fmt.Sprintf("TypeError in src/Hook.php:12: Too few, %d given", i)
		w2.log(t, e)
	}
	w2.beat(t, at(80), "a")
	if r, err = source(t, w2.config()).Read(t.Context(), ask("a")); err != nil {
		t.Fatal(err)
	}
	if ps := r.Hosts[0].Prints; len(ps) != 1 || ps[0].Count != 2 || ps[0].Text != "TypeError in src/Hook.php:12: Too few, # given" || ps[0].File != "src/Hook.php" || ps[0].ID == "" {
		t.Errorf("%+v", ps)
	}
}

// A range that cuts the source's ticks is answered by the whole ones in it.
func TestRangeThatCutsTicks(t *testing.T) {
	w := newWorld(t)
	for sec := range 60 {
		w.log(t, bad("a", fmt.Sprint(sec), sec))
	}
	w.beat(t, at(80), "a")
	q := ask("a")
	q.From, q.To, q.Step = at(3), at(23), time.Second
	r, err := source(t, w.config()).Read(t.Context(), q)
	if err != nil || r.Step != 5*time.Second {
		t.Fatalf("%+v, %v", r, err)
	}
	var got []string
	for _, k := range r.Hosts[0].Ticks {
		got = append(got, fmt.Sprintf("%d:%d", int(k.At.Sub(zero).Seconds()), k.Failing))
	}
	if want := []string{"5:5", "10:5", "15:5"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	q.From, q.To = at(6), at(9) // not one whole tick
	if r, err = source(t, w.config()).Read(t.Context(), q); err != nil || len(r.Hosts[0].Ticks) != 0 || len(r.Hosts[0].Prints) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Each of these defaults of the API gives a smaller count and no error.
func TestAsksForWholeAnswers(t *testing.T) {
	w := newWorld(t)
	w.beat(t, at(80), "a")
	if _, err := source(t, w.config()).Read(t.Context(), ask("a")); err != nil {
		t.Fatal(err)
	}
	asked := w.Asked()
	if len(asked) == 0 {
		t.Fatal("nothing was asked")
	}
	for _, a := range asked {
		for _, want := range []string{"allow_no_indices=false", "ignore_unavailable=false", "allow_partial_search_results=false"} {
			if !strings.Contains(a.Query, want) {
				t.Errorf("%s is not asked for: %s", want, a.Query)
			}
		}
		if a.Body["track_total_hits"] != true {
			t.Errorf("track_total_hits is %v", a.Body["track_total_hits"])
		}
	}
}

// Above the precision a cardinality is an estimate: it may be off, but never above the number of records.
func TestAboveThePrecision(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.log(t, bad("a", fmt.Sprint(i), 3), bad("b", fmt.Sprint(i), 3))
		w.log(t, bad("b", fmt.Sprint(i), 3))
	}
	w.beat(t, at(80), "a", "b")
	c := w.config()
	c.Precision = 50
	r, err := source(t, c).Read(t.Context(), ask("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{100, 102} { // the model's estimate is 102; a has 100 records, b 200
		if h := r.Hosts[i]; h.Problem != "" || len(h.Ticks) != 1 || h.Ticks[0].Failing != want {
			t.Errorf("%+v, want %d failing", h, want)
		}
	}
}

func TestALargeFleet(t *testing.T) {
	w := newWorld(t)
	var hosts []string
	for i := range 350 {
		hosts = append(hosts, fmt.Sprintf("mw%04d", i))
		w.log(t, bad(hosts[i], fmt.Sprint(i), i%60))
	}
	w.beat(t, at(80), hosts...)
	q := ask(hosts...)
	r, err := source(t, w.config()).Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range r.Hosts {
		if len(h.Ticks) != 1 || h.Ticks[0].Failing != 1 || h.Ticks[0].Requests != 1 || len(h.Prints) != 1 || h.Problem != "" {
			t.Fatalf("host %d: %+v", i, h)
		}
	}
	// Watermarks 4, failing, requests and two signals 4 each, kinds of 6 hosts each.
	if n := len(w.Asked()); n != 4+4*4+59 {
		t.Errorf("%d searches", n)
	}
}
