package change

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The wiki of these tests: wikis run wmf.5 and wmf.6; wmf.4 is still there, wmf.7 is already. Extension Bar is new in wmf.6.
const gerrit = "https://gerrit.example.org/r"

func wiki(live ...string) Layout {
	if live == nil {
		live = []string{"5", "6"}
	}
	l := Layout{Config: Repo{"operations/mediawiki-config", "master"}, Core: "mediawiki/core"}
	for _, n := range []string{"4", "5", "6", "7"} {
		v := Version{Name: "1.41.0-wmf." + n, Branch: wmf(n), Live: slices.Contains(live, n), Paths: map[string]string{}}
		in := "php-" + v.Name
		v.Paths["mediawiki/core"] = in
		v.Paths["mediawiki/vendor"] = in + "/vendor"
		v.Paths["mediawiki/extensions/Foo"] = in + "/extensions/Foo"
		v.Paths["VisualEditor/VisualEditor"] = in + "/extensions/VisualEditor/lib/ve"
		if n >= "6" {
			v.Paths["mediawiki/extensions/Bar"] = in + "/extensions/Bar"
		}
		l.Versions = append(l.Versions, v)
	}
	return l
}

func wmf(n string) string { return "wmf/1.41.0-wmf." + n }

// repo reads config, core@5, foo@master, puppet@production, bar@REL1_39.
func repo(t testing.TB, short string) (project, branch string) {
	name, branch, _ := strings.Cut(short, "@")
	project, ok := map[string]string{
		"config": "operations/mediawiki-config", "core": "mediawiki/core", "vendor": "mediawiki/vendor", "foo": "mediawiki/extensions/Foo",
		"bar": "mediawiki/extensions/Bar", "ve": "VisualEditor/VisualEditor", "puppet": "operations/puppet",
	}[name]
	if !ok {
		t.Fatalf("no repository %q", short)
	}
	switch {
	case len(branch) == 1:
		branch = wmf(branch)
	case branch == "" && name == "puppet":
		branch = "production"
	case branch == "":
		branch = "master"
	}
	return project, branch
}

// id is the Change-Id that a letter stands for.
func id(letter string) string { return fmt.Sprintf("I%040x", []byte(letter)) }

// book is a Source that knows the changes that were written into it, and counts what it is asked.
type book struct {
	t       testing.TB
	changes map[int]Change
	stand   map[int][]Change // what a change's commit stands on, nearest first
	in      map[int][]string
	fail    map[string]error // by method

	mu    sync.Mutex
	asked []string // in order
}

func newBook(t testing.TB) *book {
	return &book{t: t, changes: map[int]Change{}, stand: map[int][]Change{}, in: map[int][]string{}, fail: map[string]error{}}
}

// has writes a change: in repository short, with what words say of it: "id=A", "on=A" (Depends-On by Change-Id), "on=1001" (by
// number's address), "raw=text" (a Depends-On as it is), "parent=1002" or "parent=1002/1" (an old patch set), "in=5,master", merged,
// abandoned, wip, private, conflict, "vote=Code-Review-2", "files=a b".
func (b *book) has(number int, short string, words ...string) *book {
	b.t.Helper()
	project, branch := repo(b.t, short)
	c := Change{
		Number: number, ID: id(fmt.Sprint(number)), Project: project, Branch: branch, Subject: fmt.Sprintf("Change of %s", short), Status: New, Mergeable: Yes,
		PatchSet: 3, Revision: fmt.Sprintf("%040d", number*100+3), URL: fmt.Sprintf("%s/c/%s/+/%d", gerrit, project, number), Owner: "Ann",
	}
	message := []string{c.Subject, "", "Because."}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "id":
			c.ID = id(value)
		case "on":
			if strings.Trim(value, "0123456789") == "" {
				value = gerrit + "/c/any/+/" + value
			} else {
				value = id(value)
			}
			message = append(message, "Depends-On: "+value)
		case "raw":
			message = append(message, "Depends-On: "+value)
		case "bug":
			message = append(message, "Bug: "+value)
		case "parent":
			b.parent(number, value)
		case "in":
			for n := range strings.SplitSeq(value, ",") {
				_, branch := repo(b.t, "core@"+n)
				b.in[number] = append(b.in[number], branch)
			}
		case "vote":
			i := strings.LastIndexAny(value, "+-")
			v := Vote{Label: value[:i], By: "Bob"}
			fmt.Sscan(value[i:], &v.Value)
			c.Votes = append(c.Votes, v)
		case "subject":
			c.Subject, message[0] = value, value
		case "files":
			for p := range strings.FieldsSeq(value) {
				c.Files = append(c.Files, File{Path: p})
			}
		default:
			b.word(&c, word)
		}
	}
	c.Message = strings.Join(append(message, "Change-Id: "+c.ID), "\n") + "\n"
	b.changes[number] = c
	return b
}

