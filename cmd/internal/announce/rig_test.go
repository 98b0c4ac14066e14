package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"scap/canary"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	relA = release.ID{0xa}
	relB = release.ID{0xb}
)

// ear is an announcer that remembers.
type ear struct {
	mu     sync.Mutex
	events []Event
	tell   func(ctx context.Context, n int) error // what becomes of the nth; nil: all is well
	closed bool
}

func (a *ear) Tell(ctx context.Context, e Event) error {
	a.mu.Lock()
	a.events = append(a.events, e)
	n := len(a.events)
	a.mu.Unlock()
	if a.tell == nil {
		return nil
	}
	return a.tell(ctx, n)
}

func (a *ear) Close() error {
	a.closed = true
	return nil
}

func (a *ear) heard() []Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.events)
}

// lines are what a person reads; of the end of a watch nobody is told.
func (a *ear) lines() (list []string) {
	for _, e := range a.heard() {
		if e.What != watched {
			list = append(list, e.Text("", lineMost))
		}
	}
	return list
}

// crewOf is a crew of these announcers, which talk to people.
func crewOf(list ...Announcer) *Crew {
	c := &Crew{deps: Deps{Site: "deploy1", User: "jd", Test: []string{"test"}}, stories: map[string]*story{}}
	for i, a := range list {
		p := newPost(fmt.Sprintf("ear%d", i+1), a, 10*time.Second)
		p.says = true
		c.posts = append(c.posts, p)
	}
	c.start()
	return c
}

// host is a target that does what it is told, if nothing else was ordered.
type host struct {
	name string
	bad  map[string]error // by what it is told

	mu   sync.Mutex
	disk release.ID
	in   release.Intent
	out  bool
	took time.Duration
}

func (h *host) Name() string { return h.name }

func (h *host) Stage(context.Context, release.Release) error {
	time.Sleep(time.Second)
	return h.bad["stage"]
}

func (h *host) Activate(_ context.Context, s targets.Switch) error {
	time.Sleep(h.took)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.bad["activate"]; err != nil {
		h.out = errors.Is(err, targets.ErrOut)
		return err
	}
	h.disk, h.in.Switch, h.out = s.To, s, false
	return nil
}

func (h *host) State(context.Context) (targets.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := targets.State{
		Disk: h.disk, Running: h.disk, Desired: h.disk, Releases: []release.ID{relA, relB}, Pooled: targets.PoolIn, Serving: !h.out,
		Free: 1 << 40, Served: "/srv/mediawiki", Intent: h.in, Proof: release.Proof{Release: h.disk, Nonce: h.name},
	}
	if h.out {
		s.Running, s.Pooled = release.ID{}, targets.PoolOut
	}
	return s, h.bad["state"]
}

// ruler is a gate that says what it was told to, and nothing else.
type ruler struct {
	verdict canary.Verdict
	cause   canary.Cause
	reason  string
	numbers string
}

func (g ruler) Ready(context.Context) error { return nil }

func (g ruler) Judge(context.Context, canary.Window, canary.Evidence) (canary.Ruling, error) {
	r := canary.Ruling{Verdict: g.verdict, Cause: g.cause, Reason: g.reason}
	if g.numbers != "" {
		r.Numbers = json.RawMessage(g.numbers)
	}
	return r, nil
}

// secretText stands in everything that must not leave the deploy host.
const secretText = "hunter2"

var passes = ruler{verdict: canary.Pass, reason: "all is well; top error: " + secretText}

// fails is what a gate says of a release that breaks something; the log's line is in the reason.
var fails = ruler{
	verdict: canary.Fail, reason: "canary 34 of 1,000 failing; top new error: Exception " + secretText,
	numbers: `[{"name":"errors","verdict":"fail","numbers":{"canary":{"n":1000,"x":34},"control":{"n":3000,"x":2}}},{"name":"probes","verdict":"pass"}]`,
}

// scene is a deploy on a small fleet: two test servers, two canaries, four others.
type scene struct {
	hosts   []*host
	plan    phases.Plan
	records []journal.Record
	full    bool // the journal's disk is full
	ask     func(phases.Question) (phases.Answer, error)
	mu      sync.Mutex
}

func newScene() *scene {
	s := &scene{}
	group := func(prefix string, n int, disk release.ID) (ts []targets.Target) {
		for i := range n {
			h := &host{name: fmt.Sprintf("%s%d", prefix, i+1), bad: map[string]error{}, disk: disk, took: 2 * time.Second, in: release.Intent{Token: 1}}
			s.hosts = append(s.hosts, h)
			ts = append(ts, h)
		}
		return ts
	}
	s.plan = phases.Plan{
		Deploy: "d1", Release: release.Release{ID: relB}, Message: "Backport for [[gerrit:1001|Fix the skin (T7)]]", User: "jd", Host: "deploy1", Verb: "backport",
		Changes: []journal.Change{{Number: 1001, Subject: "Fix the skin (T7)", Project: "mediawiki/core"}},
		Phases: []phases.Phase{
			{Name: "test", Targets: group("mwdebug100", 2, relA), GateOff: "no users", Confirm: true, Fanout: targets.Fanout{Width: 2}},
			{Name: "canaries", Targets: group("canary", 2, relA), Gate: passes, Bake: 30 * time.Second, Fanout: targets.Fanout{Width: 2}},
			{Name: "all", Targets: group("mw", 4, relA), Gate: passes, Fanout: targets.Fanout{Width: 4}},
		},
		Attended: true,
	}
	s.ask = func(phases.Question) (phases.Answer, error) {
		time.Sleep(10 * time.Second)
		return phases.Answer{Choice: phases.Yes, Who: "jd"}, nil
	}
	return s
}

// Append makes the scene the journal of its deploy.
func (s *scene) Append(r journal.Record) (journal.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full && r.Kind == journal.End {
		return r, errors.New("no space left on device")
	}
	r.Seq, r.Deploy = uint64(len(s.records)+1), s.plan.Deploy
	s.records = append(s.records, r)
	return r, nil
}

func (s *scene) host(name string) *host {
	return s.hosts[slices.IndexFunc(s.hosts, func(h *host) bool { return h.name == name })]
}

func (s *scene) runner(c *Crew) *phases.Runner {
	return &phases.Runner{Journal: s, Observers: []func(journal.Record){c.Observe}, Ask: func(_ context.Context, q phases.Question) (phases.Answer, error) { return s.ask(q) }}
}

// told runs a scene in virtual time and returns what an announcer was told.
func told(t *testing.T, s *scene, run func(ctx context.Context, c *Crew)) *ear {
	t.Helper()
	a := &ear{}
	synctest.Test(t, func(t *testing.T) {
		c := crewOf(a)
		run(t.Context(), c)
		if errs := c.Close(t.Context()); len(errs) > 0 {
			t.Errorf("the crew says %v", errs)
		}
	})
	if !a.closed {
		t.Error("the announcer was not closed")
	}
	return a
}

// deploy is told of an ordinary run.
func deploy(t *testing.T, s *scene) *ear {
	t.Helper()
	return told(t, s, func(ctx context.Context, c *Crew) { _ = s.runner(c).Run(ctx, s.plan) })
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// need skips the test when a Debian package is not installed; where CI is in the environment it fails it.
func need(t *testing.T, program string, found bool) {
	t.Helper()
	switch {
	case found:
	case os.Getenv("CI") != "":
		t.Fatalf("not installed: %s", program)
	default:
		t.Skipf("not installed: %s", program)
	}
}
