package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"scap/canary"
)

// late is a gate that is ready the nth time it is asked.
type late struct {
	canary.Gate
	n, asked int
	err      error
}

func (l *late) Ready(context.Context) error {
	if l.asked++; l.asked < l.n {
		return l.err
	}
	return nil
}

// The first question makes the hosts ship a heartbeat; it is not there yet when that question is answered.
func TestReadyWaitsForTheFirstHeartbeat(t *testing.T) {
	unknown := errors.New("nothing is known of mw1")
	for name, tt := range map[string]struct {
		shipped bool
		n       int
		err     error
		ok      bool
		took    time.Duration
	}{
		"at once":           {true, 1, unknown, true, 0},
		"the second time":   {true, 2, unknown, true, shipWait},
		"never":             {true, 9, unknown, false, 2 * shipWait},
		"nothing shipped":   {false, 2, unknown, false, 0},
		"red is not waited": {true, 2, fmt.Errorf("edits: %w", canary.ErrRed), false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := ready{&late{n: tt.n, err: tt.err}, tt.shipped}.Ready(t.Context())
			if (err == nil) != tt.ok || time.Since(began) != tt.took {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
		})
	}
}
