package logs

import (
	"fmt"
	"strconv"
	"strings"
)

// Signal is a success that users must go on having, as the access log tells it: edits are POSTs of action=submit that are
// answered with 302.
type Signal struct {
	Name   string `json:"name"`
	Method string `json:"method,omitempty"` // empty: any
	// Path is the whole path; one that ends with / or * stands for all that begins so.
	Path     string   `json:"path"`
	Statuses []string `json:"statuses"`        // "302", or "2xx" for a hundred
	Query    string   `json:"query,omitempty"` // what the query string must hold: a=b, several with &, in any order
}

// checkSignals reports every mistake.
func checkSignals(list []Signal) (errs []error) {
	seen := map[string]bool{}
	for _, s := range list {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("signal %q: %s", s.Name, fmt.Sprintf(format, args...)))
		}
		if s.Name == "" || len(s.Name) > maxText || seen[s.Name] {
			bad("its name is empty, too long or another's too")
		}
		seen[s.Name] = true
		if !strings.HasPrefix(s.Path, "/") {
			bad("path %q does not begin with /", s.Path)
		}
		if len(s.Statuses) == 0 {
			bad("no status is a success")
		}
		for _, status := range s.Statuses {
			n, err := strconv.Atoi(strings.Replace(status, "xx", "00", 1))
			if err != nil || n < 100 || n > 599 {
				bad("status %q: want one such as 302, or 2xx for a hundred", status)
			}
		}
	}
	return errs
}

// matches reports whether the line of an access log is such a success.
func (g Signal) matches(e event) bool {
	if g.Method != "" && g.Method != e.method || !g.status(e.status) {
		return false
	}
	path, query, _ := strings.Cut(e.uri, "?")
	prefix, star := strings.CutSuffix(g.Path, "*")
	switch {
	case star || strings.HasSuffix(g.Path, "/"):
		if !strings.HasPrefix(path, prefix) {
			return false
		}
	case path != g.Path:
		return false
	}
	return g.Query == "" || holds(query, g.Query)
}

func (g Signal) status(n int) bool {
	for _, s := range g.Statuses {
		if s == strconv.Itoa(n) || strings.HasSuffix(s, "xx") && strings.HasPrefix(s, strconv.Itoa(n/100)) {
			return true
		}
	}
	return false
}

// holds reports whether a query string has each of the pairs in want.
func holds(query, want string) bool {
	for pair := range strings.SplitSeq(want, "&") {
		found := false
		for have := range strings.SplitSeq(query, "&") {
			found = found || have == pair
		}
		if !found {
			return false
		}
	}
	return true
}
