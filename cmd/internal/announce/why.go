package announce

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"scap/phases/journal"
)

// The causes of a hold, in words.
var causes = map[string]string{
	"gathering": "evidence was being gathered", "no-traffic": "no traffic", "low-traffic": "too little traffic", "late": "telemetry is late",
	"source-down": "a source is down", "unproven": "a log is not proven", "skewed": "a clock is wrong", "not-this-release": "not this release",
	"off-share": "too little of the traffic", "contradictory": "a source contradicts itself", "one-host": "one host fails",
}

// why says what took a deploy back, from how its acts went: no text of an error is in it, for in those stand lines of logs.
// It is empty when the records do not tell.
func (f *facts) why() string {
	bad := func(name string) *act {
		for i, a := range slices.Backward(f.acts) {
			if a.act == name && a.bad {
				return &f.acts[i]
			}
		}
		return nil
	}
	if n := len(f.gates); n > 0 {
		if text := f.gates[n-1].blame(); text != "" && (bad(journal.PhaseAct) != nil || f.back) && bad(journal.Merge) == nil && !f.later(f.gates[n-1]) {
			return text
		}
	}
	switch a := bad(journal.PhaseAct); {
	case bad(journal.Merge) != nil:
		return "the changes were not merged"
	case bad(journal.Confirm) != nil && bad(journal.Confirm).verdict == "no":
		return "the deployer said no"
	case bad(journal.Confirm) != nil:
		return "nobody said to go on"
	case bad(journal.Activate) != nil:
		return fmt.Sprintf("not proven on the release: %s", some(f.failed(journal.Activate)))
	case bad(journal.Try) != nil:
		return fmt.Sprintf("the release could not be tried: %s", some(f.failed(journal.Try)))
	case bad(journal.Stage) != nil:
		return fmt.Sprintf("staging failed on %d hosts", bad(journal.Stage).failed)
	case a != nil:
		return "stopped in phase " + clean(a.phase) // also by the deployer
	}
	for _, a := range slices.Backward(f.acts) {
		if a.bad {
			return clean(a.act) + " failed"
		}
	}
	return ""
}

// later reports whether a host failed after the last word of g: then that is why.
func (f *facts) later(g gate) bool {
	return g.verdict != "fail" && slices.ContainsFunc(f.acts, func(a act) bool {
		return (a.act == journal.Activate || a.act == journal.Try) && a.bad && a.ended.After(g.ended)
	})
}

// failed names the hosts on which an act failed.
func (f *facts) failed(name string) (hosts []string) {
	for _, a := range f.acts {
		if a.act == name && a.bad && a.target != "" && !slices.Contains(hosts, a.target) {
			hosts = append(hosts, a.target)
		}
	}
	return hosts
}

// blame says what of g took the deploy back; empty when it passed.
func (g gate) blame() string {
	switch g.verdict {
	case "fail":
		text := "the gate of " + clean(g.phase) + " failed the release"
		if g.counts != "" {
			text += ": " + g.counts
		}
		return text
	case "hold":
		text := "the gate of " + clean(g.phase) + " held"
		if what := causes[g.cause]; what != "" {
			text += " (" + what + ")"
		}
		return text
	}
	return ""
}

// arms are the numbers of a gate that compares canaries with a control.
type arms struct {
	Canary  arm `json:"canary"`
	Control arm `json:"control"`
}

type arm struct {
	N int64 `json:"n"`
	X int64 `json:"x"`
}

func (a arms) String() string {
	if a.Canary.N == 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %d requests failing", a.Canary.X, a.Canary.N)
	if a.Control.N > 0 {
		text += fmt.Sprintf(", %d of %d elsewhere", a.Control.X, a.Control.N)
	}
	return text
}

// counted reads the cause of a hold and the counts out of a ruling. Numbers are all that is taken from it.
func counted(data []byte) (cause, counts string) {
	var r struct {
		Cause   string          `json:"cause"`
		Numbers json.RawMessage `json:"numbers"`
	}
	if json.Unmarshal(data, &r) != nil {
		return "", ""
	}
	var one arms
	if json.Unmarshal(r.Numbers, &one) == nil {
		return r.Cause, one.String()
	}
	var several []struct {
		Verdict string          `json:"verdict"`
		Numbers json.RawMessage `json:"numbers"`
	}
	if json.Unmarshal(r.Numbers, &several) != nil {
		return r.Cause, ""
	}
	var list []string
	for _, s := range several {
		var a arms
		if s.Verdict == "fail" && json.Unmarshal(s.Numbers, &a) == nil && a.String() != "" {
			list = append(list, a.String())
		}
	}
	return r.Cause, strings.Join(list, "; ")
}
