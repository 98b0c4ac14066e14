package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/fixtures/paper"
	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/wire"
)

// triable is a rig on which releases can be tried and handed over.
func triable(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.host.Runtime = paper.Trier{Runtime: r.rt}
	r.rt.Road = func() release.Road { return release.Road{Strategy: release.ByHandover} }
	return r
}

func (r *rig) tryB() wire.Try {
	return wire.Try{Switch: r.toB(), For: time.Hour}
}

// tries fails the test unless id is tried on the host now; the zero ID stands for nothing.
func (r *rig) tries(t *testing.T, id release.ID) {
	t.Helper()
	var now release.ID
	if trial := r.state(t).Proof.Trial; trial != nil {
		now = trial.Release
	}
	if now != id {
		t.Errorf("tried is %s, want %s", now.Short(), id.Short())
	}
}

func (r *rig) begins(t *testing.T, c *push.Client) {
	t.Helper()
	var p release.Proof
	if err := c.Call(t.Context(), wire.OpTry, r.tryB(), &p); err != nil || p.Release != r.a || p.Trial == nil || p.Trial.Release != r.b {
		t.Fatalf("try: %v, proof %+v", err, p)
	}
	r.tries(t, r.b)
}

func TestTrialLeavesTheHostAsItIs(t *testing.T) {
	r := triable(t)
	c, _ := r.dial(t, wire.Hello{Owner: "deploy 1"})
	for range 2 {
		r.begins(t, c)
		r.is(t, r.a, release.Unknown)
	}
	in, err := r.store.Host()
	if err != nil || !in.Switch.To.IsZero() || in.Token != 1 || in.Claimer != "deploy 1" {
		t.Errorf("journal %+v, %v: want the claim and no switch", in, err)
	}
	for range 2 {
		var p release.Proof
		if err := c.Call(t.Context(), wire.OpEndTry, wire.Token{Token: 1}, &p); err != nil || p.Trial != nil || p.Release != r.a {
			t.Errorf("end: %v, proof %+v", err, p)
		}
		r.tries(t, release.ID{})
	}
	if r.rt.Overlaps.Load() > 0 {
		t.Error("the runtime was called twice at a time")
	}
}

func TestRuntimeThatCannotTry(t *testing.T) {
	r := newRig(t)
	c, _ := r.dial(t, wire.Hello{})
	if err := c.Call(t.Context(), wire.OpTry, r.tryB(), nil); !errors.Is(err, wire.Refused) || !strings.Contains(err.Error(), "cannot try") {
		t.Errorf("try: %v", err)
	}
	var p release.Proof
	if err := c.Call(t.Context(), wire.OpEndTry, wire.Token{Token: 1}, &p); err != nil || p.Release != r.a {
		t.Errorf("end: %v, %+v", err, p)
	}
}

func TestTrialThatContradictsTheHost(t *testing.T) {
	r := triable(t)
	other := r.add(t, "C")
	c, _ := r.dial(t, wire.Hello{})
	for name, x := range map[string]struct {
		edit func(*wire.Try)
		kind wire.Kind
	}{
		"of nothing":         {func(q *wire.Try) { q.Switch.To = release.ID{} }, wire.Refused},
		"beside nothing":     {func(q *wire.Try) { q.Switch.From = release.ID{} }, wire.Refused},
		"of what serves":     {func(q *wire.Try) { q.Switch.To = r.a }, wire.Refused},
		"beside another one": {func(q *wire.Try) { q.Switch.From = other }, wire.Refused},
		"not staged":         {func(q *wire.Try) { q.Switch.To = release.ID{7} }, wire.NotFound},
		"until yesterday":    {func(q *wire.Try) { q.For = -24 * time.Hour }, wire.Refused},
		"for no time":        {func(q *wire.Try) { q.For = 0 }, wire.Refused},
		"for ever":           {func(q *wire.Try) { q.For = wire.MaxTrial + time.Hour }, wire.Refused},
	} {
		q := r.tryB()
		x.edit(&q)
		if err := c.Call(t.Context(), wire.OpTry, q, nil); !errors.Is(err, x.kind) {
			t.Errorf("%s: %v, want %s", name, err, x.kind)
		}
		r.tries(t, release.ID{})
	}
	for name, in := range map[string]release.Intent{
		"out of the pool":           {Token: 1, Out: true, Owner: "deploy 1", Switch: release.Switch{From: r.b, To: r.a}, Outcome: release.ProvenNew},
		"in the middle of a switch": {Token: 1, Switch: release.Switch{From: r.b, To: r.a}},
		"broken":                    {Token: 1, Switch: release.Switch{From: r.b, To: r.a}, Outcome: release.Broken},
	} {
		if err := r.store.Record(in); err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), wire.OpTry, r.tryB(), nil); !errors.Is(err, wire.Refused) {
			t.Errorf("%s: %v", name, err)
		}
		r.tries(t, release.ID{})
	}
	if err := errors.Join(r.store.Record(release.Intent{Token: 1}), os.WriteFile(r.rt.File, []byte(other.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), wire.OpTry, r.tryB(), nil); !errors.Is(err, wire.Refused) {
		t.Errorf("beside what does not run: %v", err)
	}
	r.tries(t, release.ID{})
}

