package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"scap/canary"
	"scap/canary/probe"
	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/targets"
)

// gate builds what judges a phase: each source of what users saw, whose reason is worth reading first, and the probes.
// later are the phases whose hosts still run the old release then.
func (f *fleet) gate(ph config.Phase, later []config.Phase, despiteRed string) (canary.Gate, error) {
	var gates []canary.Gate
	names := hostNames([]config.Phase{ph})
	for _, name := range ph.Gate.Sources {
		g, err := f.traffic(name, ph, later)
		if err != nil {
			return nil, err
		}
		g.DespiteRed, g.Share = despiteRed, float64(ph.Share)
		gates = append(gates, among{g, f.judgedBy(name)})
		f.judges = append(f.judges, judge{ph.Name, g, alone(name, later)})
	}
	if path := ph.Gate.Probes; path != "" {
		set, err := probe.Read(path)
		if err != nil {
			return nil, usage(fmt.Errorf("phase %s: %w", ph.Name, err))
		}
		g := &probe.Gate{
			Set: set, Asker: probe.AskerFunc(f.askProbe), Local: f.web(names[0]), Front: ph.Gate.Front, Hosts: names, DespiteRed: despiteRed,
		}
		for _, h := range names {
			f.probed[h] = g
		}
		gates = append(gates, g)
	}
	return ready{canary.All(gates...), f.shipped(ph.Gate)}, nil
}

// watchGate is what goes on looking after the end: every source that judged a phase, by the rule of the last one. It is nil
// when there is none.
func (f *fleet) watchGate() (canary.Gate, error) {
	last := map[string]config.Phase{}
	for _, ph := range f.conf.Phases {
		if ph.Gate != nil {
			for _, name := range ph.Gate.Sources {
				last[name] = ph
			}
		}
	}
	var gates []canary.Gate
	for _, name := range slices.Sorted(maps.Keys(last)) {
		g, err := f.traffic(name, last[name], nil)
		if err != nil {
			return nil, err
		}
		gates = append(gates, among{g, f.judgedBy(name)})
	}
	if len(gates) == 0 {
		return nil, nil
	}
	return canary.All(gates...), nil
}

// ready is a gate that says what else can be done when it is not.
type ready struct {
	canary.Gate
	shipped bool
}

// What is shipped to a central store is known as far as the hosts' heartbeats have arrived there, and these begin with the
// first question.
const (
	shipTries = 3
	shipWait  = 10 * time.Second
)

// shipped reports whether a gate reads what hosts ship to a central store.
func (f *fleet) shipped(g *config.Gate) bool {
	return slices.ContainsFunc(g.Sources, func(name string) bool {
		s := f.conf.Source(name)
		return s != nil && s.Kind == config.OpenSearch
	})
}

func (r ready) ask(ctx context.Context) error {
	err := r.Gate.Ready(ctx)
	for try := 1; err != nil && r.shipped && try < shipTries && !errors.Is(err, canary.ErrRed); try++ {
		if (phases.System{}).Wait(ctx, shipWait) != nil {
			return err
		}
		err = r.Gate.Ready(ctx)
	}
	return err
}

// Ready names the way for a change that is itself the cure of what the gate sees.
func (r ready) Ready(ctx context.Context) error {
	switch err := r.ask(ctx); {
	case errors.Is(err, canary.ErrRed):
		return fmt.Errorf("%w (if this change is the cure: --despite-red REASON)", err)
	case err != nil:
		return fmt.Errorf("%w (to deploy without any gate: --no-gate REASON)", err)
	}
	return nil
}

// web is a host's own web server, as the host sees it.
func (f *fleet) web(host string) string { return f.group(host).WarmUp.Web }

// group returns the settings of a host.
func (f *fleet) group(host string) *config.Group {
	for _, ph := range f.conf.Phases {
		for _, h := range ph.Hosts {
			if h.Name == host {
				return f.conf.Group(h.Group)
			}
		}
	}
	return &config.Group{}
}

