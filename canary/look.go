package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// glance is one look of a Traffic.
type glance struct {
	t       *Traffic
	r       Rule // with the tick that the source can see
	w       Window
	acc     *account
	canary  []Host // by name, of this and earlier phases
	control []Host // by name, at most Controls
	earlier map[string]bool
	lacks   []lack
	leftOut []string
	notes   []string
	lag     time.Duration
	usual   []string        // fingerprints of the old release that were read now
	changed map[string]bool // files of the change; nil: not asked yet
	noFiles bool            // they are not known
}

// lack is something without which nothing passes.
type lack struct {
	cause Cause
	text  string
}

func (l *glance) lack(c Cause, format string, args ...any) {
	l.lacks = append(l.lacks, lack{c, fmt.Sprintf(format, args...)})
}

// newLook goes on with the prior evidence when it is of the same deploy and release, else begins.
func newLook(t *Traffic, w Window, prior Evidence) *glance {
	l := &glance{t: t, r: t.Rule, w: w, acc: &account{}, earlier: map[string]bool{}}
	if json.Unmarshal(prior, l.acc) != nil || l.acc.Format != accountFormat || l.acc.Deploy != w.Deploy || l.acc.Release != w.Release ||
		l.acc.Step < time.Second || l.acc.Step%time.Second != 0 || l.acc.Step > maxStep || !l.acc.Book.sound() {
		l.acc = &account{Format: accountFormat, Deploy: w.Deploy, Release: w.Release, Step: t.Rule.Tick}
	}
	l.r.Tick = l.acc.Step
	on := map[string]bool{}
	take := func(hs []Host, to *[]Host, earlier bool) {
		for _, h := range hs {
			if !on[h.Name] && h.Name != "" {
				on[h.Name] = true
				*to = append(*to, h)
				l.earlier[h.Name] = earlier
			}
		}
	}
	take(w.Canary, &l.canary, false)
	take(w.Earlier, &l.canary, true)
	take(w.Control, &l.control, false)
	l.pair()
	byName := func(a, b Host) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(l.canary, byName)
	if len(l.control) > t.Controls && !l.paired() { // spread over the fleet, and the same ones in every look
		slices.SortFunc(l.control, func(a, b Host) int {
			if x, y := hash(a.Name), hash(b.Name); x != y {
				if x < y {
					return -1
				}
				return 1
			}
			return byName(a, b)
		})
		l.control = l.control[:t.Controls]
	}
	slices.SortFunc(l.control, byName)
	l.open()
	return l
}

// id is a host's runtime.
func id(h Host) string {
	return h.Name + "\x00" + h.Nonce + "\x00" + h.Since.UTC().Format(time.RFC3339Nano)
}

// open begins the deploy, and each batch when it is first looked at.
func (l *glance) open() {
	a := l.acc
	if len(l.canary) == 0 || l.w.Opened.IsZero() {
		return
	}
	began := l.w.Opened
	for _, h := range l.canary {
		if since := l.since(h, 0); since.Before(began) && l.unmet(h) {
			began = since
		}
	}
	if a.Opened.IsZero() {
		a.Start = align(began, l.r.Tick).UTC()
	}
	switch {
	case a.Opened.IsZero() || l.w.Opened.After(a.Opened) && slices.ContainsFunc(l.canary, l.unmet):
		for _, h := range l.canary {
			if a.Batch.has(id(h)) {
				a.Met.put(id(h))
			}
		}
		a.Batch = nil
		a.Opened = l.w.Opened.UTC()
		a.Book.OpenFrom(began.UTC(), a.Opened)
	case l.w.Opened.After(a.Opened): // nothing was activated: a watch goes on with what there is
		a.Opened = l.w.Opened.UTC()
	}
	fresh := false
	for _, h := range l.canary {
		if !a.Met.has(id(h)) {
			a.Batch.put(id(h))
			fresh = fresh || !l.earlier[h.Name]
		}
	}
	for _, h := range l.canary {
		l.earlier[h.Name] = fresh && (l.earlier[h.Name] || a.Met.has(id(h)))
	}
	a.Book.Fleet, a.Book.Canaries = len(l.w.Canary)+len(l.w.Earlier)+len(l.w.Control), len(l.canary)
	if l.paired() {
		a.Book.Fleet = len(l.canary) // machines
	}
	there := l.there()
	if !l.w.Watch { // in a deploy hosts leave only as suspects, whichever gate named them; in a watch also because they died
		a.Book.keep(there)
	}
	for _, s := range a.Suspect { // taken out as it was asked
		if !there(s) {
			a.Book.Drop(s)
			a.Suspect = slices.DeleteFunc(slices.Clone(a.Suspect), func(x string) bool { return x == s })
		}
	}
}

