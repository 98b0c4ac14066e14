package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// errNoGates: nothing looks, so nothing can pass.
var errNoGates = errors.New("no gate is configured, so none can pass")

// All is the gate that passes only when every one of gates passes in the same look, and fails as soon as one fails. With
// no gates it holds. Each gate keeps its own evidence; a gate that cannot look holds and keeps what it had.
func All(gates ...Gate) Gate { return all(gates) }

type all []Gate

var _ Gate = all(nil)

// part is one gate's share of a combined ruling.
type part struct {
	Verdict  Verdict         `json:"verdict"`
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
	r, err := join(parts)
	if ctx.Err() != nil && r.Verdict != Fail { // what one gate saw fail stands, though another did not answer in time
		return Ruling{}, context.Cause(ctx)
	}
	return r, err
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

// split gives each gate its own evidence back; evidence of another list of gates is none.
func (a all) split(prior Evidence) []Evidence {
	var list []Evidence
	if json.Unmarshal(prior, &list) != nil || len(list) != len(a) {
		return make([]Evidence, len(a))
	}
	for i, e := range list {
		if string(e) == "null" {
			list[i] = nil
		}
	}
	return list
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
	if r.Verdict != Pass && r.Verdict != Fail {
		r.Verdict = Hold
	}
	return part(r)
}

func join(parts []part) (Ruling, error) {
	r := Ruling{Verdict: Pass}
	evidence := make([]Evidence, len(parts))
	for i, p := range parts {
		evidence[i] = p.Evidence
		if len(p.Evidence) == 0 {
			evidence[i] = Evidence("null")
		}
		switch {
		case p.Verdict == Fail:
			r.Verdict = Fail
		case p.Verdict == Hold && r.Verdict == Pass:
			r.Verdict = Hold
		}
	}
	// What decided comes first, in its own words; the others say what they ruled.
	reasons := make([]string, 0, len(parts))
	for _, decisive := range []bool{true, false} {
		for _, p := range parts {
			switch {
			case (p.Verdict == r.Verdict) != decisive || p.Reason == "":
			case decisive:
				reasons = append(reasons, p.Reason)
			default:
				reasons = append(reasons, fmt.Sprintf("%s: %s", p.Verdict, p.Reason))
			}
		}
	}
	r.Reason = strings.Join(reasons, "; ")
	if len(parts) == 1 {
		r.Reason = parts[0].Reason
	}
	var err1, err2 error
	r.Numbers, err1 = json.Marshal(parts)
	r.Evidence, err2 = json.Marshal(evidence)
	if err := errors.Join(err1, err2); err != nil {
		return Ruling{}, fmt.Errorf("write down what the gates said: %w", err)
	}
	return r, nil
}
