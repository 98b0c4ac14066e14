// Package staging makes the release that a deploy brings out: the release before it, changed by what git says differs
// between the repositories' trees then and now, with the security patches on top, the private files, and what is
// generated from all of it. It never checks a tree out and never touches the tree that is served: blobs go from git's
// object store into the store of releases, and directories that no change touches are not even read.
//
// The same repositories, patches, private files and steps always give the same release, whether it is built from the one
// before or from nothing.
package staging

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"scap/sync/change"
	"scap/sync/change/git"
	"scap/sync/release"
	"scap/sync/store"
)

// Options say where a Stager works and what belongs into a tree besides the repositories.
type Options struct {
	Store   *store.Store
	Mirrors *git.Mirrors
	Dir     string // records, on the deploy host
	// Patches holds the security patches: <version>/core/*.patch for the repository at <VersionPrefix><version>,
	// <version>/extensions/Foo/*.patch for the one below it. "" is none. What is in next/ is for later versions.
	Patches string
	Private string // a directory that is laid over the root; "" is none
	// Wikiversions is the path in the tree of the JSON file that says which version serves which wiki; beside it comes
	// a .php of it. "" is none.
	Wikiversions  string
	VersionPrefix string // of the directories of versions; php- by default
	Steps         []Step
	Lint          Level    // of PHP and JSON
	Registration  Level    // of extension.json and skin.json
	PHP           []string // how php is run; nil where it is not
	Excludes      []string // what the repositories and the private directory have and no release shall: forms of store.SnapshotOptions
	Parallel      int      // how many of anything at once; 0 is one for each processor, at least 2
}

// Level says what a finding means.
type Level int8

// The zero Level is Block.
const (
	Block Level = iota // there is no release
	Warn               // it is told
	Off                // nobody looks
)

// String returns the level as it is written in the configuration.
func (l Level) String() string {
	switch l {
	case Block:
		return "block"
	case Warn:
		return "warn"
	}
	return "off"
}

// Finding is what a check has to say of a file.
type Finding struct {
	Check string // php, json, registration, patches
	Path  string // in the tree, or below the patches directory
	Text  string
	Level Level
	// Private says that Text may quote a private file or a new security patch: it must not leave the host.
	Private bool
}

// String returns the finding as a line, which keeps back what is private.
func (f Finding) String() string {
	if f.Private {
		return fmt.Sprintf("%s: %s: what is wrong is not told here, it may quote what is private", f.Check, f.Path)
	}
	return fmt.Sprintf("%s: %s: %s", f.Check, f.Path, f.Text)
}

// RefusedError holds what was found wrong where it is to block. Nothing was made.
type RefusedError struct{ Findings []Finding }

// refusedShown bounds how many findings an error tells.
const refusedShown = 20

// Error tells the first findings.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%d problems in the files that changed", len(e.Findings))
	if len(e.Findings) == 1 {
		text = "a problem in the files that changed"
	}
	for i, f := range e.Findings {
		if i == refusedShown {
			return text + fmt.Sprintf("\n  and %d more", len(e.Findings)-i)
		}
		text += "\n  " + f.String()
	}
	return text
}

// Stager builds releases. One build works at a time in its directory, whoever builds: the deploy's lock sees to it. A dry one
// may run beside it.
type Stager struct {
	o       Options
	exclude func(path string) bool
	order   [][]int // steps by wave: each needs only what earlier waves made
	start   starter
}

// New checks the options. It writes nothing: Build and Save make what they need.
func New(o Options) (*Stager, error) {
	if o.Store == nil || o.Mirrors == nil || o.Dir == "" {
		return nil, errors.New("staging: want a store, mirrors and a directory")
	}
	if o.VersionPrefix == "" {
		o.VersionPrefix = "php-"
	}
	if o.Parallel <= 0 {
		o.Parallel = max(2, runtime.GOMAXPROCS(0))
	}
	s := &Stager{o: o, start: startConfined}
	var err error
	if s.exclude, err = store.Excluder(o.Excludes); err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	if s.order, err = orderSteps(o.Steps); err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	return s, nil
}

// ready makes the directories and takes away what a build left that was killed.
func (s *Stager) ready(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(s.o.Dir, "records"), 0o700); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(s.o.Dir, "work-*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return errors.Join(err, s.drop(ctx))
}

// BuildOptions say what a build is for.
type BuildOptions struct {
	Message string
	Changes []change.Pick     // kept in the record
	Dry     bool              // look only: nothing is written in the store or the records
	Tell    func(text string) // what takes long, or is otherwise than usual; nil: nobody listens
}

// Built is a release and how it came about.
type Built struct {
	// Release has no ID when the build was dry and a step would have had to run: see Pending.
	Release release.Release
	Record  *Record
	// Changed are the paths that differ from the base, sorted; nil when there is none.
	Changed     []string
	NewPatches  []string // and private files, by name, against the base's record; also those with another content
	GonePatches []string
	Findings    []Finding // that do not block
	Ran         []StepRecord
	Pending     []StepRecord // a dry build's: what it would have run
	Cold        bool         // it was built from nothing
	Times       map[string]time.Duration
}
