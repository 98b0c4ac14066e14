package canary

import (
	"context"
	"errors"
	"time"
)

// Traffic is the gate over what users' requests did, as one Source counts it.
type Traffic struct {
	From       string                                  // the source's name
	Source     Source                                  //
	Canaries   []string                                // asked by Ready: the hosts of this phase
	Others     []string                                // and those that serve the same traffic with the old release
	Rule       Rule                                    //
	Signals    []Signal                                //
	Memory     Memory                                  // of earlier deploys; nil: none
	Changed    func(from, to string) ([]string, error) // files that differ between two releases; nil: not known
	DespiteRed string                                  // the deployer's reason: a red signal neither stops Ready nor holds
	MaxWait    time.Duration                           // a Pass must be possible within it; 10 min
	Controls   int                                     // control hosts read at most; 40
	AskLimit   time.Duration                           // for one question to the source; 20 s
	NoNonce    bool                                    // the source cannot read nonces back, and places requests by release itself
	Clock      func() time.Time                        // asked by Ready and Outlook; nil: time.Now
}

var _ Gate = (*Traffic)(nil)

var errNotYet = errors.New("not built yet")

// Name returns From.
func (t *Traffic) Name() string { return t.From }

// Ready is not built yet.
func (t *Traffic) Ready(context.Context) error { return errNotYet }

// Judge is not built yet.
func (t *Traffic) Judge(context.Context, Window, Evidence) (Ruling, error) {
	return Ruling{}, errNotYet
}
