package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"scap/targets"
)

// view is what one balancer says of the host.
type view struct {
	balancer string
	pooled   targets.Pooling
	healthy  bool
	detail   string
	err      error
}

// ask asks every balancer at once; one that hangs costs CallLimit, never more.
func (t *Target) ask(ctx context.Context) []view {
	views := make([]view, len(t.balancers))
	var wg sync.WaitGroup
	for i, b := range t.balancers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, t.o.CallLimit)
			defer cancel()
			v := view{balancer: b.Name()}
			v.pooled, v.detail, v.err = b.State(ctx, t.Name())
			if v.err == nil {
				v.healthy, v.err = b.Healthy(ctx, t.Name())
			}
			if v.err == nil && v.pooled == targets.PoolUnknown {
				v.err = errors.New("no answer whether the host is in")
			}
			views[i] = v
		})
	}
	wg.Wait()
	return views
}

// pooling folds views into one word. A balancer that does not answer makes the whole unknown: unknown never counts as
// capacity, nor as out.
func pooling(views []view) targets.Pooling {
	if len(views) == 0 {
		return targets.PoolNone
	}
	p := views[0].pooled
	for _, v := range views {
		if v.err != nil {
			return targets.PoolUnknown
		}
		if v.pooled != p {
			p = targets.PoolMixed
		}
	}
	return p
}

// describe says for people what each balancer answered.
func describe(views []view) string {
	parts := make([]string, 0, len(views))
	for _, v := range views {
		switch {
		case v.err != nil:
			parts = append(parts, fmt.Sprintf("%s: %v", v.balancer, v.err))
		case v.detail != "":
			parts = append(parts, fmt.Sprintf("%s: %s (%s)", v.balancer, v.pooled, v.detail))
		default:
			parts = append(parts, fmt.Sprintf("%s: %s", v.balancer, v.pooled))
		}
	}
	return strings.Join(parts, "; ")
}

// State asks the host and all of its balancers. Serving means: in at every balancer, green at every balancer's health
// check, and not out by its own journal. A balancer that does not answer is a Problem.
func (t *Target) State(ctx context.Context) (targets.State, error) {
	var (
		wg    sync.WaitGroup
		views []view
	)
	wg.Go(func() { views = t.ask(ctx) })
	st, err := t.host.State(ctx)
	wg.Wait()
	st.Pooled = pooling(views)
	st.Serving = err == nil && !st.Intent.Out
	switch st.Pooled {
	case targets.PoolNone:
		st.Serving = st.Serving && !st.Running.IsZero()
	case targets.PoolIn:
		for _, v := range views {
			st.Serving = st.Serving && v.healthy
		}
	default:
		st.Serving = false
	}
	for _, v := range views {
		if v.err != nil {
			st.Problems = append(st.Problems, fmt.Sprintf("balancer %s does not answer for %s: %v", v.balancer, t.Name(), v.err))
		}
	}
	if st.Pooled == targets.PoolMixed && !st.Intent.Out {
		st.Problems = append(st.Problems, fmt.Sprintf(
			"balancers disagree on %s and no deploy took it out (%s): drain it at all of them or at none", t.Name(), describe(views)))
	}
	if err != nil {
		return st, err // it names the host
	}
	return st, nil
}
