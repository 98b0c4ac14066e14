package lease

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waiter is one who waits for a lease.
type waiter struct {
	told chan Position
	got  chan *Lease
	err  chan error
}

// wait lets who wait. It returns once he does.
func wait(ctx context.Context, t *testing.T, path, who string, o WaitOptions) *waiter {
	t.Helper()
	w := &waiter{told: make(chan Position, 100), got: make(chan *Lease, 1), err: make(chan error, 1)}
	o.Tell = func(p Position) { w.told <- p }
	if o.Limit == 0 {
		o.Limit = time.Hour
	}
	go func() {
		l, err := Acquire(ctx, path, Holder{Who: who, Why: "why " + who}, o)
		if err != nil {
			w.err <- err
			return
		}
		w.got <- l
	}()
	return w
}

func (w *waiter) place(t *testing.T, want int, ahead ...string) {
	t.Helper()
	p := <-w.told
	var names []string
	for _, h := range p.Ahead {
		names = append(names, h.Who)
	}
	if p.Place != want || !slices.Equal(names, ahead) {
		t.Errorf("place %d behind %q, want %d behind %q", p.Place, names, want, ahead)
	}
}

// becomes waits until it is told of a place.
func (w *waiter) becomes(want int) {
	for p := range w.told {
		if p.Place == want {
			return
		}
	}
}

func names(t *testing.T, path string) (list []string) {
	t.Helper()
	all, err := Waiting(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		list = append(list, h.Who)
	}
	return list
}

// nobody holds that a queue has no ticket left, not even one that was begun.
func nobody(t *testing.T, path string) {
	t.Helper()
	if left, err := os.ReadDir(queueDir(path)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFirstComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		l, err := try(t.Context(), path, Holder{Who: "holder"})
		if err != nil {
			t.Fatal(err)
		}
		a := wait(t.Context(), t, path, "a", WaitOptions{})
		a.place(t, 1, "holder")
		b := wait(t.Context(), t, path, "b", WaitOptions{})
		b.place(t, 2, "holder", "a")
		leaves, leave := context.WithCancelCause(t.Context())
		c := wait(leaves, t, path, "c", WaitOptions{})
		c.place(t, 3, "holder", "a", "b")
		d := wait(t.Context(), t, path, "d", WaitOptions{})
		d.place(t, 4, "holder", "a", "b", "c")
		if got := names(t, path); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
			t.Errorf("%q wait", got)
		}

		cause := errors.New("lunch")
		leave(cause)
		if err := <-c.err; !errors.Is(err, cause) {
			t.Errorf("who left: %v", err)
		}
		d.place(t, 3, "holder", "a", "b") // told without being asked
		l.Release()
		first := <-a.got
		if h, err := Read(path); err != nil || h.Who != "a" || h.Why != "why a" {
			t.Errorf("%+v, %v", h, err)
		}
		b.becomes(1) // it may have seen the instant before
		first.Release()
		(<-b.got).Release()
		(<-d.got).Release()
		nobody(t, path)
	})
}

func TestNobodyIsTakenTheTurn(t *testing.T) {
	path := lockPath(t)
	mine, err := draw(path, Holder{Who: "first", Why: "a fix"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, acquire := range map[string]func() (*Lease, error){
		"try": func() (*Lease, error) { return try(t.Context(), path, Holder{Who: "x"}) },
		"wait": func() (*Lease, error) {
			return Acquire(t.Context(), path, Holder{Who: "x"}, WaitOptions{Limit: time.Nanosecond})
		},
	} {
		_, err = acquire() // the lease is free
		var held *HeldError
		if !errors.As(err, &held) || !held.Next || held.Waiting != 1 || held.Holder.Who != "first" || !strings.Contains(err.Error(), ": first goes first, waiting since ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	urgently, err := Acquire(t.Context(), path, Holder{Who: "rollback"}, WaitOptions{Urgent: true})
	if err != nil {
		t.Fatalf("who is urgent waits for one who is not: %v", err)
	}
	_, err = try(t.Context(), path, Holder{Who: "x"})
	var held *HeldError
	if !errors.As(err, &held) || held.Next || held.Waiting != 1 || held.Holder.Who != "rollback" || !strings.HasSuffix(err.Error(), "(1 waiting)") {
		t.Errorf("%v", err)
	}
	urgently.Release()
	l, _, err := mine.turn(t.Context(), path, Holder{Who: "first"})
	if err != nil {
		t.Fatalf("it is its turn: %v", err)
	}
	mine.drop()
	l.Release()
	nobody(t, path)
}

func TestTheUrgentGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		l, err := try(t.Context(), path, Holder{Who: "holder"})
		if err != nil {
			t.Fatal(err)
		}
		a := wait(t.Context(), t, path, "a", WaitOptions{})
		a.place(t, 1, "holder")
		r := wait(t.Context(), t, path, "r", WaitOptions{Urgent: true})
		r.place(t, 1, "holder")
		s := wait(t.Context(), t, path, "s", WaitOptions{Urgent: true})
		s.place(t, 2, "holder", "r")
		a.becomes(3) // told of both, at once or one after another
		l.Release()
		for _, w := range []*waiter{r, s, a} {
			(<-w.got).Release()
		}
		nobody(t, path)
	})
}

func TestTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		l, err := try(t.Context(), path, Holder{Who: "holder", Why: "T1"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		began := time.Now()
		w := wait(t.Context(), t, path, "w", WaitOptions{Limit: 10 * time.Minute})
		err = <-w.err
		if took := time.Since(began); !errors.Is(err, ErrHeld) || took != 10*time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		if text := err.Error(); !strings.HasPrefix(text, "another deploy holds the lease after 10m0s of waiting: holder since ") || !strings.HasSuffix(text, ": T1") {
			t.Errorf("says %q", text)
		}
		if len(w.told) != 1 {
			t.Errorf("told %d times of one place", len(w.told))
		}
		nobody(t, path)
	})
}

