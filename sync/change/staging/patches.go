package staging

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
)

const (
	// maxPatch bounds one patch file, maxPatches how many there may be.
	maxPatch   = 16 << 20
	maxPatches = 5000
	// coreName is the directory of patches for a version's own repository.
	coreName = "core"
	// nextName is the directory of patches for versions to come.
	nextName = "next"
)

// patchFile is one security patch.
type patchFile struct {
	name string // below the patches directory
	text []byte
}

// readPatches returns the patches by the place of the part that they are for, in the order in which they are put on. A
// directory of a version that is not in the tree is kept for later, and told; a patch for a place where no part is must
// not be forgotten, so it is an error.
func readPatches(root, prefix string, parts []change.Part) (map[string][]patchFile, []Finding, error) {
	places := map[string]bool{}
	for _, p := range parts {
		places[p.Path] = true
	}
	r := patchReader{places: places, out: map[string][]patchFile{}}
	versions, err := os.ReadDir(root)
	if err != nil {
		return nil, nil, fmt.Errorf("security patches: %w", err)
	}
	for _, v := range versions {
		name := v.Name()
		switch {
		case name == nextName || name[0] == '.':
			continue
		case !v.IsDir():
			if strings.HasSuffix(name, ".patch") {
				return nil, nil, fmt.Errorf("security patches: %q stands beside the versions' directories: of which version is it?", name)
			}
			continue
		case !places[prefix+name]:
			r.findings = append(r.findings, Finding{Check: "patches", Path: name, Level: Warn, Text: "no such version is in the tree: its patches are not used"})
			continue
		}
		if err := r.version(root, name, prefix+name); err != nil {
			return nil, nil, fmt.Errorf("security patches: %w", err)
		}
	}
	return r.out, r.findings, nil
}

type patchReader struct {
	places   map[string]bool
	out      map[string][]patchFile
	findings []Finding
	count    int
}

// version reads the patches of one version, whose repository is at base. WalkDir goes in name order.
func (r *patchReader) version(root, version, base string) error {
	top := filepath.Join(root, version)
	return filepath.WalkDir(top, func(full string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if full != top && e.Name()[0] == '.' {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(top, full)
		if err != nil {
			return err
		}
		name := path.Join(version, filepath.ToSlash(rel))
		if !strings.HasSuffix(name, ".patch") {
			r.findings = append(r.findings, Finding{Check: "patches", Path: name, Level: Warn, Text: "its name does not end in .patch: it is not used"})
			return nil
		}
		return r.patch(full, name, base, e)
	})
}

func (r *patchReader) patch(full, name, base string, e fs.DirEntry) error {
	dir := path.Dir(name[strings.IndexByte(name, '/')+1:])
	place := join(base, dir)
	if dir == coreName {
		place = base
	}
	if dir == "." || !r.places[place] {
		return fmt.Errorf("%s: no repository is at %s in the tree", name, place)
	}
	if !e.Type().IsRegular() {
		return fmt.Errorf("%s: not a regular file", name)
	}
	if r.count++; r.count > maxPatches {
		return fmt.Errorf("more than %d", maxPatches)
	}
	text, err := readFile(full, maxPatch)
	if err != nil {
		return err
	}
	r.out[place] = append(r.out[place], patchFile{name: name, text: text})
	return nil
}

// patch puts the security patches on the parts. It is the same for every build: no release is made without them.
func (b *build) patch(ctx context.Context) error {
	for i := range b.parts {
		b.parts[i].Patches, b.parts[i].Patched = nil, ""
	}
	if b.s.o.Patches == "" {
		return nil
	}
	all, findings, err := readPatches(b.s.o.Patches, b.s.o.VersionPrefix, b.parts)
	if err != nil {
		return err
	}
	b.findings = append(b.findings, findings...)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.s.o.Parallel)
	for i := range b.parts {
		p := &b.parts[i]
		if list := all[p.Path]; len(list) > 0 {
			g.Go(func() error { return b.patchPart(ctx, p, list) })
		}
	}
	return g.Wait()
}

func (b *build) patchPart(ctx context.Context, p *change.Part, list []patchFile) error {
	repo, err := b.s.o.Mirrors.Repo(p.Project)
	if err != nil {
		return err
	}
	at := p.Tree
	for _, f := range list {
		next, err := repo.Apply(ctx, at, f.text, f.name)
		if err != nil {
			return fmt.Errorf("security patch %s does not go on %s (%s): %w", f.name, p.Path, p.Project, err)
		}
		at = next
		sum := sha256.Sum256(f.text)
		p.Patches = append(p.Patches, change.Patch{Name: f.name, Sum: hex.EncodeToString(sum[:])})
	}
	p.Patched = at
	return nil
}

// comparePatches returns the names of patches and private files that came, or have another content, and of those that went.
func comparePatches(was, now *Record) (came, went []string) {
	type place struct {
		patch bool
		name  string
	}
	list := func(r *Record) map[place]string {
		out := map[place]string{}
		if r == nil {
			return out
		}
		for _, p := range r.Parts {
			for _, f := range p.Patches {
				out[place{true, f.Name}] = f.Sum
			}
		}
		for _, f := range r.Private {
			out[place{false, f.Name}] = f.Sum
		}
		return out
	}
	old, next := list(was), list(now)
	for at, sum := range next {
		if old[at] != sum {
			came = append(came, at.name)
		}
	}
	for at := range old {
		if _, ok := next[at]; !ok {
			went = append(went, at.name)
		}
	}
	slices.Sort(came)
	slices.Sort(went)
	return came, went
}
