package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What becomes of a release in which a check finds something.
const (
	Block = "block" // it is not deployed
	Warn  = "warn"  // the deployer is told
	Off   = "off"   // nobody looks
)

// Staging says what a release is made of. {version} stands for the name of a version as wikiversions.json has it, without
// what Core.Path puts before it: 1.41.0-wmf.5.
type Staging struct {
	Config       Repo     `yaml:"config"` // at the root of the tree
	Core         Core     `yaml:"core"`   // of every version that is live
	Wikiversions string   `yaml:"wikiversions"`
	Patches      string   `yaml:"patches,omitempty"` // directory of security patches, by version; empty: none
	Private      string   `yaml:"private,omitempty"` // directory that is laid over the root; empty: none
	BetaOnly     []string `yaml:"beta_only"`         // patterns of files of Config that no host here reads
	Lint         string   `yaml:"lint"`              // of changed files: Block, Warn or Off
	Registration string   `yaml:"registration"`      // what extension.json names exists: Block, Warn or Off
	PHP          []string `yaml:"php" show:"none"`   // runs php on the deploy host; nil: there is none
	MergeFirst   bool     `yaml:"merge_first"`       // approve before the test servers, as if always --merge-first
	Steps        []Step   `yaml:"steps"`             // what is generated
}

// Repo is a branch of a project.
type Repo struct {
	Project string `yaml:"project"`
	Branch  string `yaml:"branch"`
}

// Core is where versions come from and go to. Branch and Path have {version} in them.
type Core struct {
	Project string `yaml:"project"`
	Branch  string `yaml:"branch"`
	Path    string `yaml:"path"` // in the tree
}

// Step makes a part of the tree out of others. It runs again only when its command or what Inputs match has changed.
type Step struct {
	Name       string        `yaml:"name"`
	Command    []string      `yaml:"command"`           // {tree} is the tree, read only, {out} an empty directory to fill
	PerVersion bool          `yaml:"per_version"`       // once for each version, which is {version} in all that follows
	Inputs     []string      `yaml:"inputs"`            // patterns of paths in the tree; ** is any number of directories
	Outputs    string        `yaml:"outputs,omitempty"` // path in the tree that what is in {out} replaces; empty: it only looks
	After      []string      `yaml:"after"`             // steps whose outputs it reads
	Timeout    time.Duration `yaml:"timeout"`
}

// staging reads the section; nil when there is none.
func (s *section) staging(gerrit *Gerrit) *Staging {
	if s.get("staging") == nil {
		return nil
	}
	sub := s.sub("staging")
	if gerrit == nil && !s.has("gerrit") {
		s.r.wrong(s.keyNode("staging"), "staging needs gerrit: a section that says where the repositories are")
	}
	g := &Staging{
		Config:       sub.repo("config"),
		Core:         sub.core("core"),
		Wikiversions: sub.text("wikiversions", "wikiversions.json", isTreePath),
		Patches:      sub.text("patches", "", isTree),
		Private:      sub.text("private", "", isTree),
		BetaOnly:     sub.texts("beta_only", []string{}, isTreePattern),
		Lint:         sub.one("lint", Block, Block, Warn, Off),
		Registration: sub.one("registration", Block, Block, Warn, Off),
		MergeFirst:   sub.truth("merge_first", false),
	}
	g.PHP = sub.php("php")
	if n := sub.values["php"]; n != nil && isNone(n) && g.Registration != Off {
		sub.r.wrong(sub.keyNode("registration"), "%s: php is none, and without it nothing can be looked up in PHP files: say registration: off", sub.path("registration"))
	}
	g.Steps = sub.steps("steps", g.Core.Path)
	sub.close()
	return g
}

func (s *section) repo(key string) Repo {
	sub := s.sub(key)
	r := Repo{
		Project: sub.text("project", "operations/mediawiki-config", isProject),
		Branch:  sub.text("branch", "master", isBranch),
	}
	sub.close()
	return r
}

