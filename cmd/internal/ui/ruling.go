package ui

import (
	"encoding/json"
	"strings"

	"scap/phases/journal"
)

// ruling is what a view needs of a gate's word: a record's Data, as canary writes it.
type ruling struct {
	Cause    string   `json:"cause"`
	Suspects []string `json:"suspects"`
}

// causes says of each cause of a hold what it is and what ends it.
var causes = map[string]struct{ what, ends string }{
	"gathering":        {"gathering evidence", ""},
	"no-traffic":       {"no traffic", "waits for requests that the new runtime serves"},
	"low-traffic":      {"too little traffic", "there is no verdict in time at this rate: a lower harm bar (harm_rate), or the deployer's word"},
	"late":             {"telemetry is late", "waits until the source has caught up"},
	"source-down":      {"a source is down", "waits until the source answers"},
	"unproven":         {"a log is not proven", "waits for the line that the new runtime wrote to its log"},
	"skewed":           {"a clock is wrong", "waits until the host's clock is set right"},
	"not-this-release": {"not this release", "old and new fail alike: waits until the fleet recovers"},
	"off-share":        {"too little of the traffic", "waits until the balancer sends these hosts their share"},
	"contradictory":    {"a source contradicts itself", "waits for counts that agree"},
	"one-host":         {"one host fails", "too few others to compare it with: look at the host"},
}

// readRuling takes a ruling out of a record. One that cannot be read has no cause and no suspects.
func readRuling(r journal.Record) ruling {
	var x ruling
	if json.Unmarshal(r.Data, &x) != nil {
		return ruling{}
	}
	return x
}

// paragraphs are the lines of a reason, each clean, at most most of them; what is beyond is joined to the last.
func paragraphs(text string, most int) []string {
	text = strings.Trim(text, "\r\n\t ")
	if text == "" {
		return nil
	}
	var list []string
	for _, l := range strings.SplitN(text, "\n", most) {
		if l = strings.TrimSpace(Clean(l)); l != "" {
			list = append(list, l)
		}
	}
	return list
}

// verdictWords say what a gate does, by its verdict.
var verdictWords = map[string]string{
	"pass": "passes", "fail": "FAILS", "hold": "holds", "off": "is off", "word": "held; passed on the deployer's word", "suspect": "suspects",
}

// says is a ruling in words: "holds (telemetry is late)", "suspects mw1003".
func (x ruling) says(verdict string) string {
	word, ok := verdictWords[verdict]
	switch {
	case !ok:
		return "says " + Clean(verdict)
	case verdict == "suspect" && len(x.Suspects) > 0:
		return word + " " + names(x.Suspects)
	case verdict == "suspect":
		return word + " a host"
	case verdict == "hold" && x.Cause != "":
		what := Clean(x.Cause)
		if c, ok := causes[x.Cause]; ok {
			what = c.what
		}
		return word + " (" + what + ")"
	}
	return word
}

// names lists hosts, not all of many.
func names(list []string) string {
	const most = 5
	var some []string
	for _, n := range list[:min(len(list), most)] {
		some = append(some, Clean(n))
	}
	text := strings.Join(some, ", ")
	if n := len(list) - most; n > 0 {
		text += " and " + hosts(n) + " more"
	}
	return text
}

// tellRuled tells a ruling when it is news: another word or cause than before, the first since a host changed, or after a
// while.
func (s *story) tellRuled(r journal.Record) []line {
	p, x := s.phase(r.Phase), readRuling(r)
	key := r.Verdict + " " + x.Cause + " " + strings.Join(x.Suspects, " ")
	if p.saidVerdict == key && r.At.Sub(p.told) < again {
		return nil
	}
	first := p.saidVerdict != key
	p.saidVerdict, p.told = key, r.At
	l := s.ruled(joined(Clean(r.Phase), "gate "+x.says(r.Verdict)), r.Text)
	if ends := causes[x.Cause].ends; ends != "" && first && r.Verdict == "hold" {
		l.more = append(l.more, ends)
	}
	l.loud = r.Verdict == "fail" || r.Verdict == "word" || r.Verdict == "suspect"
	if r.Verdict == "fail" {
		s.fresh(r.Text)
	}
	return []line{l}
}

// ruled puts a reason behind what was said: its first line on the same line, the others below.
func (s *story) ruled(said, reason string) line {
	parts := paragraphs(reason, 4)
	if len(parts) == 0 {
		return line{text: said}
	}
	return line{text: joined(said, parts[0]), more: parts[1:]}
}
