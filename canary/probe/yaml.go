package probe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader walks a YAML document and keeps every mistake with its place, so that all are told at once.
type reader struct {
	file string
	errs []mistake
}

type mistake struct {
	line, col int
	text      string
}

func (r *reader) errorf(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, mistake{n.Line, n.Column, fmt.Sprintf(format, args...)})
}

// err joins the mistakes, in the order of the file.
func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b mistake) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.col - b.col
	})
	errs := make([]error, 0, len(r.errs))
	for _, m := range r.errs {
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", r.file, m.line, m.col, m.text))
	}
	return errors.Join(errs...)
}

// document returns the one document of a file.
func document(file string, in io.Reader) (*yaml.Node, error) {
	dec := yaml.NewDecoder(in)
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		return nil, fmt.Errorf("%s:%d:%d: a second document", file, second.Line, second.Column)
	}
	return doc.Content[0], nil
}

// mapping calls the function of each key that n has, and returns the keys that it has.
func (r *reader) mapping(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) map[string]bool {
	seen := map[string]bool{}
	r.pairs(n, what, func(key, value *yaml.Node) {
		seen[key.Value] = true
		if f, ok := fields[key.Value]; ok {
			f(value)
			return
		}
		names := make([]string, 0, len(fields))
		for k := range fields {
			names = append(names, k)
		}
		r.errorf(key, "%s has no %q%s", what, key.Value, suggest(key.Value, names))
	})
	return seen
}

// pairs calls do for every key and value of n.
func (r *reader) pairs(n *yaml.Node, what string, do func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "%s: want keys and values", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			r.errorf(key, "%s: want a plain key", what)
		case seen[key.Value]:
			r.errorf(key, "%s: %q is there twice", what, key.Value)
		default:
			seen[key.Value] = true
			do(key, value)
		}
	}
}

// text reads a scalar that is no null.
func (r *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.errorf(n, "%s: want a text", what)
		return ""
	}
	return n.Value
}

func (r *reader) boolean(n *yaml.Node, what string) (b bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
		r.errorf(n, "%s: want true or false", what)
	}
	return b
}

func (r *reader) duration(n *yaml.Node, what string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(r.text(n, what))
	if err != nil || d < least || d > most {
		r.errorf(n, "%s: want a time from %s to %s, like 5s", what, least, most)
		return least
	}
	return d
}

// list calls each for every element; a single value stands for a list of one.
func (r *reader) list(n *yaml.Node, what string, each func(*yaml.Node)) {
	switch n.Kind {
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			r.errorf(n, "%s: the list is empty", what)
		}
		for _, c := range n.Content {
			each(c)
		}
	case yaml.ScalarNode, yaml.MappingNode:
		each(n)
	default:
		r.errorf(n, "%s: want a list", what)
	}
}

func (r *reader) texts(n *yaml.Node, what string) (out []string) {
	r.list(n, what, func(c *yaml.Node) {
		s := r.text(c, what)
		if s == "" {
			r.errorf(c, "%s: an empty text says nothing", what)
		}
		out = append(out, s)
	})
	return out
}

func (r *reader) textMap(n *yaml.Node, what string) map[string]string {
	m := map[string]string{}
	r.pairs(n, what, func(key, value *yaml.Node) { m[key.Value] = r.text(value, what+" "+key.Value) })
	return m
}

// suggest names what was probably meant.
func suggest(got string, names []string) string {
	slices.Sort(names)
	best, at := "", 3
	for _, n := range names {
		if d := distance(got, n); d < at {
			best, at = n, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": is it %q?", best)
	}
	return ": it has " + strings.Join(names, ", ")
}

// distance is how many letters must be changed, added or left out.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