func (s *section) core(key string) Core {
	sub := s.sub(key)
	c := Core{
		Project: sub.text("project", "mediawiki/core", isProject),
		Branch:  sub.text("branch", "wmf/{version}", isVersioned, isBranch),
		Path:    sub.text("path", "php-{version}", isVersioned, isTreePath, isPrefixed),
	}
	sub.close()
	return c
}

// php reads the command of php, or none.
func (s *section) php(key string) []string {
	switch n := s.values[key]; {
	case n == nil:
		s.get(key)
		return []string{"/usr/bin/php"}
	case isNone(n):
		s.get(key)
		return nil
	}
	return s.argv(key)
}

// steps reads the list. core is where a version is in the tree.
func (s *section) steps(key, core string) []Step {
	items, _ := s.items(key)
	if len(items) > maxNames {
		s.r.wrong(items[maxNames], "%s: more than %d", s.path(key), maxNames)
		items = items[:maxNames]
	}
	list, read := []Step{}, []*section{}
	for i, n := range items {
		sub := s.r.section(n, nil, fmt.Sprintf("%s[%d]", s.path(key), i))
		p := sub.step(core)
		for _, other := range list {
			switch {
			case p.Name != "" && p.Name == other.Name:
				s.r.wrong(sub.values["name"], "%s: another step has the name %s", sub.name, p.Name)
			case p.Outputs != "" && other.Outputs != "" && (within(p.Outputs, other.Outputs) || within(other.Outputs, p.Outputs)):
				s.r.wrong(sub.values["outputs"], "%s: %s and the outputs of step %s lie in each other", sub.path("outputs"), p.Outputs, other.Name)
			}
		}
		list, read = append(list, p), append(read, sub)
	}
	for i, sub := range read {
		sub.afters(list, i)
	}
	return list
}

func (s *section) step(core string) Step {
	s.missing("name", "a word for this step, such as l10n")
	s.missing("command", "what fills {out}, or looks at {tree}")
	s.missing("inputs", "patterns of the files that it reads: while they stay the same it need not run again")
	p := Step{
		Name:       s.text("name", "", isWord),
		PerVersion: s.truth("per_version", false),
		After:      s.texts("after", []string{}, isWord),
		Timeout:    s.duration("timeout", 30*time.Minute, time.Second, 24*time.Hour),
	}
	words, more := []string{"tree", "out"}, " (and {version} with per_version: true)"
	path := []check{isTreePath, placeholders(more)}
	if p.PerVersion {
		words, more = append(words, "version"), ""
		path = []check{isTreePath, isVersioned}
	}
	p.Command = s.argv("command", placeholders(more, words...))
	fills := slices.ContainsFunc(p.Command, func(a string) bool { return strings.Contains(a, "{out}") })
	switch {
	case len(p.Command) == 0: // said already
	case isSudo(p.Command[0]):
		s.r.wrong(s.values["command"], "%s: a step has no rights but to fill {out}: sudo does not work there", s.path("command"))
	case s.has("outputs") && !fills:
		s.r.wrong(s.values["command"], "%s has no {out}: nothing would come of it", s.path("command"))
	case !s.has("outputs") && fills:
		s.r.wrong(s.place, "%s has no outputs: what is in {out} would be lost", s.name)
	}
	p.Inputs = s.texts("inputs", []string{}, isTreePattern, placeholders(more, words[2:]...))
	if n := s.values["inputs"]; n != nil && len(n.Content) == 0 {
		s.r.wrong(n, "%s is empty: nothing would say when the step must run again", s.path("inputs"))
	}
	p.Outputs = s.text("outputs", "", path...)
	if p.Outputs != "" && within(core, p.Outputs) {
		s.r.wrong(s.values["outputs"], "%s: %s would replace a whole version", s.path("outputs"), p.Outputs)
	}
	s.close()
	return p
}

