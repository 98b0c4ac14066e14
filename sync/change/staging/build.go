package staging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"scap/sync/change"
	"scap/sync/release"
)

// build is one Build under way.
type build struct {
	s     *Stager
	o     BuildOptions
	prior *Record // what changed is counted from here; nil: nothing is known
	base  *Record // the release that this one is made of; nil: it is made of nothing

	parts    []change.Part
	versions []string
	library  *library
	shelf    *shelf
	tree     *tree
	contents map[string]content // of the files that this build puts
	touched  map[string]bool    // paths of repositories and private files: true came, false went
	record   *Record
	findings []Finding
	ran      []StepRecord
	pending  []StepRecord
	work     string // directory for steps, "" until one runs
	mtime    time.Time
	times    map[string]time.Duration
}

// Build makes the release of these parts. Base is the record of the release that it goes out from, nil for none: with it
// the cost is that of what differs. A base that is gone from the store or damaged there costs time, never correctness; its
// record must be true.
//
// The release is in the store, complete and durable, with its record, when Build returns. When it fails there is neither;
// a *RefusedError has all that the checks found.
func (s *Stager) Build(ctx context.Context, base *Record, parts []change.Part, o BuildOptions) (*Built, error) {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if !o.Dry {
		if err := s.ready(ctx); err != nil {
			return nil, fmt.Errorf("build a release: %w", err)
		}
	}
	if err := checkParts(parts); err != nil {
		return nil, fmt.Errorf("build a release: %w", err)
	}
	usable := base
	switch {
	case base == nil:
	case !s.o.Store.Has(base.Release):
		o.Tell(fmt.Sprintf("release %s is not in the store any more: building from nothing", base.Release.Short()))
		usable = nil
	case !slices.Equal(base.Excludes, s.o.Excludes):
		o.Tell("other files are excluded now: building from nothing")
		usable = nil
	}
	built, err := s.build(ctx, base, usable, parts, o)
	if errors.Is(err, errAnew) && usable != nil && ctx.Err() == nil {
		o.Tell(fmt.Sprintf("%v: building from nothing", err))
		built, err = s.build(ctx, base, nil, parts, o)
	}
	if err != nil {
		return nil, fmt.Errorf("build a release: %w", err)
	}
	return built, nil
}

func (s *Stager) build(ctx context.Context, prior, base *Record, parts []change.Part, o BuildOptions) (*Built, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &build{
		s: s, o: o, prior: prior, base: base, parts: sortedParts(parts),
		library: newLibrary(ctx, s.o.Mirrors, s.o.Parallel), shelf: newShelf(s.o.Store),
		contents: map[string]content{}, touched: map[string]bool{}, times: map[string]time.Duration{}, mtime: time.Now(),
	}
	defer b.library.close()
	var paths []string
	for _, p := range b.parts {
		paths = append(paths, p.Path)
	}
	b.versions = findVersions(s.o.VersionPrefix, paths)
	b.record = &Record{Made: b.mtime.UTC().Truncate(time.Second), Message: o.Message, Changes: o.Changes, Excludes: s.o.Excludes}
	built, err := b.run(ctx)
	if left := b.clear(context.WithoutCancel(ctx)); left != nil {
		o.Tell(fmt.Sprintf("clean up after the steps: %v", left)) // the next build tries again
	}
	return built, err
}

func (b *build) run(ctx context.Context) (*Built, error) {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"patches", b.patch},
		{"tree", b.compose},
		{"private", b.private},
		{"wikiversions", b.generate},
		{"lint", b.lint},
		{"registration", b.register},
		{"refused", b.refused},
		{"steps", b.runSteps},
	} {
		if err := b.timed(step.name, func() error { return step.do(ctx) }); err != nil {
			return nil, err
		}
	}
	b.record.Parts = b.parts
	id, err := b.tree.seal()
	if err != nil {
		return nil, err
	}
	if len(b.pending) > 0 {
		id = release.ID{} // nobody knows what the steps would make
	}
	b.record.Release = id
	r := release.Release{ID: id, Message: b.o.Message, Created: time.Now().UTC(), Files: b.tree.files, Bytes: b.tree.bytes}
	if !b.o.Dry {
		if r, err = b.finish(ctx, r); err != nil {
			return nil, err
		}
	}
	return b.built(r)
}

