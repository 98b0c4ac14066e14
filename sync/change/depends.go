package change

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// relevant reports whether a deploy of c must care about d, which c needs. Siblings are the same change as d on other
// branches.
func (l Layout) relevant(c, d *Change, siblings []*Change) bool {
	from, to := l.kind(c), l.kind(d)
	switch {
	case to == Config:
		return true
	case to == Foreign:
		return false
	case from == Code && d.Branch == c.Branch:
		return true
	case from == Code && to == Master:
		return !slices.ContainsFunc(siblings, func(s *Change) bool { return s.Branch == c.Branch })
	case from == Config || from == Master:
		return to == Code || to == Master && !slices.ContainsFunc(siblings, func(s *Change) bool { return l.kind(s) == Code })
	}
	return false
}

// dependencies judges all that the asked changes need, nearest first.
func (j *judging) dependencies() {
	j.from = map[int]int{}
	var queue []int
	for _, n := range j.g.Asked {
		if c := j.g.Changes[n]; c != nil {
			queue = append(queue, n)
			j.from[n] = 0
		}
	}
	for len(queue) > 0 {
		c := j.g.Changes[queue[0]]
		queue = queue[1:]
		for _, n := range j.needs(c) {
			if _, ok := j.from[n]; !ok {
				j.from[n] = c.Number
				queue = append(queue, n)
			}
		}
	}
}

// needs judges what c needs, and returns what of it is to be followed: what matters, and what is outside of the wiki and
// may need something that matters.
func (j *judging) needs(c *Change) []int {
	var follow []int
	matter, named := 0, []string{}
	for _, need := range j.g.Needs[c.Number] {
		d := j.g.Changes[need.On]
		if d == nil {
			continue
		}
		siblings := j.g.siblings(d)
		relevant := j.l.relevant(c, d, siblings)
		if relevant || j.l.kind(d) == Foreign && d.Status == New {
			follow = append(follow, need.On)
		}
		if need.Why == DependsOn {
			named = append(named, fmt.Sprint(d.Number))
		}
		if !relevant {
			j.elsewhere(c, d, siblings)
			continue
		}
		if need.Why == DependsOn {
			matter++
		}
		if d.Status == Abandoned {
			j.abandoned(c, d)
			continue
		}
		if need.PatchSet != 0 {
			j.outdated(c, d, need)
		}
		j.verdict(c, d)
	}
	for _, text := range j.g.Lost[c.Number] {
		named = append(named, plain(text, 100))
		j.lost(c, text)
	}
	if matter == 0 && len(named) > 0 && len(j.g.Lost[c.Number]) == 0 && j.l.kind(c) != Foreign {
		j.find(Ask, c, RuleDependsNone, "has Depends-On (%s) of which none matters to what is deployed: see whether that is meant", list(named))
		j.findings[len(j.findings)-1].Chain = j.path(c.Number)
	}
	return follow
}

// verdict judges a dependency that matters and is not abandoned.
func (j *judging) verdict(c, d *Change) {
	from, to := j.l.kind(c), j.l.kind(d)
	switch {
	case to == Config:
		j.mergedOrAsked(c, d, RuleDependsConfig)
	case to != Master:
		j.mergedOrAsked(c, d, RuleDependsCode)
	case from == Config:
		j.everywhere(c, d)
	case d.Status == Merged && (from == Master || j.in(d, c.Branch)):
	case from == Master:
		j.needed(Error, c, d, RuleDependsBranch, c.Branch, "is not merged", "Have it merged first")
	default:
		j.needed(Error, c, d, RuleDependsBranch, c.Branch, "is "+j.notIn(d, []string{c.Branch}), j.pick(c, d, []string{c.Branch}))
	}
}

func (j *judging) mergedOrAsked(c, d *Change, rule string) {
	if d.Status == Merged || j.g.asked(d.Number) {
		return
	}
	state := "is neither merged nor among the changes to deploy"
	if d.WIP {
		state = "is work in progress and not among the changes to deploy"
	}
	j.needed(Error, c, d, rule, "", state, fmt.Sprintf("Name %d too, or have it merged first", d.Number))
}

// everywhere judges code of the development branch that configuration needs: configuration is for all versions at once.
func (j *judging) everywhere(c, d *Change) {
	live, upcoming, rollback := j.lacking(d)
	if len(live) > 0 {
		j.needed(Error, c, d, RuleDependsLive, "", "is "+j.notIn(d, live)+", which wikis run", j.pick(c, d, live))
	}
	if len(upcoming) > 0 {
		j.needed(Error, c, d, RuleDependsUpcoming, "", "is "+j.notIn(d, upcoming)+", which wikis will run next", j.pick(c, d, upcoming))
	}
	if rollback != "" {
		j.needed(Ask, c, d, RuleDependsRollback, "", "is "+j.notIn(d, []string{rollback})+", to which the wikis would return if the only live version had to be left",
			j.pick(c, d, []string{rollback}))
	}
}

// lacking returns the branches that lack d: those that are live, those that are newer than all these, and the one before
// the only live one.
func (j *judging) lacking(d *Change) (live, upcoming []string, rollback string) {
	newest, lives := -1, 0
	for i, v := range j.l.Versions {
		if v.Live {
			newest, lives = i, lives+1
		}
	}
	for i, v := range j.l.Versions {
		switch {
		case d.Status == Merged && j.in(d, v.Branch):
		case v.Live:
			live = append(live, v.Branch)
		case i > newest:
			upcoming = append(upcoming, v.Branch)
		case lives == 1 && i == newest-1:
			rollback = v.Branch
		}
	}
	return live, upcoming, rollback
}

