package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mistake is one thing that is wrong with the configuration, at the place where a person can mend it.
type Mistake struct {
	File   string // the file, or "-D <key>" for an override
	Line   int    // from 1; 0 when File says it all
	Column int
	What   string
	Hint   string // what was probably meant; empty when nothing is close
}

// String writes file:line:col: what; did you mean "x"?
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
	}
	b.WriteString(": " + m.What)
	if m.Hint != "" {
		fmt.Fprintf(&b, "; did you mean %q?", m.Hint)
	}
	return b.String()
}

// Mistakes are all that is wrong, in the order of the file. It is never empty when Load returns it.
type Mistakes []Mistake

// Error writes one mistake a line.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// reader collects the mistakes of one Load. Readers of single values go on with the default after a mistake, so that one
// run finds them all.
type reader struct {
	file     string
	mistakes Mistakes
	hosts    int                   // of all groups so far
	origin   map[*yaml.Node]string // nodes that an override brought, with the override's key
}

// at says where n was written.
func (r *reader) at(n *yaml.Node) Mistake {
	if n == nil {
		return Mistake{File: r.file, Line: 1, Column: 1}
	}
	if key, ok := r.origin[n]; ok {
		return Mistake{File: "-D " + key}
	}
	return Mistake{File: r.file, Line: max(n.Line, 1), Column: max(n.Column, 1)}
}

// overridden reports whether an override changes the section of that name.
func (r *reader) overridden(name string) bool {
	for _, key := range r.origin {
		if first, _, _ := strings.Cut(key, "."); first == name {
			return true
		}
	}
	return false
}

// wrong notes a mistake at n.
func (r *reader) wrong(n *yaml.Node, format string, args ...any) {
	r.unlike(n, "", format, args...)
}

// unlike notes a mistake at n with what was probably meant.
func (r *reader) unlike(n *yaml.Node, hint, format string, args ...any) {
	m := r.at(n)
	m.What, m.Hint = fmt.Sprintf(format, args...), hint
	r.mistakes = append(r.mistakes, m)
}

// err returns the mistakes by place, or nil when there is none.
func (r *reader) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
		if (a.File == r.file) != (b.File == r.file) { // the named file first, then overrides and dsh files
			if a.File == r.file {
				return -1
			}
			return 1
		}
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return r.mistakes
}

// kindOf says in words what n is.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return n.Value
	case "!!null":
		return "nothing"
	case "!!str":
		return fmt.Sprintf("the text %q", clip(n.Value))
	}
	return fmt.Sprintf("%q (%s)", clip(n.Value), n.Tag)
}

// clip keeps a message short whatever the file holds.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
