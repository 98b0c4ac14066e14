package change

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGather(t *testing.T) {
	b := newBook(t)
	b.has(1004, "core@5", "merged").has(1003, "core@5", "id=C", "on=1010").has(1002, "core@5", "parent=1003", "on=Z")
	b.has(1001, "foo@5", "id=A", "parent=1002", "on=C", "on=D", "raw=https://github.com/x/pull/1")
	b.has(1005, "bar", "id=D", "merged", "in=6,7").has(1006, "bar@6", "id=D", "merged").has(1007, "bar@7", "id=D", "abandoned", "on=Q")
	b.has(1010, "ve", "id=E").has(1011, "ve@5", "id=E").has(1012, "core@5", "id=E")
	g := b.gather(1001, 1004, 1001)
	for _, row := range []struct {
		name       string
		have, want any
	}{
		{"asked, each once", g.Asked, []int{1001, 1004}},
		{"all changes", slices.Sorted(maps.Keys(g.Changes)), []int{1001, 1002, 1003, 1004, 1005, 1006, 1007, 1010, 1011}},
		{"parent first, then what the message says, in order", g.Needs[1001], []Need{
			{On: 1002, Why: Parent},
			{On: 1003, Why: DependsOn, ID: id("C")},
			{On: 1005, Why: DependsOn, ID: id("D")},
			{On: 1006, Why: DependsOn, ID: id("D")},
			{On: 1007, Why: DependsOn, ID: id("D")},
		}},
		{"the chain's rest is its own", g.Needs[1002], []Need{{On: 1003, Why: Parent}}},
		{"a development branch by its address means its picks too, in the same project", g.Needs[1003], []Need{
			{On: 1010, Why: DependsOn, ID: gerrit + "/c/any/+/1010"}, {On: 1011, Why: DependsOn, ID: gerrit + "/c/any/+/1010"},
		}},
		{"merged ones need nothing", g.Needs[1005], []Need(nil)},
		{"abandoned ones need nothing", g.Needs[1007], []Need(nil)},
		{"siblings", g.Siblings[id("D")], []int{1005, 1006, 1007}},
		{"branches of what is merged elsewhere", g.In, map[int][]string{1005: {"master", wmf("6"), wmf("7")}, 1006: {wmf("6")}}},
		{"lost", g.Lost, map[int][]string{1001: {"https://github.com/x/pull/1"}, 1002: {id("Z")}}},
		{"details of a parent are looked up", g.Changes[1002].Message, b.changes[1002].Message},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, row.have); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("each question once", func(t *testing.T) {
		sorted := slices.Sorted(slices.Values(b.asked))
		want := []string{
			"Ancestors 1001", "Ancestors 1010", "Ancestors 1011", "Branches 1005", "Branches 1006",
			"Changes [1001 1004]", "Changes [1002 1010]", "WithIDs 2", "WithIDs 2",
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), sorted); diff != "" {
			t.Error(diff)
		}
	})
}

// A backport of many changes takes as many rounds as one of few.
func TestGatherRounds(t *testing.T) {
	b := newBook(t)
	var asked []int
	for i := range 50 {
		n := 1000 + 10*i
		letter := fmt.Sprint("d", i)
		b.has(n+1, "foo", "id="+letter, "merged", "in=5").has(n+2, "foo@5", "merged").has(n, "core@5", "on="+letter, "on="+fmt.Sprint(n+2))
		asked = append(asked, n)
	}
	g := b.gather(asked...)
	if len(g.Changes) != 150 || len(Judge(g, wiki())) != 0 {
		t.Fatal(len(g.Changes), Judge(g, wiki()))
	}
	batches := slices.DeleteFunc(slices.Clone(b.asked), func(q string) bool { return strings.HasPrefix(q, "Ancestors") || strings.HasPrefix(q, "Branches") })
	if len(batches) != 3 { // the asked, their Change-Ids, their numbers
		t.Error(batches)
	}
	// A relation chain of thirty is known by one question for it, and one for all its changes.
	b = newBook(t)
	for n := range 30 {
		words := []string{}
		if n > 0 {
			words = append(words, fmt.Sprint("parent=", n))
		}
		b.has(n+1, "core@5", words...)
	}
	if g := b.gather(30); len(g.Changes) != 30 || len(b.asked) != 3 {
		t.Error(len(g.Changes), b.asked)
	}
}

