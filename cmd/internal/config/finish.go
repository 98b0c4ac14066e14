package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Finish is what is done once a deploy has ended well. One that goes wrong is told and changes no release. In Command
// {release} stands for the release's id, {record} for the file that says what it is made of, {version} for a live version.
type Finish struct {
	Name    string        `yaml:"name"`
	Command []string      `yaml:"command"`
	Timeout time.Duration `yaml:"timeout"`
}

// PerVersion reports whether it is run once for each live version.
func (f Finish) PerVersion() bool {
	return slices.ContainsFunc(f.Command, func(a string) bool { return strings.Contains(a, "{version}") })
}

// finishes reads the list. Without staging nobody knows of records and versions.
func (s *section) finishes(key string, staging bool) []Finish {
	items, _ := s.items(key)
	if len(items) > maxNames {
		s.r.wrong(items[maxNames], "%s: more than %d", s.path(key), maxNames)
		items = items[:maxNames]
	}
	known := placeholders(" (and {record} and {version} with staging)", "release")
	if staging {
		known = placeholders("", "release", "record", "version")
	}
	list := []Finish{}
	for i, n := range items {
		sub := s.r.section(n, nil, fmt.Sprintf("%s[%d]", s.path(key), i))
		sub.missing("name", "a word for this step, such as purge-blobs")
		sub.missing("command", "what is to be done")
		f := Finish{
			Name:    sub.text("name", "", isWord),
			Command: sub.argv("command", known),
			Timeout: sub.duration("timeout", 5*time.Minute, time.Second, 24*time.Hour),
		}
		if f.Name != "" && slices.ContainsFunc(list, func(o Finish) bool { return o.Name == f.Name }) {
			s.r.wrong(sub.values["name"], "%s: another step has the name %s", sub.name, f.Name)
		}
		list = append(list, f)
		sub.close()
	}
	return list
}
