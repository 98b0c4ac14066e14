package change

import (
	"slices"
)

// Repo is a branch of a project.
type Repo struct {
	Project string `json:"project"`
	Branch  string `json:"branch"`
}

// Version is one MediaWiki in the tree: core's branch, and where it and the repositories below it are.
type Version struct {
	Name   string // 1.41.0-wmf.5
	Branch string // wmf/1.41.0-wmf.5, of core and of all below it
	Live   bool   // wikis run it
	// Paths are the places of its projects in the whole tree, core's included: by what the submodules' addresses say, not
	// by their names.
	Paths map[string]string
}

// Layout is what is deployed: which repositories are where. Versions are those that a change can be deployed to, live or
// not, oldest first.
type Layout struct {
	Config         Repo
	Core           string // core's project
	Versions       []Version
	MasterBranches []string // where code is before a version's branch is cut; nil: master and main
}

// Kind is what a change is to a deploy.
type Kind int8

// The zero Kind is Foreign.
const (
	Foreign   Kind = iota // neither code that is deployed nor its configuration
	Config                // of the configuration, on the branch that is deployed
	Code                  // on the branch of a version that can be deployed
	Master                // code, on its development branch: it comes with the next version
	Elsewhere             // code, on any other branch, such as REL1_39
)

// String names the kind in a word.
func (k Kind) String() string {
	if k < Foreign || k > Elsewhere {
		return "unknown"
	}
	return [...]string{"foreign", "config", "code", "master", "elsewhere"}[k]
}

// Kind says what a change of that project and branch is.
func (l Layout) Kind(project, branch string) Kind {
	switch {
	case project == l.Config.Project && branch == l.Config.Branch && project != "":
		return Config
	case !l.isCode(project):
		return Foreign
	case len(l.Paths(project, branch)) > 0:
		return Code
	case l.isMaster(branch):
		return Master
	}
	return Elsewhere
}

func (l Layout) kind(c *Change) Kind { return l.Kind(c.Project, c.Branch) }

// Paths returns where in the whole a change of that project and branch lands; "" is the root. None: it cannot be deployed.
func (l Layout) Paths(project, branch string) []string {
	var paths []string
	if project == l.Config.Project && branch == l.Config.Branch && project != "" {
		paths = append(paths, "")
	}
	for _, v := range l.Versions {
		if path, ok := v.Paths[project]; ok && v.Branch == branch && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Live reports whether a change of that project and branch lands where wikis see it.
func (l Layout) Live(project, branch string) bool {
	if l.Kind(project, branch) == Config {
		return true
	}
	return slices.ContainsFunc(l.Versions, func(v Version) bool {
		_, ok := v.Paths[project]
		return ok && v.Live && v.Branch == branch
	})
}

// isCode reports whether any version has the project.
func (l Layout) isCode(project string) bool {
	if project == "" {
		return false
	}
	return project == l.Core || slices.ContainsFunc(l.Versions, func(v Version) bool {
		_, ok := v.Paths[project]
		return ok
	})
}

func (l Layout) isMaster(branch string) bool {
	if l.MasterBranches == nil {
		return branch == "master" || branch == "main"
	}
	return slices.Contains(l.MasterBranches, branch)
}