// parallel holds every question for a second.
type parallel struct{ *book }

func (p parallel) Changes(ctx context.Context, ns []int) ([]Change, error) {
	<-time.After(time.Second)
	return p.book.Changes(ctx, ns)
}

func (p parallel) WithIDs(ctx context.Context, ids []string) (map[string][]Change, error) {
	<-time.After(time.Second)
	return p.book.WithIDs(ctx, ids)
}

func (p parallel) Ancestors(ctx context.Context, c Change) ([]Change, error) {
	<-time.After(time.Second)
	return p.book.Ancestors(ctx, c)
}

func (p parallel) Branches(ctx context.Context, c Change) ([]string, error) {
	<-time.After(time.Second)
	return p.book.Branches(ctx, c)
}

func TestGatherAsksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		for i := range 5 {
			n := 1000 + 10*i
			b.has(n+1, "foo", "id="+fmt.Sprint("p", i), "merged", "in=5").has(n, "core@5", "on="+fmt.Sprint("p", i))
		}
		began := time.Now()
		g, err := Gather(t.Context(), parallel{b}, []int{1000, 1010, 1020, 1030, 1040})
		if err != nil || len(g.In) != 5 {
			t.Fatal(g, err)
		}
		// The changes; what they stand on and what they name; where that is.
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("%d questions took the time of %v", len(b.asked), took)
		}
	})
}

func TestGatherErrors(t *testing.T) {
	down := errors.New("503 Service Unavailable")
	b := func() *book { return newBook(t).has(1, "core@5", "on=A").has(2, "foo", "id=A", "merged") }
	with := func(b *book, method string) *book { b.fail[method] = down; return b }
	many := b()
	for n := range 120 {
		many.has(100+n, "foo", "id=A")
	}
	loop := newBook(t) // each needs the next, without an end
	for n := range maxChanges + 10 {
		loop.has(n+1, "core@5", fmt.Sprint("on=", n+2))
	}
	footers := b().has(3, "core@5", strings.Split(strings.TrimSpace(strings.Repeat("on=1 ", 5))+" "+many120(), " ")...)
	for _, row := range []struct {
		name  string
		src   *book
		asked []int
		is    error
		says  []string
	}{
		{"one does not exist", b(), []int{1, 9}, ErrNotFound, []string{"change 9: no such change, or you may not see it"}},
		{"several do not exist", b(), []int{8, 1, 9}, ErrNotFound, []string{"change 8: no such", "change 9: no such"}},
		{"all do not exist", b(), []int{9}, ErrNotFound, []string{"change 9: no such"}},
		{"changes cannot be asked for", with(b(), "Changes"), []int{1, 2}, down, []string{"look up changes 1 and 2: 503"}},
		{"Change-Ids cannot be asked for", with(b(), "WithIDs"), []int{1}, down, []string{"look up Depends-On " + id("A") + ": 503"}},
		{"ancestors cannot be asked for", with(b(), "Ancestors"), []int{1}, down, []string{`look up what 1 "Change of core@5" (mediawiki/core, wmf/1.41.0-wmf.5) stands on: 503`}},
		{"branches cannot be asked for", with(b(), "Branches"), []int{1}, down, []string{`look up which branches hold 2 "Change of foo"`}},
		{"too many asked for", b(), make([]int, maxChanges+1), nil, []string{"look up 501 changes: at most 500"}},
		{"too many needed", loop, []int{1, 2}, nil, []string{"changes 1 and 2 need more than 500 changes"}},
		{"too many Depends-On", footers, []int{3}, nil, []string{`3 "Change of core@5"`, "more than 100 Depends-On"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, err := Gather(t.Context(), row.src, row.asked)
			if err == nil || g != nil || row.is != nil && !errors.Is(err, row.is) {
				t.Fatal(g, err)
			}
			for _, text := range row.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v: want %q", err, text)
				}
			}
		})
	}
	t.Run("ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Gather(ctx, ended{b()}, []int{1}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("what does not exist is asked for once", func(t *testing.T) {
		b := newBook(t).has(1, "core@5", "on=99")
		if g := b.gather(1); len(g.Lost[1]) != 1 || !slices.Equal(b.asked[:1], []string{"Changes [1]"}) || len(b.asked) != 3 {
			t.Error(g.Lost, b.asked)
		}
	})
	t.Run("nothing asked for", func(t *testing.T) {
		b := b()
		if g, err := Gather(t.Context(), b, nil); err != nil || len(g.Changes) != 0 || len(b.asked) != 0 || Judge(g, wiki()) != nil {
			t.Error(g, err)
		}
	})
}

