package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds on what is read, far above what a fleet needs.
const (
	maxFile  = 1 << 20
	maxDepth = 32
	maxNames = 500   // groups, balancers or phases
	maxFleet = 50000 // hosts of all groups together
)

// readFile returns the content of a regular file of at most maxFile bytes that nobody but its owner and group can change.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the deployer names the file
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file")
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("everybody on this host can write to it: chmod o-w %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("longer than %d bytes", maxFile)
	}
	return b, nil
}

// parse reads the one YAML document in b; nil when it is unusable, and then the mistake is noted.
func (r *reader) parse(b []byte) *yaml.Node {
	root, err := oneDocument(b)
	var second secondDocument
	switch {
	case errors.As(err, &second):
		r.wrong(second.node, "a second document: scap reads one; remove the --- before it")
	case errors.Is(err, io.EOF):
		r.wrong(nil, "the file is empty")
	case err != nil:
		r.mistakes = append(r.mistakes, r.syntax(err))
	}
	if root == nil || !r.plain(root, 0) {
		return nil
	}
	return root
}

// secondDocument is the error of a file that goes on after its first document.
type secondDocument struct{ node *yaml.Node }

func (secondDocument) Error() string { return "a second document" }

// oneDocument decodes b, and looks whether that was all.
func oneDocument(b []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	var next yaml.Node
	switch err := d.Decode(&next); {
	case errors.Is(err, io.EOF):
		return root, nil
	case err != nil:
		return nil, err
	}
	return root, secondDocument{node: &next}
}

// syntax places the parser's own error. The parser knows the line, but only in its text, and no column.
func (r *reader) syntax(err error) Mistake {
	m := Mistake{File: r.file, Line: 1, Column: 1, What: strings.TrimPrefix(err.Error(), "yaml: ")}
	if rest, ok := strings.CutPrefix(m.What, "line "); ok {
		if digits, what, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(digits); err == nil {
				m.Line, m.What = line, what
			}
		}
	}
	return m
}

// plain refuses what makes a file longer than it looks, or its values ambiguous: aliases, merge keys, explicit types, depth.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	ok := true
	switch {
	case depth > maxDepth:
		r.wrong(n, "nested deeper than %d levels", maxDepth)
		return false
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.wrong(n, "anchors and aliases are not read; put what groups share under targets")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.wrong(n, "explicit types (%s) are not read", n.Tag)
		ok = false
	}
	for _, c := range n.Content {
		ok = r.plain(c, depth+1) && ok
	}
	return ok
}

// override puts one "-D key:value" into the tree, as if the file had said so. Keys are dotted; a list's element is named
// by its name or its index from 0.
func (r *reader) override(root *yaml.Node, text string) {
	key, value, ok := strings.Cut(text, ":")
	key = strings.TrimSpace(key)
	place := Mistake{File: "-D " + clip(key)}
	fail := func(format string, args ...any) {
		place.What = fmt.Sprintf(format, args...)
		r.mistakes = append(r.mistakes, place)
	}
	if !ok || key == "" {
		place.File = "-D " + clip(text)
		fail("want key:value, such as ssh.user:mwdeploy")
		return
	}
	value = strings.TrimSpace(value)
	node, err := oneDocument([]byte(value))
	if value == "" || errors.Is(err, io.EOF) {
		fail("has no value")
		return
	}
	if err != nil {
		fail("the value is not YAML on its own: %s; put a text with special characters in quotes", r.syntax(err).What)
		return
	}
	r.mark(node, key)
	if !r.plain(node, 0) {
		return
	}
	slot, err := r.slot(root, key)
	if err != nil {
		fail("%v", err)
		return
	}
	*slot = *node
	r.origin[slot] = key
}

func (r *reader) mark(n *yaml.Node, key string) {
	r.origin[n] = key
	for _, c := range n.Content {
		r.mark(c, key)
	}
}

// slot finds the node at a dotted key below root and makes what is missing on the way.
func (r *reader) slot(root *yaml.Node, key string) (*yaml.Node, error) {
	n, parts := root, strings.Split(key, ".")
	if len(parts) > maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	for done := 0; done < len(parts); {
		var used int
		var err error
		if n, used, err = r.step(n, parts[done:], key); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(parts[:done+1], "."), err)
		}
		done += used
	}
	return n, nil
}

// step goes one level down and says how many parts of the key that took: a key that itself holds dots (a host's name)
// is found as it is written.
func (r *reader) step(n *yaml.Node, parts []string, key string) (*yaml.Node, int, error) {
	if slices.Contains(parts, "") {
		return nil, 0, fmt.Errorf("an empty word between dots")
	}
	switch n.Kind {
	case yaml.MappingNode:
		for used := len(parts); used > 0; used-- {
			word := strings.Join(parts[:used], ".")
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == word {
					return n.Content[i+1], used, nil
				}
			}
		}
		name := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: parts[0]}
		value := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		r.mark(name, key)
		r.mark(value, key)
		n.Content = append(n.Content, name, value)
		return value, 1, nil
	case yaml.SequenceNode:
		return element(n, parts[0])
	}
	return nil, 0, fmt.Errorf("%s has no parts", kindOf(n))
}

// element finds the element of a list by name, else by index.
func element(n *yaml.Node, word string) (*yaml.Node, int, error) {
	names := []string{}
	for _, c := range n.Content {
		for i := 0; c.Kind == yaml.MappingNode && i+1 < len(c.Content); i += 2 {
			if c.Content[i].Value != "name" {
				continue
			}
			if c.Content[i+1].Value == word {
				return c, 1, nil
			}
			names = append(names, c.Content[i+1].Value)
		}
	}
	if i, err := strconv.Atoi(word); err == nil && i >= 0 && i < len(n.Content) {
		return n.Content[i], 1, nil
	}
	err := fmt.Errorf("no element of the list is named so, and it has %d", len(n.Content))
	if hint := nearest(word, names); hint != "" {
		err = fmt.Errorf("%w; did you mean %q?", err, hint)
	}
	return nil, 0, err
}
