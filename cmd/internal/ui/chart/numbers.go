package chart

import (
	"bytes"
	"encoding/json"

	"scap/phases/journal"
)

// look is one gate's share of a ruling.
type look struct {
	name           string
	verdict, cause string
	reason         string
	seen           bool // figures says something
	figures        figures
}

// figures are what is drawn of a gate's numbers.
type figures struct {
	harm, failAt float64 // evidence of harm, an e-value, and where it fails
	safe, passAt float64 // evidence of no harm, and where it passes
	canary       arm
	control      arm
	phi          float64
	drop         float64 // the largest evidence of a signal's drop; 0: no signal
	signals      []signal
}

// signal is what users succeed in: the evidence of a drop, and its successes a minute now and usually.
type signal struct {
	name             string
	e, minute, usual float64
}

// arm counts requests and failing ones.
type arm struct{ n, x int64 }

// word is what of a Ruling's JSON, or of a part of a combined one, is read here. canary writes it.
type word struct {
	Name    string          `json:"name"`
	Verdict string          `json:"verdict"`
	Cause   string          `json:"cause"`
	Reason  string          `json:"reason"`
	Numbers json.RawMessage `json:"numbers"`
}

// maxParts bounds how many gates one ruling may be combined of.
const maxParts = 32

// readLooks takes a record apart: one look a gate. When its data cannot be read, what the record itself says is the only
// look, and ok is false.
func readLooks(r journal.Record) (looks []look, ok bool) {
	only := look{verdict: r.Verdict, reason: r.Text}
	var w word
	if len(r.Data) == 0 {
		return []look{only}, true
	}
	if json.Unmarshal(r.Data, &w) != nil {
		return []look{only}, false
	}
	only.cause = w.Cause
	if !bytes.HasPrefix(bytes.TrimSpace(w.Numbers), []byte("[")) {
		ok = only.read(w.Numbers)
		return []look{only}, ok
	}
	var parts []word
	if json.Unmarshal(w.Numbers, &parts) != nil || len(parts) == 0 {
		return []look{only}, false
	}
	ok = true
	for i, p := range parts {
		if i == maxParts {
			break
		}
		l := look{name: p.Name, verdict: p.Verdict, cause: p.Cause, reason: p.Reason}
		ok = l.read(p.Numbers) && ok
		looks = append(looks, l)
	}
	return looks, ok
}

// read takes up a gate's numbers. Those of a gate without statistics only name it.
func (l *look) read(raw json.RawMessage) bool {
	if len(raw) == 0 || string(raw) == "null" {
		return true
	}
	var n numbers
	if json.Unmarshal(raw, &n) != nil {
		return false
	}
	if l.name == "" {
		l.name = n.name()
	}
	f, seen := n.figures()
	l.figures, l.seen = f, seen
	return true
}
