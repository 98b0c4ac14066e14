// Package change says what a deployer names: changes under review, what they depend on, which repositories a tree is made
// of, and the rules by which changes may go out together. It asks nobody and touches no disk: a Source answers for the
// review system.
package change

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is wrapped by a Source's error about a change that does not exist or that the asker may not see. Asking
// again is useless.
var ErrNotFound = errors.New("no such change, or you may not see it")

// Status is where a change is in its life.
type Status string

// The statuses, as Gerrit writes them.
const (
	New       Status = "NEW"
	Merged    Status = "MERGED"
	Abandoned Status = "ABANDONED"
)

// Tri is a yes or no that may be unknown.
type Tri int8

// The zero Tri is Unknown.
const (
	Unknown Tri = iota
	Yes
	No
)

// Change is one change under review, as of its current patch set.
type Change struct {
	Number    int    `json:"number"`
	ID        string `json:"change_id"` // the Change-Id, "I" and 40 hex digits; cherry-picks of a change share it
	Project   string `json:"project"`
	Branch    string `json:"branch"` // without refs/heads/
	Subject   string `json:"subject"`
	Topic     string `json:"topic,omitempty"`
	Owner     string `json:"owner"`   // name <address>, or what of it is known
	Message   string `json:"message"` // of the current patch set's commit, whole
	Status    Status `json:"status"`
	WIP       bool   `json:"wip,omitempty"`
	Private   bool   `json:"private,omitempty"`
	Mergeable Tri    `json:"mergeable,omitempty"`

	PatchSet int      `json:"patch_set"` // of Revision
	Revision string   `json:"revision"`  // the current patch set's commit; once merged, what is on the branch
	Ref      string   `json:"ref"`       // refs/changes/34/1234/5
	Parents  []string `json:"parents"`   // of Revision

	Files   []File    `json:"files"` // against the first parent, by path
	Votes   []Vote    `json:"votes,omitempty"`
	Updated time.Time `json:"updated"`
	URL     string    `json:"url"` // for a browser
	// RevertOf is the number of the change that this one takes back; 0: none.
	RevertOf int `json:"revert_of,omitempty"`
}

// File is a path that a change touches.
type File struct {
	Path     string `json:"path"`
	Old      string `json:"old,omitempty"`    // where it was before a rename
	Status   byte   `json:"status,omitempty"` // A, D, R, C, W; 0: modified
	Inserted int    `json:"inserted,omitempty"`
	Deleted  int    `json:"deleted,omitempty"`
	Binary   bool   `json:"binary,omitempty"`
}

// Vote is what somebody said of a change under a label.
type Vote struct {
	Label string    `json:"label"` // Code-Review, Verified
	Value int       `json:"value"`
	By    string    `json:"by"` // user name, or name, or account number
	At    time.Time `json:"at,omitzero"`
}

// Source answers for the review system. Its methods may be called from several goroutines at once; they ask in parallel
// what they can. They change nothing.
type Source interface {
	// Changes returns the changes with these numbers, in that order.
	Changes(ctx context.Context, numbers []int) ([]Change, error)
	// WithIDs returns all changes that carry one of these Change-Ids, in whatever project and branch, by Change-Id. One
	// that nobody has is left out.
	WithIDs(ctx context.Context, ids []string) (map[string][]Change, error)
	// Ancestors returns the changes that c's commit stands on and that are not merged, nearest first: the relation chain
	// below it, abandoned ones and old patch sets included (then Revision is the patch set that c stands on).
	Ancestors(ctx context.Context, c Change) ([]Change, error)
	// Branches returns the branches of its project that hold a merged change.
	Branches(ctx context.Context, c Change) ([]string, error)
}

// Part is one repository in a tree: at Path, its content is the git tree Tree, which is what Commit, with Picks on top and
// then Patches, comes to.
type Part struct {
	Path    string  `json:"path"` // in the whole; "" is its root
	Project string  `json:"project"`
	Branch  string  `json:"branch,omitempty"` // that Commit is on; "" for a submodule that is pinned to a commit
	Commit  string  `json:"commit"`           // public: what the branch (or the submodule's pin) says
	Picks   []Pick  `json:"picks,omitempty"`  // changes that are not on the branch yet, in order
	Tree    string  `json:"tree"`             // the git tree of Commit with Picks, before patches
	Head    string  `json:"head"`             // a commit with Tree: Commit itself when there are no picks
	Patches []Patch `json:"patches,omitempty"`
	Patched string  `json:"patched,omitempty"` // the git tree after Patches; "" when there are none
}

// Pick is a change on its way to a branch.
type Pick struct {
	Number   int    `json:"number"`
	PatchSet int    `json:"patch_set"`
	Revision string `json:"revision"`
	Revert   bool   `json:"revert,omitempty"` // Revision is taken back, not put on
}

// Patch is a file that is put on a repository and is not public: a security patch.
type Patch struct {
	Name string `json:"name"` // below the patches directory: 1.41.0-wmf.5/core/01-T1234.patch
	Sum  string `json:"sum"`  // SHA-256 of the file
}

// Final is the git tree that is deployed at the part's path.
func (p Part) Final() string {
	if p.Patched != "" {
		return p.Patched
	}
	return p.Tree
}
