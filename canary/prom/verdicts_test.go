package prom_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"scap/canary"
	fixture "scap/fixtures/prom"
)

// trial is a deploy in a time of its own: users ask hosts, whose counters are scraped every five seconds, and a gate is asked as often.
type trial struct {
	t        *testing.T
	now      time.Time
	world    *fixture.World
	front    *fixture.Front
	window   canary.Window
	gate     *canary.Traffic
	evidence canary.Evidence
	hosts    map[string]*server
	canaries []string
	controls []string
}

// server is one host. A test sets its fields in between looks.
type server struct {
	restart time.Time // when the runtime of the new release began; zero: never
	serves  int       // requests a second
	rate    float64   // share that fails
	lag     time.Duration
	skew    time.Duration // how far its clock is ahead
}

const pause = 5 * time.Second

// newTrial proves the canaries after a minute of the old release.
func newTrial(t *testing.T, canaries, controls int, before func(*trial)) *trial {
	d := &trial{t: t, now: time.Date(2023, 1, 17, 20, 0, 0, 0, time.UTC), hosts: map[string]*server{}}
	for i := range canaries + controls {
		name := fmt.Sprint("mw", 1001+i)
		if i < canaries {
			d.canaries = append(d.canaries, name)
		} else {
			d.controls = append(d.controls, name)
		}
		d.hosts[name] = &server{serves: 8, rate: 1e-3}
	}
	store := fixture.NewModel(t)
	d.world = &fixture.World{Store: store, Job: "mw", Every: pause, Release: "release-old"}
	d.world.Begin(d.now.Add(-15*time.Minute), d.both()...)
	d.front = fixture.NewFront(t, store)
	c := config(d.front.URL, d.world.Job)
	c.Step, c.Good = 2*pause, nil
	// Little traffic is judged by much harm, in half the time.
	d.gate = &canary.Traffic{From: "prometheus", Source: newSource(t, c), Rule: canary.Rule{HarmRate: 0.02, MinRequests: 500, Dwell: 30 * time.Second}}
	if before != nil {
		before(d)
	}
	d.scrape()
	for range 12 {
		d.users()
	}
	began := d.now.Add(-3 * time.Second)
	d.window = canary.Window{Deploy: "d", Phase: "p", Release: "release-new", From: "release-old", Opened: d.now}
	for i, name := range d.both() {
		h := canary.Host{Name: name, Release: "release-old", Since: d.now.Add(-time.Hour)}
		if i >= canaries {
			d.window.Control = append(d.window.Control, h)
			continue
		}
		s := d.hosts[name]
		s.restart = d.now
		h.Release, h.Since, h.Nonce = "release-new", began.Add(s.skew), "scap-nonce-"+name
		d.world.Nonce(name, h.Nonce, began)
		d.window.Canary = append(d.window.Canary, h)
	}
	return d
}

// both are the hosts of both arms.
func (d *trial) both() []string { return append(append([]string{}, d.canaries...), d.controls...) }

func (d *trial) on(do func(s *server), names ...string) {
	for _, n := range names {
		do(d.hosts[n])
	}
}

// scrape lets Prometheus have what it gets by now.
func (d *trial) scrape() {
	for _, name := range d.both() {
		if err := d.world.Scrape(d.t.Context(), d.now.Add(-d.hosts[name].lag), name); err != nil {
			d.t.Fatal(err)
		}
	}
}

// users ask for five seconds. What fails depends on the host and the time alone.
func (d *trial) users() {
	for _, name := range d.both() {
		s := d.hosts[name]
		seed := fnv.New64a()
		seed.Write([]byte(name))
		by := rand.New(rand.NewPCG(seed.Sum64(), uint64(d.now.Unix())))
		release := "release-old"
		if !s.restart.IsZero() {
			release = "release-new"
		}
		for i := range 5 * s.serves {
			at := d.now.Add(time.Duration(i) * pause / time.Duration(5*s.serves))
			d.world.Serve(fixture.Event{Host: name, Release: release, At: at, Failing: by.Float64() < s.rate})
		}
	}
	d.now = d.now.Add(pause)
	d.scrape()
}