// TestFailedTrialIsTakenBack: after an error nobody is sent to a release, also where the runtime had begun to.
func TestFailedTrialIsTakenBack(t *testing.T) {
	for _, at := range []string{"trying", "tried"} {
		r := triable(t)
		r.rt.Hook = func(_ context.Context, step string, _ release.Switch) error {
			if step == at {
				return errors.New("the second master says no")
			}
			return nil
		}
		c, _ := r.dial(t, wire.Hello{})
		if err := c.Call(t.Context(), wire.OpTry, r.tryB(), nil); err == nil || !strings.Contains(err.Error(), "the second master says no") {
			t.Errorf("%s: %v", at, err)
		}
		r.tries(t, release.ID{})
		r.is(t, r.a, release.Unknown)
	}
}

// lying is a runtime whose answer to Try is edited.
type lying struct {
	paper.Trier
	edit func(*release.Proof)
}

func (l lying) Try(ctx context.Context, s release.Switch, until time.Time) (release.Proof, error) {
	p, err := l.Trier.Try(ctx, s, until)
	l.edit(&p)
	return p, err
}

func TestTrialMustBeProven(t *testing.T) {
	for name, edit := range map[string]func(*release.Proof){
		"no trial":              func(p *release.Proof) { p.Trial = nil },
		"of another release":    func(p *release.Proof) { p.Trial.Release = release.ID{9} },
		"not proven":            func(p *release.Proof) { p.Trial.Reason = "a worker does not answer" },
		"what serves is broken": func(p *release.Proof) { p.Release = release.ID{} },
	} {
		r := triable(t)
		r.host.Runtime = lying{paper.Trier{Runtime: r.rt}, edit}
		c, _ := r.dial(t, wire.Hello{})
		if err := c.Call(t.Context(), wire.OpTry, r.tryB(), nil); err == nil {
			t.Errorf("%s: the trial is taken for one", name)
		}
		r.tries(t, release.ID{})
	}
}

// deaf is a runtime that begins a trial however the asker fares; it goes on once nobody listens any more.
type deaf struct {
	paper.Trier
	begun chan struct{}
}

func (d deaf) Try(ctx context.Context, s release.Switch, until time.Time) (release.Proof, error) {
	close(d.begun)
	<-ctx.Done()
	return d.Trier.Try(context.WithoutCancel(ctx), s, until)
}

