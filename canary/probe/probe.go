// Package probe asks a wiki what a user would ask and compares the answers with what a file of probes expects: a probe is
// an HTTP request, its expectation a status, headers, words or patterns in the body, or values in JSON. A login may come
// first, whose session later probes use.
//
// The same probes run in two places: on a host, where the agent asks the host's own web server before the host comes back
// into the pool (Answer), and on the deploy host through the balancer (Run). Gate compares canaries with hosts that still
// run the old release. Nothing is tried twice: a page that fails every second time is broken.
//
// testdata/probes.yaml is a complete, commented example of the file. Its keys, all strict:
//
//	host, timeout, user_agent, credentials   for all probes
//	login                                    a list of steps, in order
//	probes                                   a list of probes
//
// and those of a step or probe:
//
//	name, path        required
//	host, timeout     in place of those above
//	method            GET, HEAD or POST; POST when there is a form
//	headers, form     texts by name
//	session           send the login's cookies (a step always does)
//	follow            follow redirects, on the same server
//	capture           variables by name, each {json: path}, {regexp: pattern with one group}, {header: name} or {cookie: name}
//	expect            status, headers, contains, lacks, matches, json
//
// ${name} stands for a captured variable and ${credentials.name} for a line of the credentials file. A JSON path is keys
// and list positions joined by dots. Without an expected status it is 200.
package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Set is a file of probes.
type Set struct {
	Login  []Probe `json:"login,omitempty"`
	Probes []Probe `json:"probes"`

	// credentials stay out of every marshalled Set; Question hands them on explicitly.
	credentials map[string]string
}

// Probe is one request and what it must be answered with.
type Probe struct {
	Name      string             `json:"name"`
	Path      string             `json:"path"`
	Host      string             `json:"host,omitempty"`
	Method    string             `json:"method"`
	Headers   map[string]string  `json:"headers,omitempty"`
	Form      map[string]string  `json:"form,omitempty"`
	UserAgent string             `json:"user_agent"`
	Timeout   time.Duration      `json:"timeout"`
	Session   bool               `json:"session,omitempty"`
	Follow    bool               `json:"follow,omitempty"`
	Capture   map[string]Capture `json:"capture,omitempty"`
	Expect    Expect             `json:"expect"`
}

// Capture says where a variable's value is; exactly one field is set.
type Capture struct {
	JSON   string `json:"json,omitempty"`
	Regexp string `json:"regexp,omitempty"`
	Header string `json:"header,omitempty"`
	Cookie string `json:"cookie,omitempty"`
}

// Expect is what an answer must be. All of it must hold.
type Expect struct {
	Status   []int                      `json:"status"`
	Headers  map[string]string          `json:"headers,omitempty"` // contained in the value
	Contains []string                   `json:"contains,omitempty"`
	Lacks    []string                   `json:"lacks,omitempty"`
	Matches  []string                   `json:"matches,omitempty"`
	JSON     map[string]json.RawMessage `json:"json,omitempty"`
}

// Question is everything that Run needs to know.
type Question struct {
	// Base is where the web server is: scheme, address, port. The Host header is the probes' own.
	Base        string            `json:"base"`
	Set         Set               `json:"set"`
	Credentials map[string]string `json:"credentials,omitempty"`
}

// Question asks the probes of s at base, with the credentials that Read found.
func (s *Set) Question(base string) Question {
	return Question{Base: base, Set: *s, Credentials: s.credentials}
}

// Outcome is how one probe ended. The zero value means that it was not tried.
type Outcome string

// The outcomes.
const (
	Untried     Outcome = ""
	OK          Outcome = "ok"
	Failed      Outcome = "failed"      // an answer came and is wrong, or a connection was made and no answer came
	Unreachable Outcome = "unreachable" // no connection: nothing is known about the release
)

// Result is one probe's end.
type Result struct {
	Name    string        `json:"name"`
	Outcome Outcome       `json:"outcome"`
	Status  int           `json:"status,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Took    time.Duration `json:"took"`
}

// Report has one Result for every probe, in order; the login's steps appear only when one did not end well.
type Report struct {
	Results []Result `json:"results"`
}

// errNoProbes: nothing was asked, so nothing is well.
var errNoProbes = errors.New("no probe was run")

// Err returns nil when every probe is OK, else an error that names those that are not.
func (r Report) Err() error {
	if len(r.Results) == 0 {
		return errNoProbes
	}
	var bad []string
	for _, p := range r.Results {
		if p.Outcome != OK {
			bad = append(bad, p.String())
		}
	}
	const most = 3
	switch {
	case len(bad) == 0:
		return nil
	case len(bad) > most:
		bad = append(bad[:most], fmt.Sprintf("and %d more", len(bad)-most))
	}
	return fmt.Errorf("%d of %d probes: %s", r.bad(), len(r.Results), strings.Join(bad, "; "))
}

func (r Report) bad() (n int) {
	for _, p := range r.Results {
		if p.Outcome != OK {
			n++
		}
	}
	return n
}

// String says what happened, for people.
func (r Result) String() string {
	if r.Outcome == OK {
		return fmt.Sprintf("%q ok", r.Name)
	}
	if r.Outcome == Untried {
		return fmt.Sprintf("%q was not tried", r.Name)
	}
	return fmt.Sprintf("%q %s: %s", r.Name, r.Outcome, r.Reason)
}
