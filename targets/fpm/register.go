package fpm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
)

// register is what agents remember of a host that hands over, on disk because every deploy connection has an agent of its
// own. The keeper's record is root's; this one only counts and remembers, and a host without it is proven all the same.
type register struct {
	Terms map[uint64]term `json:"terms,omitempty"` // by the number of the generation
	Took  took            `json:"took,omitzero"`
}

// term is one generation's time in service. A kept one that is published again begins a new term: what it served before is
// no evidence for what it serves now.
type term struct {
	Tick   uint64    `json:"tick"` // of its master: a number that was given again is another one
	Proven bool      `json:"proven,omitempty"`
	Since  time.Time `json:"since,omitzero"`  // when it was published, or tried, last
	Base   int64     `json:"base,omitempty"`  // pages that it had begun by then
	Own    int64     `json:"own,omitempty"`   // pages that agents have asked of it since
	Nonce  string    `json:"nonce,omitempty"` // what it wrote into its log for this term
}

// took is how long the last switches took, from the question to the proof.
type took struct {
	Rename time.Duration `json:"rename,omitempty"`
	Start  time.Duration `json:"start,omitempty"`
}

const (
	maxRegister = 1 << 20
	maxTerms    = 256 // more generations than a keeper keeps
)

// of is what is remembered of a generation, and nothing of another one of its number.
func (g register) of(i Instance) term {
	t := g.Terms[i.gen.Number]
	if t.Tick != i.gen.Tick {
		return term{Tick: i.gen.Tick}
	}
	return t
}

func (g *register) put(i Instance, t term) {
	if g.Terms == nil {
		g.Terms = map[uint64]term{}
	}
	t.Tick = i.gen.Tick
	g.Terms[i.gen.Number] = t
	for number := range g.Terms { // numbers only grow: the smallest are long gone
		if len(g.Terms) > maxTerms && number+maxTerms < i.gen.Number {
			delete(g.Terms, number)
		}
	}
}

// remember reads the register, lets change have it, and writes it when change says that it did. Two agents come one after
// the other.
func (r *Runtime) remember(change func(*register) bool) (register, error) {
	var g register
	lock, err := os.OpenFile(filepath.Join(r.conf.Work, "handover.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return g, fmt.Errorf("what was remembered of this host: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return g, fmt.Errorf("what was remembered of this host: %w", err)
	}
	path := filepath.Join(r.conf.Work, "handover.json")
	b, err := proc.ReadSome(path, maxRegister)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return g, fmt.Errorf("what was remembered of this host: %w", err)
	}
	if json.Unmarshal(b, &g) != nil {
		g = register{} // somebody else wrote it: nothing is known
	}
	if !change(&g) {
		return g, nil
	}
	if b, err = json.Marshal(g); err != nil {
		return g, err
	}
	next := path + ".next"
	if err = os.WriteFile(next, b, 0o644); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return g, fmt.Errorf("remember what this host did: %w", err)
	}
	return g, nil
}

// recall is remember for who only reads.
func (r *Runtime) recall() register {
	g, err := r.remember(func(*register) bool { return false })
	if err != nil {
		return register{}
	}
	return g
}

// countTerms returns how many pages generations began for others than agents in their present terms. The pages that this
// agent asked the web server for are the published ones'; own says that all are.
func (r *Runtime) countTerms(all []evidence, own bool) int64 {
	for _, e := range all {
		if e.opcache.Opcache == nil {
			return 0
		}
	}
	if len(all) == 0 {
		return 0
	}
	g, err := r.remember(func(g *register) bool {
		if !own {
			return false
		}
		asked := r.pending.Swap(0)
		if asked == 0 {
			return false
		}
		t := g.of(all[0].of)
		t.Own += asked
		g.put(all[0].of, t)
		return true
	})
	if err != nil {
		return 0 // a gate that waits for requests then waits longer
	}
	var others int64
	for _, e := range all {
		t := g.of(e.of)
		others += e.opcache.Opcache.Entered - t.Base - t.Own
	}
	return max(others, 0)
}

// begin opens a new term of generations, right before users can reach them.
func (r *Runtime) begin(next []raised) error {
	now := time.Now().UTC().Round(0)
	_, err := r.remember(func(g *register) bool {
		for _, c := range next {
			t := term{Proven: true, Since: now, Nonce: g.of(c.inst).Nonce}
			if c.evidence.opcache.Opcache != nil {
				t.Base = c.evidence.opcache.Opcache.Entered
			}
			g.put(c.inst, t)
		}
		return true
	})
	return err
}