func many120() string {
	var words []string
	for n := range 120 {
		words = append(words, fmt.Sprint("on=", 100+n))
	}
	return strings.Join(words, " ")
}

// ended answers as a client does whose context has ended.
type ended struct{ *book }

func (ended) Changes(ctx context.Context, _ []int) ([]Change, error) { return nil, context.Cause(ctx) }

// odd gives answers that do not fit the question.
type odd struct {
	*book
	answer []Change
}

func (o odd) Changes(context.Context, []int) ([]Change, error) { return o.answer, nil }

func TestGatherOddAnswers(t *testing.T) {
	for text, answer := range map[string][]Change{
		"look up changes 1 and 2: 2 changes were asked for, 1 were told of":  {{Number: 1}},
		"look up changes 1 and 2: change 1 was asked for, and 2 was told of": {{Number: 2}, {Number: 1}},
		"look up changes 1 and 2: 2 changes were asked for, 3 were told of":  {{Number: 1}, {Number: 2}, {Number: 3}},
	} {
		if _, err := Gather(t.Context(), odd{newBook(t), answer}, []int{1, 2}); err == nil || err.Error() != text {
			t.Errorf("have %v, want %s", err, text)
		}
	}
	t.Run("a parent that is not to be had by itself", func(t *testing.T) {
		b := newBook(t).has(2, "core@5").has(1, "core@5", "parent=2")
		delete(b.changes, 2)
		g := b.gather(1)
		if have := short(Judge(g, wiki())); !slices.Equal(have, []string{"e depends-code 2"}) {
			t.Error(have)
		}
	})
	t.Run("an old patch set of a parent that stood on what its current one does not", func(t *testing.T) {
		b := newBook(t).has(3, "core@5").has(2, "core@5", "parent=3").has(1, "core@5", "parent=2/1")
		b.stand[2] = nil
		want := []Need{{On: 2, Why: Parent, PatchSet: 1}, {On: 3, Why: Parent}}
		if g := b.gather(1); !slices.Equal(g.Needs[1], want) || g.Needs[2] != nil {
			t.Error(g.Needs)
		}
	})
	t.Run("a change that stands on itself", func(t *testing.T) {
		b := newBook(t).has(1, "core@5")
		b.parent(1, "1")
		if have := b.findings(wiki(), 1); len(have) != 0 {
			t.Error(have)
		}
	})
	t.Run("a change is judged as it was first told of", func(t *testing.T) {
		k := &known{changes: map[int]*Change{}}
		k.add(Change{Number: 1, PatchSet: 1})
		k.add(Change{Number: 1, PatchSet: 2})
		if k.changes[1].PatchSet != 1 {
			t.Error("it moved under the judge")
		}
	})
	t.Run("many numbers", func(t *testing.T) {
		if have := numbers([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}); have != "changes 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more" {
			t.Error(have)
		}
	})
}
