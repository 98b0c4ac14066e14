package canary

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const tried = 0.05

// beside is a script of machines m0... that serve two releases: total requests of each in a tick, of which the trial gets share. rate is
// of a release on a machine; stray adds failures that are of neither.
type beside struct {
	script
	total   int64
	share   float64
	rate    func(machine string, trial bool, at time.Time) float64
	stray   func(machine string, at time.Time) int64
	deals   func(trial bool, at time.Time) int64 // in place of total and share
	workers int
}

func (s *beside) Read(ctx context.Context, q Query) (Reading, error) {
	s.serves = func(host string, at time.Time) int64 {
		if s.deals != nil {
			return s.deals(strings.HasSuffix(host, " canary"), at)
		}
		n := int64(float64(s.total) * s.share)
		if !strings.HasSuffix(host, " canary") {
			n = s.total - n
		}
		return n
	}
	s.script.rate = func(host string, at time.Time) float64 {
		machine, trial := strings.CutSuffix(host, " canary")
		return s.rate(machine, trial, at)
	}
	r, err := s.script.Read(ctx, q)
	for i := range r.Hosts {
		h := &r.Hosts[i]
		h.Workers = s.workers
		for j := range h.Ticks {
			if s.stray != nil && q.Hosts[i].On != "" {
				h.Ticks[j].Stray = s.stray(q.Hosts[i].On, h.Ticks[j].At)
			}
		}
	}
	return r, err
}

// newTrial is a deploy that gives the new release a part of n machines' requests.
func newTrial(s *beside, n int) *deploy {
	if s.total == 0 {
		s.total = 5000
	}
	if s.share == 0 {
		s.share = tried
	}
	d := &deploy{
		Window: Window{Deploy: "d1", Phase: "trial", Release: "new", From: "old", Opened: epoch, Share: tried},
		gate:   &Traffic{From: "logs", Source: s},
	}
	for i := range n {
		on := fmt.Sprint("m", i)
		d.Canary = append(d.Canary, Host{Name: on + " canary", On: on, Release: "new", Since: epoch.Add(-3 * time.Second), Nonce: "n" + on})
		d.Control = append(d.Control, Host{Name: on, On: on, Release: "old", Since: epoch.Add(-5 * time.Hour)})
	}
	return d
}

// of is a rate of everything, and times as much with the new release from epoch on.
func of(base, times float64) func(string, bool, time.Time) float64 {
	return func(_ string, trial bool, at time.Time) float64 {
		if trial && !at.Before(epoch) {
			return base * times
		}
		return base
	}
}

func (d *deploy) wants(t *testing.T, until time.Duration, v Verdict, c Cause, said string) Ruling {
	t.Helper()
	r, after := d.run(t, until)
	if r.Verdict != v || c != "" && r.Cause != c || !strings.Contains(r.Reason, said) {
		t.Fatalf("after %v: %s (%s): %s; want %s (%s) and %q", after, r.Verdict, r.Cause, r.Reason, v, c, said)
	}
	return r
}

func TestTrialThatIsGoodPasses(t *testing.T) {
	for _, n := range []int{1, 5} {
		d := newTrial(&beside{total: 25_000, rate: of(1e-4, 1)}, n)
		d.wants(t, 20*time.Minute, Pass, "", "harm refuted")
	}
}

