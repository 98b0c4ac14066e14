package chart

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/phases/journal"
)

const (
	oldID = "1111111111112222222222222222222222222222222222222222222222222222"
	newID = "aaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	evil  = "\x1b[2J\x1b]0;owned\x07</text><script>alert(1)</script><svg onload=\"x\"> &#x0; ]]> \u202egnp.exe \x00\xff '\"--> 名前"
)

// tale writes a journal, with a clock that goes on by what each record takes.
type tale struct {
	at      time.Time
	records []journal.Record
	dice    *rand.Rand
	batch   batch
}

// batch is the evidence so far.
type batch struct {
	harm, ratio, rate, drop float64
	canary, control         counted
}

func newTale() *tale {
	return &tale{at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.FixedZone("CET", 3600)), dice: rand.New(rand.NewPCG(1, 2)), batch: batch{harm: 1}}
}

func (k *tale) tell(after time.Duration, r journal.Record) {
	k.at = k.at.Add(after)
	r.Seq, r.At, r.Deploy = uint64(len(k.records)+1), k.at, "20261120-060000-alice"
	k.records = append(k.records, r)
}

func (k *tale) begin(message string) {
	data, _ := json.Marshal(journal.Outline{Message: message, User: "alice"})
	k.tell(0, journal.Record{Kind: journal.Begin, From: oldID, To: newID, Data: data})
}

func (k *tale) phase(name string, hosts int) {
	k.tell(time.Second, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: name})
	k.proves(name, 1, hosts)
}

func (k *tale) proves(phase string, first, n int) {
	for i := range n {
		k.tell(2*time.Second, journal.Record{Kind: journal.Done, Act: journal.Activate, Phase: phase, Target: fmt.Sprintf("%s%d", phase, first+i), From: oldID, To: newID})
	}
}

// looks takes n looks, 5 s apart, at so many requests a second with those failing rates.
func (k *tale) looks(kind journal.Kind, phase string, n int, perSecond, share, canary, control float64) {
	for range n {
		nc, nb := int64(5*perSecond*share), int64(5*perSecond*(1-share))
		x, y := k.poisson(float64(nc)*canary), k.poisson(float64(nb)*control)
		b := &k.batch
		b.canary, b.control = counted{b.canary.N + nc, b.canary.X + x}, counted{b.control.N + nb, b.control.X + y}
		m, theta := float64(x+y), share
		b.harm *= math.Exp(float64(x)*math.Log(5/1.25) + m*math.Log((1-theta+theta*1.25)/(1-theta+theta*5)))
		b.ratio += m*math.Log(1-theta+theta*3) - float64(x)*math.Log(3)
		b.rate += float64(nc)*2.7e-4 - float64(x)*math.Log(10)
		verdict, cause := "hold", "gathering"
		switch {
		case b.harm >= 200:
			verdict, cause = "fail", ""
		case max(b.ratio, b.rate) >= math.Log(40):
			verdict, cause = "pass", ""
		}
		k.rules(kind, phase, verdict, cause, fmt.Sprintf("canary %s, control %s: evidence of harm %s of 200\nevidence of no harm %s of 40",
			b.canary.arm().words(), b.control.arm().words(), number(b.harm), number(math.Exp(max(b.ratio, b.rate)))), k.numbers())
		if verdict == "fail" {
			return
		}
	}
}

func (k *tale) poisson(mean float64) int64 {
	n, p := int64(0), k.dice.Float64()
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= k.dice.Float64()
	}
	return n
}

func (k *tale) rules(kind journal.Kind, phase, verdict, cause, reason string, numbers json.RawMessage) {
	data, err := json.Marshal(map[string]any{"verdict": verdict, "cause": cause, "reason": reason, "numbers": numbers})
	if err != nil {
		panic(err)
	}
	k.tell(5*time.Second, journal.Record{Kind: kind, Phase: phase, Verdict: verdict, Text: reason, Data: data})
}

func (k *tale) end(how, text string) {
	k.tell(time.Second, journal.Record{Kind: journal.End, Verdict: how, From: oldID, To: newID, Text: text})
}

// failed is a deploy whose canaries fail ten times as often.
func failed() []journal.Record {
	k := newTale()
	k.begin("Move the parser to the new cache")
	k.phase("testservers", 2)
	k.rules(journal.Ruled, "testservers", "pass", "", "12 of 12 probes as wanted on 2 hosts", json.RawMessage(`{"probes":12,"hosts":2}`))
	k.phase("canaries", 4)
	k.looks(journal.Ruled, "canaries", 6, 2000, .05, 2e-4, 2e-4)
	k.rules(journal.Ruled, "canaries", "hold", "late", "logs of canaries3 have arrived up to 06:00:50 only, 74 s ago", k.numbers())
	k.rules(journal.Ruled, "canaries", "hold", "late", "logs of canaries3 have arrived up to 06:00:50 only, 79 s ago", k.numbers())
	k.looks(journal.Ruled, "canaries", 40, 2000, .05, 1e-3, 2e-4)
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.Rollback, From: newID, To: oldID, Text: "the gate failed the release"})
	k.tell(20*time.Second, journal.Record{Kind: journal.Note, Text: "x"})
	k.end(journal.RolledBack, "phase canaries: the gate failed the release")
	return k.records
}

// deployed is a deploy that goes well through batches and the watch.
func deployed() []journal.Record {
	k := newTale()
	k.begin("Bump")
	k.phase("canaries", 4)
	k.looks(journal.Ruled, "canaries", 40, 8000, .05, 1e-4, 1e-4)
	k.tell(time.Second, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "production"})
	for i := range 4 {
		k.proves("production", 1+9*i, 9)
		k.looks(journal.Ruled, "production", 8, 8000, .05+.2*float64(i), 1e-4, 1e-4)
	}
	k.tell(0, journal.Record{Kind: journal.Done, Act: journal.Isolate, Phase: "production", Target: "production7"})
	k.end(journal.Deployed, "")
	k.looks(journal.Watched, "", 60, 8000, .9, 1e-4, 1e-4)
	return k.records
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func render(t *testing.T, records []journal.Record, l Look) string {
	t.Helper()
	var b strings.Builder
	if err := Evidence(slices.Values(records)).Render(&b, l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, c := range map[string]struct {
		records []journal.Record
		look    Look
	}{
		"failed.txt":         {failed(), Look{Width: 100}},
		"failed-ascii.txt":   {failed(), Look{Width: 80, ASCII: true}},
		"failed-colour.txt":  {failed(), Look{Width: 100, Colour: true}},
		"deployed.txt":       {deployed(), Look{Width: 100}},
		"deployed-small.txt": {deployed(), Look{Width: 10, ASCII: true}},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, render(t, c.records, c.look)) })
	}
}

func picturesOf(t *testing.T, records []journal.Record) string {
	t.Helper()
	var b strings.Builder
	if err := Evidence(slices.Values(records)).SVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSVG(t *testing.T) {
	for name, records := range map[string][]journal.Record{"failed.svg": failed(), "deployed.svg": deployed()} {
		t.Run(name, func(t *testing.T) { golden(t, name, picturesOf(t, records)) })
	}
}
