package change

import (
	"slices"
	"strings"
	"testing"
)

// What is found about a change by itself.
func TestAsked(t *testing.T) {
	tell(t, []story{
		{"code of a live version", []string{"1 core@5"}, nil, []int{1}, nil},
		{"configuration", []string{"1 config"}, nil, []int{1}, nil},
		{"several versions and projects at once", []string{"1 core@5", "2 core@6", "3 foo@5", "4 config", "5 ve@6", "6 vendor@5"}, nil, []int{1, 2, 3, 4, 5, 6}, nil},
		{"abandoned", []string{"1 core@5 abandoned"}, nil, []int{1}, []string{"e abandoned 1"}},
		{"abandoned is all there is to say", []string{"1 puppet abandoned wip conflict vote=Code-Review-2 on=Z"}, nil, []int{1}, []string{"e abandoned 1"}},
		{"work in progress", []string{"1 core@5 wip"}, nil, []int{1}, []string{"e wip 1"}},
		{"private", []string{"1 core@5 private"}, nil, []int{1}, []string{"a private 1"}},
		{"conflict", []string{"1 core@5 conflict"}, nil, []int{1}, []string{"e conflict 1"}},
		{"merged", []string{"1 core@5 merged"}, nil, []int{1}, []string{"w merged 1"}},
		{"merged, and nothing else matters", []string{"1 core@5 merged wip private vote=Code-Review-2"}, nil, []int{1}, []string{"w merged 1"}},
		{"not live", []string{"1 core@7"}, nil, []int{1}, []string{"a not-live 1"}},
		{"not live and merged", []string{"1 core@4 merged"}, nil, []int{1}, []string{"a not-live 1", "w merged 1"}},
		{"neither code nor configuration", []string{"1 puppet"}, nil, []int{1}, []string{"e not-deployable 1"}},
		{"development branch", []string{"1 core"}, nil, []int{1}, []string{"e not-deployable 1"}},
		{"version that is gone", []string{"1 core@3"}, nil, []int{1}, []string{"e not-deployable 1"}},
		{"extension that this version does not have", []string{"1 bar@5"}, nil, []int{1}, []string{"e not-deployable 1"}},
		{"configuration's other branch", []string{"1 config@train-dev"}, nil, []int{1}, []string{"e not-deployable 1"}},
		{
			"everything at once",
			[]string{"1 puppet wip private conflict vote=Code-Review-2 vote=Verified-1 vote=Code-Review-1 on=Z"},
			nil,
			[]int{1},
			[]string{"e not-deployable 1", "e wip 1", "e conflict 1", "e vetoed 1", "a private 1", "a failed 1", "a depends-lost 1", "w objected 1"},
		},
		{"Code-Review -2", []string{"1 core@5 vote=Code-Review-2 vote=Code-Review+2"}, nil, []int{1}, []string{"e vetoed 1"}},
		{"Code-Review -1", []string{"1 core@5 vote=Code-Review-1"}, nil, []int{1}, []string{"w objected 1"}},
		{"Verified -1", []string{"1 core@5 vote=Verified-1"}, nil, []int{1}, []string{"a failed 1"}},
		{"Verified -2", []string{"1 core@5 vote=Verified-2"}, nil, []int{1}, []string{"a failed 1"}},
		{"another label", []string{"1 core@5 vote=Security-2"}, nil, []int{1}, []string{"w objected 1"}},
		{"good votes", []string{"1 core@5 vote=Verified+2 vote=Code-Review+1"}, nil, []int{1}, nil},
		{"votes of one value are found once", []string{"1 core@5 vote=Code-Review-2 vote=Code-Review-2"}, nil, []int{1}, []string{"e vetoed 1"}},
		{"votes of a dependency do not count", []string{"1 core@5 on=2", "2 foo@5 merged vote=Code-Review-2"}, nil, []int{1}, nil},
	})
}

func TestAskedTexts(t *testing.T) {
	b := newBook(t)
	b.has(1, "core@7", "vote=Code-Review-2").has(2, "config@train-dev").has(3, "puppet").has(4, "core@5", "conflict", "merged")
	c := b.changes[1]
	c.Votes = append(c.Votes, Vote{Label: "Code-Review", Value: -2, By: "Eve\x1b[2J"}, c.Votes[0])
	c.Subject = "Say \x1b]0;hello\a\nto " + strings.Repeat("ü", 200)
	b.changes[1] = c
	var texts []string
	for _, f := range Judge(b.gather(1, 2, 3, 4), wiki()) {
		if strings.ContainsFunc(f.Text, func(r rune) bool { return r < ' ' }) || len(f.Text) > 1000 {
			t.Errorf("%q", f.Text)
		}
		texts = append(texts, f.Text)
	}
	have := strings.Join(texts, "\n")
	for _, want := range []string{
		"by Bob and Eve [2J, and Gerrit merges nothing against that",
		`1 "Say ]0;hello to üü`,
		"(live: wmf/1.41.0-wmf.5 and wmf/1.41.0-wmf.6)",
		"the configuration that is deployed is branch master",
		"no version that is deployed has this project",
		"it ships as it is on the branch",
	} {
		if !strings.Contains(have, want) {
			t.Errorf("%s\nwant: %s", have, want)
		}
	}
	l := wiki("none")
	if have := Judge(b.gather(4), l)[0].Text; !strings.Contains(have, "(live: none)") {
		t.Error(have)
	}
}

// Errors come before questions, and these before what is only to be known; in each, as the changes were asked for.
func TestFindingsOrder(t *testing.T) {
	b := newBook(t)
	b.has(1, "core@5", "merged").has(2, "core@7").has(3, "core@5", "wip").has(4, "core@5", "conflict", "private")
	var have []string
	for _, f := range Judge(b.gather(1, 2, 3, 4), wiki()) {
		have = append(have, f.Rule)
	}
	if want := []string{RuleWIP, RuleConflict, RuleNotLive, RulePrivate, RuleMerged}; !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}

func TestChangeString(t *testing.T) {
	for want, c := range map[string]Change{
		`1001 "Fix it" (mediawiki/core, master)`: {Number: 1001, Subject: "Fix it", Project: "mediawiki/core", Branch: "master"},
		`1001 (mediawiki/core, master)`:          {Number: 1001, Project: "mediawiki/core", Branch: "master"},
		`1001`:                                   {Number: 1001},
		`private change "Fix it"`:                {Subject: "Fix it"},
		`1001 "a b c ? d"`:                       {Number: 1001, Subject: "\ta\nb\u202e \x00c \xff d "},
	} {
		if have := c.String(); have != want {
			t.Errorf("have %s, want %s", have, want)
		}
	}
}
