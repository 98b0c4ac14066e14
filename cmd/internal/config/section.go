package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// section is one mapping of the file. Every accessor names a key that may be in it; close reports the keys nobody named.
type section struct {
	r      *reader
	name   string // dotted path, for messages; "" is the whole file
	place  *yaml.Node
	keys   []*yaml.Node
	values map[string]*yaml.Node
	known  []string
}

// section reads n as a mapping. It is empty, and can still be read for its defaults, when n is nil or something else.
func (r *reader) section(n, place *yaml.Node, name string) *section {
	s := &section{r: r, name: name, place: place, values: map[string]*yaml.Node{}}
	if n == nil {
		return s
	}
	if place == nil {
		s.place = n
	}
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "%s: want keys with values, have %s", s.title(), kindOf(n))
		return s
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			r.wrong(key, "%s: a key must be a plain word", s.title())
			continue
		}
		if _, ok := s.values[key.Value]; ok {
			r.wrong(key, "%s is given twice; first in line %d", s.path(key.Value), s.keyNode(key.Value).Line)
			continue
		}
		s.keys = append(s.keys, key)
		s.values[key.Value] = value
	}
	return s
}

func (s *section) title() string {
	if s.name == "" {
		return "the configuration"
	}
	return s.name
}

// path is the dotted path of a key of s.
func (s *section) path(key string) string {
	if s.name == "" {
		return key
	}
	return s.name + "." + key
}

func (s *section) keyNode(key string) *yaml.Node {
	for _, k := range s.keys {
		if k.Value == key {
			return k
		}
	}
	return s.place
}

// get returns the value of key, nil when there is none, and remembers that the key is a known one.
func (s *section) get(key string) *yaml.Node {
	s.known = append(s.known, key)
	n := s.values[key]
	if n != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		s.r.wrong(n, "%s has no value; leave the key out for its default", s.path(key))
		return nil
	}
	return n
}

// has reports whether key was written, with whatever value.
func (s *section) has(key string) bool { return s.values[key] != nil }

// missing reports a key that must be there and is not.
func (s *section) missing(key, why string) {
	if !s.has(key) {
		s.r.wrong(s.place, "%s is missing: %s", s.path(key), why)
	}
}

// sub returns the mapping under key.
func (s *section) sub(key string) *section {
	return s.r.section(s.get(key), s.keyNode(key), s.path(key))
}

// placeOf returns where the entry word under key was written.
func (s *section) placeOf(key, word string) *yaml.Node {
	n := s.values[key]
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == word {
			return n.Content[i]
		}
	}
	return s.keyNode(key)
}

// close reports the keys that no accessor named.
func (s *section) close() {
	for _, k := range s.keys {
		found := false
		for _, known := range s.known {
			found = found || known == k.Value
		}
		if !found {
			s.r.unlike(k, nearest(k.Value, s.known), "unknown key %q in %s", k.Value, s.title())
		}
	}
}

// check says what is wrong with a text, or "".
type check func(text string) string

// text reads key as a text that passes every check; otherwise returns def.
func (s *section) text(key, def string, checks ...check) string {
	n := s.get(key)
	if n == nil {
		return def
	}
	text, ok := s.r.text(n, s.path(key), checks...)
	if !ok {
		return def
	}
	return text
}

// text reads n as a text.
func (r *reader) text(n *yaml.Node, name string, checks ...check) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		hint := ""
		if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 {
			hint = "; put a text that begins with { in quotes"
		}
		r.wrong(n, "%s: want a text, have %s%s", name, kindOf(n), hint)
		return "", false
	}
	if n.Tag != "!!str" {
		r.wrong(n, "%s: want a text, have %s; if %s is meant as a text, put it in quotes", name, kindOf(n), n.Value)
		return "", false
	}
	for _, c := range checks {
		if what := c(n.Value); what != "" {
			r.wrong(n, "%s: %s", name, what)
			return "", false
		}
	}
	return n.Value, true
}

// one reads key as one of a few words.
func (s *section) one(key, def string, words ...string) string {
	n := s.get(key)
	if n == nil {
		return def
	}
	text, ok := s.r.text(n, s.path(key))
	if !ok {
		return def
	}
	for _, w := range words {
		if text == w {
			return text
		}
	}
	s.r.unlike(n, nearest(text, words), "%s: %q is none of %s", s.path(key), text, strings.Join(words, ", "))
	return def
}

// items returns the nodes of the list under key; ok is false when the key is absent or no list.
func (s *section) items(key string) (items []*yaml.Node, ok bool) {
	n := s.get(key)
	if n == nil {
		return nil, false
	}
	if n.Kind != yaml.SequenceNode {
		s.r.wrong(n, "%s: want a list, have %s", s.path(key), kindOf(n))
		return nil, false
	}
	return n.Content, true
}

// texts reads key as a list of texts without repetition.
func (s *section) texts(key string, def []string, checks ...check) []string {
	items, ok := s.items(key)
	if !ok {
		return def
	}
	texts, seen := []string{}, map[string]bool{}
	for i, n := range items {
		text, ok := s.r.text(n, fmt.Sprintf("%s[%d]", s.path(key), i), checks...)
		if ok && seen[text] {
			s.r.wrong(n, "%s: %q is given twice", s.path(key), text)
			continue
		}
		if ok {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return texts
}

// integer reads key as a whole number between low and high.
func (s *section) integer(key string, def, low, high int) int {
	n := s.get(key)
	if n == nil {
		return def
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
		s.r.wrong(n, "%s: want a whole number, have %s", s.path(key), kindOf(n))
		return def
	}
	v, err := strconv.Atoi(n.Value)
	if err != nil || (len(n.Value) > 1 && n.Value[0] == '0') {
		s.r.wrong(n, "%s: %s is not a whole number in plain decimal digits", s.path(key), n.Value)
		return def
	}
	if v < low || v > high {
		s.r.wrong(n, "%s: %d is out of range: %d to %d", s.path(key), v, low, high)
		return def
	}
	return v
}

// truth reads key as true or false.
func (s *section) truth(key string, def bool) bool {
	n := s.get(key)
	if n == nil {
		return def
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || (n.Value != "true" && n.Value != "false") {
		s.r.wrong(n, "%s: want true or false, have %s", s.path(key), kindOf(n))
		return def
	}
	return n.Value == "true"
}

// duration reads key as a time with its unit, between low and high.
func (s *section) duration(key string, def, low, high time.Duration) time.Duration {
	n := s.get(key)
	if n == nil {
		return def
	}
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float") {
		s.r.wrong(n, "%s: %s has no unit; write for example %ss", s.path(key), n.Value, n.Value)
		return def
	}
	text, ok := s.r.text(n, s.path(key))
	if !ok {
		return def
	}
	d, err := ParseDuration(text)
	if err != nil {
		s.r.wrong(n, "%s: %v", s.path(key), err)
		return def
	}
	if d < low || d > high {
		s.r.wrong(n, "%s: %s is out of range: %s to %s", s.path(key), text, FormatDuration(low), FormatDuration(high))
		return def
	}
	return d
}
