package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"scap/sync/release"
)

var errNoInput = errors.New("they match nothing in the tree, so it would never run again")

// inputsOf names all that a job is made from: its command, and what its patterns match in the tree.
func inputsOf(src release.Dirs, id release.ID, j *job) (release.Sum, error) {
	m := matcher{src: src, found: map[string]string{}, seen: map[string]bool{}}
	for _, pattern := range j.step.Inputs {
		pattern = strings.ReplaceAll(pattern, versionMark, j.version)
		if err := m.walk("", release.Sum(id), strings.Split(pattern, "/"), 0); err != nil {
			return release.Sum{}, fmt.Errorf("inputs of step %s: %w", j.title(), err)
		}
	}
	if len(m.found) == 0 {
		return release.Sum{}, fmt.Errorf("inputs of step %s: %w", j.title(), errNoInput)
	}
	lines := []string{}
	for _, p := range slices.Sorted(maps.Keys(m.found)) {
		lines = append(lines, p, m.found[p])
	}
	text, err := json.Marshal([]any{"scap step 1", j.step.Name, j.version, j.step.Command, j.rec.Outputs, lines})
	return release.SumOf(text), err
}

// matcher collects what patterns match, a directory as one.
type matcher struct {
	src   release.Dirs
	found map[string]string
	seen  map[string]bool // directory and rest of the pattern: ** leads to the same place in many ways
}

func (m *matcher) walk(dir string, sum release.Sum, pattern []string, depth int) error {
	key := dir + "\x00" + strings.Join(pattern, "/")
	if m.seen[key] {
		return nil
	}
	m.seen[key] = true
	if depth > release.MaxDepth {
		return fmt.Errorf("%q: deeper than %d directories", dir, release.MaxDepth)
	}
	head, rest := pattern[0], pattern[1:]
	if head == "**" && len(rest) == 0 {
		m.found[dir+"/"] = sum.String()
		return nil
	}
	if head == "**" {
		if err := m.walk(dir, sum, rest, depth); err != nil {
			return err
		}
	}
	d, err := m.src.Dir(sum)
	if err != nil {
		return fmt.Errorf("directory %q: %w", dir, err)
	}
	for _, e := range d {
		next := rest
		if head == "**" {
			next = pattern
		} else if ok, _ := path.Match(head, e.Name); !ok {
			continue
		}
		p := join(dir, e.Name)
		switch {
		case len(next) == 0:
			m.found[p] = fmt.Sprintf("%c%o %s", e.Kind, e.Mode, e.Sum)
		case e.Kind == release.Directory:
			if err := m.walk(p, e.Sum, next, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
