package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Traffic is the gate over what users' requests did, as one Source counts it: errors, new kinds of them, and business
// signals, of the hosts with the release against those without it. Its state is in Ruling.Evidence alone, so another
// process with the same settings goes on with it. The zero value of each setting is the default named at it.
type Traffic struct {
	From     string // the source's name
	Source   Source
	Canaries []string // asked by Ready: the hosts of this phase
	Others   []string // and those that serve the same traffic with the old release
	Rule     Rule
	Signals  []Signal
	Memory   Memory // of earlier deploys; nil: none
	// Changed lists the files that differ between two releases; nil: not known.
	Changed func(from, to string) ([]string, error)
	// Share, above 0, is the part of their requests that Canaries will give to the release in this phase, beside the old one: asked by
	// Ready and Outlook, which then do not look at Others. In a look Window.Share counts.
	Share      float64
	DespiteRed string           // the deployer's reason: a red signal neither stops Ready nor holds
	MaxWait    time.Duration    // a Pass must be possible within it; 10 min
	Controls   int              // control hosts read at most; 40
	AskLimit   time.Duration    // for one question to the source; 20 s
	Clock      func() time.Time // asked by Ready and Outlook; nil: time.Now
}

var _ Gate = (*Traffic)(nil)

// Name returns From.
func (t *Traffic) Name() string { return t.From }

// full returns t with its defaults filled in.
func (t *Traffic) full() (*Traffic, error) {
	l := *t
	l.Rule = l.Rule.Full()
	def(&l.MaxWait, 10*time.Minute)
	def(&l.Controls, 40)
	def(&l.AskLimit, 20*time.Second)
	if l.Clock == nil {
		l.Clock = time.Now
	}
	if l.Source == nil {
		return nil, fmt.Errorf("gate %q has no source", t.From)
	}
	if err := l.Rule.Check(); err != nil {
		return nil, fmt.Errorf("gate %q: %w", t.From, err)
	}
	if !(l.Share >= 0 && l.Share < 1) {
		return nil, fmt.Errorf("gate %q: share %g: want 0 to less than 1", t.From, l.Share)
	}
	if l.MaxWait < 0 || l.Controls < 0 || l.AskLimit < 0 {
		return nil, fmt.Errorf("gate %q: max_wait %v, controls %d, ask_limit %v: none may be negative", t.From, l.MaxWait, l.Controls, l.AskLimit)
	}
	for _, s := range l.Signals {
		if s.Name == "" || !(s.AtLeast >= 0 && s.AtLeast < maxCell) || !(s.RedBelow >= 0 && s.RedBelow < 1) {
			return nil, fmt.Errorf("gate %q: signal %q: at_least %g, red_below %g: want a name, at least 0, and 0 to 1", t.From, s.Name, s.AtLeast, s.RedBelow)
		}
	}
	return &l, nil
}

// Judge reads the ticks that have closed since the last look and rules on all of them. It fails on what was read even
// when something is missing, and passes only when nothing is.
func (t *Traffic) Judge(ctx context.Context, w Window, prior Evidence) (Ruling, error) {
	g, err := t.full()
	if err != nil {
		return Ruling{}, err
	}
	l := newLook(g, w, prior)
	if len(l.canary) == 0 {
		return Ruling{Cause: NoTraffic, Reason: "no canary host is in the window", Evidence: prior}, nil
	}
	if w.Opened.IsZero() || w.Now.Before(w.Opened) {
		return Ruling{Cause: Gathering, Reason: "the batch is not proven yet", Evidence: prior}, nil
	}
	r := l.judge(ctx)
	if r.Evidence, err = json.Marshal(l.acc); err != nil {
		return Ruling{}, fmt.Errorf("gate %q: write down the evidence: %w", g.From, err)
	}
	if ctx.Err() != nil && r.Verdict != Fail { // failures that were read stand, though a host hung
		return Ruling{}, context.Cause(ctx)
	}
	return r, nil
}

// account is what a Traffic carries from one look to the next.
type account struct {
	Format  int           `json:"format"`
	Deploy  string        `json:"deploy"`
	Release string        `json:"release"`
	Step    time.Duration `json:"step"`             // of the ticks: the rule's, or coarser when the source cannot see it
	Start   time.Time     `json:"start"`            // of the first tick
	Learned bool          `json:"learned"`          // the history was read
	Opened  time.Time     `json:"opened,omitzero"`  // Window.Opened of the last look
	Proven  hashes        `json:"proven,omitempty"` // hosts with the nonce that was read back
	Met     hashes        `json:"met,omitempty"`    // hosts of batches before this one
	Batch   hashes        `json:"batch,omitempty"`  // hosts of this one
	Suspect []string      `json:"suspect,omitempty"`
	Tried   hashes        `json:"tried,omitempty"` // releases that were tried beside another, each with its machine
	// Last is the last judged tick of some hosts: it is read once more, to see whether the source says the same.
	Last  []seen    `json:"last,omitempty"`
	Doubt time.Time `json:"doubt,omitzero"` // closed ticks end here at which the source contradicted itself last
	Told  string    `json:"told,omitempty"` // and how
	Gap   *gap      `json:"gap,omitempty"`  // the last ticks that nothing can be known of
	Book  Book      `json:"book"`
}

const accountFormat = 1

// seen is one host's count in one tick.
type seen struct {
	Host string `json:"host"`
	N    int64  `json:"n"`
	X    int64  `json:"x"`
}

// clone is a copy that shares nothing, by way of JSON, which is exact.
func (a *account) clone() (*account, error) {
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	var c account
	return &c, json.Unmarshal(raw, &c)
}
