package store

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A second Verify believes the stamps that the first one saw, and nothing less than them.
func TestVerifyAgainReadsWhatWasTouched(t *testing.T) {
	_, _, there, one, _ := pair(t, false)
	path := there.Path(one.ID) + "/same/f"
	look := func(known map[string][]stamp, since int64) (map[string][]stamp, error) {
		v := &verifier{s: there, crew: newCrew(context.Background()), known: known, seen: map[string][]stamp{}, since: since}
		err := v.run(there.releaseTree(one.ID))
		return v.seen, err
	}
	first, err := look(nil, math.MaxInt64)
	must(t, err)
	again, err := look(first, 0)
	must(t, err)
	if again["same"][0] != (stamp{}) {
		t.Error("it believes a stamp whose ctime is too new to prove anything")
	}
	var was unix.Stat_t
	must(t, unix.Stat(path, &was))
	text, err := os.ReadFile(path)
	must(t, err)
	text[0] ^= 1
	edit(t, path, string(text))
	must(t, os.Chmod(path, os.FileMode(was.Mode&0o777)))
	must(t, os.Chtimes(path, time.Unix(was.Atim.Unix()), time.Unix(was.Mtim.Unix())))
	if _, err := look(first, math.MaxInt64); !errors.Is(err, ErrDamaged) {
		t.Errorf("another content with the same size and mtime: %v", err)
	}
	var is unix.Stat_t
	must(t, unix.Stat(path, &is))
	first["same"][0] = stampOf(&is)
	if seen, err := look(first, math.MaxInt64); err != nil || seen["same"][0] != stampOf(&is) {
		t.Errorf("it reads again what it knows: %v", err)
	}
	if err := there.Verify(context.Background(), one.ID); !errors.Is(err, ErrDamaged) || there.proven(one.ID) != nil {
		t.Errorf("a damaged release is remembered as read: %v", err)
	}
}

// What was written a moment ago may be written again without another ctime.
func TestVerifyRemembersNothingOfAMoment(t *testing.T) {
	_, _, there, one, _ := pair(t, false)
	must(t, there.Verify(context.Background(), one.ID))
	for path, list := range there.proven(one.ID) {
		for _, at := range list {
			if at != (stamp{}) && time.Since(time.Unix(0, at.ctime)) < racy {
				t.Errorf("it believes a file of %q", path)
			}
		}
	}
	if there.proven(one.ID) == nil {
		t.Error("nothing is remembered of a release that was read")
	}
}