func TestOneThatDiesLeavesNoPlace(t *testing.T) {
	path := lockPath(t)
	l, err := try(t.Context(), path, Holder{Who: "holder"})
	if err != nil {
		t.Fatal(err)
	}
	mortal := another(t, "LEASE_TEST_WAIT="+path, "waits")
	w := wait(t.Context(), t, path, "w", WaitOptions{})
	w.place(t, 2, "holder", "mortal")
	mortal.Process.Kill()
	mortal.Wait()
	if got := names(t, path); !slices.Equal(got, []string{"w"}) {
		t.Errorf("%q wait", got)
	}
	if left, err := os.ReadDir(queueDir(path)); err != nil || len(left) < 1 {
		t.Errorf("%v, %v", left, err)
	}
	w.place(t, 1, "holder")
	l.Release()
	(<-w.got).Release()
	nobody(t, path)
}

// TestTheQueueIsTidiedUp: whatever happens to the directory, who waits gets the lease in the end.
func TestTheQueueIsTidiedUp(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		},
		"with a directory for a ticket": func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "notes"), 0o755); err != nil {
				t.Error(err)
			}
		},
		"with a dead one's ticket": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "0-000000000000-0123456789abcdef"), []byte("{"), 0o644); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "lock")
				l, err := try(t.Context(), path, Holder{Who: "holder"})
				if err != nil {
					t.Fatal(err)
				}
				w := wait(t.Context(), t, path, "w", WaitOptions{})
				w.place(t, 1, "holder")
				spoil(t, queueDir(path))
				<-time.After(2 * poll)
				if got := names(t, path); !slices.Equal(got, []string{"w"}) {
					t.Errorf("%q wait", got)
				}
				l.Release()
				(<-w.got).Release()
			})
		})
	}
}

func TestWhatWasBegunIsSwept(t *testing.T) {
	path := lockPath(t)
	dir := queueDir(path)
	if list, err := Waiting(path); err != nil || len(list) > 0 {
		t.Errorf("no queue: %v, %v", list, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("to look has made one")
	}
	w, err := draw(path, Holder{Who: "w"}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.drop()
	old, young := filepath.Join(dir, unfinished+"old"), filepath.Join(dir, unfinished+"young")
	if err := errors.Join(os.WriteFile(old, nil, 0o644), os.WriteFile(young, nil, 0o644), os.Chtimes(old, time.Time{}, time.Now().Add(-2*stale))); err != nil {
		t.Fatal(err)
	}
	if ahead, err := w.before(); err != nil || len(ahead) > 0 {
		t.Errorf("%v, %v", ahead, err)
	}
	_, oldErr := os.Stat(old)
	_, youngErr := os.Stat(young)
	if oldErr == nil || youngErr != nil {
		t.Errorf("old: %v, young: %v", oldErr, youngErr)
	}
}

// TestAPlaceThatCannotBeRead counts all the same.
func TestAPlaceThatCannotBeRead(t *testing.T) {
	path := lockPath(t)
	w, err := draw(path, Holder{Who: "w", Why: strings.Repeat("ä", maxHolder)}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.drop()
	if all, err := Waiting(path); err != nil || len(all) != 1 || all[0].Who != "w" || len(all[0].Why) > maxWhy+4 {
		t.Errorf("a long reason: %v, %v", len(all), err)
	}
	if err := os.WriteFile(w.path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = try(t.Context(), path, Holder{})
	var held *HeldError
	if !errors.As(err, &held) || held.Known || !held.Next || !strings.Contains(err.Error(), "could not be read") {
		t.Errorf("%v", err)
	}
}

// TestManyWait: each gets it, none beside another.
func TestManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		var inside sync.Mutex
		var over sync.WaitGroup
		got := 0
		for i := range 8 {
			over.Go(func() {
				l, err := Acquire(t.Context(), path, Holder{Who: fmt.Sprint(i)}, WaitOptions{Limit: time.Hour})
				if err != nil {
					t.Error(err)
					return
				}
				if !inside.TryLock() {
					t.Error("two at once")
					return
				}
				got++
				<-time.After(time.Second)
				inside.Unlock()
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			})
		}
		over.Wait()
		if got != 8 {
			t.Errorf("%d got it", got)
		}
		nobody(t, path)
	})
}

// TestWhoHasJustGotItIsNamedOnce: between taking the lease and giving up its place somebody has both.
func TestWhoHasJustGotItIsNamedOnce(t *testing.T) {
	path := lockPath(t)
	first, err := draw(path, Holder{Who: "first"}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer first.drop()
	l, _, err := first.turn(t.Context(), path, Holder{Who: "first"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	second, err := draw(path, Holder{Who: "second"}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer second.drop()
	_, p, err := second.turn(t.Context(), path, Holder{Who: "second"})
	if !errors.Is(err, ErrHeld) || p.Place != 1 || len(p.Ahead) != 1 || p.Ahead[0].Who != "first" {
		t.Errorf("%+v, %v", p, err)
	}
}
