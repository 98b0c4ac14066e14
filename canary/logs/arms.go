package logs

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// whose says to which of two releases something belongs.
type whose uint8

const (
	unknown whose = iota
	mine          // the one that is asked about
	theirs        // the other
	neither       // for certain
)

// arms is what a ledger knows besides while its host serves two releases.
type arms struct {
	other   side
	owners  [2]map[uint64]owner // requests with an id that were attributed, the newer ones first
	waiting map[uint64][]waiting
	held    int        // lines in waiting
	named   int64      // access lines that were attributed since the last that was not
	nobody  time.Time  // when that was
	stray   *printKind // a failure of neither
	swept   int64      // the horizon of the last sweep of waiting, Unix milliseconds
}

// owner is whose an access line or an error of a request was.
type owner struct {
	first int64 // Unix milliseconds
	of    [2]bool
}

// waiting is a failing line with an id whose access line was not read yet.
type waiting struct {
	log int
	e   event
}

const (
	maxOwners  = 1 << 16 // in each of the two maps
	maxWaiting = 16      // lines of one request
)

func newArms(c Config) *arms {
	return &arms{other: newSide(c), owners: [2]map[uint64]owner{{}, {}}, waiting: map[uint64][]waiting{}}
}

// sides are all that is counted.
func (l *ledger) sides() []*side {
	if l.arms == nil {
		return []*side{&l.side}
	}
	return []*side{&l.side, &l.arms.other}
}

func (l *ledger) of(w whose) *side {
	if w == theirs {
		return &l.arms.other
	}
	return &l.side
}

// checkArms reports every mistake in the names of the links.
func (c Config) checkArms() (errs []error) {
	seen := map[string]bool{}
	for _, name := range append(append([]string{}, c.Trial...), c.Main...) {
		switch plain := address(name); {
		case !filepath.IsAbs(plain) && !strings.Contains(plain, "://") || clean(name, maxText) != name:
			errs = append(errs, fmt.Errorf("logs: trial or main %q: want the path of a socket as the web server has it, or the name of an Apache worker such as fcgi://canary", clean(name, maxText)))
		case seen[plain]:
			errs = append(errs, fmt.Errorf("logs: trial or main %q: named twice", name))
		default:
			seen[plain] = true
		}
	}
	return errs
}

// split counts a line of a host that serves two releases.
func (l *ledger) split(i int, e event, line []byte) {
	switch w := l.whose(e, line); {
	case w == neither:
	case e.web:
		l.access(i, e, w)
	case w != unknown:
		l.count(l.of(w), i, e)
		l.own(e, w)
	case e.fails:
		l.await(i, e)
	}
}

// access counts the end of a request.
func (l *ledger) access(i int, e event, w whose) {
	if w == unknown {
		if !e.served || e.upstream == "-" { // nobody was asked, so no release has to do with it
			return
		}
		l.arms.named, l.arms.nobody = 0, latest(l.arms.nobody, e.at)
		if s := l.ring.of(e.at.Unix()); s != nil {
			s.anon++
		}
		if e.fails {
			l.await(i, e)
		}
		return
	}
	l.arms.named++
	if status, ok := l.passedOn(e, w); ok {
		missed := e
		missed.fails, missed.status, missed.worker = true, status, ""
		missed.fault = fault{class: fmt.Sprintf("HTTP %d", status), message: "passed on to another server"}
		l.count(l.of(mine+theirs-w), i, missed)
		l.own(e, mine+theirs-w)
	}
	l.count(l.of(w), i, e)
	l.own(e, w)
}

// whose says to which release a line belongs by what it says itself.
func (l *ledger) whose(e event, line []byte) whose {
	if w := l.named64(e.release); w != unknown {
		return w
	}
	if w := l.asked(e); w != unknown {
		return w
	}
	if e.web {
		return unknown
	}
	if id, _, ok := cutRelease(e.fault.file); ok {
		if w := l.named64(id); w == mine || w == theirs {
			return w
		}
	}
	if e.id != "" || !e.fails {
		return unknown
	}
	return l.inPaths(line)
}

// named64 says whose a release is, by its id or the beginning of it.
func (l *ledger) named64(name string) whose {
	const short = 12
	switch {
	case len(name) < short || len(name) > 64 || !isHex(name):
		return unknown // another kind of name, such as a version, says nothing of these
	case l.q.Release == "" && l.q.Beside == "":
		return mine // there is one so far
	}
	isMine, isTheirs := strings.HasPrefix(l.q.Release, name), strings.HasPrefix(l.q.Beside, name)
	switch {
	case isMine && isTheirs:
		return unknown
	case isMine:
		return mine
	case isTheirs:
		return theirs
	}
	return neither
}

