package canary

import (
	"math"
	"slices"
	"time"
)

// suspectHosts are needed before one of them can be told from the release: with fewer, leaving one out proves nothing.
const suspectHosts = 3

// Signal is a business signal that must not drop: edits saved, logins, session stores.
type Signal struct {
	Name     string
	AtLeast  float64 // successes a minute of all hosts, below which it is red; 0: not looked at
	RedBelow float64 // share of the usual rate, below which it is red; 0.5
}

// finding is a verdict with what it rests on.
type finding struct {
	verdict Verdict
	cause   Cause
	rule    string // what decided: see the constants
	hosts   []string
	signal  *signalBook
	kind    *printBook
	text    string
}

// What decides.
const (
	byHard      = "hard-stop"
	byRatio     = "ratio"
	byOwn       = "own-hosts"
	byRise      = "rise"
	byPrint     = "new-error"
	bySignal    = "signal"
	byRed       = "red-signal"
	byControl   = "control-red"
	byShare     = "share"
	byStrays    = "strays"
	byTraffic   = "traffic"
	byRefuted   = "refuted"
	byGathering = "gathering"
)

// View is what a Book is looked at with, besides its Rule.
type View struct {
	Signals []Signal
	// DespiteRed is why a red signal on both arms does not hold; "" when it does.
	DespiteRed string
}

// Verdict rules without words: what a simulation needs.
func (b *Book) Verdict(r Rule) (Verdict, Cause, []string) {
	r = r.Full()
	f := b.decide(&r, View{})
	return f.verdict, f.cause, f.hosts
}

// decide takes the worst word of all rules: a fail, else a suspect host, else a hold.
func (b *Book) decide(r *Rule, v View) finding {
	if b.Hard != nil {
		return finding{verdict: Fail, rule: byHard}
	}
	worst := finding{verdict: Pass, rule: byRefuted}
	for _, look := range []func(*Rule, View) finding{b.byTraffic, b.byRatio, b.byOwn, b.byRise, b.byPrints, b.bySignals, b.byRed, b.byStray, b.byShare, b.byRefuted} {
		f := look(r, v)
		if f.verdict == Suspect && slices.ContainsFunc(f.hosts, b.isTrial) { // its machine serves the old release well
			f.verdict, f.cause = Hold, OneHost
		}
		if rank(f.verdict) > rank(worst.verdict) {
			worst = f
		}
		if worst.verdict == Fail {
			return worst
		}
	}
	return worst
}

func rank(v Verdict) int { return [...]int{Pass: 0, Hold: 1, Suspect: 2, Fail: 3}[v] }

var nothing = finding{verdict: Pass}

func (b *Book) byTraffic(*Rule, View) finding {
	if b.Next.IsZero() {
		return finding{cause: Gathering, rule: byGathering}
	}
	if b.CanaryHosts == 0 || b.Closed > 0 && b.Sample == 0 {
		return finding{cause: NoTraffic, rule: byTraffic}
	}
	return nothing
}

// byRatio: the canary fails more often than the control.
func (b *Book) byRatio(r *Rule, _ View) finding {
	if harms.mean(b.Wealth) < r.FailAt || b.Canary.X < r.MinFailing || len(b.Hosts) == 0 {
		return nothing
	}
	h, below := b.worst(r.LeaveOut)
	phi := b.Phi.phi(r, b.Largest)
	lone := apart(h.X, h.N, b.Canary.X+b.Lone.X, b.Canary.N+b.Lone.N, phi) >= r.FailAt
	switch {
	case len(b.Hosts) >= 2 && below == 0, b.several(), b.isTrial(h.Host) && h.Hands >= 2:
		return finding{verdict: Fail, rule: byRatio}
	case b.CanaryHosts < suspectHosts && (len(b.Hosts) == 1 || below == 1):
		return finding{cause: OneHost, rule: byRatio, hosts: []string{h.Host}}
	case b.CanaryHosts >= suspectHosts && (below == 1 || len(b.Hosts) == 1) && lone:
		return finding{verdict: Suspect, rule: byRatio, hosts: []string{h.Host}}
	}
	return finding{cause: Gathering, rule: byRatio, hosts: []string{h.Host}} // more is needed to tell a host from the release
}

