package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

// ErrCapacity means that taking one more target out would leave a pool with fewer serving than it needs.
var ErrCapacity = errors.New("too few targets serve to take one more out")

// pause is how long to wait before looking again.
const pause = 2 * time.Second

// capacity knows, for one look at the fleet, how many more serving targets may go out.
type capacity struct {
	well   map[string]bool // serves well: counts, and costs when taken out
	silent map[string]bool // did not answer: does not count, and costs all the same, for it may serve
	stays  map[string]bool // serves while it switches: costs nothing
	pools  []Pool
	left   []int // by pool
}

// look asks those of ts and all members of their pools, before ts are brought to a release. An error or silence is a target
// that does not count as serving.
func (d *run) look(ctx context.Context, ts []targets.Target, to release.ID) (map[string]Seen, *capacity) {
	ask := slices.Clone(ts)
	c := &capacity{well: map[string]bool{}, silent: map[string]bool{}, stays: map[string]bool{}}
	for _, pool := range d.p.Pools {
		if !slices.ContainsFunc(ts, func(t targets.Target) bool { return slices.Contains(pool.Targets, t.Name()) }) {
			continue
		}
		c.pools = append(c.pools, pool)
		for _, name := range pool.Targets {
			if t, ok := d.target(name); ok && !slices.ContainsFunc(ask, func(a targets.Target) bool { return a.Name() == name }) {
				ask = append(ask, t)
			}
		}
	}
	list := d.survey(ctx, ask)
	well := d.well(ctx, list)
	seen := map[string]Seen{}
	for i, s := range list {
		seen[s.Name()], c.well[s.Name()], c.silent[s.Name()] = s, well[i], s.Err != nil
		c.stays[s.Name()] = d.stays(s, to)
	}
	c.count()
	return seen, c
}

// count works out what each pool can spare.
func (c *capacity) count() {
	for _, pool := range c.pools {
		left := -pool.Min
		for _, name := range pool.Targets {
			if c.well[name] {
				left++
			}
		}
		c.left = append(c.left, left)
	}
}

// stays reports whether a target goes on serving while it is switched to a release: its runtime hands over, or reloads, and it
// is as it should be. One that is not may have to be repaired, which takes it out.
func (d *run) stays(s Seen, to release.ID) bool {
	road := s.State.Proof.Road
	return (road.Beside(to) || road.Strategy == release.ByReload) && s.Err == nil && s.State.Serving && d.serves(s, s.State.Disk)
}

// unasked reports whether a target may well serve, and only a balancer did not say so. Who took it for one that serves
// nobody could send a whole pool out in the moment in which a balancer reloads.
func unasked(s targets.State) bool {
	return s.Pooled == targets.PoolUnknown && len(s.Problems) > 0 && !s.Intent.Out && !s.Running.IsZero()
}

// returnTo is where a way back leads.
func (d *run) returnTo() release.ID {
	if d.p.Back {
		return d.p.Release.ID
	}
	return d.from
}

// well says which of list are in the pool and serve well. Only a way back asks Plan.Well, and only of hosts that are not
// back yet: a good release that fails a new probe is still what the fleet shall serve. Before each batch of a deploy that
// goes forward every host of the pool would be asked for nothing.
func (d *run) well(ctx context.Context, list []Seen) []bool {
	well := make([]bool, len(list))
	var ask []targets.Target
	index := map[string]int{}
	for i, s := range list {
		well[i] = s.Err == nil && (s.State.Serving || unasked(s.State))
		if well[i] && d.p.Well != nil && (d.p.Back || d.returning) && s.State.Running != d.returnTo() {
			ask = append(ask, s.Target)
			index[s.Name()] = i
		}
	}
	f := targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures, Timeout: d.p.Limits.State}
	rs, _ := targets.Each(ctx, ask, f, d.p.Well)
	for _, r := range rs { // an error here only means: not well
		well[index[r.Target]] = r.Err == nil
	}
	return well
}

// take reports whether the target may go out now, and counts it.
func (c *capacity) take(name string) bool {
	if !c.well[name] && !c.silent[name] {
		return true
	}
	var mine []int
	for i, pool := range c.pools {
		if !slices.Contains(pool.Targets, name) {
			continue
		}
		if c.left[i] <= 0 {
			return false
		}
		mine = append(mine, i)
	}
	for _, i := range mine {
		c.left[i]--
	}
	return true
}

