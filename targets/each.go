package targets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"
)

// Values of a Fanout that a number cannot say.
const (
	FullWidth   = math.MaxInt // Width: all at once
	AnyFailures = math.MaxInt // MaxFailures: go on whatever fails
)

// Fanout says how many targets are worked on at once and how much may fail. The zero Fanout is the careful one: one
// target at a time, nothing started after the first failure, no time limit.
type Fanout struct {
	Width       int           // targets at the same time; below 1 counts as 1
	MaxFailures int           // failures after which work still starts on further targets
	Timeout     time.Duration // for each target by itself; 0 is none
}

var errEnded = errors.New("the goroutine that worked on it was ended")

// Result is how the work on one target ended. An Err that wraps ErrSkipped means that nothing was tried.
type Result struct {
	Target string
	Err    error
	Took   time.Duration
}

// Skipped reports whether nothing was tried on the target.
func (r Result) Skipped() bool { return errors.Is(r.Err, ErrSkipped) }

// Each calls do for every target within f and returns when every call has returned, with exactly one Result for each
// target, in the order asked for. Nothing is started once ctx has ended or more than f.MaxFailures calls have failed:
// those targets have ErrSkipped in their Result. A panic in do is that target's error.
//
// The error lists every target that failed or was not tried, and wraps their errors; it wraps context.Cause(ctx) when
// ctx kept a target from being tried. It is nil only when do returned nil for every target. Each waits for calls that
// do not heed their context: do must.
func Each(ctx context.Context, ts []Target, f Fanout, do func(context.Context, Target) error) ([]Result, error) {
	e := &each{ctx: ctx, targets: ts, fanout: f, do: do, results: make([]Result, len(ts))}
	e.fanout.MaxFailures = max(f.MaxFailures, 0)
	for i, t := range ts { // no zero Result, which would read as success, is ever left behind
		e.results[i] = Result{Target: t.Name(), Err: ErrSkipped}
	}
	var wg sync.WaitGroup
	for range min(max(f.Width, 1), len(ts)) {
		wg.Go(e.work)
	}
	wg.Wait()
	return e.results, report(e.results)
}

// each is one call of Each under way.
type each struct {
	ctx     context.Context
	targets []Target
	fanout  Fanout
	do      func(context.Context, Target) error

	mu       sync.Mutex // guards next and failures; a Result is written by the worker that took its index
	next     int
	failures int
	results  []Result
}

// work takes targets until there are none left.
func (e *each) work() {
	for {
		i, skip, ok := e.take()
		if !ok {
			return
		}
		t := e.targets[i]
		if skip != nil {
			e.results[i] = Result{Target: t.Name(), Err: skip}
			continue
		}
		start := time.Now()
		e.results[i].Err = errEnded // for a do that ends its goroutine
		err := e.call(t)
		e.results[i] = Result{Target: t.Name(), Err: err, Took: time.Since(start)}
		if err != nil {
			e.mu.Lock()
			e.failures++
			e.mu.Unlock()
		}
	}
}

// take hands out the next target and, when nothing may be tried on it any more, why.
func (e *each) take() (i int, skip error, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == len(e.targets) {
		return 0, nil, false
	}
	i = e.next
	e.next++
	switch {
	case e.ctx.Err() != nil:
		skip = fmt.Errorf("%w: %w", ErrSkipped, context.Cause(e.ctx))
	case e.failures > e.fanout.MaxFailures:
		skip = fmt.Errorf("%w: %d failed before it and %d may", ErrSkipped, e.failures, e.fanout.MaxFailures)
	}
	return i, skip, true
}

// call runs do on t within the time limit. An error of do is kept as it is; when the limit has passed it says so besides.
func (e *each) call(t Target) (err error) {
	ctx := e.ctx
	if e.fanout.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, e.fanout.Timeout, tooLong(e.fanout.Timeout))
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	err = e.do(ctx, t)
	if cause := context.Cause(ctx); err != nil && ctx.Err() != nil && e.ctx.Err() == nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// tooLong is the cause of a context that ended with a target's time limit. It is a context.DeadlineExceeded.
type tooLong time.Duration

func (d tooLong) Error() string        { return fmt.Sprintf("took longer than %v", time.Duration(d)) }
func (d tooLong) Is(target error) bool { return target == context.DeadlineExceeded }

// report is the error of a fan-out, nil when all results are good.
func report(results []Result) error {
	merr := &multierror.Error{ErrorFormat: func(errs []error) string { return list(errs, len(results)) }}
	for _, r := range results {
		if r.Err != nil {
			merr = multierror.Append(merr, fmt.Errorf("%s: %w", r.Target, r.Err))
		}
	}
	return merr.ErrorOrNil()
}

// list writes one line for a single error, else the count and a line for each.
func list(errs []error, of int) string {
	if len(errs) == 1 {
		return errs[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d targets:", len(errs), of)
	for _, err := range errs {
		b.WriteString("\n  " + strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
	return b.String()
}