// look asks the gate five seconds later.
func (d *trial) look() canary.Ruling {
	d.users()
	w := d.window
	w.Now = d.now
	r, err := d.gate.Judge(d.t.Context(), w, d.evidence)
	if err != nil {
		d.t.Fatal(err)
	}
	d.evidence = r.Evidence
	return r
}

// after is the time since the canaries were proven.
func (d *trial) after() time.Duration { return d.now.Sub(d.window.Opened) }

// out takes a host out of the deploy, as a Suspect asks for.
func (d *trial) out(name string) {
	var left []canary.Host
	for _, h := range d.window.Canary {
		if h.Name != name {
			left = append(left, h)
		}
	}
	d.window.Canary = left
}

// scene is something that happens to a deploy, and what the gate must say of it.
type scene struct {
	canaries, controls int
	before             func(*trial)  // is so before the deploy already
	at                 time.Duration // after the canaries were proven,
	fault              func(*trial)  // this happens
	until              time.Duration // the gate is looked at for so long, or until its verdict
	want               canary.Verdict
	cause              canary.Cause
	words              string // of its reason, apart by |
	mend               func(*trial)
	passes             time.Duration // after it was mended, at most
	same               bool          // every request is counted as without the fault
}

func idle(s *server)  { s.serves = 0 }
func busy(s *server)  { s.serves = 8 }
func bad(s *server)   { s.rate = 0.06 }
func sound(s *server) { s.rate = 1e-3 }
func late(lag time.Duration) func(s *server) {
	return func(s *server) { s.lag = lag }
}

func ahead(skew time.Duration) func(s *server) {
	return func(s *server) { s.skew = skew }
}

// unscraped lets scrapes of hosts fail.
func (d *trial) unscraped(down bool, names ...string) {
	for _, n := range names {
		d.world.Down(n, down)
	}
}

// reset lets counters begin anew.
func (d *trial) reset(names ...string) {
	for _, n := range names {
		d.world.Restart(n)
	}
}