// TestTrialOfADeployThatIsGone: nobody hears that the trial has begun, so it has not.
func TestTrialOfADeployThatIsGone(t *testing.T) {
	r := triable(t)
	begun := make(chan struct{})
	r.host.Runtime = deaf{paper.Trier{Runtime: r.rt}, begun}
	c, wait := r.dial(t, wire.Hello{})
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() { asked <- c.Call(ctx, wire.OpTry, r.tryB(), nil) }()
	<-begun
	cancel()
	if err := <-asked; !errors.Is(err, push.ErrLost) {
		t.Errorf("the asker: %v", err)
	}
	if err := wait(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	r.is(t, r.a, release.Unknown)
	r.tries(t, release.ID{})
}

// TestChangeBesideATrial: a switch to what is tried makes it what all get; any other, and a repair, ends the trial.
func TestChangeBesideATrial(t *testing.T) {
	for name, x := range map[string]struct {
		op        wire.Op
		to        func(*rig, release.ID) release.ID
		emergency bool
	}{
		"to what is tried":             {op: wire.OpSwitch, to: func(r *rig, _ release.ID) release.ID { return r.b }},
		"to another one":               {op: wire.OpSwitch, to: func(_ *rig, c release.ID) release.ID { return c }},
		"to another one, emergency":    {op: wire.OpSwitch, to: func(_ *rig, c release.ID) release.ID { return c }, emergency: true},
		"to what serves":               {op: wire.OpSwitch, to: func(r *rig, _ release.ID) release.ID { return r.a }},
		"repair to what is tried":      {op: wire.OpRepair, to: func(r *rig, _ release.ID) release.ID { return r.b }},
		"repair to another one":        {op: wire.OpRepair, to: func(_ *rig, c release.ID) release.ID { return c }},
		"repair to what serves":        {op: wire.OpRepair, to: func(r *rig, _ release.ID) release.ID { return r.a }},
		"repair to another, emergency": {op: wire.OpRepair, to: func(_ *rig, c release.ID) release.ID { return c }, emergency: true},
	} {
		for _, road := range []string{release.ByHandover, release.ByDrain} {
			r := triable(t)
			r.rt.Road = func() release.Road { return release.Road{Strategy: road} }
			other := r.add(t, "C")
			c, _ := r.dial(t, wire.Hello{Owner: "deploy 1"})
			r.begins(t, c)
			to := x.to(r, other)
			duringSwitch := release.ID{}
			r.rt.Hook = func(_ context.Context, step string, s release.Switch) error {
				if b, err := os.ReadFile(r.rt.File + ".trial"); step == "linked" && err == nil && !strings.Contains(string(b), s.To.String()) {
					duringSwitch = r.b
				}
				return nil
			}
			s := release.Switch{From: r.a, To: to, Token: 1, Owner: "deploy 1", Emergency: x.emergency}
			if err := c.Call(t.Context(), x.op, s, nil); err != nil {
				t.Errorf("%s by %s: %v", name, road, err)
			}
			r.is(t, to, release.ProvenNew)
			r.tries(t, release.ID{})
			if !duringSwitch.IsZero() && !x.emergency {
				t.Errorf("%s by %s: the trial went on beside the switch", name, road)
			}
		}
	}
}

// TestTrialThatDoesNotEnd: no switch is taken for done while some users are sent elsewhere, and a switch forward is not
// even begun.
func TestTrialThatDoesNotEnd(t *testing.T) {
	r := triable(t)
	other := r.add(t, "C")
	c, _ := r.dial(t, wire.Hello{Owner: "deploy 1"})
	r.begins(t, c)
	var steps []string
	stuck := true
	r.rt.Hook = func(_ context.Context, step string, _ release.Switch) error {
		steps = append(steps, step)
		if stuck && step == "abandoned" {
			b := []byte(`{"release":"` + r.b.String() + `","until":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"}`)
			return os.WriteFile(r.rt.File+".trial", b, 0o644)
		}
		return nil
	}
	if err := c.Call(t.Context(), wire.OpEndTry, wire.Token{Token: 1}, nil); err == nil || !strings.Contains(err.Error(), "names it still") {
		t.Errorf("end: %v", err)
	}
	err := c.Call(t.Context(), wire.OpSwitch, release.Switch{From: r.a, To: other, Token: 1, Owner: "deploy 1"}, nil)
	if !errors.Is(err, wire.Broken) {
		t.Errorf("switch: %v; some users get another release, so the host must leave the pool", err)
	}
	if slices.Contains(steps, "linked") {
		t.Errorf("steps %q: the runtime was switched although the trial could not be ended", steps)
	}
	if err := c.Call(t.Context(), wire.OpRepair, release.Switch{To: other, Token: 1, Owner: "deploy 1"}, nil); !errors.Is(err, wire.Broken) {
		t.Errorf("repair: %v", err)
	}
	stuck = false
	if err := c.Call(t.Context(), wire.OpRepair, release.Switch{To: other, Token: 1, Owner: "deploy 1"}, nil); err != nil {
		t.Errorf("repair: %v", err)
	}
	r.is(t, other, release.ProvenNew)
	r.tries(t, release.ID{})
}

// TestFailedPromotionEndsTheTrial: what could not be made what all get is not tried any further.
func TestFailedPromotionEndsTheTrial(t *testing.T) {
	for _, at := range []string{"started", "linked", "published"} {
		r := triable(t)
		c, _ := r.dial(t, wire.Hello{})
		r.begins(t, c)
		r.rt.Hook = func(_ context.Context, step string, s release.Switch) error {
			if step == at && s.To == r.b {
				return errors.New("php-fpm says no")
			}
			return nil
		}
		if err := c.Call(t.Context(), wire.OpSwitch, r.toB(), nil); !errors.Is(err, wire.Returned) {
			t.Errorf("%s: %v", at, err)
		}
		r.is(t, r.a, release.ProvenOld)
		r.tries(t, release.ID{})
	}
}

// TestServingRefused: a runtime that would have to stop for a switch under traffic leaves the host as it was.
func TestServingRefused(t *testing.T) {
	r := newRig(t) // its road is a drain
	r.rt.Hook = func(context.Context, string, release.Switch) error { t.Error("something was done"); return nil }
	c, _ := r.dial(t, wire.Hello{})
	s := r.toB()
	s.Serving = true
	if err := c.Call(t.Context(), wire.OpSwitch, s, nil); !errors.Is(err, wire.Returned) || errors.Is(err, wire.Broken) {
		t.Errorf("switch: %v", err)
	}
	r.is(t, r.a, release.ProvenOld)
	r.rt.Hook = nil
	r.rt.Road = func() release.Road { return release.Road{Strategy: release.ByHandover} }
	if err := c.Call(t.Context(), wire.OpSwitch, s, nil); err != nil {
		t.Errorf("switch by handover: %v", err)
	}
	r.is(t, r.b, release.ProvenNew)
}

// TestHandIsNeverSkipped: a host that proves the release is handed over all the same, and a hand that fails is taken back.
func TestHandIsNeverSkipped(t *testing.T) {
	for _, op := range []wire.Op{wire.OpSwitch, wire.OpRepair} {
		r := newRig(t)
		var hands []release.Hand
		fails := false
		r.rt.Hook = func(_ context.Context, step string, s release.Switch) error {
			if step != "started" {
				return nil
			}
			hands = append(hands, s.Hand)
			if fails && s.Hand == release.Adopt {
				return errors.Join(errors.New("no keeper"), os.WriteFile(r.rt.File, nil, 0o644))
			}
			return nil
		}
		c, _ := r.dial(t, wire.Hello{})
		s := release.Switch{From: r.a, To: r.a, Token: 1, Hand: release.Adopt}
		for range 2 {
			if err := c.Call(t.Context(), op, s, nil); err != nil {
				t.Errorf("%s: %v", op, err)
			}
			r.is(t, r.a, release.ProvenNew)
		}
		if len(hands) != 2 {
			t.Errorf("%s: hands %q", op, hands)
		}
		if fails, hands = true, nil; op == wire.OpRepair {
			continue
		}
		if err := c.Call(t.Context(), op, s, nil); !errors.Is(err, wire.Returned) {
			t.Errorf("%s: %v", op, err)
		}
		if len(hands) != 2 || hands[1] != release.GiveUp {
			t.Errorf("%s: hands %q, want one that fails and its way back", op, hands)
		}
		r.is(t, r.a, release.ProvenOld)
	}
}

func TestPruneKeepsWhatIsWarmAndTried(t *testing.T) {
	r := triable(t)
	warm, cold := r.add(t, "warm"), r.add(t, "cold")
	r.rt.Road = func() release.Road { return release.Road{Strategy: release.ByHandover, Warm: []release.ID{warm}} }
	c, _ := r.dial(t, wire.Hello{})
	r.begins(t, c)
	var gone wire.Pruned
	if err := c.Call(t.Context(), wire.OpPrune, wire.Prune{Token: 1}, &gone); err != nil {
		t.Fatal(err)
	}
	if len(gone.Gone) != 1 || gone.Gone[0] != cold {
		t.Errorf("gone are %v, want %s alone", gone.Gone, cold.Short())
	}
}

func TestNotesAreToldAndNoProblems(t *testing.T) {
	r := newRig(t)
	if err := os.Symlink(filepath.Join(r.dir, "root", "current"), r.host.Served); err != nil {
		t.Fatal(err)
	}
	notes := []string{"a master had died\nand was \x1b[31mreplaced"}
	for range 40 {
		notes = append(notes, strings.Repeat("x", 4000))
	}
	r.host.Runtime = noted{r.rt, notes}
	st, err := r.host.state(t.Context(), wire.StateAsk{Check: true})
	if err != nil || len(st.Problems) > 0 || len(st.Proof.Notes) != 16 || len(st.Proof.Notes[0]) > 510 {
		t.Errorf("problems %q, %d notes, %v", st.Problems, len(st.Proof.Notes), err)
	}
	r.host.Runtime = noted{r.rt, notes[:1]}
	st, err = r.host.state(t.Context(), wire.StateAsk{})
	if want := "a master had died | and was ?[31mreplaced"; err != nil || len(st.Proof.Notes) != 1 || st.Proof.Notes[0] != want {
		t.Errorf("notes %q, %v", st.Proof.Notes, err)
	}
}

// noted is a runtime that has something to say.
type noted struct {
	*paper.Runtime
	notes []string
}

func (n noted) State(ctx context.Context) (release.Proof, error) {
	p, err := n.Runtime.State(ctx)
	p.Notes = n.notes
	return p, err
}

// timed is a runtime that says until when it is told to try.
type timed struct {
	paper.Trier
	until *time.Time
}

func (d timed) Try(ctx context.Context, s release.Switch, until time.Time) (release.Proof, error) {
	*d.until = until
	return d.Trier.Try(ctx, s, until)
}

// TestTrialLastsByTheHostsClock: what the deploy host's clock says is nothing to the host that has to end it.
func TestTrialLastsByTheHostsClock(t *testing.T) {
	r := triable(t)
	var until time.Time
	r.host.Runtime = timed{paper.Trier{Runtime: r.rt}, &until}
	c, _ := r.dial(t, wire.Hello{})
	before := time.Now()
	r.begins(t, c)
	if least, most := before.Add(time.Hour), time.Now().Add(time.Hour); until.Before(least) || until.After(most) {
		t.Errorf("until %v, want between %v and %v", until, least, most)
	}
}
