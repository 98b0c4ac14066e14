package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// errNoGates: nothing looks, so nothing can pass.
var errNoGates = errors.New("no gate is configured, so none can pass")

// All is the gate that passes only when every one of gates passes in the same look, and fails as soon as one fails. With
// no gates it holds. Each gate keeps its own evidence, under the name that its method Name() string gives or its place in the
// list; a gate that cannot look holds and keeps what it had.
func All(gates ...Gate) Gate { return all(gates) }

type all []Gate

var _ Gate = all(nil)

// part is one gate's share of a combined ruling.
type part struct {
	Name     string          `json:"name,omitempty"`
	Verdict  Verdict         `json:"verdict"`
	Cause    Cause           `json:"cause,omitempty"`
	Suspects []string        `json:"suspects,omitempty"`
	Reason   string          `json:"reason"`
	Numbers  json.RawMessage `json:"numbers,omitempty"`
	Evidence Evidence        `json:"-"`
}

// Ready asks every gate and reports all that are not.
func (a all) Ready(ctx context.Context) error {
	if len(a) == 0 {
		return errNoGates
	}
	errs := make([]error, len(a))
	var wg sync.WaitGroup
	for i, g := range a {
		wg.Go(func() { errs[i] = guard(func() error { return g.Ready(ctx) }) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Judge lets every gate look at once.
func (a all) Judge(ctx context.Context, w Window, prior Evidence) (Ruling, error) {
	if len(a) == 0 {
		return Ruling{Verdict: Hold, Reason: errNoGates.Error()}, nil
	}
	priors := a.split(prior)
	parts := make([]part, len(a))
	var wg sync.WaitGroup
	for i, g := range a {
		wg.Go(func() { parts[i] = look(ctx, g, w, priors[i]) })
	}
	wg.Wait()
	for i, name := range a.names() {
		if name != strconv.Itoa(i) {
			parts[i].Name = name
		}
	}
	r, err := join(parts)
	if err == nil {
		r.Evidence, err = a.keep(prior, parts)
	}
	if err != nil {
		return Ruling{}, fmt.Errorf("write down what the gates said: %w", err)
	}
	if ctx.Err() != nil && r.Verdict != Fail { // what one gate saw fail stands, though another did not answer in time
		return Ruling{}, context.Cause(ctx)
	}
	return r, nil
}

// guard turns a panic into an error: a gate that breaks cannot look.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

// names are the keys of the gates' evidence.
func (a all) names() []string {
	names, taken := make([]string, len(a)), map[string]bool{}
	for i, g := range a {
		names[i] = strconv.Itoa(i)
		if n, ok := g.(interface{ Name() string }); ok && n.Name() != "" && !taken[n.Name()] {
			names[i] = n.Name()
		}
		taken[names[i]] = true
	}
	return names
}

// split gives each gate its own evidence back, also when another list of gates wrote it: what a gate saw in one phase it
// goes on with in the next.
func (a all) split(prior Evidence) []Evidence {
	var kept map[string]Evidence
	if json.Unmarshal(prior, &kept) != nil {
		kept = nil
	}
	list := make([]Evidence, len(a))
	for i, name := range a.names() {
		if e := kept[name]; string(e) != "null" {
			list[i] = e
		}
	}
	return list
}

// keep writes the gates' evidence down beside that of gates which are not of this list.
func (a all) keep(prior Evidence, parts []part) (Evidence, error) {
	var kept map[string]Evidence
	if json.Unmarshal(prior, &kept) != nil || kept == nil {
		kept = map[string]Evidence{}
	}
	for i, name := range a.names() {
		if len(parts[i].Evidence) > 0 {
			kept[name] = parts[i].Evidence
		} else {
			delete(kept, name)
		}
	}
	return json.Marshal(kept)
}

func look(ctx context.Context, g Gate, w Window, prior Evidence) part {
	var r Ruling
	err := guard(func() (err error) {
		r, err = g.Judge(ctx, w, prior)
		return err
	})
	if err != nil {
		return part{Verdict: Hold, Reason: fmt.Sprintf("could not look: %v", err), Evidence: prior}
	}
	if r.Verdict != Pass && r.Verdict != Fail && (r.Verdict != Suspect || len(r.Suspects) == 0) {
		r.Verdict = Hold
	}
	return part{"", r.Verdict, r.Cause, r.Suspects, r.Reason, r.Numbers, r.Evidence}
}

// join is the worst word of all: a fail, else a suspect host, else a hold.
func join(parts []part) (r Ruling, err error) {
	rank := map[Verdict]int{Pass: 0, Hold: 1, Suspect: 2, Fail: 3}
	r.Verdict = Pass
	for _, p := range parts {
		if rank[p.Verdict] > rank[r.Verdict] {
			r.Verdict, r.Cause = p.Verdict, p.Cause
		} else if p.Verdict == r.Verdict && (r.Cause == Gathering || r.Cause == "") {
			r.Cause = p.Cause // what stands in the way says more than that time must pass
		}
		r.Suspects = append(r.Suspects, p.Suspects...)
	}
	if r.Verdict != Hold {
		r.Cause = ""
	}
	if r.Verdict != Suspect {
		r.Suspects = nil
	}
	slices.Sort(r.Suspects)
	r.Suspects = slices.Compact(r.Suspects)
	// What decided comes first, in its own words; the others say what they ruled. Who says it is named where several do.
	deciding := 0
	for _, p := range parts {
		if p.Verdict == r.Verdict && p.Reason != "" {
			deciding++
		}
	}
	reasons := make([]string, 0, len(parts))
	for _, decisive := range []bool{true, false} {
		for _, p := range parts {
			switch {
			case (p.Verdict == r.Verdict) != decisive || p.Reason == "":
			case decisive && (deciding == 1 || p.Name == ""):
				reasons = append(reasons, p.Reason)
			case decisive:
				reasons = append(reasons, fmt.Sprintf("%s: %s", p.Name, p.Reason))
			default:
				reasons = append(reasons, strings.TrimSpace(fmt.Sprintf("%s %s: %s", p.Name, p.Verdict, p.Reason)))
			}
		}
	}
	r.Reason = strings.Join(reasons, "; ")
	if len(parts) == 1 {
		r.Reason = parts[0].Reason
	}
	r.Numbers, err = json.Marshal(parts)
	return r, err
}