// pick returns the targets of todo that may go out together: for each phase at most its width, and from each pool what
// it can spare. With free, a target that does not serve well counts for neither: it costs nothing. One that goes on serving
// while it switches costs no capacity, and on a way back the width is nothing to it either.
func (d *run) pick(todo []targets.Target, c *capacity, free bool) (wave []targets.Target) {
	used := map[string]int{}
	for _, t := range todo {
		ph := d.phaseOf(t.Name())
		switch {
		case d.p.Emergency != "", free && !c.well[t.Name()], (d.p.Back || d.returning) && c.stays[t.Name()]:
			wave = append(wave, t)
		case used[ph.Name] < max(ph.Fanout.Width, 1) && (c.stays[t.Name()] || c.take(t.Name())):
			used[ph.Name]++
			wave = append(wave, t)
		}
	}
	return wave
}

func (d *run) phaseOf(name string) Phase {
	for _, ph := range d.p.Phases {
		if slices.ContainsFunc(ph.Targets, func(t targets.Target) bool { return t.Name() == name }) {
			return ph
		}
	}
	return Phase{}
}

// tight says which pools could never spare a batch of a phase: found before anything is changed.
func (d *run) tight(ctx context.Context, list []Seen) (errs []error) {
	well := d.well(ctx, list)
	stays := map[string]bool{}
	for _, s := range list {
		stays[s.Name()] = d.stays(s, d.p.Release.ID)
	}
	for _, pool := range d.p.Pools {
		serving := 0
		for i, s := range list {
			if well[i] && slices.Contains(pool.Targets, s.Name()) {
				serving++
			}
		}
		for _, ph := range d.p.Phases {
			n := 0
			for _, t := range ph.Targets {
				if slices.Contains(pool.Targets, t.Name()) && !stays[t.Name()] {
					n++
				}
			}
			if out := min(n, max(ph.Fanout.Width, 1)); out > 0 && serving < out+pool.Min {
				errs = append(errs, fmt.Errorf("pool %s: %d of %d serve well; phase %s takes out %d at once and %d must remain",
					pool.Name, serving, len(pool.Targets), ph.Name, out, pool.Min))
			}
		}
	}
	return errs
}

// patience waits for capacity, then asks, then gives up.
type patience struct {
	d      *run
	phase  string
	what   string
	until  time.Time
	told   bool // that it waits
	within bool // the deployer said to go on below the minimum, one at a time
}

func (d *run) patience(phase, what string) *patience {
	return &patience{d: d, phase: phase, what: what, until: d.clock.Now().Add(d.p.Limits.Capacity)}
}

// more returns nil when it is worth looking again.
func (p *patience) more(ctx context.Context, back bool) error {
	if !p.told {
		p.told = true
		p.d.say(journal.Record{Kind: journal.Note, Phase: p.phase, Text: fmt.Sprintf("%s: %v; waiting up to %v until more do", p.what, ErrCapacity, p.d.p.Limits.Capacity)})
	}
	if p.d.clock.Now().Before(p.until) {
		return p.d.clock.Wait(ctx, pause)
	}
	q := Question{
		Topic: AskCapacity, Phase: p.phase, Choices: []Choice{Wait, Pass, RollBack},
		Text: p.what + ": too few targets serve to take one more out. Wait, or go on below the minimum one at a time?",
	}
	if back {
		q.Choices = []Choice{Wait, Pass}
	}
	a, err := p.d.ask(ctx, q)
	if err != nil {
		return fmt.Errorf("%s: %w: waited %v; %w", p.what, ErrCapacity, p.d.p.Limits.Capacity, err)
	}
	p.d.say(journal.Record{Kind: journal.Done, Act: journal.Confirm, Phase: p.phase, Verdict: string(a.Choice), Text: word(a)})
	switch a.Choice {
	case Wait:
		p.until = p.d.clock.Now().Add(p.d.p.Limits.Capacity)
		return nil
	case Pass:
		p.within = true
		return nil
	}
	return fmt.Errorf("%s: %w", p.what, ErrCapacity)
}

func word(a Answer) string {
	if a.Word == "" {
		return a.Who
	}
	return a.Who + ": " + a.Word
}

// beside reports whether a target was chosen as one that serves while it starts the release beside the old one. On a way back
// as many of those go at once as there are, so a target must not take itself out instead (Switch.Serving): it refuses, and is
// counted as one that is drained when it is tried again.
func (d *run) beside(s Seen, to release.ID) bool {
	return d.p.Emergency == "" && s.Target != nil && d.stays(s, to) && s.State.Proof.Road.Beside(to)
}