var scenes = map[string]scene{
	"no traffic": {
		fault: func(d *trial) { d.on(idle, d.canaries...) }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.NoTraffic, words: "mw1001: |release-new served on it: is it in the pool?",
		mend: func(d *trial) { d.on(busy, d.canaries...) }, passes: 60 * time.Second,
	},
	"traffic ends": {
		at: 10 * time.Second, fault: func(d *trial) { d.on(idle, d.canaries...) }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.OffShare, words: "canaries get 0 % of the requests and should get 20 %: are they in the pool?",
		mend: func(d *trial) { d.on(busy, d.canaries...) }, passes: 60 * time.Second,
	},
	"Prometheus is down": {
		at: 15 * time.Second, fault: func(d *trial) { d.front.Break(fixture.Says(503, "busy")) }, until: 30 * time.Second,
		want: canary.Hold, cause: canary.SourceDown, words: "prometheus does not answer: ask Prometheus at http://127.0.0.1:|503|so far canary ",
		mend: func(d *trial) { d.front.Break(nil) }, passes: 20 * time.Second,
	},
	"one canary is not scraped": {
		at: 10 * time.Second, fault: func(d *trial) { d.unscraped(true, "mw1002") }, until: 90 * time.Second,
		want: canary.Hold, cause: canary.Late, words: "mw1002 is 80 s behind, more than 1m0s",
		mend: func(d *trial) { d.unscraped(false, "mw1002") }, passes: 60 * time.Second,
	},
	"no host is scraped for a while": {
		at: 10 * time.Second, fault: func(d *trial) { d.unscraped(true, d.both()...) }, until: 90 * time.Second,
		want: canary.Hold, cause: canary.Late, words: "mw1001 is 80 s behind, more than 1m0s",
		mend: func(d *trial) { d.unscraped(false, d.both()...) }, passes: 60 * time.Second,
	},
	"60 s late": {
		before: func(d *trial) { d.on(late(65*time.Second), "mw1002") }, until: 75 * time.Second,
		want: canary.Hold, cause: canary.Late, words: "mw1002 is 65 s behind, more than 1m0s",
		mend: func(d *trial) { d.on(late(0), "mw1002") }, passes: 10 * time.Second,
	},
	"20 s late is none": {
		before: func(d *trial) { d.on(late(20*time.Second), "mw1002") }, until: 70 * time.Second,
		want: canary.Pass, words: "canary |control ",
	},
	"3 min late": {
		before: func(d *trial) { d.on(late(185*time.Second), "mw1002") }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.Late, words: "mw1002 is |behind, more than 3m0s",
		mend: func(d *trial) { d.on(late(0), "mw1002") }, passes: 10 * time.Second,
	},
	"10 min late": {
		before: func(d *trial) { d.on(late(10*time.Minute), "mw1002") }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.SourceDown, words: "mw1002: Prometheus has no sample of requests to this host since |is it scraped, or late?",
		mend: func(d *trial) { d.on(late(0), "mw1002") }, passes: 10 * time.Second,
	},
	"10 min late, but only to compare with": {
		before: func(d *trial) { d.on(late(10*time.Minute), "mw1009") }, until: 60 * time.Second,
		want: canary.Pass, words: "canary |without control mw1009: Prometheus has no sample of requests to this host since ",
	},
	"late all over, and bad": {
		before: func(d *trial) { d.on(late(20*time.Second), d.both()...) }, fault: func(d *trial) { d.on(bad, d.canaries...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio ",
	},
	"a clock is 3 min ahead": {
		before: func(d *trial) { d.on(ahead(3*time.Minute), "mw1002") }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.Skewed, words: "mw1002: its clock is ahead: its runtime began at 20:03:57 by it, and was proven by 20:01:00: set it, or take the host out",
		mend: func(d *trial) { d.out("mw1002") }, passes: 10 * time.Second,
	},
	"a clock is 3 min ahead, and nobody does anything": {
		before: func(d *trial) { d.on(ahead(3*time.Minute), "mw1002") }, until: 5 * time.Minute,
		want: canary.Pass, words: "canary |control ",
	},
	"a clock is 3 min ahead, and the release bad": {
		before: func(d *trial) { d.on(ahead(3*time.Minute), "mw1002") }, fault: func(d *trial) { d.on(bad, d.canaries...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio ",
	},
	"a clock is 3 min behind": {
		before: func(d *trial) { d.on(ahead(-3*time.Minute), "mw1002") }, until: 60 * time.Second,
		want: canary.Pass, words: "canary |control ",
	},
	"a clock is 3 min behind, and the release bad": {
		before: func(d *trial) { d.on(ahead(-3*time.Minute), "mw1002") }, fault: func(d *trial) { d.on(bad, d.canaries...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio ",
	},
	"counters begin anew": {
		at: 20 * time.Second, fault: func(d *trial) { d.reset(d.both()...) }, until: 60 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"the counters of one canary begin anew": {
		at: 25 * time.Second, fault: func(d *trial) { d.reset("mw1002") }, until: 60 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"counters begin anew again and again under a bad release": {
		fault: func(d *trial) { d.on(bad, d.canaries...); d.reset(d.both()...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio ",
	},
	"one bad host of five": {
		fault: func(d *trial) { d.on(func(s *server) { s.rate = 0.2 }, "mw1003") }, until: 60 * time.Second,
		want: canary.Suspect, words: "without mw1003: that host, not the release",
		mend: func(d *trial) { d.out("mw1003") }, passes: 180 * time.Second,
	},
	"one bad host of one": {
		canaries: 1, controls: 20,
		fault: func(d *trial) { d.on(func(s *server) { s.rate = 0.2 }, "mw1001") }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.OneHost, words: "too few to tell host from release",
	},
	"errors on both arms": {
		at: 10 * time.Second, fault: func(d *trial) { d.on(bad, d.both()...) }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.BothRed, words: "not this release: control had |usual",
		mend: func(d *trial) { d.on(sound, d.both()...) }, passes: 5 * time.Minute,
	},
	"low traffic": {
		before: func(d *trial) { d.on(func(s *server) { s.serves = 1 }, d.both()...); d.gate.Rule.HarmRate = 0.001 }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.LowTraffic, words: "clean requests; about |max_wait is 10m0s: raise it or harm_rate, or judge more canaries",
		mend: func(d *trial) { d.on(func(s *server) { s.serves = 32 }, d.both()...) }, passes: 240 * time.Second,
	},
}

// Every trouble that counters can tell of, through what Prometheus says of them.
func TestVerdicts(t *testing.T) {
	usual := map[[2]int]canary.Numbers{}
	for name, s := range scenes {
		if s.canaries == 0 {
			s.canaries, s.controls = 5, 20
		}
		shape := [2]int{s.canaries, s.controls}
		if _, known := usual[shape]; !known {
			t.Run(fmt.Sprintf("nothing, on %d and %d hosts", s.canaries, s.controls), func(t *testing.T) {
				usual[shape] = play(t, scene{canaries: s.canaries, controls: s.controls, until: 90 * time.Second, want: canary.Pass, words: "canary |control "})
			})
		}
		good := usual[shape]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if n := play(t, s); s.same && (n.Canary != good.Canary || n.Control != good.Control || !n.Ticks.Equal(good.Ticks)) {
				t.Errorf("canary %v, control %v to %v; without the fault %v, %v to %v", n.Canary, n.Control, n.Ticks, good.Canary, good.Control, good.Ticks)
			}
		})
	}
}

// A time without scrapes, here that before the Prometheus was set up, is no reason to refuse a deploy for the 45 minutes of history.
func TestReadyThoughTheHistoryHasAHole(t *testing.T) {
	d := newTrial(t, 2, 4, nil)
	d.gate.Canaries, d.gate.Others = d.canaries, d.controls
	d.gate.Clock = func() time.Time { return d.now }
	if err := d.gate.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	d.unscraped(true, "mw1002")
	for range 16 {
		d.users()
	}
	d.unscraped(false, "mw1002")
	d.users()
	if err := d.gate.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "mw1002: Prometheus has no sample between ") {
		t.Errorf("%v, just after a hole", err)
	}
	for range 30 {
		d.users()
	}
	if err := d.gate.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// play lets a scene happen. It returns the figures of the verdict that it was about.
func play(t *testing.T, s scene) (n canary.Numbers) {
	d := newTrial(t, s.canaries, s.controls, s.before)
	var r canary.Ruling
	for done := false; !done; done = r.Verdict != canary.Hold || d.after() >= s.until {
		if d.after() == s.at && s.fault != nil {
			s.fault(d)
		}
		r = d.look()
	}
	t.Logf("%v: %s %s: %s", d.after(), r.Verdict, r.Cause, r.Reason)
	if r.Verdict != s.want || r.Cause != s.cause {
		t.Errorf("%v: %s %s, want %s %s", d.after(), r.Verdict, r.Cause, s.want, s.cause)
	}
	for w := range strings.SplitSeq(s.words, "|") {
		if !strings.Contains(r.Reason, w) {
			t.Errorf("reason says nothing of %q: %s", w, r.Reason)
		}
	}
	if err := json.Unmarshal(r.Numbers, &n); err != nil {
		t.Errorf("numbers: %v", err)
	}
	if s.mend == nil {
		return n
	}
	s.mend(d)
	mended := d.after()
	for done := false; !done; done = r.Verdict == canary.Pass || r.Verdict == canary.Fail || d.after() >= mended+s.passes {
		r = d.look()
	}
	t.Logf("%v, mended at %v: %s %s: %s", d.after(), mended, r.Verdict, r.Cause, r.Reason)
	if r.Verdict != canary.Pass {
		t.Errorf("%s %s at %v, %v after it was mended", r.Verdict, r.Cause, d.after(), d.after()-mended)
	}
	return n
}
