package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Kind is what an error means to the asker, apart from its text. A Kind is an error itself: errors.Is(err, wire.Fenced)
// holds on the agent's side, where it is wrapped, and on the asker's side after it crossed the wire.
type Kind string

// The kinds.
const (
	Failed   Kind = ""         // anything else
	Fenced   Kind = "fenced"   // the host has seen a larger token: stop
	Returned Kind = "returned" // the switch failed and the previous release is proven again
	Broken   Kind = "broken"   // neither release could be proven: the host must stay out
	NotFound Kind = "notfound" // no such release, service or directory object here
	Busy     Kind = "busy"     // another agent works on the host; ask again later
	NoSpace  Kind = "nospace"  // disk or quota is full
	Refused  Kind = "refused"  // the question contradicts what is on the host; asking again is useless
	Late     Kind = "late"     // the agent's or the asker's time limit passed
)

// Error returns the kind's name.
func (k Kind) Error() string {
	if k == Failed {
		return "failed"
	}
	return string(k)
}

// Is lets the errors of the standard library that a kind stands for be recognised on both sides of the wire.
func (k Kind) Is(target error) bool {
	switch k {
	case Late:
		return target == context.DeadlineExceeded //nolint:errorlint // errors.Is walks the chain
	case NotFound:
		return target == fs.ErrNotExist //nolint:errorlint // the same
	case NoSpace:
		return target == syscall.ENOSPC //nolint:errorlint // the same
	}
	return false
}

// Of gives err this kind and leaves its text as it is.
func (k Kind) Of(err error) error { return &kindOf{k, err} }

// Errorf is fmt.Errorf with a kind.
func (k Kind) Errorf(format string, args ...any) error { return k.Of(fmt.Errorf(format, args...)) }

type kindOf struct {
	kind Kind
	error
}

// Unwrap puts the kind first: it wins over one that the cause carries.
func (e *kindOf) Unwrap() []error { return []error{e.kind, e.error} }

// Error is an error that crossed the wire.
type Error struct {
	Kind Kind   `json:"kind,omitempty"`
	Text string `json:"text"`
}

// Error returns the text as the agent wrote it, made fit for a terminal.
func (e *Error) Error() string { return Plain(e.Text, 4096) }

// Unwrap returns the Kind.
func (e *Error) Unwrap() error { return e.Kind }

// ErrorOf makes err fit to cross the wire.
func ErrorOf(err error) *Error {
	var k Kind
	switch {
	case errors.As(err, &k):
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		k = NoSpace
	case errors.Is(err, fs.ErrNotExist):
		k = NotFound
	case errors.Is(err, context.DeadlineExceeded):
		k = Late
	}
	return &Error{Kind: k, Text: err.Error()}
}
