package sourcetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"scap/canary"
)

// settle is by how many Steps a watermark may stay behind a Beat.
const settle = 12

// bench is a rig at work: what was logged is remembered, so that every answer can be held against it.
type bench struct {
	Rig
	t     *testing.T
	ctx   context.Context
	hosts map[string]canary.Host
	zero  time.Time // beginning of tick 0, a multiple of 60 Steps
	now   time.Time
	beats map[string]time.Time
	past  []Event
	ids   int
	fresh func(t *testing.T) *bench // another world like this one
}

func newBench(ctx context.Context, t *testing.T, mk func(t *testing.T, hosts []canary.Host) Rig, names []string) *bench {
	b := &bench{t: t, ctx: ctx, hosts: map[string]canary.Host{}, beats: map[string]time.Time{}}
	list := make([]canary.Host, len(names))
	for i, n := range names {
		list[i] = canary.Host{Name: n, Release: Release, Nonce: fmt.Sprintf("nonce-%02d-5d41402abc4b2a76b971", i)}
		b.hosts[n] = list[i]
	}
	b.fresh = func(t *testing.T) *bench { return newBench(ctx, t, mk, names) }
	b.Rig = mk(t, list)
	if b.Step < time.Second || b.Step%time.Second != 0 {
		t.Fatalf("the rig's step is %s, want whole seconds", b.Step)
	}
	if b.Again == nil {
		b.Again = b.Source
	}
	// Ticks begin at multiples of the step since the Unix epoch, and so must those of any step that a case asks for.
	b.zero = floor(b.Epoch, 12*b.Step).Add(12 * b.Step)
	b.now = b.zero
	return b
}

func floor(at time.Time, step time.Duration) time.Time {
	past := time.Duration(at.UnixNano() % int64(step))
	return at.Add(-past).UTC()
}

// at is second sec of tick k.
func (b *bench) at(k, sec int) time.Time {
	return b.zero.Add(time.Duration(k)*b.Step + time.Duration(sec)*time.Second)
}

func (b *bench) log(es ...Event) {
	b.t.Helper()
	for i := range es {
		if es[i].Release == "" {
			es[i].Release = Release
		}
	}
	b.past = append(b.past, es...)
	b.Log(b.t, es...)
}

// ok and bad are a request that was served well and one that failed, each with an id of its own.
func (b *bench) ok(host string, at time.Time) Event {
	b.ids++
	return Event{Host: host, At: at, ID: fmt.Sprintf("req%06d", b.ids)}
}

func (b *bench) bad(host string, at time.Time) Event {
	e := b.ok(host, at)
	e.Failing, e.Print = true, print("TypeError", "src/Hook.php", "Too few arguments to function")
	return e
}

func print(class, file, message string) canary.Print {
	return canary.Print{Text: fmt.Sprintf("%s in %s:12: %s", class, file, message), File: file}
}

// beat says that everything before tick k has arrived from hosts, by default from all.
func (b *bench) beat(k int, hosts ...string) {
	b.t.Helper()
	at := b.at(k, 0)
	if len(hosts) == 0 {
		for name := range b.hosts {
			hosts = append(hosts, name)
		}
	}
	for _, h := range hosts {
		b.beats[h] = at
	}
	if at.After(b.now) {
		b.now = at
	}
	b.Beat(b.t, at, hosts...)
}

// ask is a question about ticks from to to (not included), of the named hosts.
func (b *bench) ask(from, to int, hosts ...string) canary.Query {
	q := canary.Query{From: b.at(from, 0), To: b.at(to, 0), Step: b.Step, Now: b.now.Add(time.Second)}
	if q.Now.Before(q.To) {
		q.Now = q.To
	}
	for _, h := range hosts {
		host, known := b.hosts[h]
		if !known {
			host = canary.Host{Name: h, Release: Release}
		}
		if b.NoRelease {
			host.Release = ""
		}
		if b.NoNonce {
			host.Nonce = ""
		}
		q.Hosts = append(q.Hosts, host)
	}
	return q
}

// read asks and refuses an answer that is not well formed.
func (b *bench) read(q canary.Query) canary.Reading {
	b.t.Helper()
	r, err := b.Source.Read(b.ctx, q)
	if err != nil {
		b.t.Fatalf("read: %v", err)
	}
	b.form(q, r)
	return r
}

// exact asks and wants the truth of every host, closed to the end of the range.
func (b *bench) exact(q canary.Query) canary.Reading {
	b.t.Helper()
	r := b.read(q)
	for i, h := range r.Hosts {
		if h.Problem != "" {
			b.t.Errorf("%q has a problem: %s (%s)", h.Host, h.Problem, h.Cause)
		} else if h.Through.Before(q.To) {
			b.t.Errorf("%q is known through %s, want %s", h.Host, stamp(h.Through), stamp(q.To))
		}
		b.truth(q, r.Step, q.Hosts[i], h)
	}
	return r
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("15:04:05.000")
}
