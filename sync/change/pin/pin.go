// Package pin says what the deployed tree will be once changes are merged, down to each repository's tree hash, before
// any of them is; and compares that with what the branches hold after the merge.
//
// The tree is the configuration repository at the root, MediaWiki core of each live version below it, and core's
// submodules below that. All of it is known from a handful of commits: unchanged submodules are taken from the previous
// release without a look into their repositories.
package pin

import (
	"errors"
	"fmt"
	"strings"

	"scap/sync/change"
	"scap/sync/change/git"
)

// Sentinels. Errors wrap them.
var (
	// ErrMoved means that a change or a branch is no longer what was looked up: a new patch set, or a merge, in between.
	// Look the changes up and confirm again.
	ErrMoved = errors.New("it moved on in the meantime")
	// ErrNowhere means that a change is of no repository and branch that is deployed.
	ErrNowhere = errors.New("it is of no repository and branch that is deployed")
)

// Core is MediaWiki core. {version} in Branch and Path stands for a version's name.
type Core struct {
	Project string // mediawiki/core
	Branch  string // wmf/{version}
	Path    string // php-{version}
}

// Options say what is deployed.
type Options struct {
	Mirrors       *git.Mirrors
	Config        change.Repo // at the root of the tree
	Core          Core
	Wikiversions  string // in the configuration repository: {"enwiki": "php-1.41.0-wmf.5"}; default wikiversions.json
	VersionPrefix string // of its values; default "php-"
}

// Pinner finds out what the deployed tree will be. It may be used by several goroutines at once.
type Pinner struct{ o Options }

// New returns a Pinner.
func New(o Options) *Pinner {
	if o.Wikiversions == "" {
		o.Wikiversions = "wikiversions.json"
	}
	if o.VersionPrefix == "" {
		o.VersionPrefix = "php-"
	}
	return &Pinner{o: o}
}

// Pinned is a tree that will be.
type Pinned struct {
	Parts []change.Part // complete, by path
	// Extra is what would ship although nobody named it, by path. Bumps of submodules in core are left out: what they
	// bring is told of the submodule.
	Extra []Extra
	// Carried are picks of the previous release that are on no branch yet and stay in the tree, such as a revert that
	// was deployed before its merge. To drop one, take it out of base's Picks.
	Carried []Carried
	Paths   map[int][]string // the paths in the whole that each change changes, sorted
	// Files are the paths in the whole that differ from the previous release's, before patches, sorted; of a repository
	// that is new or goes as a whole, its path and "/". nil when there is no previous release.
	Files []string
}

// Extra is what would ship of one repository although nobody named it.
type Extra struct {
	Path, Project, Branch string
	Commits               []git.Commit // new ones, oldest first
	Gone                  []git.Commit // of the previous release that are not in the new one, oldest first
	More                  bool         // there are more than the newest maxExtra
	New, Removed          bool         // the whole repository is
	Unknown               bool         // the previous release's commit is nowhere to be had: the commits cannot be listed
}

// Carried is a pick that stays.
type Carried struct {
	Path, Project, Branch string
	Pick                  change.Pick
}

// maxExtra is how many commits of one repository are listed.
const maxExtra = 200

// ChangeError says which change an error is about. It wraps the reason, such as a *git.Conflict.
type ChangeError struct {
	Number  int
	Project string
	Branch  string
	Err     error
}

// Error names the change and its repository.
func (e *ChangeError) Error() string {
	return fmt.Sprintf("change %d (%s on %s): %v", e.Number, e.Project, e.Branch, e.Err)
}

// Unwrap returns the reason.
func (e *ChangeError) Unwrap() error { return e.Err }

func about(c change.Change, err error) error {
	var had *ChangeError
	if err == nil || errors.As(err, &had) {
		return err
	}
	return &ChangeError{Number: c.Number, Project: c.Project, Branch: c.Branch, Err: err}
}

// below joins a part's path and a path in it.
func below(part, path string) string {
	switch {
	case part == "":
		return path
	case path == "":
		return part
	}
	return part + "/" + path
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}

func versioned(pattern, version string) string {
	return strings.ReplaceAll(pattern, "{version}", version)
}
