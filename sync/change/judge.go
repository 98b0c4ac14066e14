package change

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Level is what a finding asks of the deployer.
type Level int8

// The zero Level is Error.
const (
	Error   Level = iota // it cannot go on
	Ask                  // it goes on if the deployer says so
	Warning              // to be known
)

// String is error, ask or warning.
func (l Level) String() string {
	switch l {
	case Ask:
		return "ask"
	case Warning:
		return "warning"
	}
	return "error"
}

// Finding is something to know before changes are deployed.
type Finding struct {
	Level  Level
	Change int    // the one to do something about
	Rule   string // one of the Rule constants
	Text   string
	// Chain leads from a change that was asked for to Change, each one needing the next. For RuleCyclic it is the circle.
	Chain []int
}

// The rules, of asked changes and of what these need.
const (
	RuleAbandoned     = "abandoned"      // asked for, or needed
	RuleNotDeployable = "not-deployable" // nothing that is deployed comes from that project and branch
	RuleNotLive       = "not-live"       // only a version that no wiki runs has it
	RuleMerged        = "merged"         // already
	RuleWIP           = "wip"
	RulePrivate       = "private" // to Gerrit's other users
	RuleConflict      = "conflict"
	RuleVetoed        = "vetoed"   // Code-Review -2
	RuleFailed        = "failed"   // Verified below 0
	RuleObjected      = "objected" // any other vote below 0

	RuleCyclic          = "cyclic"
	RuleDependsCode     = "depends-code"      // of a version's branch, neither merged nor asked for
	RuleDependsConfig   = "depends-config"    // neither merged nor asked for
	RuleDependsBranch   = "depends-branch"    // not in the branch of what needs it
	RuleDependsLive     = "depends-live"      // configuration needs it, and a live version lacks it
	RuleDependsUpcoming = "depends-upcoming"  // the same of a version that is newer than those
	RuleDependsRollback = "depends-rollback"  // the same of the version before the only live one
	RuleDependsSomeLive = "depends-some-live" // a live version lacks it, while others got it by a cherry-pick
	RuleDependsNone     = "depends-none"      // no Depends-On of it matters here
	RuleDependsLost     = "depends-lost"      // a Depends-On of it leads nowhere
	RuleOutdated        = "outdated"          // it stands on an old patch set
)

// Judge says everything that speaks against deploying the asked changes of g together to l, errors first. Nothing is found
// twice: what several changes need is found once, with all the chains that lead to it.
//
// Two things differ from scap, where each made it refuse what is well. A dependency that does not matter because the same
// change counts on the right branch is not followed: what it needs on a branch of another version is not this deploy's.
// And an abandoned one is no error where the same change came to that branch another way.
func Judge(g *Graph, l Layout) []Finding {
	j := &judging{g: g, l: l, index: map[string]int{}}
	for _, n := range g.Asked {
		if c := g.Changes[n]; c != nil {
			j.asked(c)
		}
	}
	j.cycles()
	j.dependencies()
	slices.SortStableFunc(j.findings, func(a, b Finding) int { return cmp.Compare(a.Level, b.Level) })
	return j.findings
}

type judging struct {
	g        *Graph
	l        Layout
	findings []Finding
	index    map[string]int // of a finding by what it is about
	from     map[int]int    // by which change another one was reached first
}

func (j *judging) find(level Level, c *Change, rule, format string, args ...any) {
	j.findings = append(j.findings, Finding{Level: level, Change: c.Number, Rule: rule, Text: c.String() + " " + fmt.Sprintf(format, args...)})
}

// asked judges one that was asked for, by itself.
func (j *judging) asked(c *Change) {
	if c.Status == Abandoned {
		j.index[about(RuleAbandoned, c, "")] = len(j.findings)
		j.find(Error, c, RuleAbandoned, "is abandoned: restore it in Gerrit, or leave it out")
		return
	}
	switch {
	case len(j.l.Paths(c.Project, c.Branch)) == 0:
		j.find(Error, c, RuleNotDeployable, "cannot be deployed: %s", j.undeployable(c))
	case !j.l.Live(c.Project, c.Branch):
		j.find(Ask, c, RuleNotLive, "is for a version that no wiki runs: nobody will see it until that version is live (live: %s)", list(j.branches(true)))
	}
	if c.Status == Merged {
		j.find(Warning, c, RuleMerged, "is already merged: it ships as it is on the branch, with all that was merged there since")
		return
	}
	if c.WIP {
		j.find(Error, c, RuleWIP, "is work in progress: have its owner mark it as ready, or leave it out")
	}
	if c.Private {
		j.find(Ask, c, RulePrivate, "is private in Gerrit: deploying and merging it shows it to everybody")
	}
	if c.Mergeable == No {
		j.find(Error, c, RuleConflict, "cannot be merged: it conflicts with what is on %s now; rebase it", plain(c.Branch, 200))
	}
	j.votes(c)
}

// undeployable says why there is no place for a change, and what would help.
func (j *judging) undeployable(c *Change) string {
	var on []string
	for _, v := range j.l.Versions {
		if _, ok := v.Paths[c.Project]; ok {
			on = append(on, v.Branch)
		}
	}
	switch {
	case c.Project == j.l.Config.Project && c.Project != "":
		return fmt.Sprintf("the configuration that is deployed is branch %s", j.l.Config.Branch)
	case len(on) == 0:
		return "no version that is deployed has this project"
	}
	return fmt.Sprintf("%s is deployed from %s; cherry-pick it there, and name the cherry-pick", plain(c.Project, 200), list(on))
}

// branches are those of the versions that are live, or of all.
func (j *judging) branches(live bool) []string {
	var out []string
	for _, v := range j.l.Versions {
		if v.Live || !live {
			out = append(out, v.Branch)
		}
	}
	if len(out) == 0 {
		return []string{"none"}
	}
	return out
}

// votes judges what reviewers and CI said. By label and value, each with all who said it.
func (j *judging) votes(c *Change) {
	by := map[string][]string{}
	var votes []Vote
	for _, v := range c.Votes {
		if v.Value >= 0 {
			continue
		}
		key := fmt.Sprint(v.Label, v.Value)
		if by[key] == nil {
			votes = append(votes, v)
		}
		if who := plain(v.By, 100); !slices.Contains(by[key], who) {
			by[key] = append(by[key], who)
		}
	}
	slices.SortFunc(votes, func(a, b Vote) int { return cmp.Or(cmp.Compare(a.Value, b.Value), strings.Compare(a.Label, b.Label)) })
	for _, v := range votes {
		who := list(by[fmt.Sprint(v.Label, v.Value)])
		switch {
		case v.Label == "Code-Review" && v.Value <= -2:
			j.find(Error, c, RuleVetoed, "has Code-Review %d by %s, and Gerrit merges nothing against that: talk to them, or leave it out", v.Value, who)
		case v.Label == "Verified":
			j.find(Ask, c, RuleFailed, "has Verified %d by %s: its tests fail, and CI may not merge it", v.Value, who)
		default:
			j.find(Warning, c, RuleObjected, "has %s %d by %s: read what they say", plain(v.Label, 50), v.Value, who)
		}
	}
}