func TestTrialThatHarmsFails(t *testing.T) {
	for _, tt := range []struct{ machines, workers int }{{5, 0}, {5, 4}, {1, 4}} {
		d := newTrial(&beside{rate: of(1e-3, 10), workers: tt.workers}, tt.machines)
		d.wants(t, 5*time.Minute, Fail, "", "ratio")
	}
	d := newTrial(&beside{rate: of(1e-3, 900)}, 3) // at once, on one machine with others' trials as well
	if r := d.look(t, 10*time.Second); r.Verdict != Fail {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// One machine with a full disk fails on both of its releases alike. It is no suspect and no harm, also where its trial gets more of its
// requests than others' do, so that it has more of all failures than of all requests.
func TestTrialOnABadMachineIsNoHarm(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		sick := func(machine string, _ bool, at time.Time) float64 {
			if machine == "m0" && !at.Before(epoch.Add(-time.Hour)) {
				return 0.05
			}
			return 1e-4
		}
		s := &beside{total: 25_000, rate: sick}
		d := newTrial(s, n)
		d.gate.DespiteRed = "one disk is full"
		for after := 5 * time.Second; after <= 5*time.Minute; after += 5 * time.Second {
			if r := d.look(t, after); r.Verdict == Fail || r.Verdict == Suspect {
				t.Fatalf("%d machines, after %v: %s: %s", n, after, r.Verdict, r.Reason)
			}
		}
	}
	var b Book
	b.Open(epoch)
	b.Phi = Dispersion{Chi2: 1 << 40, DF: 1 << 40, Ticks: 1 << 30}
	for i := range 60 {
		c := Counts{At: epoch.Add(time.Duration(i) * 5 * time.Second)}
		for m, n := range []int64{2500, 250, 250, 250, 250} { // the sick one gives its trial half of its requests
			x, y := int64(0), int64(0)
			if m == 0 {
				x, y = 25, 25
			}
			on := fmt.Sprint("m", m)
			c.Canary = append(c.Canary, Cell{Host: on + " canary", On: on, N: n, X: x, Workers: 4})
			c.Control = append(c.Control, Cell{Host: on, On: on, N: 5000 - n, X: y})
		}
		b.Add(Rule{}, c)
		if v, cause, hosts := b.Verdict(Rule{}); v == Fail || v == Suspect {
			t.Fatalf("tick %d: %s (%s) of %v", i, v, cause, hosts)
		}
	}
}

// A trial that fails on one machine only, while that machine serves the old release well: the machine is no suspect. Several of its
// workers are enough to say that it is what was deployed; one is not.
func TestTrialThatFailsOnOneMachine(t *testing.T) {
	rate := func(machine string, trial bool, at time.Time) float64 {
		if machine == "m2" && trial && !at.Before(epoch) {
			return 0.2
		}
		return 1e-4
	}
	for n, want := range map[int]Verdict{0: Hold, 1: Hold, 2: Fail} {
		d := newTrial(&beside{rate: rate, workers: n}, 6)
		r, after := d.run(t, 3*time.Minute)
		if r.Verdict != want || want == Hold && (r.Cause != OneHost || !strings.Contains(r.Reason, "too few workers") || len(r.Suspects) > 0) {
			t.Errorf("%d workers, after %v: %s (%s) %v: %s", n, after, r.Verdict, r.Cause, r.Suspects, r.Reason)
		}
	}
}

func TestTrialWithTooLittleOfTheRequests(t *testing.T) {
	d := newTrial(&beside{total: 25_000, share: 0.01, rate: of(1e-4, 1)}, 4)
	d.wants(t, 10*time.Minute, Hold, OffShare, "the trials get 1 % of their machines' requests and should get 5 %")
	// With so few requests that most ticks have none at all nothing is said too early.
	rare := &beside{rate: of(0, 1), deals: func(trial bool, at time.Time) int64 {
		switch {
		case !trial:
			return 57
		case at.Unix()%20 == 0:
			return 12
		}
		return 0
	}}
	d = newTrial(rare, 1)
	for after := 5 * time.Second; after <= 5*time.Minute; after += 5 * time.Second {
		if r := d.look(t, after); r.Cause == OffShare {
			t.Fatalf("after %v: %s", after, r.Reason)
		}
	}
}

// What is of neither release neither passes the new one nor fails it.
func TestTrialWithStrays(t *testing.T) {
	// All failures of the new release are strays, and those of the old one are not.
	hidden := &beside{total: 25_000, rate: func(_ string, trial bool, _ time.Time) float64 {
		if trial {
			return 0
		}
		return 2e-4
	}, stray: func(_ string, at time.Time) int64 {
		if at.Before(epoch) {
			return 0
		}
		return 1
	}}
	d := newTrial(hidden, 4)
	d.wants(t, 20*time.Minute, Hold, SourceDown, "cannot be told to be of one of their two releases")

	// Most failures of the old release are strays: what is left of them makes the new one, which is as good, look ten times worse.
	noisy := &beside{total: 25_000, rate: func(_ string, trial bool, _ time.Time) float64 {
		if trial {
			return 2e-3
		}
		return 2e-4
	}, stray: func(_ string, at time.Time) int64 { return 43 }}
	d = newTrial(noisy, 4)
	d.wants(t, 5*time.Minute, Hold, SourceDown, "request id")
	noisy.stray = nil // the same counts without them do fail
	newTrial(noisy, 4).wants(t, 5*time.Minute, Fail, "", "")

	// A few do not stand in the way.
	few := &beside{total: 25_000, rate: of(1e-4, 1), stray: func(m string, at time.Time) int64 {
		if m == "m0" && at.Equal(epoch.Add(time.Minute)) {
			return 1
		}
		return 0
	}}
	newTrial(few, 4).wants(t, 20*time.Minute, Pass, "", "")
}

// Both releases of a machine are judged as far as both are known, and not at all when one is not.
func TestTrialClosesBothReleasesOfAMachine(t *testing.T) {
	s := &beside{rate: of(1e-4, 1), script: script{lag: map[string]time.Duration{"m0": 40 * time.Second}}}
	d := newTrial(s, 2)
	d.look(t, time.Minute)
	if at := readBook(t, d).Next; !at.Equal(epoch.Add(20 * time.Second)) {
		t.Errorf("closed to %v", at.Sub(epoch))
	}
	s = &beside{rate: of(1e-4, 1), script: script{problem: map[string]HostReading{"m0": {Problem: "its logs could not be read", Cause: SourceDown}}}}
	d = newTrial(s, 2)
	r := d.look(t, time.Minute)
	if r.Verdict != Hold || r.Cause != SourceDown || !strings.Contains(r.Reason, "its old release: its logs could not be read") {
		t.Errorf("%s (%s): %s", r.Verdict, r.Cause, r.Reason)
	}
	if b := readBook(t, d); !b.Next.IsZero() {
		t.Errorf("closed to %v without it", b.Next.Sub(epoch))
	}
}

func TestTrialOfAWindowThatMakesNoSense(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*deploy)
		said   string
	}{
		"no machine":     {func(d *deploy) { d.Canary[0].On, d.Canary[1].On = "", "" }, "on which machines is not said"},
		"no old release": {func(d *deploy) { d.Control = d.Control[:1] }, "nothing of the old release is known on the machine of m1 canary"},
		"another's":      {func(d *deploy) { d.Control[1].On = "x" }, "on the machine of m1 canary"},
	} {
		d := newTrial(&beside{total: 25_000, rate: of(1e-4, 1)}, 2)
		tt.change(d)
		r, _ := d.run(t, 15*time.Minute)
		if r.Verdict != Hold || !strings.Contains(r.Reason, tt.said) {
			t.Errorf("%s: %s (%s): %s", name, r.Verdict, r.Cause, r.Reason)
		}
	}
}

