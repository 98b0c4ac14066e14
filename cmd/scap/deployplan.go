package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// planOptions are what one run changes about the configured plan.
type planOptions struct {
	message   string
	emergency string                    // the deployer's reason
	noGate    string                    // the deployer's reason for asking no gate
	despite   string                    // the deployer's reason for deploying although users fail already
	noWatch   bool                      // nothing goes on looking after the end
	watch     bool                      // only the watch of a deploy that has ended
	back      bool                      // to an older release
	confirm   bool                      // ask where the configuration says so
	still     func([]phases.Seen) error // asked under the lock, before anything is done; nil: nothing
	verb      string                    // for the journal; "" is sync
	changes   []journal.Change          // that it is about
	expect    release.ID                // what the fleet must serve: the release was composed for that; zero: whatever it is
	look      bool                      // ask, once the test servers have it, whether to go on
	after     *phases.After             // what comes between the test servers and the rest
}

// plan turns the configured phases into a Plan for r.
func (f *fleet) plan(deploy string, r release.Release, o planOptions) (phases.Plan, error) {
	p := phases.Plan{
		Deploy: deploy, Release: r, Message: o.message, User: who(), Host: hostName(),
		Back: o.back, Emergency: o.emergency, DespiteRed: o.despite, Repair: true, Prune: true,
		Limits: phases.Limits{Stage: f.conf.Deploy.StageTimeout}, HoldLimit: f.conf.Deploy.HoldLimit,
		Pools: f.pools(), Took: lately(f.conf), Verb: o.verb, Changes: o.changes, Base: o.expect,
	}
	if !o.back && !o.noWatch && o.noGate == "" {
		gate, err := f.watchGate()
		if err != nil {
			return phases.Plan{}, err
		}
		if gate != nil && f.conf.Deploy.Watch > 0 {
			p.Watch = phases.Watch{For: f.conf.Deploy.Watch, Gate: gate}
		}
	}
	if o.watch {
		p.Phases = []phases.Phase{f.wayBack("the deploy has ended: it is watched")}
		return p, nil
	}
	if o.back {
		p.Phases = []phases.Phase{f.wayBack(o.noGate)}
		return p, nil
	}
	for i, c := range f.conf.Phases {
		if len(c.Hosts) == 0 {
			continue // all its hosts are deployed in earlier phases
		}
		ph, err := f.phase(c, f.conf.Phases[i+1:], o)
		if err != nil {
			return phases.Plan{}, err
		}
		p.Phases = append(p.Phases, ph)
	}
	if o.after != nil && !slices.ContainsFunc(p.Phases, func(ph phases.Phase) bool { return ph.After != nil }) {
		return p, usage(errors.New("no phase with test: true has a host, so there is nowhere to look at the change before it is merged"))
	}
	return p, nil
}

// wayBack is a rollback's one phase: the release was good everywhere and is on every host, so nothing is to be learned from
// test servers and canaries. What the pools can spare goes at once; of a fleet that is broken everywhere that is all of it.
func (f *fleet) wayBack(why string) phases.Phase {
	ph := phases.Phase{Name: "fleet", Targets: f.all(), GateOff: why}
	ph.Fanout.Width, ph.Fanout.MaxFailures = targets.FullWidth, targets.AnyFailures
	for _, c := range f.conf.Phases {
		ph.Fanout.Timeout = max(ph.Fanout.Timeout, c.Timeout)
	}
	return ph
}

// phase is one of the configuration's; the hosts of later ones still run the old release while it is judged.
func (f *fleet) phase(c config.Phase, later []config.Phase, o planOptions) (phases.Phase, error) {
	ph := phases.Phase{
		Name: c.Name, Targets: f.of(c), Bake: c.Bake, Confirm: (c.Confirm || isTest(c) && o.look) && o.confirm, Hint: c.Hint,
	}
	switch last := c.Name == lastTest(f.conf); {
	case last && o.after == nil && o.look:
		ph.Hint = strings.TrimPrefix(ph.Hint+"\n", "\n") + fmt.Sprintf("The change is on %s: look at it now.", nameSome(ph.Targets))
	case last && o.after != nil:
		ph.After = o.after
		ph.Hint = strings.TrimPrefix(ph.Hint+"\n", "\n") + fmt.Sprintf("The change is on %s: look at it now. A yes approves and merges %s.", nameSome(ph.Targets), o.after.Text)
	}
	ph.Share = float64(c.Share)
	ph.Fanout.Width = c.Width.Of(len(c.Hosts))
	ph.Fanout.MaxFailures = c.MaxFailures.Of(len(c.Hosts))
	ph.Fanout.Timeout = c.Timeout
	switch {
	case c.Gate == nil:
		ph.GateOff = "the configuration says gate: none"
	case o.noGate != "":
		ph.GateOff = o.noGate
	default:
		gate, err := f.gate(c, later, o.despite)
		if err != nil {
			return ph, err
		}
		ph.Gate, ph.Tick, ph.MaxWait = gate, c.Gate.Tick, c.Gate.MaxWait
	}
	for _, c := range later {
		ph.Control = append(ph.Control, f.of(c)...)
	}
	return ph, nil
}

// nameSome names some targets for a question.
func nameSome(ts []targets.Target) string {
	const most = 5
	var names []string
	for _, t := range ts[:min(len(ts), most)] {
		names = append(names, t.Name())
	}
	if len(ts) > most {
		names = append(names, fmt.Sprintf("%d more", len(ts)-most))
	}
	return strings.Join(names, ", ")
}

func hostNames(phases []config.Phase) []string {
	var names []string
	for _, ph := range phases {
		for _, h := range ph.Hosts {
			names = append(names, h.Name)
		}
	}
	return names
}

// pools are the sets of hosts behind each balancer, with what must keep serving.
func (f *fleet) pools() []phases.Pool {
	var pools []phases.Pool
	for _, b := range f.conf.Balancers {
		pool := phases.Pool{Name: b.Name}
		for _, ph := range f.conf.Phases {
			for _, h := range ph.Hosts {
				for _, name := range f.conf.Group(h.Group).Balancers {
					if name == b.Name {
						pool.Targets = append(pool.Targets, h.Name)
					}
				}
			}
		}
		if len(pool.Targets) == 0 {
			continue
		}
		pool.Min = b.Capacity.Of(len(pool.Targets))
		pools = append(pools, pool)
	}
	return pools
}

// keep returns the releases that pruning leaves: the newest n that a deploy of ds (newest first) left proven or found
// proven, and all of those that are younger than keepFor. What deploys found is the way back from the first of them.
func keep(ds []journal.Deploy, n int, keepFor time.Duration, now time.Time) []release.ID {
	var ids []release.ID
	seen := map[string]bool{}
	add := func(name string, at time.Time) {
		if seen[name] || len(ids) >= n && now.Sub(at) > keepFor {
			return
		}
		if id, err := release.ParseID(name); err == nil {
			ids = append(ids, id)
			seen[name] = true
		}
	}
	for _, d := range ds {
		if d.How == journal.Deployed && !d.Failed {
			add(d.To, d.Ended)
		}
		if d.Changed {
			add(d.From, d.Began)
		}
	}
	return ids
}