func (b *book) word(c *Change, word string) {
	switch word {
	case "merged":
		c.Status, c.Mergeable = Merged, Unknown
	case "abandoned":
		c.Status, c.Mergeable = Abandoned, Unknown
	case "wip":
		c.WIP = true
	case "private":
		c.Private = true
	case "conflict":
		c.Mergeable = No
	default:
		b.t.Fatalf("no word %q", word)
	}
}

// parent lets a change stand on another one, which must be written by then, and on what that stands on.
func (b *book) parent(number int, value string) {
	n, ps := 0, 3
	if _, err := fmt.Sscanf(value, "%d/%d", &n, &ps); err != nil {
		ps = 3
		fmt.Sscan(value, &n)
	}
	p, ok := b.changes[n]
	if !ok {
		b.t.Fatalf("change %d is not written yet", n)
	}
	// As Gerrit tells of a relation chain: no message, no votes.
	link := Change{Number: n, ID: p.ID, Project: p.Project, Branch: p.Branch, Subject: p.Subject, Status: p.Status, PatchSet: ps, Revision: fmt.Sprintf("%040d", n*100+ps)}
	b.stand[number] = append([]Change{link}, b.stand[n]...)
}

func (b *book) ask(format string, args ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	b.asked = append(b.asked, text)
	method, _, _ := strings.Cut(text, " ")
	return b.fail[method]
}

func (b *book) Changes(_ context.Context, numbers []int) ([]Change, error) {
	if err := b.ask("Changes %v", numbers); err != nil {
		return nil, err
	}
	var out []Change
	for _, n := range numbers {
		c, ok := b.changes[n]
		if !ok {
			return nil, fmt.Errorf("ask Gerrit for %d: %w", n, ErrNotFound)
		}
		out = append(out, c)
	}
	return out, nil
}

func (b *book) WithIDs(_ context.Context, ids []string) (map[string][]Change, error) {
	if err := b.ask("WithIDs %d", len(ids)); err != nil {
		return nil, err
	}
	out := map[string][]Change{}
	for _, c := range b.changes {
		if slices.Contains(ids, c.ID) {
			out[c.ID] = append(out[c.ID], c)
		}
	}
	return out, nil
}

func (b *book) Ancestors(_ context.Context, c Change) ([]Change, error) {
	if err := b.ask("Ancestors %d", c.Number); err != nil {
		return nil, err
	}
	if _, ok := b.changes[c.Number]; !ok {
		return nil, fmt.Errorf("ask Gerrit for %d: %w", c.Number, ErrNotFound)
	}
	return slices.DeleteFunc(slices.Clone(b.stand[c.Number]), func(l Change) bool { return b.changes[l.Number].Status == Merged }), nil
}

func (b *book) Branches(_ context.Context, c Change) ([]string, error) {
	if err := b.ask("Branches %d", c.Number); err != nil {
		return nil, err
	}
	if c.Status != Merged {
		return nil, fmt.Errorf("%d is not merged: no branch holds it", c.Number)
	}
	return append([]string{c.Branch}, b.in[c.Number]...), nil
}

// gather is the graph of asked changes.
func (b *book) gather(asked ...int) *Graph {
	b.t.Helper()
	g, err := Gather(b.t.Context(), b, asked)
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

// findings are those of asked changes, as rule:change, with the level's first letter before it: e a w.
func (b *book) findings(l Layout, asked ...int) []string {
	b.t.Helper()
	return short(Judge(b.gather(asked...), l))
}

func short(findings []Finding) []string {
	out := []string{}
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%c %s %d", f.Level.String()[0], f.Rule, f.Change))
	}
	slices.Sort(out)
	return out
}
