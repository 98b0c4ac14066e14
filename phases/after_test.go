package phases

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scap/phases/journal"
)

// merging is a plan of w in which something comes between the test servers and the rest; done says whether it was.
func merging(w *world) (p Plan, done *bool) {
	p, done = w.plan(2), new(bool)
	p.Phases[0].After = &After{Act: journal.Merge, Do: func(context.Context, func(string)) (string, error) {
		*done = true
		return "", nil
	}}
	return p, done
}

// Nobody approves what may never reach a host: what comes between the phases waits until the release is on all of them.
func TestNothingComesBetweenBeforeAllIsStaged(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p, done := merging(w)
		full := errors.New("no space left")
		w.host("prod6").fail["stage"] = func(int) error {
			w.mu.Unlock()
			defer w.mu.Lock()
			time.Sleep(time.Hour / 4)
			return full
		}
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.RolledBack)
		if *done || !errors.Is(e, full) {
			t.Errorf("done: %v, %v", *done, e)
		}
		w.on(t, relA)
	})
	in(t, func(t *testing.T, w *world) { // it takes its time, and is well
		p, done := merging(w)
		w.host("prod6").fail["stage"] = func(int) error {
			w.mu.Unlock()
			defer w.mu.Lock()
			time.Sleep(time.Hour / 4)
			return nil
		}
		if err := (&Runner{Journal: w}).Run(t.Context(), p); err != nil || !*done {
			t.Errorf("done: %v, %v", *done, err)
		}
	})
}

// A fleet that serves the release already passes no phase, so what is to come between two is not done: that is no success.
func TestNothingToDoIsNoSuccessWithoutWhatComesBetween(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p, done := merging(w)
		p.Release.ID = relA
		e := ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Unchanged)
		if *done || !strings.Contains(e.Error(), journal.Merge) {
			t.Errorf("done: %v, %v", *done, e)
		}
	})
	in(t, func(t *testing.T, w *world) { // one host is to be repaired
		p, done := merging(w)
		p.Release.ID, p.Repair = relA, true
		w.host("prod6").running = relC
		err := (&Runner{Journal: w}).Run(t.Context(), p)
		if *done || err == nil || !strings.Contains(err.Error(), journal.Merge) {
			t.Errorf("done: %v, %v", *done, err)
		}
	})
}

// What was stopped is not done, whatever it says.
func TestAPhaseIsOverOnlyWithWhatComesAfterIt(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p, _ := merging(w)
		p.Phases[0].After.Do = func(ctx context.Context, _ func(string)) (string, error) {
			<-ctx.Done()
			return "", nil // it says that it is done, and was stopped
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		err := (&Runner{Journal: w}).Run(ctx, p)
		ended(t, err, journal.Cancelled)
		w.on(t, relA)
	})
}

// The deployer's no at the test servers comes before it.
func TestWhatComesBetweenWaitsForTheDeployersWord(t *testing.T) {
	for choice, how := range map[Choice]string{Yes: journal.Deployed, No: journal.Declined} {
		in(t, func(t *testing.T, w *world) {
			p, done := merging(w)
			p.Attended, p.Phases[0].Confirm = true, true
			r := &Runner{Journal: w, Ask: func(context.Context, Question) (Answer, error) {
				if *done {
					t.Error("it was done before the question")
				}
				return Answer{Choice: choice, Who: "jd"}, nil
			}}
			_ = r.Run(t.Context(), p) // the journal says how it ended
			if got := w.last().Verdict; got != how || *done != (choice == Yes) {
				t.Errorf("%s: %s, done: %v", choice, got, *done)
			}
		})
	}
}