// unmet says that a host's runtime is of no batch that was looked at.
func (l *glance) unmet(h Host) bool { return !l.acc.Met.has(id(h)) && !l.acc.Batch.has(id(h)) }

// maxRoll is how long before the batch was proven its first runtime may have begun. A Since from before that is of a runtime
// that nobody restarted, or of a clock that is wrong.
const maxRoll = 30 * time.Minute

// since is when a host's runtime began by our clock, within what can be.
func (l *glance) since(h Host, skew time.Duration) time.Time {
	at := h.Since.Add(-skew)
	if at.After(l.w.Opened) {
		at = l.w.Opened
	}
	if early := l.w.Opened.Add(-maxRoll); at.Before(early) {
		at = early
	}
	return at
}

// judge reads, closes ticks and rules.
func (l *glance) judge(ctx context.Context) Ruling {
	l.learn(ctx)
	tested := l.acc
	if a := l.answers(ctx); a != nil {
		l.sameAgain(a)
		tested = l.close(ctx, a)
		l.nonces(ctx, a)
	}
	l.doubt()
	l.gone()
	l.unpaired()
	l.note()
	v := View{Signals: l.t.Signals, DespiteRed: l.t.DespiteRed}
	r := tested.Book.RuleWith(l.r, v)
	switch {
	case r.Verdict == Fail:
		l.acc = tested
	case tested != l.acc: // more was read than may be judged, and it does not fail
		r = l.acc.Book.RuleWith(l.r, v)
	}
	if r.Verdict == Suspect {
		l.acc.Suspect = r.Suspects
	}
	return l.tell(r)
}

// tell adds what is missing to the ruling of the book.
func (l *glance) tell(r Ruling) Ruling {
	b := &l.acc.Book
	n := b.Numbers(l.r)
	var was Numbers
	if json.Unmarshal(r.Numbers, &was) == nil {
		n.Rule = was.Rule
	}
	n.Lag, n.LeftOut, n.Notes = l.lag, l.leftOut, l.notes
	for _, k := range l.lacks {
		n.Missing = append(n.Missing, k.text)
	}
	if len(l.lacks) > 0 && (r.Verdict == Pass || r.Verdict == Hold) {
		r.Verdict, r.Cause, r.Suspects = Hold, l.lacks[0].cause, nil
		r.Reason = few(n.Missing, 3) + "; so far " + b.counts()
	}
	if r.Verdict == Hold && r.Cause == Gathering && n.More != 0 && n.Dwelt >= l.r.Dwell && !l.w.Watch {
		if waited := l.w.Now.Sub(l.w.Opened); n.More < 0 || waited+n.More > l.t.MaxWait {
			r.Cause = LowTraffic
			r.Reason += fmt.Sprintf("; max_wait is %v: raise it or harm_rate, or judge more canaries", l.t.MaxWait)
		}
	}
	if len(l.leftOut) > 0 {
		r.Reason += "; without control " + few(l.leftOut, 2)
	}
	r.Reason = clean(r.Reason, maxReason)
	r.set(n)
	return r
}

const maxReason = 800

// few names the first of a list and how many more there are.
func few(list []string, most int) string {
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], "; "), len(list)-most)
	}
	return strings.Join(list, "; ")
}

// note remembers what the old release has.
func (l *glance) note() {
	if l.t.Memory == nil {
		return
	}
	phi, _ := l.acc.Book.Phi.estimate()
	err := guard(func() error { return l.t.Memory.Note(l.usual, min(max(phi, 0), 1e6), l.w.Now) })
	if err != nil {
		l.notes = append(l.notes, err.Error())
	}
}

// resolve says of each new kind of failure whether the fleet had it lately, and whether its file is part of the change.
func (l *glance) resolve(b *Book) {
	seen := func(text string) (ok bool) {
		if l.t.Memory == nil {
			return false
		}
		err := guard(func() error {
			at, had := l.t.Memory.Seen(text)
			ok = had && l.w.Now.Sub(at) <= remembered
			return nil
		})
		if err != nil {
			l.notes = append(l.notes, fmt.Sprintf("memory: %v", err))
		}
		return ok
	}
	b.Resolve(seen, l.inChange)
}

// inChange asks for the files of the change once a look, and only when an error names a file.
func (l *glance) inChange(file string) string {
	if l.t.Changed == nil || l.w.From == "" || l.noFiles {
		return ""
	}
	if l.changed == nil {
		l.changed = map[string]bool{}
		err := guard(func() error {
			list, err := l.t.Changed(l.w.From, l.w.Release)
			for _, f := range list {
				l.changed[path.Clean(f)] = true
			}
			return err
		})
		if err != nil {
			l.noFiles = true
			l.notes = append(l.notes, fmt.Sprintf("files of this change: %v", err))
			return ""
		}
	}
	if l.changed[path.Clean(file)] {
		return inside
	}
	return outside
}
