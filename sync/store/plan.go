package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// Want is a file that no release here has, at that path with that content and mode.
type Want struct {
	Path string
	Sum  release.Sum
	Size int64
}

// plan says how the next tree is made: from which base, and where each file that differs comes from.
type plan struct {
	s     *Store
	src   release.Dirs
	next  release.ID
	base  *tree // nil: from nothing
	delta release.Delta
	// puts is delta.Put and what the base should have but has no more.
	puts    []release.Change
	damaged map[string]bool
	relink  map[string]*tree   // files that another tree here has, proven by their hash
	touched map[string]int64   // files of the base whose mtime is not the recorded one, though their content is right
	clash   map[string][]int64 // seconds at which a path had another content, in the releases that are here
	wants   []Want
}

// Bounds of the search for a base: beyond them a closer look costs more than it can save.
const (
	nearDirs  = 3000 // directories read to find how far a tree is from the next
	nearFiles = 5000 // changed files for which all trees are asked
	lookTrees = 6    // trees asked for a changed file
)

var (
	errFar     = errors.New("too far")
	errSpoiled = errors.New("the spare is not the tree that it was")
)

// near gives directories until it has given too many.
type near struct {
	release.Dirs
	left int
}

func (n *near) Dir(sum release.Sum) (release.Dir, error) {
	if n.left--; n.left < 0 {
		return nil, errFar
	}
	return n.Dirs.Dir(sum)
}

// newPlan decides how to make next, which has about that many files. src knows all its directories.
func (s *Store) newPlan(ctx context.Context, src release.Dirs, next release.ID, files int) (*plan, error) {
	p := &plan{s: s, src: src, next: next, damaged: map[string]bool{}, relink: map[string]*tree{}, touched: map[string]int64{}, clash: map[string][]int64{}}
	all, err := s.trees()
	if err != nil {
		return nil, fmt.Errorf("plan release %s: %w", next.Short(), err)
	}
	deltas, err := p.choose(all, files)
	if err != nil {
		return nil, fmt.Errorf("plan release %s: %w", next.Short(), err)
	}
	if p.base == nil {
		if p.delta, err = release.Diff(src, release.ID{}, next); err != nil {
			return nil, fmt.Errorf("plan release %s: %w", next.Short(), err)
		}
	}
	p.puts = p.delta.Put
	err = p.audit(ctx, deltas)
	if errors.Is(err, errSpoiled) {
		if err = s.discard(ctx, s.spare, p.base.id.String()); err == nil {
			return s.newPlan(ctx, src, next, files)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("plan release %s: %w", next.Short(), err)
	}
	if err := p.source(ctx, all); err != nil {
		return nil, fmt.Errorf("plan release %s: %w", next.Short(), err)
	}
	return p, nil
}

// choose takes the base that is cheapest to make next from, and returns the differences that it looked at.
// It fails only when next itself cannot be a release.
func (p *plan) choose(all []*tree, files int) (map[release.ID]release.Delta, error) {
	deltas := map[release.ID]release.Delta{}
	best := 0
	consider := func(t *tree, src release.Dirs) error {
		d, err := release.Diff(src, t.id, p.next)
		if errors.Is(err, release.ErrInvalid) {
			return err
		}
		if err != nil {
			return nil //nolint:nilerr // too far, or its own directory objects are damaged: no base
		}
		deltas[t.id] = d
		cost := len(d.Put) + len(d.Remove)
		if !t.spare {
			cost += files/2 + 1
		}
		if p.base == nil || cost < best {
			p.base, p.delta, best = t, d, cost
		}
		return nil
	}
	for _, t := range all[:min(lookTrees, len(all))] {
		if err := consider(t, &near{p.src, nearDirs}); err != nil {
			return nil, err
		}
	}
	if p.base != nil {
		return deltas, nil
	}
	for _, t := range all[:min(2, len(all))] { // a train: everything differs from everything
		if err := consider(t, p.src); err != nil {
			return nil, err
		}
	}
	return deltas, nil
}

// audit checks what will be taken from the base unseen. Of a farm that is every file, by its size, mode and mtime; of a
// spare, which nobody edits, the directories that the change touches and, by its hash, what the current release does
// not have: the rest was checked when the spare was made. What is not as it should be is made anew.
func (p *plan) audit(ctx context.Context, deltas map[release.ID]release.Delta) error {
	if p.base == nil {
		return nil
	}
	a := &auditor{p: p, crew: newCrew(ctx), times: p.s.readTimes(p.base.id), puts: map[string]bool{}}
	for _, c := range p.delta.Put {
		a.puts[c.Path] = true
	}
	if !p.base.spare {
		return a.tree()
	}
	touched := map[string]bool{}
	for _, list := range [][]release.Change{p.delta.Put, p.delta.Remove} {
		for _, c := range list {
			parent, _ := split(c.Path)
			touched[parent] = true
		}
	}
	hashed := map[string]bool{}
	if now, err := p.s.Current(); err == nil {
		for _, c := range deltas[now].Put {
			if parent, _ := split(c.Path); c.Entry.Kind == release.File && !a.puts[c.Path] {
				hashed[c.Path], touched[parent] = true, true
			}
		}
	}
	return a.some(touched, hashed)
}

// source finds where each file to put comes from: another tree here, or outside.
func (p *plan) source(ctx context.Context, all []*tree) error {
	if len(p.puts) > nearFiles {
		all = all[:min(2, len(all))]
	}
	finders := make([]*finder, 0, lookTrees)
	for _, t := range all[:min(lookTrees, len(all))] {
		finders = append(finders, &finder{src: p.src, tree: t, dirs: map[string]release.Dir{}})
	}
	defer func() {
		for _, f := range finders {
			f.close()
		}
	}()
	for _, c := range p.puts {
		if c.Entry.Kind != release.File {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.find(finders, c)
		if p.relink[c.Path] == nil {
			p.wants = append(p.wants, Want{Path: c.Path, Sum: c.Entry.Sum, Size: c.Entry.Size})
		}
	}
	return nil
}

func (p *plan) find(finders []*finder, c release.Change) {
	for _, f := range finders {
		e, st, ok := f.look(c.Path)
		if ok && e.Kind == release.File && e.Sum != c.Entry.Sum {
			p.clash[c.Path] = append(p.clash[c.Path], st.Mtim.Sec)
		}
	}
	for _, f := range finders {
		e, st, ok := f.look(c.Path)
		if !ok || e != c.Entry || f.tree == p.base || p.clashes(c.Path, st.Mtim.Nano()) || uint16(st.Mode&0o7777) != e.Mode {
			continue
		}
		if sum, err := hashFile(f.at, e.Name, stampOf(&st)); err == nil && sum == e.Sum {
			p.relink[c.Path] = f.tree
			return
		}
	}
}

// clashes reports whether a path had another content at that second, which is as fine as PHP looks.
func (p *plan) clashes(path string, ns int64) bool {
	for _, sec := range p.clash[path] {
		if sec == unix.NsecToTimespec(ns).Sec {
			return true
		}
	}
	return false
}

// overlay looks for directories in memory first, then in the store.
type overlay struct {
	fresh map[release.Sum][]byte
	below release.Dirs
}

func (o overlay) Dir(sum release.Sum) (release.Dir, error) {
	if raw, ok := o.fresh[sum]; ok {
		return release.DecodeDir(raw)
	}
	return o.below.Dir(sum)
}

var (
	_ release.Dirs = overlay{}
	_ release.Dirs = (*near)(nil)
)

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
