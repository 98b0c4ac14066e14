package phases

import (
	"context"
	"errors"
	"slices"
	"time"

	"scap/targets"
)

// Seen is what a target answered when it was asked for its State.
type Seen struct {
	Target targets.Target
	State  targets.State
	Err    error // it did not answer
}

// Name returns the target's name.
func (s Seen) Name() string { return s.Target.Name() }

// Survey asks all targets (each named once) for their State at the same time, each for at most limit.
func Survey(ctx context.Context, ts []targets.Target, limit time.Duration) []Seen {
	return survey(ctx, ts, func(string) time.Duration { return limit })
}

func survey(ctx context.Context, ts []targets.Target, limit func(name string) time.Duration) []Seen {
	seen := make([]Seen, len(ts))
	index := make(map[string]int, len(ts))
	for i, t := range ts {
		seen[i].Target, index[t.Name()] = t, i
	}
	rs, _ := targets.Each(ctx, ts, targets.Fanout{Width: targets.FullWidth, MaxFailures: targets.AnyFailures},
		func(ctx context.Context, t targets.Target) (err error) {
			ctx, cancel := context.WithTimeout(ctx, limit(t.Name()))
			defer cancel()
			seen[index[t.Name()]].State, err = t.State(ctx)
			return err
		})
	for i, r := range rs { // all answers are in: an error is that target's own and is kept with it
		seen[i].Err = r.Err
	}
	return seen
}

// short is how long a target that was silent once is waited for from then on, so that one that hangs does not stall the
// others at every look.
const short = 3 * time.Second

// survey is Survey that remembers who was silent.
func (d *run) survey(ctx context.Context, ts []targets.Target) []Seen {
	seen := survey(ctx, ts, d.limit)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range seen {
		d.silent[s.Name()] = errors.Is(s.Err, context.DeadlineExceeded)
	}
	return seen
}

// insist is survey that asks those who do not answer twice more.
func (d *run) insist(ctx context.Context, ts []targets.Target) []Seen {
	seen := d.survey(ctx, ts)
	for range 2 {
		var silent []targets.Target
		for _, s := range seen {
			if s.Err != nil {
				silent = append(silent, s.Target)
			}
		}
		if len(silent) == 0 || d.clock.Wait(ctx, pause) != nil {
			break
		}
		for _, s := range d.survey(ctx, silent) {
			seen[slices.IndexFunc(seen, func(o Seen) bool { return o.Name() == s.Name() })] = s
		}
	}
	return seen
}

// limit is how long to wait for one answer of a target.
func (d *run) limit(name string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.silent[name] {
		return min(short, d.p.Limits.State)
	}
	return d.p.Limits.State
}