// Sources are asked for the machine, and told which arm is meant and what is beside it; not for more machines than there are trials.
func TestTrialAsksForMachines(t *testing.T) {
	s := &beside{total: 500, rate: of(1e-4, 1)}
	d := newTrial(s, 50)
	d.Control = append(d.Control, Host{Name: "other", Release: "old"}, Host{Name: "z", On: "z", Release: "old"})
	d.look(t, time.Minute)
	q := s.asked[len(s.asked)-1]
	for _, a := range s.asked {
		if !a.Prints {
			q = a
		}
	}
	if len(q.Hosts) != 100 {
		t.Fatalf("%d hosts are asked for", len(q.Hosts))
	}
	for _, h := range q.Hosts {
		machine, trial := strings.CutSuffix(h.Name, " canary")
		beside := map[bool]string{true: "old", false: "new"}[trial]
		if h.On != machine || h.Trial != trial || h.Beside != beside || h.Machine() != machine {
			t.Errorf("%+v", h)
		}
	}
}

// After its trial a machine serves the release alone: what the trial brought stays, and the machine can be a suspect like any other.
func TestTrialThatWasPromoted(t *testing.T) {
	s := &beside{total: 25_000, rate: of(1e-3, 1)}
	d := newTrial(s, 4)
	d.wants(t, 20*time.Minute, Pass, "", "")
	was := readBook(t, d)
	// The next phase: two of them are whole now, two more have a trial.
	promoted := epoch.Add(20 * time.Minute)
	d.Phase, d.Opened, d.Canary, d.Control = "next", promoted, nil, nil
	for i := range 4 {
		on := fmt.Sprint("m", i)
		d.Earlier = append(d.Earlier, Host{Name: on, Release: "new", Since: promoted, Nonce: "p" + on})
		on = fmt.Sprint("k", i)
		d.Canary = append(d.Canary, Host{Name: on + " canary", On: on, Release: "new", Since: promoted, Nonce: "n" + on})
		d.Control = append(d.Control, Host{Name: on, On: on, Release: "old", Since: epoch.Add(-5 * time.Hour)})
	}
	d.look(t, 20*time.Minute+10*time.Second)
	b := readBook(t, d)
	if len(was.Hosts) != 4 || !slices.ContainsFunc(b.Hosts, func(h hostBook) bool { return h.Host == "m0 canary" }) || b.Canary.X < was.Canary.X || b.Batches != 2 || math.Abs(b.Expected-tried) > 1e-9 {
		t.Errorf("%d failing of the trial before, %d now; batch %d, share due %g", was.Canary.X, b.Canary.X, b.Batches, b.Expected)
	}
	// The trials of this phase harm, while what has the machines for itself does not: it must not be lost among them.
	s.rate = func(machine string, trial bool, at time.Time) float64 {
		if trial && machine[0] == 'k' {
			return 1e-2
		}
		return 1e-3
	}
	var r Ruling
	for after := 20*time.Minute + 15*time.Second; after < 25*time.Minute && r.Verdict != Fail; after += 5 * time.Second {
		r = d.look(t, after)
	}
	if r.Verdict != Fail {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

func TestReadyForATrial(t *testing.T) {
	s := &beside{total: 25_000, rate: of(1e-4, 1)}
	ready := func(change func(*Traffic)) error {
		g := &Traffic{From: "logs", Source: s, Share: tried, Canaries: []string{"m0", "m1"}, Others: []string{"m2"}, Clock: func() time.Time { return epoch }}
		change(g)
		return g.Ready(t.Context())
	}
	if err := ready(func(*Traffic) {}); err != nil {
		t.Error(err)
	}
	for _, h := range s.asked[0].Hosts {
		if h.On != h.Name || h.Trial || h.Name == "m2" {
			t.Errorf("%+v", h)
		}
	}
	o, err := (&Traffic{From: "logs", Source: s, Share: tried, Canaries: []string{"m0", "m1"}, Clock: func() time.Time { return epoch }}).Outlook(t.Context())
	if err != nil || o.Share != tried || o.PerSecond < 450 || o.PerSecond > 501 {
		t.Errorf("%v: %v", o, err)
	}
	s.problem = map[string]HostReading{}
	for i := range 9 {
		s.problem[fmt.Sprint("m", i)] = HostReading{Problem: "cannot tell two releases apart: name release_label", Cause: SourceDown}
	}
	err = ready(func(g *Traffic) {
		g.Canaries = []string{"m0", "m1", "m3", "m4", "m5"}
	})
	if err == nil || strings.Count(err.Error(), "name release_label") != 4 || !strings.Contains(err.Error(), "and 2 more hosts") {
		t.Error(err)
	}
	s.problem = nil
	s.stray = func(string, time.Time) int64 { return 1 }
	if err := ready(func(*Traffic) {}); err == nil || !strings.Contains(err.Error(), "request id") {
		t.Error(err)
	}
	if err := ready(func(g *Traffic) { g.Share = 1 }); err == nil {
		t.Error("all of the requests are a share")
	}
}

func readBook(t *testing.T, d *deploy) *Book {
	t.Helper()
	l := newLook(&Traffic{Rule: Rule{}.Full(), Controls: 40}, d.Window, d.evidence)
	return &l.acc.Book
}

// Successes are of machines: that each is seen twice makes no signal red, and a drop on the trials alone is one.
func TestTrialAndSignals(t *testing.T) {
	s := &beside{total: 25_000, rate: of(1e-4, 1)}
	lost := false
	s.good = func(host string, at time.Time) int64 {
		n := int64(1000)
		if strings.HasSuffix(host, " canary") {
			if n = 50; lost {
				n = 10
			}
		} else if !at.Before(epoch) {
			n = 950
		}
		return n
	}
	d := newTrial(s, 4)
	d.gate.Signals = []Signal{{Name: "edits", RedBelow: 0.7}}
	d.wants(t, 20*time.Minute, Pass, "", "")
	d = newTrial(s, 4)
	d.gate.Signals = []Signal{{Name: "edits", AtLeast: 60_000}} // four machines make 48,000 a minute
	d.wants(t, 5*time.Minute, Hold, BothRed, "47,950 a minute on all hosts")
	lost = true
	newTrial(s, 4).wants(t, 5*time.Minute, Fail, "", "edits dropped")
}

// bookOf is a book after ticks of machines with two releases, without clustering.
func bookOf(ticks int, canaries int, c Counts) *Book {
	b := &Book{Canaries: canaries, Phi: Dispersion{Chi2: 1 << 40, DF: 1 << 40, Ticks: 1 << 30}}
	b.Open(epoch)
	for i := range ticks {
		c.At = epoch.Add(time.Duration(i) * 5 * time.Second)
		b.Add(Rule{}, c)
	}
	return b
}

func pairOf(on string, n, x, old, y, stray int64) (trial, control Cell) {
	return Cell{Host: on + " canary", On: on, N: n, X: x, Stray: stray, Workers: 4}, Cell{Host: on, On: on, N: old, X: y, Stray: stray}
}

// A stray is a failure of the old release where harm is looked for, and of the new one where harm is refuted.
func TestStraysSpeakForNobody(t *testing.T) {
	of := func(x, y, stray int64) *Book {
		trial, old := pairOf("m0", 250, x, 4750, y, stray)
		return bookOf(3, 1, Counts{Canary: []Cell{trial}, Control: []Cell{old}})
	}
	strays, asOld, asNew := of(2, 3, 4), of(2, 7, 0), of(6, 3, 0)
	if !reflect.DeepEqual(strays.Wealth, asOld.Wealth) {
		t.Errorf("harm %v, want %v", strays.Wealth, asOld.Wealth)
	}
	if strays.Refuted != asNew.Refuted {
		t.Errorf("refuted %v, want %v", strays.Refuted, asNew.Refuted)
	}
}

// A machine is no excuse for its trial, and canaries that are well do not hide it.
func TestTrialStopsAtOnceBesideWholeCanaries(t *testing.T) {
	trial, old := pairOf("m0", 250, 200, 4750, 1, 0)
	c := Counts{Canary: []Cell{trial}, Control: []Cell{old}}
	for i := range 4 {
		c.Canary = append(c.Canary, Cell{Host: fmt.Sprint("k", i), N: 5000, Earlier: true})
	}
	b := bookOf(1, 5, c)
	if v, _, _ := b.Verdict(Rule{}); v != Fail || b.Hard == nil {
		t.Errorf("%s, hard stop %v", v, b.Hard)
	}
}

// A bad machine whose trial gets more of its requests than the others' trials do is not harm of the batch's own either.
func TestTrialOnABadMachineBesideWholeCanaries(t *testing.T) {
	var c Counts
	for m, n := range []int64{2500, 250, 250, 250, 250} {
		x, y := int64(0), int64(0)
		if m == 0 {
			x, y = 25, 25
		}
		trial, old := pairOf(fmt.Sprint("m", m), n, x, 5000-n, y, 0)
		c.Canary, c.Control = append(c.Canary, trial), append(c.Control, old)
	}
	c.Canary[1].X, c.Control[1].X = 1, 19 // so that two hosts fail
	for i := range 4 {
		c.Canary = append(c.Canary, Cell{Host: fmt.Sprint("k", i), N: 5000, X: 15, Earlier: true})
	}
	for ticks := range 60 {
		b := bookOf(ticks, 9, c)
		if v, cause, hosts := b.Verdict(Rule{}); v == Fail || v == Suspect || harms.mean(b.Own.Wealth) > 10 {
			t.Fatalf("after %d ticks: %s (%s) of %v by %g, own %g", ticks, v, cause, hosts, harms.mean(b.Wealth), harms.mean(b.Own.Wealth))
		}
	}
}
