package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scap/phases"
	"scap/sync/release"
	"scap/targets"
)

// reader is a host that can do nothing but hash a release.
type reader struct {
	targets.Target
	targets.Steward
	name   string
	verify func(ctx context.Context, id release.ID) error
}

func (r reader) Name() string                                    { return r.name }
func (r reader) Verify(ctx context.Context, id release.ID) error { return r.verify(ctx, id) }

// Hosts that answered and have the release hash it. A deploy waits for them, and says so when it takes long; the end of the
// verb ends what is under way.
func TestHostsHashEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, other := release.ID{1}, release.ID{2}
		var mu sync.Mutex
		var asked []string
		host := func(name string, takes time.Duration) reader {
			return reader{name: name, verify: func(ctx context.Context, got release.ID) error {
				mu.Lock()
				asked = append(asked, name)
				mu.Unlock()
				if got != id {
					t.Errorf("%s was asked for %s", name, got)
				}
				select {
				case <-time.After(takes):
					return errors.New("damaged, as the deploy will find out")
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}}
		}
		has := func(ids ...release.ID) targets.State { return targets.State{Releases: ids} }
		seen := []phases.Seen{
			{Target: host("one", time.Second), State: has(other, id)},
			{Target: host("two", 10*time.Second), State: has(id)},
			{Target: host("lacks it", 0), State: has(other)},
			{Target: host("silent", 0), State: has(id), Err: errors.New("silent")},
		}
		var e early
		e.wait(func(string) { t.Error("told of nothing") })
		e.end()
		began := time.Now()
		e.begin(t.Context(), seen, id)
		told := 0
		e.wait(func(string) { told++ })
		if took := time.Since(began); took != 10*time.Second || told != 1 {
			t.Errorf("waited %v, told %d times", took, told)
		}
		if slices.Sort(asked); !slices.Equal(asked, []string{"one", "two"}) {
			t.Errorf("asked %q", asked)
		}
		e.begin(t.Context(), seen, id)
		if e.end(); len(asked) != 2 {
			t.Errorf("asked again: %q", asked)
		}
		e = early{}
		began = time.Now()
		e.begin(t.Context(), seen, id)
		synctest.Wait()
		e.end()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v", took)
		}
	})
}