// finish writes the release and its record. The record comes first: a release without one could not be built upon, a
// record without a release does no harm.
func (b *build) finish(ctx context.Context, r release.Release) (release.Release, error) {
	err := b.timed("keep", func() error { return b.keep(ctx) })
	if err == nil {
		err = b.s.Save(b.record)
	}
	if err == nil {
		err = b.timed("store", func() error { return b.write(ctx, r) })
	}
	if err != nil {
		return release.Release{}, err
	}
	return b.s.o.Store.Lookup(r.ID) // the same tree may have been there before, under another message
}

func (b *build) built(r release.Release) (*Built, error) {
	out := &Built{
		Release: r, Record: b.record, Findings: b.findings, Ran: b.ran, Pending: b.pending, Cold: b.base == nil, Times: b.times,
	}
	out.NewPatches, out.GonePatches = comparePatches(b.prior, b.record)
	if b.prior == nil {
		return out, nil
	}
	var err error
	out.Changed, err = b.changed(r.ID)
	return out, err
}

func (b *build) timed(name string, do func() error) error {
	start := time.Now()
	err := do()
	b.times[name] += time.Since(start)
	return err
}

// compose makes the tree of the repositories.
func (b *build) compose(ctx context.Context) error {
	was := map[string]change.Part{}
	if b.base != nil {
		for _, p := range b.base.Parts {
			was[p.Path] = p
		}
	}
	if err := b.bare(); err != nil {
		return err
	}
	diffs, err := b.diffParts(ctx, was)
	if err != nil {
		return err
	}
	if err := b.apply(ctx, was, diffs); err != nil {
		return err
	}
	if b.base == nil && b.prior != nil {
		return b.touch(ctx)
	}
	return nil
}

// bare opens the base's tree and takes away what lies above its repositories.
func (b *build) bare() (err error) {
	if b.base == nil {
		b.tree, err = newTree(b.shelf, release.ID{}, 0, 0)
		return err
	}
	r, err := b.s.o.Store.Lookup(b.base.Release)
	if err == nil {
		b.tree, err = newTree(b.shelf, r.ID, r.Files, r.Bytes)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errAnew, err)
	}
	var layers []string
	for _, s := range b.base.Steps {
		if s.Outputs != "" {
			layers = append(layers, s.Outputs)
		}
	}
	layers = append(layers, b.base.Generated...)
	for _, p := range b.base.Private {
		layers = append(layers, p.Name)
	}
	for _, path := range layers {
		if there, err := b.tree.remove(path); err != nil || !there {
			return fmt.Errorf("%w: it has no %q (%w)", errAnew, path, cmp.Or(err, os.ErrNotExist))
		}
	}
	return nil
}

// find notes a finding in a file of the tree.
func (b *build) find(f Finding) {
	f.Private = b.isPrivate(f.Path)
	b.findings = append(b.findings, f)
}

// isPrivate reports whether a path is a private file, or lies where a security patch came or changed.
func (b *build) isPrivate(path string) bool {
	for _, p := range b.record.Private {
		if p.Name == path {
			return true
		}
	}
	var at *change.Part
	for i, p := range b.parts { // sorted: the innermost comes last
		if below(path, p.Path) {
			at = &b.parts[i]
		}
	}
	if at == nil || len(at.Patches) == 0 || b.prior == nil {
		return at != nil && len(at.Patches) > 0
	}
	for _, p := range b.prior.Parts {
		if p.Path == at.Path {
			return !slices.Equal(p.Patches, at.Patches)
		}
	}
	return true
}

// refused ends the build when something was found that blocks it.
func (b *build) refused(context.Context) error {
	var bad []Finding
	for _, f := range b.findings {
		if f.Level == Block {
			bad = append(bad, f)
		}
	}
	if len(bad) > 0 {
		return &RefusedError{Findings: bad}
	}
	return nil
}

// bytes returns the content of a file in the tree.
func (b *build) bytes(ctx context.Context, path string) ([]byte, error) {
	if c, ok := b.contents[path]; ok {
		return b.library.read(ctx, c)
	}
	if b.base == nil {
		return nil, fmt.Errorf("read %q: it is not there", path)
	}
	return readFile(filepath.Join(b.s.o.Store.Path(b.base.Release), filepath.FromSlash(path)), maxRead)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
