package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"scap/canary"
)

// Asker lets a host ask its own web server. It must be safe for several hosts at once and end with ctx.
type Asker interface {
	Ask(ctx context.Context, host string, q Question) (Report, error)
}

// AskerFunc is a function that is an Asker.
type AskerFunc func(ctx context.Context, host string, q Question) (Report, error)

var _ Asker = AskerFunc(nil)

// Ask calls f.
func (f AskerFunc) Ask(ctx context.Context, host string, q Question) (Report, error) {
	return f(ctx, host, q)
}

// Gate rules by probes. It passes when every probe is as expected on every canary and, if there is a Front, through the
// balancer. A probe that fails on a canary and not on a host with the old release fails the release; one that fails on
// both is not this release, and holds. What could not be reached holds. Without any host of the old release left, a probe
// that failed on a canary fails the release: Ready has seen all of them pass.
//
// Where the release is tried beside the old one on the same machines (Window.Share), a probe asks the machine's web server as users
// do and gets either: how one reaches the trial for certain is not the gate's to know. Each look then has a small chance to meet
// the new release, and what fails is asked for once more on the same machine: as expected now, the release fails, for Ready saw
// the old one answer well; failing again, it may be the machine, and the gate holds. No machine is a suspect for it. It is the
// gate over the traffic that judges a trial; this one sees that its machines go on answering.
//
// DespiteRed, when it is not empty, is the deployer's reason to deploy although probes fail already: those that fail on
// hosts with the old release too, or did before the deploy, are told and hold nothing.
type Gate struct {
	Set      *Set
	Asker    Asker
	Local    string   // the hosts' own web server, as they see it: http://127.0.0.1:80
	Front    string   // the balancer, as the deploy host sees it; empty for none
	Hosts    []string // asked by Ready
	Controls int      // hosts of the old release to compare with; 2
	AskLimit time.Duration

	DespiteRed string

	mu  sync.Mutex
	red map[string]bool // probes that Ready saw fail
}

var _ canary.Gate = (*Gate)(nil)

const (
	maxAsked    = 8 // hosts asked at once
	defControls = 2
	defAskLimit = 2 * time.Minute
	front       = "the balancer"
)

// seen is what one place answered.
type seen struct {
	where  string
	report Report
	err    error
}

// Name is what the gate's evidence is kept under.
func (g *Gate) Name() string { return "probes" }

// Ready runs all probes where the old release runs: what fails before a deploy could not be held against it. That is an
// error which wraps canary.ErrRed, unless DespiteRed.
func (g *Gate) Ready(ctx context.Context) error {
	if err := g.makesSense(); err != nil {
		return err
	}
	var errs []error
	for _, s := range g.ask(ctx, g.Hosts, g.Front != "") {
		if s.err == nil {
			s.err = g.before(s.report)
		}
		if s.err != nil {
			errs = append(errs, fmt.Errorf("probe %s: %w", s.where, s.err))
		}
	}
	return errors.Join(errs...)
}