// inPaths says whose the one release is that paths in a line are of.
func (l *ledger) inPaths(line []byte) whose {
	found := unknown
	rest := strings.ReplaceAll(string(line), `\/`, "/")
	for {
		id, after, ok := cutRelease(rest)
		if !ok {
			return found
		}
		switch w := l.named64(id); {
		case w != mine && w != theirs:
		case found != unknown && found != w:
			return unknown
		default:
			found = w
		}
		rest = after
	}
}

// own notes whose a request is, and counts what waited for that.
func (l *ledger) own(e event, w whose) {
	if e.id == "" {
		return
	}
	a, ms := l.arms, e.at.UnixMilli()
	key := l.ids.key(0, e.id)
	o, ok := a.owner(key)
	if !ok || ms < o.first {
		o.first = ms
	}
	o.of[w-mine] = true
	if len(a.owners[0]) >= maxOwners {
		a.owners[0], a.owners[1] = map[uint64]owner{}, a.owners[0]
	}
	a.owners[0][key] = o
	if list := a.waiting[key]; list != nil {
		delete(a.waiting, key)
		a.held -= len(list)
		l.loosen(list, -1)
		for _, x := range list {
			l.join(x.log, x.e, w, ms)
		}
	}
}

func (a *arms) owner(key uint64) (o owner, ok bool) {
	if o, ok = a.owners[0][key]; !ok {
		o, ok = a.owners[1][key]
	}
	return o, ok
}

// join counts a failing line for the release that its request is of, when both are known: no earlier, for the tick may be closed.
func (l *ledger) join(i int, e event, w whose, ms int64) {
	if at := time.UnixMilli(ms); at.After(e.at) {
		e.at = at
	}
	l.count(l.of(w), i, e)
}

// await counts a failing line that does not say itself whose it is.
func (l *ledger) await(i int, e event) {
	a := l.arms
	if e.id == "" {
		l.lost(i, e)
		return
	}
	key := l.ids.key(0, e.id)
	if o, ok := a.owner(key); ok {
		switch w := l.failed(o, e.id); {
		case w != unknown:
			l.join(i, e, w, o.first)
			return
		case o.of[0] != o.of[1]:
			w = mine
			if o.of[1] {
				w = theirs
			}
			l.join(i, e, w, o.first)
			return
		}
	}
	list := a.waiting[key]
	if len(list) >= maxWaiting || a.held >= maxIDs {
		if list == nil { // too many at once: it stays a stray
			l.loosen([]waiting{{i, e}}, +1)
		}
		return
	}
	l.loosen(list, -1)
	e.fault = fault{strings.Clone(e.fault.class), strings.Clone(e.fault.message), strings.Clone(e.fault.file), strings.Clone(e.fault.line)}
	e.id, e.worker = strings.Clone(e.id), strings.Clone(e.worker)
	e.uri, e.agent, e.release, e.method, e.conn, e.upstream, e.answers = "", "", "", "", "", "", ""
	list = append(list, waiting{i, e})
	a.waiting[key] = list
	a.held++
	l.loosen(list, +1)
	a.stray = l.kind(e)
}

// failed is the one release of both by which a request is known to have failed.
func (l *ledger) failed(o owner, id string) whose {
	if !o.of[0] || !o.of[1] {
		return unknown
	}
	_, a := l.ids.m[l.ids.key(0, id)]
	_, b := l.arms.other.ids.m[l.arms.other.ids.key(0, id)]
	switch {
	case a == b:
		return unknown
	case a:
		return mine
	}
	return theirs
}

// sweep forgets requests that no line to come can belong to.
func (l *ledger) sweep(horizon int64) {
	for _, s := range l.sides() {
		s.ids.sweep(horizon)
	}
	if l.arms == nil || len(l.arms.waiting) == 0 || horizon < l.arms.swept+together.Milliseconds()/8 {
		return
	}
	l.arms.swept = horizon
	for key, list := range l.arms.waiting {
		if list[0].e.at.UnixMilli() < horizon-together.Milliseconds() {
			l.arms.held -= len(list)
			delete(l.arms.waiting, key) // and what it counts as stays
		}
	}
}