// afters looks whether what a step waits for exists and ends.
func (s *section) afters(list []Step, i int) {
	names := make([]string, len(list))
	for k, p := range list {
		names[k] = p.Name
	}
	for _, name := range list[i].After {
		if !contains(names, name) {
			s.r.unlike(s.values["after"], nearest(name, names), "%s: there is no step %q", s.path("after"), name)
		}
	}
	waits, seen := []string{list[i].Name}, map[string]bool{}
	for len(waits) > 0 {
		last := waits[len(waits)-1]
		waits = waits[:len(waits)-1]
		for _, p := range list {
			if p.Name != last || seen[last] {
				continue
			}
			if contains(p.After, list[i].Name) {
				s.r.wrong(s.values["after"], "%s: %s would wait for itself", s.path("after"), list[i].Name)
				return
			}
			waits = append(waits, p.After...)
		}
		seen[last] = true
	}
}

// placeholders refuses placeholders but those of words. more is added to what it says.
func placeholders(more string, words ...string) check {
	named := make([]string, len(words))
	for i, w := range words {
		named[i] = "{" + w + "}"
	}
	return func(text string) string {
		rest := text
		for _, w := range named {
			rest = strings.ReplaceAll(rest, w, "")
		}
		if !strings.ContainsAny(rest, "{}") {
			return ""
		}
		if len(named) == 0 {
			return fmt.Sprintf("%q: there are no placeholders here%s", clip(text), more)
		}
		return fmt.Sprintf("%q: the placeholders are %s%s", clip(text), strings.Join(named, ", "), more)
	}
}

// isVersioned is for what differs from version to version.
func isVersioned(text string) string {
	if !strings.Contains(text, "{version}") {
		return fmt.Sprintf("%q has no {version}: all versions would be one", clip(text))
	}
	return placeholders("", "version")(text)
}

// isPrefixed is for where versions are: what wikiversions.json names is all of that path.
func isPrefixed(text string) string {
	if !strings.HasSuffix(text, "{version}") || strings.Index(text, "{version}") == 0 || strings.Count(text, "{version}") > 1 {
		return fmt.Sprintf("%q: want {version} once, at its end and with something before it, such as php-{version}", clip(text))
	}
	return ""
}

// isTreePath is for a path in a release.
func isTreePath(text string) string {
	switch {
	case text == "" || text == ".":
		return "is empty: want a path below the root of the tree"
	case noControl(text) != "":
		return noControl(text)
	case len(text) > 4000:
		return "is longer than 4000 bytes"
	case slices.ContainsFunc(strings.Split(text, "/"), func(part string) bool { return len(part) > 255 }):
		return "has a name longer than 255 bytes"
	case strings.HasPrefix(text, "/") || path.Clean(text) == ".." || strings.HasPrefix(path.Clean(text), "../"):
		return fmt.Sprintf("%q leads out of the tree: want a path below its root, such as wmf-config", clip(text))
	case path.Clean(text) != text:
		return fmt.Sprintf("%q: write it as %s", clip(text), clip(path.Clean(text)))
	}
	return ""
}

// isTreePattern is for paths in a tree: *, ? and [a-z] as in the shell, within a name.
func isTreePattern(text string) string {
	if what := isTreePath(text); what != "" {
		return what
	}
	if _, err := path.Match(text, ""); err != nil {
		return fmt.Sprintf("%q is no pattern: a [ without its ]", clip(text))
	}
	return ""
}

var projectName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$`)

// isProject is for the name of a repository: it becomes part of URLs and paths.
func isProject(text string) string {
	if !projectName.MatchString(text) || len(text) > 200 || strings.Contains(text, "..") || strings.HasSuffix(text, ".git") {
		return fmt.Sprintf("%q is no project; want for example mediawiki/core", clip(text))
	}
	return ""
}

// isBranch is for the name of a branch, {version} included.
func isBranch(text string) string {
	name := strings.ReplaceAll(text, "{version}", "1")
	if !projectName.MatchString(name) || len(text) > 200 || strings.Contains(name, "..") || strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".") {
		return fmt.Sprintf("%q is no branch; want for example master", clip(text))
	}
	if strings.HasPrefix(name, "refs/") {
		return fmt.Sprintf("%q: write it without refs/heads/", clip(text))
	}
	return ""
}
