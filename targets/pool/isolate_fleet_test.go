package pool_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/fixtures/fleet"
	"scap/targets"
	"scap/targets/pool"
)

// With a real agent and a model of the balancer under load: a suspect leaves without a lost request, by its own journal and
// health check too; the next deploy process finds it, and a repair in a person's name brings it back.
func TestASuspectLeavesUnderLoadAndIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := fleet.New(fleet.Options{Dir: t.TempDir(), Hosts: 4})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		name := f.Hosts[3].Name
		process := func() *pool.Target { // a deploy process has its own connections
			ts, err := f.Targets(pool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(ts.Close)
			return ts.Of(name)
		}
		in := f.Balancer.In()
		load := &fleet.Load{Do: f.Balancer.Serve}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			load.Run(ctx)
		}()
		<-time.After(3 * time.Second)

		host := process()
		check := func(what string, err error) {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		check("claim", host.Claim(t.Context(), 7, "d1"))
		for range 2 { // it may be repeated
			check("isolate", host.Isolate(t.Context(), targets.Switch{Token: 7, Owner: "d1"}))
		}
		<-time.After(3 * time.Second)
		host = process()
		st, err := host.State(t.Context())
		check("state", err)
		id := st.Disk
		if owner, ok := targets.IsSuspect(st.Intent); !ok || owner != "d1" || st.Pooled != targets.PoolOut || st.Serving || st.Running != id || id.IsZero() || len(st.Problems) > 0 {
			t.Errorf("isolated: %+v", st)
		}
		if n := f.Balancer.In(); n != in-1 {
			t.Errorf("%d hosts in, were %d", n, in)
		}
		if err := host.Isolate(t.Context(), targets.Switch{Token: 6, Owner: "d0"}); err == nil || !strings.Contains(err.Error(), "token 6") {
			t.Errorf("an old token: %v", err)
		}

		check("claim to repair", host.Claim(t.Context(), 8, "repair jd"))
		check("repair", host.Repair(t.Context(), targets.Switch{From: id, To: id, Token: 8, Owner: "repair jd"}))
		st, err = host.State(t.Context())
		check("state", err)
		if !st.Serving || st.Intent.Out || f.Balancer.In() != in {
			t.Errorf("repaired: %+v, %d of %d in", st, f.Balancer.In(), in)
		}
		<-time.After(3 * time.Second)
		cancel()
		<-done
		if c := load.Since(time.Time{}); c.Failed() > 0 || c.Requests < 50 {
			t.Error(c)
		}
	})
}
