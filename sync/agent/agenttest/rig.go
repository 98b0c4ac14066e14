// Package agenttest holds every agent.Runtime to the same promises: php-fpm as it is and the model of it in the embedded
// fleet. A case that a rig cannot stage is skipped with the reason, never passed.
package agenttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"scap/sync/agent"
	"scap/sync/release"
)

// View is the page that every release serves and that needs code and data of one release to agree.
const View = "/index.php"

// Page is what the host's own web server answered to one request.
type Page struct {
	Status int
	Marks  []string // the version that each of the marked places of the release named; "" for a place that did not
	Body   string
}

// Pure answers nil when the page is a good one, wholly of the release with that mark.
func (p Page) Pure(mark string) error {
	if p.Status != http.StatusOK {
		return fmt.Errorf("status %d, marks %v", p.Status, p.Marks)
	}
	if len(p.Marks) == 0 {
		return errors.New("the page carries no marks")
	}
	for _, m := range p.Marks {
		if m != mark {
			return fmt.Errorf("marks %v, want %s everywhere", p.Marks, mark)
		}
	}
	return nil
}

// Rig is one host on which A is current, running and has served View. Fields of faults are nil where the rig has no way
// to stage them. Its functions may be called from several goroutines. Whatever the rig starts ends with its test.
type Rig struct {
	Runtime agent.Runtime
	// A and B are a pair that is fatal in both mixes of code and data. Broken fails on every view. All are on disk.
	A, B, Broken release.ID
	// Marks are what the pages of a release call themselves.
	Marks map[release.ID]string
	// Reload says that the runtime goes on running while it switches (swap, then reload at once).
	Reload bool
	// Handover says that the runtime starts the new release beside the old one and publishes it by a rename: the old one runs
	// on while the link is swapped and is kept for a while afterwards, and where `current` leads is nothing to what serves.
	Handover bool
	// Tries is among how many requests in a row, as the web server's weights stand, there is surely one that a tried release
	// answered and one that it did not; the runtime is an agent.Trier then. 0: nothing can be tried on this rig. Whatever
	// keeps the deadline of a trial besides the runtime (a watch) is running.
	Tries int
	// Hands says that the runtime can be given back to its distribution and taken over again (release.Hand).
	Hands bool
	// Get asks the host's own web server for a path, as a user does.
	Get func(ctx context.Context, path string) (Page, error)
	// Link makes the host's `current` name to; it may be repeated. It touches nothing else.
	Link func(ctx context.Context, to release.ID) error
	// Running are the processes of the runtime that could execute code or read files now.
	Running func() []int
	// Log is the runtime's error log so far.
	Log func() (string, error)
	// Busy begins a request that computes for d and returns when it is being served; the channel gives its page, with
	// Status 0 when it was lost.
	Busy func(ctx context.Context, d time.Duration) (<-chan Page, error)

	// Expire makes the workers forget where paths led, as an idle time longer than the realpath cache's does.
	Expire func(t testing.TB)
	// KillMaster kills the master alone, with SIGKILL: its workers stay.
	KillMaster func(t testing.TB)
	// BreakConfig makes the runtime's configuration one that its own test refuses, until mend is called.
	BreakConfig func(t testing.TB) (mend func())
	// BreakStart makes the next start fail although the configuration's test passes, until mend is called.
	BreakStart func(t testing.TB) (mend func())
	// BreakSettings makes the runtime, once restarted, follow changes of files on disk (a broken php.ini), until mend.
	BreakSettings func(t testing.TB) (mend func())
	// Stop ends the runtime, master and workers.
	Stop func(t testing.TB)
	// Hang stops all workers from answering (they stay alive) until release is called.
	Hang func(t testing.TB) (release func())
	// NoRoad makes a handover impossible now (the memory does not suffice), so that the road is a drain, until mend is called.
	NoRoad func(t testing.TB) (mend func())
	// Now is the runtime's clock, nil: the machine's. Pass lets it go past until at once; nil: the suite waits.
	Now  func() time.Time
	Pass func(t testing.TB, until time.Time)
}

// patience bounds one case: far more than any takes, so that no case depends on the machine's speed.
const patience = 90 * time.Second

// switchTo asks the runtime for from -> to with the rig's own link, counting its calls.
func (r Rig) switchTo(ctx context.Context, from, to release.ID) (release.Proof, int, error) {
	calls := 0
	proof, err := r.Runtime.Switch(ctx, release.Switch{From: from, To: to, Token: 1, Owner: "suite"}, func(ctx context.Context) error {
		calls++
		return r.Link(ctx, to)
	})
	return proof, calls, err
}

// serves fails the test unless View is wholly of id.
func (r Rig) serves(ctx context.Context, t *testing.T, id release.ID) {
	t.Helper()
	page, err := r.Get(ctx, View)
	if err == nil {
		err = page.Pure(r.Marks[id])
	}
	if err != nil {
		t.Errorf("view: %v", err)
	}
}

// proves fails the test unless the runtime, asked afresh, proves id.
func (r Rig) proves(ctx context.Context, t *testing.T, id release.ID) release.Proof {
	t.Helper()
	proof, err := r.Runtime.State(ctx)
	if err != nil {
		t.Fatalf("state: %v", err)
	}
	if proof.Release != id {
		t.Errorf("the runtime proves %s, want %s; reason: %s", proof.Release.Short(), id.Short(), proof.Reason)
	}
	return proof
}

// refuses fails the test unless the runtime proves nothing and says why.
func (r Rig) refuses(ctx context.Context, t *testing.T) release.Proof {
	t.Helper()
	proof, err := r.Runtime.State(ctx)
	if err != nil {
		t.Fatalf("state: %v", err)
	}
	if !proof.Release.IsZero() || proof.Reason == "" {
		t.Errorf("the runtime proves %s with the reason %q, want nothing proven and a reason", proof.Release.Short(), proof.Reason)
	}
	return proof
}