// elsewhere judges code of the development branch that configuration needs and that counts on the branches it was picked
// to: a live version beside these that does not have it is worth a question.
func (j *judging) elsewhere(c, d *Change, siblings []*Change) {
	if j.l.kind(c) != Config || j.l.kind(d) != Master {
		return
	}
	var lack, have []string
	for _, v := range j.l.Versions {
		picked := slices.ContainsFunc(siblings, func(s *Change) bool { return s.Branch == v.Branch })
		_, part := v.Paths[d.Project]
		switch {
		case !v.Live || !part:
		case picked || j.in(d, v.Branch):
			have = append(have, v.Branch)
		default:
			lack = append(lack, v.Branch)
		}
	}
	if len(lack) > 0 {
		j.needed(Ask, c, d, RuleDependsSomeLive, "", fmt.Sprintf("was picked to %s, and is %s, which wikis run too", list(have), j.notIn(d, lack)), j.pick(c, d, lack))
	}
}

// abandoned judges a dependency that was given up, unless the same change came to its branch another way.
func (j *judging) abandoned(c, d *Change) {
	for _, s := range j.g.siblings(d) {
		if s.Branch == d.Branch && (s.Status == Merged || j.g.asked(s.Number)) || s.Status == Merged && j.in(s, d.Branch) {
			return
		}
	}
	j.needed(Error, c, d, RuleAbandoned, "", "is abandoned", fmt.Sprintf("Restore it, or free %d from it (%s)", c.Number, j.release(c, d)))
}

// release is how c is freed from needing d.
func (j *judging) release(c, d *Change) string {
	if j.g.need(c.Number, d.Number).Why == Parent {
		return "rebase it"
	}
	return "take the Depends-On out of its message"
}

// outdated judges a parent that moved on.
func (j *judging) outdated(c, d *Change, need Need) {
	j.find(Ask, c, RuleOutdated, "stands on patch set %d of %s, which is at patch set %d now: rebase it, or Gerrit may not merge it", need.PatchSet, d, d.PatchSet)
	j.findings[len(j.findings)-1].Chain = j.path(c.Number)
}

// lost judges a Depends-On that leads nowhere.
func (j *judging) lost(c *Change, text string) {
	ref := parseReference(text, site(c))
	why := "is on no Gerrit that is asked: see for yourself whether it is live"
	if ref.id != "" || ref.number != 0 {
		why = "leads to no change that you may see: correct the message, or see for yourself whether it is live"
	}
	j.find(Ask, c, RuleDependsLost, "has a Depends-On that %s: %s", why, plain(text, 200))
	j.findings[len(j.findings)-1].Chain = j.path(c.Number)
}

func (j *judging) in(d *Change, branch string) bool { return slices.Contains(j.g.In[d.Number], branch) }

// notIn says that d is not in these branches.
func (j *judging) notIn(d *Change, branches []string) string {
	if d.Status != Merged {
		return "not merged, and so not in " + list(branches)
	}
	return "merged, but not in " + list(branches)
}

// pick says how d comes to these branches, for c.
func (j *judging) pick(c, d *Change, branches []string) string {
	var without []string
	for _, v := range j.l.Versions {
		if _, ok := v.Paths[d.Project]; !ok && slices.Contains(branches, v.Branch) {
			without = append(without, v.Branch)
		}
	}
	if len(without) > 0 {
		return fmt.Sprintf("There is no %s in %s: wait until no such version is left, or let %d do without it there", plain(d.Project, 200), list(without), c.Number)
	}
	return fmt.Sprintf("Cherry-pick %d to %s, and name the cherry-pick too", d.Number, list(branches))
}

// needed finds something about d, which c needs. What is found of d for several changes is one finding, with all chains.
func (j *judging) needed(level Level, c, d *Change, rule, where, state, advice string) {
	chain := append(j.path(c.Number), d.Number)
	key := about(rule, d, where)
	if i, ok := j.index[key]; ok {
		f := &j.findings[i]
		if f.Chain == nil { // it was asked for, too
			f.Chain = chain
			f.Text += ". Needed by: " + j.g.chain(chain)
		} else {
			f.Text += "; also " + j.g.chain(chain)
		}
		return
	}
	j.index[key] = len(j.findings)
	j.findings = append(j.findings, Finding{
		Level: level, Change: d.Number, Rule: rule, Chain: chain,
		Text: fmt.Sprintf("%s %s, and %s needs it. %s. Needed by: %s", d, state, c, advice, j.g.chain(chain)),
	})
}

// about is what a finding is about: a rule, a change, and where it holds if that is not everywhere.
func about(rule string, d *Change, where string) string {
	return strings.Join([]string{rule, strconv.Itoa(d.Number), where}, " ")
}

// path leads from an asked change to one that was reached.
func (j *judging) path(n int) []int {
	path := []int{n}
	for j.from[n] != 0 {
		n = j.from[n]
		path = append(path, n)
	}
	slices.Reverse(path)
	return path
}