// before is what r, of a host with the old release, says against a deploy.
func (g *Gate) before(r Report) error {
	err := r.Err()
	red := err != nil && len(r.Results) > 0
	for _, p := range r.Results {
		if p.Outcome != OK && p.Outcome != Failed {
			red = false // nothing is known of it
		}
	}
	if !red {
		return err
	}
	if g.DespiteRed == "" {
		return fmt.Errorf("%w: %w", canary.ErrRed, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.red == nil {
		g.red = map[string]bool{}
	}
	for _, p := range r.Results {
		g.red[p.Name] = g.red[p.Name] || p.Outcome == Failed
	}
	return nil
}

// wasRed reports whether a probe failed before the deploy, and the deployer knows.
func (g *Gate) wasRed(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.DespiteRed != "" && g.red[name]
}

// Knew reports whether a probe of r failed, and all that did failed before the deploy too, as the deployer knows. Ready has
// seen that.
func (g *Gate) Knew(r Report) bool {
	failed := false
	for _, p := range r.Results {
		switch {
		case p.Outcome == OK:
		case p.Outcome == Failed && g.wasRed(p.Name):
			failed = true
		default:
			return false
		}
	}
	return failed
}

func (g *Gate) makesSense() error {
	switch {
	case g.Set == nil || len(g.Set.Probes) == 0:
		return errNoProbes
	case g.Asker == nil || g.Local == "":
		return errors.New("probes: no host can be asked")
	}
	return nil
}

// ask asks hosts, some at once, and the front.
func (g *Gate) ask(ctx context.Context, hosts []string, through bool) []seen {
	n := len(hosts)
	if through {
		n++
	}
	limit := g.AskLimit
	if limit <= 0 {
		limit = defAskLimit
	}
	out := make([]seen, n)
	slots := make(chan struct{}, maxAsked)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if i == len(hosts) {
				r, err := Run(ctx, g.Set.Question(g.Front))
				out[i] = seen{front, r, err}
				return
			}
			r, err := g.Asker.Ask(ctx, hosts[i], g.Set.Question(g.Local))
			out[i] = seen{hosts[i], r, err}
		})
	}
	wg.Wait()
	return out
}

// Judge asks every canary and the front and, when a canary fails, hosts with the old release.
func (g *Gate) Judge(ctx context.Context, w canary.Window, _ canary.Evidence) (canary.Ruling, error) {
	if err := g.makesSense(); err != nil {
		return canary.Ruling{}, err
	}
	if len(w.Canary) == 0 {
		return canary.Ruling{Verdict: canary.Hold, Cause: canary.NoTraffic, Reason: "no canary host is in the window"}, nil
	}
	hosts, trial, control := make([]string, 0, len(w.Canary)), w.Share > 0, len(w.Control)
	if trial { // every machine has the old release too
		control = len(w.Canary)
	}
	for _, h := range w.Canary {
		hosts = append(hosts, h.Machine())
	}
	f := figures{Probes: len(g.Set.Probes), Hosts: len(hosts)}
	for _, s := range g.ask(ctx, hosts, g.Front != "") {
		f.take(s)
	}
	var old map[string]Outcome
	if len(f.Failed) > 0 {
		old = g.compare(ctx, w, &f)
	}
	if ctx.Err() != nil {
		return canary.Ruling{}, context.Cause(ctx)
	}
	r := g.rule(&f, hosts, control, old, trial)
	var err error
	if r.Numbers, err = json.Marshal(f); err != nil {
		return canary.Ruling{}, fmt.Errorf("write down the probes: %w", err)
	}
	return r, nil
}

// compare asks hosts with the old release and returns, for the probes that any of them answered, how it ended there: OK
// when it is as expected on at least one.
func (g *Gate) compare(ctx context.Context, w canary.Window, f *figures) map[string]Outcome {
	most := g.Controls
	if most <= 0 {
		most = defControls
	}
	var hosts []string
	for _, h := range w.Control[:min(len(w.Control), most)] {
		hosts = append(hosts, h.Machine())
	}
	if w.Share > 0 {
		hosts = nil
		for _, bad := range f.Failed {
			if !slices.Contains(hosts, bad.Where) && len(hosts) < most {
				hosts = append(hosts, bad.Where)
			}
		}
	}
	ended := map[string]Outcome{}
	for _, s := range g.ask(ctx, hosts, false) {
		if s.err != nil || len(s.report.Results) == 0 {
			f.Unreachable = append(f.Unreachable, fmt.Sprintf("%s, to compare with: %v", s.where, s.err))
			continue
		}
		f.Controls++
		there := map[string]Outcome{}
		for _, step := range g.Set.Login {
			there[step.Name] = OK // the login's steps are reported only when they do not end well
		}
		for _, r := range s.report.Results {
			there[r.Name] = r.Outcome
		}
		for name, o := range there {
			if o == OK || o == Failed && ended[name] == Untried {
				ended[name] = o
			}
		}
	}
	return ended
}
