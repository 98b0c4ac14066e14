package canary

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// script is a source that plays what a test says, in virtual time: the same answer for the same question.
type script struct {
	step    time.Duration // the finest that it can see; 5 s
	n       int64         // requests of a host in 5 s; 1000
	rate    func(host string, at time.Time) float64
	serves  func(host string, at time.Time) int64 // nil: n
	good    func(host string, at time.Time) int64 // of the signal edits; nil: none
	prints  func(host string, from, to time.Time, x int64) []Print
	lag     map[string]time.Duration
	skew    map[string]time.Duration
	nonce   func(host string) bool // nil: read back
	problem map[string]HostReading // Problem and Cause of hosts
	cut     map[string]cut
	err     error
	printed error          // what a question for prints gets
	hostile func(*Reading) // does something to every answer
	asked   []Query
}

// cut is a time of which a host knows nothing, and never will, which it says when the time is over.
type cut struct{ from, to time.Duration }

func (s *script) Read(ctx context.Context, q Query) (Reading, error) {
	s.asked = append(s.asked, q)
	switch {
	case ctx.Err() != nil:
		return Reading{}, context.Cause(ctx)
	case s.err != nil:
		return Reading{}, s.err
	case s.printed != nil && q.Prints && q.From.After(epoch.Add(-time.Second)):
		return Reading{}, s.printed
	}
	step := max(q.Step, s.step)
	r := Reading{Step: step}
	for _, h := range q.Hosts {
		r.Hosts = append(r.Hosts, s.host(q, h, step))
	}
	if s.hostile != nil {
		s.hostile(&r)
	}
	return r, nil
}

func (s *script) host(q Query, h Host, step time.Duration) HostReading {
	out := HostReading{Host: h.Name, Through: q.Now.Add(-s.lag[h.Name]), Nonce: h.Nonce != "" && (s.nonce == nil || s.nonce(h.Name)), Skew: s.skew[h.Name]}
	if p, ok := s.problem[h.Name]; ok {
		out.Problem, out.Cause = p.Problem, p.Cause
		return out
	}
	if c, ok := s.cut[h.Name]; ok && q.From.Before(epoch.Add(c.to)) && q.To.After(epoch.Add(c.from)) {
		out.Problem, out.Cause = "the log was cut off", SourceDown
		if !q.Now.Before(epoch.Add(c.to)) {
			out.Lost = epoch.Add(c.to)
		}
		return out
	}
	var failing int64
	for at := q.From.Truncate(step); at.Before(q.To) && !at.Add(step).After(out.Through); at = at.Add(step) {
		k := Tick{At: at}
		for part := at; part.Before(at.Add(step)); part = part.Add(5 * time.Second) {
			if part.Before(h.Since.Add(-out.Skew)) {
				continue
			}
			n, x, g := s.tick(h.Name, part)
			k.Requests, k.Failing = k.Requests+n, k.Failing+x
			if s.good != nil {
				if k.Good == nil {
					k.Good = map[string]int64{}
				}
				k.Good["edits"] += g
			}
		}
		if k.Requests+k.Failing > 0 {
			out.Ticks = append(out.Ticks, k)
			failing += k.Failing
		}
	}
	if q.Prints && s.prints != nil {
		out.Prints = s.prints(h.Name, q.From, q.To, failing)
	}
	return out
}

// tick is what a host does in five seconds.
func (s *script) tick(host string, at time.Time) (n, x, g int64) {
	rng := rand.New(rand.NewPCG(hash(host), uint64(at.Unix())))
	n = s.n
	if n == 0 {
		n = 1000
	}
	if s.serves != nil {
		n = s.serves(host, at)
	}
	if s.rate != nil {
		x = min(n, poisson(rng, float64(n)*s.rate(host, at)))
	}
	if s.good != nil {
		g = poisson(rng, float64(s.good(host, at)))
	}
	return n, x, g
}

// flat is the same rate everywhere.
func flat(rate float64) func(string, time.Time) float64 {
	return func(string, time.Time) float64 { return rate }
}

// worse is base, and that many times as much on hosts whose name begins with prefix, from epoch on.
func worse(base, times float64, prefix string) func(string, time.Time) float64 {
	return func(h string, at time.Time) float64 {
		if !at.Before(epoch) && len(h) >= len(prefix) && h[:len(prefix)] == prefix {
			return base * times
		}
		return base
	}
}

// hosts are runtimes that began at since.
func hosts(prefix string, n int, since time.Time) []Host {
	list := make([]Host, n)
	for i := range list {
		list[i] = Host{Name: fmt.Sprint(prefix, i), Since: since, Nonce: fmt.Sprint("nonce-", prefix, i)}
		if since.IsZero() {
			list[i].Nonce = ""
		}
	}
	return list
}

// deploy is a Window that a test lets go on.
type deploy struct {
	Window
	gate     *Traffic
	evidence Evidence
}

// newDeploy has canaries a0... that were proven at epoch, and controls b0... of old.
func newDeploy(s *script, canaries, controls int) *deploy {
	return &deploy{
		Window: Window{
			Deploy: "d1", Phase: "canary", Release: "new", From: "old", Opened: epoch,
			Canary:  hosts("a", canaries, epoch.Add(-3*time.Second)),
			Control: hosts("b", controls, epoch.Add(-5*time.Hour)),
		},
		gate: &Traffic{From: "logs", Source: s},
	}
}

// look takes one look that long after epoch.
func (d *deploy) look(t *testing.T, after time.Duration) Ruling {
	t.Helper()
	w := d.Window
	w.Now = epoch.Add(after)
	r, err := d.gate.Judge(t.Context(), w, d.evidence)
	if err != nil {
		t.Fatalf("look at %v: %v", after, err)
	}
	if (r.Cause != "") != (r.Verdict == Hold) {
		t.Fatalf("look at %v: %s with cause %q: %s", after, r.Verdict, r.Cause, r.Reason)
	}
	if len(r.Reason) == 0 || len(r.Reason) > maxReason {
		t.Fatalf("look at %v: reason of %d bytes", after, len(r.Reason))
	}
	d.evidence = r.Evidence
	return r
}

// run looks every five seconds until there is a verdict or that long after epoch.
func (d *deploy) run(t *testing.T, until time.Duration) (Ruling, time.Duration) {
	t.Helper()
	var r Ruling
	for after := 5 * time.Second; after <= until; after += 5 * time.Second {
		if r = d.look(t, after); r.Verdict != Hold {
			return r, after
		}
	}
	return r, until
}

// typeError prints all failures of some hosts as one kind.
func typeError(on ...string) func(string, time.Time, time.Time, int64) []Print {
	return func(h string, _, _ time.Time, x int64) []Print {
		if x == 0 {
			return nil
		}
		if slices.ContainsFunc(on, func(p string) bool { return h[:len(p)] == p }) {
			return []Print{{Text: "TypeError in includes/Foo.php:88: must be array, null given", File: "includes/Foo.php", Count: x, ID: "req1"}}
		}
		return []Print{{Text: "DBQueryError in includes/Db.php:7: deadlock", File: "includes/Db.php", Count: x}}
	}
}