// askProbe lets a host ask its own web server.
func (f *fleet) askProbe(ctx context.Context, host string, q probe.Question) (probe.Report, error) {
	var r probe.Report
	h, ok := f.hosts[host]
	if !ok {
		return r, fmt.Errorf("%s: %w", host, errNoHost)
	}
	q.Base = f.web(host) // hosts of different groups may listen elsewhere
	err := h.Ask(ctx, "probe", q, &r)
	return r, err
}

// readProbes reads the probes of every host's phase.
func readProbes(c *config.Config) (map[string]*probe.Set, error) {
	sets := map[string]*probe.Set{}
	for _, ph := range c.Phases {
		if ph.Gate == nil || ph.Gate.Probes == "" {
			continue
		}
		set, err := probe.Read(ph.Gate.Probes)
		if err != nil {
			return nil, usage(fmt.Errorf("phase %s: %w", ph.Name, err))
		}
		for _, h := range ph.Hosts {
			sets[h.Name] = set
		}
	}
	return sets, nil
}

// check is what a host must pass after its switch and before it is repooled. A rollback obeys no probe: whoever obeyed it
// would return the host to the release that it is to get away from. Neither does the way back of a deploy that failed, as
// long as no other host passes: then it is not this host that is sick.
func (d *deploy) check(ctx context.Context, host string) error {
	err := d.probed(ctx, host)
	switch {
	case err == nil:
	case d.to == back:
		d.announce(fmt.Sprintf("%s: %s; it stays on the release that it was taken back to", host, ui.Clean(err.Error())))
		return nil
	case !d.onIts(ctx, host):
		return d.sick(ctx, host, err)
	}
	return err
}

// fit is what a host must pass that did not pass check and was taken back: it may not serve well with any release.
func (d *deploy) fit(ctx context.Context, host string) error {
	if err := d.probed(ctx, host); err != nil {
		return d.sick(ctx, host, err)
	}
	return nil
}

// probed lets a host ask its own web server what the gate of its phase asks.
func (d *deploy) probed(ctx context.Context, host string) error {
	set := d.probes[host]
	if set == nil {
		return nil
	}
	report, err := d.fleet.askProbe(ctx, host, set.Question(d.fleet.web(host)))
	if err == nil {
		err = report.Err()
	}
	if g := d.fleet.probed[host]; err != nil && g != nil && g.Knew(report) {
		d.announce(fmt.Sprintf("%s: %s; so it did before the deploy (--despite-red)", host, ui.Clean(err.Error())))
		return nil
	}
	return err
}

// onIts reports whether a host's disk holds the release that is deployed. One that does not say is taken to.
func (d *deploy) onIts(ctx context.Context, host string) bool {
	s, err := d.fleet.hosts[host].State(ctx)
	return err != nil || s.Disk == d.release
}

// others are asked before a host is called sick, at most.
const others = 3

// sick returns why, when another host in the pool passes what this one does not; else it is nothing of this host's.
func (d *deploy) sick(ctx context.Context, host string, why error) error {
	asked := 0
	for _, t := range d.fleet.all() {
		if t.Name() == host || d.probes[t.Name()] == nil {
			continue
		}
		if s, err := t.State(ctx); err != nil || s.Pooled == targets.PoolOut || s.Intent.Out {
			continue
		}
		if d.probed(ctx, t.Name()) == nil {
			return fmt.Errorf("%w; %s passes", why, t.Name())
		}
		if asked++; asked == others {
			break
		}
	}
	return nil
}

// well says whether a host in the pool serves well: a health check sees that it answers, the probes that it answers
// rightly. A fleet that is broken everywhere has no capacity to hold, so its way back goes at full width. Only a wrong
// answer counts: what could not be asked may serve well, and a whole pool must not go out on a guess.
func (d *deploy) well(ctx context.Context, t targets.Target) error {
	set := d.probes[t.Name()]
	if set == nil {
		return nil
	}
	report, err := d.fleet.askProbe(ctx, t.Name(), set.Question(d.fleet.web(t.Name())))
	if err != nil {
		return nil //nolint:nilerr // it was not asked
	}
	for _, r := range report.Results {
		if r.Outcome == probe.Failed {
			return fmt.Errorf("probe %s", r)
		}
	}
	return nil
}