// byRise: without a control, the canary fails more often than the frozen rate. It is this release when that began close to an
// activation.
func (b *Book) byRise(r *Rule, v View) finding {
	if b.ControlHosts > 0 || !b.Rise.red(r) || b.Rise.X < r.MinFailing {
		return nothing
	}
	if !b.near(r, b.Rise.From) {
		if v.DespiteRed != "" {
			return nothing
		}
		return finding{cause: BothRed, rule: byRise}
	}
	var h *hostBook
	failing := 0
	for j := range b.Hosts {
		if b.Hosts[j].Alone > 0 {
			failing++
		}
		if h == nil || b.Hosts[j].Alone > h.Alone {
			h = &b.Hosts[j]
		}
	}
	if h == nil {
		return finding{cause: Gathering, rule: byRise}
	}
	rest := float64(b.Rise.X-h.Alone)*math.Log(r.HarmRatio/maxUnharmed) -
		b.Rise.E*(1-1/float64(max(1, b.CanaryHosts)))*(r.HarmRatio-maxUnharmed)
	switch {
	case failing >= 2 && rest/b.Phi.phi(r, b.Largest) >= math.Log(r.LeaveOut), b.several():
		return finding{verdict: Fail, rule: byRise}
	case b.CanaryHosts >= suspectHosts:
		return finding{verdict: Suspect, rule: byRise, hosts: []string{h.Host}}
	}
	return finding{cause: OneHost, rule: byRise, hosts: []string{h.Host}}
}

// byPrints: a kind of failure that nobody had before.
func (b *Book) byPrints(r *Rule, v View) finding {
	need := b.enough(r)
	worst := nothing
	for i := range b.Kinds {
		k := &b.Kinds[i]
		if !k.isNew() || k.Count < need {
			continue
		}
		f := finding{verdict: Fail, rule: byPrint, kind: k}
		switch {
		case !k.More && b.several():
		case !k.More && b.CanaryHosts < suspectHosts:
			f.verdict, f.cause, f.hosts = Hold, OneHost, []string{k.Host}
		case !k.More:
			f = nothing // one host of several: its rate is judged, not its words
		case b.ControlHosts == 0 && k.Change != inside && !b.near(r, k.First):
			f.verdict, f.cause = Hold, BothRed
			if v.DespiteRed != "" {
				f = nothing
			}
		}
		if rank(f.verdict) > rank(worst.verdict) {
			worst = f
		}
	}
	return worst
}

// bySignals: the canary succeeds less often than the control, or than before when there is none.
func (b *Book) bySignals(r *Rule, v View) finding {
	worst := nothing
	for i := range b.Signals {
		s := &b.Signals[i]
		f := nothing
		switch {
		case drops.mean(s.Wealth) >= r.FailAt:
			lone := s.lone()
			switch {
			case lone == "" && (len(s.Hosts) != 1 || b.CanaryHosts > 1):
				f = finding{verdict: Fail, rule: bySignal, signal: s}
			case b.CanaryHosts >= suspectHosts:
				f = finding{verdict: Suspect, rule: bySignal, signal: s, hosts: []string{lone}}
			default:
				f = finding{cause: OneHost, rule: bySignal, signal: s}
			}
		case b.ControlHosts == 0 && s.Fall.red(r):
			switch {
			case b.near(r, s.Fall.From):
				f = finding{verdict: Fail, rule: bySignal, signal: s}
			case v.DespiteRed == "":
				f = finding{cause: BothRed, rule: bySignal, signal: s}
			}
		}
		if rank(f.verdict) > rank(worst.verdict) {
			worst = f
		}
	}
	return worst
}

// byRed: both arms are worse than before, so it is not this release.
func (b *Book) byRed(r *Rule, v View) finding {
	if v.DespiteRed != "" {
		return nothing
	}
	for i := range b.Signals {
		s := &b.Signals[i]
		sig := Signal{Name: s.Name}
		if j := slices.IndexFunc(v.Signals, func(x Signal) bool { return x.Name == s.Name }); j >= 0 {
			sig = v.Signals[j]
		}
		if text := s.redness(r, sig, b.Fleet); text != "" {
			return finding{cause: BothRed, rule: byRed, signal: s, text: text}
		}
	}
	if b.ControlHosts > 0 && b.Red.red(r) {
		return finding{cause: BothRed, rule: byControl}
	}
	return nothing
}

// byShare: the canaries get much less traffic than they should, so what they show is not what users get.
func (b *Book) byShare(*Rule, View) finding {
	if b.Off >= offTicks {
		return finding{cause: OffShare, rule: byShare}
	}
	return nothing
}

// byRefuted: a Pass needs harm refuted, the dwell, and the sample of this batch.
func (b *Book) byRefuted(r *Rule, _ View) finding {
	if b.Batches == 0 || b.dwelt(r) < r.Dwell || b.Sample < r.MinRequests || !b.Refuted.done(r) {
		return finding{cause: Gathering, rule: byGathering}
	}
	return nothing
}

func (b *Book) dwelt(r *Rule) time.Duration { return time.Duration(b.Closed) * r.Tick }
