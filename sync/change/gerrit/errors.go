package gerrit

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"scap/sync/change"
)

// What an error of this package may be, by errors.Is; a change that is not there is change.ErrNotFound.
var (
	// ErrUnauthorized says that the credentials are missing or wrong. Asking again is useless.
	ErrUnauthorized = errors.New("no valid credentials")
	// ErrForbidden says that the account may not do this. Asking again is useless.
	ErrForbidden = errors.New("not permitted")
	// ErrConflict says that the change is not in a state for this: merged, abandoned, a merge conflict, votes missing.
	// Asking again is useless until that changes.
	ErrConflict = errors.New("the change's state does not allow it")
	// ErrOutdated is an ErrConflict: a newer patch set than the one that was meant is there.
	ErrOutdated = fmt.Errorf("%w: a newer patch set is there", ErrConflict)
	// ErrDown says that Gerrit did not answer, or said that it cannot now. A read was repeated as long as Timeout let it,
	// and may be asked later; a write with this error has not been done.
	ErrDown = errors.New("gerrit does not answer")
	// ErrLost says of a write that it was sent, that its answer was lost, and that looking did not show it done. It may
	// still happen. Whoever goes on must look again, and must not repeat it blindly.
	ErrLost = errors.New("it is not known whether this was done")
)

// Error is an answer that is not what was asked for, or none.
type Error struct {
	Status int    // of HTTP; 0: there was no answer
	Method string // GET, POST
	Path   string // with the question, without the server
	Body   string // what was said, in one line and not all of it
	cause  error  // what kind it is, or why there is no answer
	lost   bool   // of a write: it may have been done
}

// Error says what was asked and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, clip(e.Path, 200))
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
		if e.Body != "" {
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Body)
	return b.String()
}

// Unwrap gives errors.Is what kind of error it is.
func (e *Error) Unwrap() error { return e.cause }

// kind is what a status means.
func kind(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return change.ErrNotFound
	case status == http.StatusConflict:
		return ErrConflict
	case status == http.StatusTooManyRequests || status >= 500:
		return ErrDown
	}
	return nil
}

// clip makes one short line of a text from outside: no control characters, cut between runes.
func clip(text string, most int) string {
	if len(text) > 4*most {
		text = text[:4*most]
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, text)
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
