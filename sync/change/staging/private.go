package staging

import (
	"context"
	"fmt"
	"path/filepath"

	"scap/sync/change"
	"scap/sync/release"
	"scap/sync/store"
)

// private lays the private directory over the tree. A private file wins over nothing: one that a repository has too would
// hide a change of it, or be hidden.
func (b *build) private(ctx context.Context) error {
	dir := b.s.o.Private
	if dir == "" {
		return nil
	}
	seen, err := store.Scan(ctx, dir, b.s.o.Excludes)
	if err != nil {
		return fmt.Errorf("private files: %w", err)
	}
	err = release.Walk(seen, seen.ID, func(path string, e release.Entry) error {
		if e.Kind == release.Directory {
			return b.privateDir(seen, path, e)
		}
		if _, there, err := b.tree.find(path); err != nil {
			return err
		} else if there {
			return fmt.Errorf("%q: a repository has it too: remove one of them", path)
		}
		b.record.Private = append(b.record.Private, change.Patch{Name: path, Sum: e.Sum.String()})
		b.touched[path] = !b.hadPrivate(path, e.Sum)
		if !b.touched[path] {
			delete(b.touched, path)
		}
		if e.Kind == release.File {
			b.contents[path] = content{disk: filepath.Join(dir, path)}
		}
		return b.tree.put(path, e)
	})
	if err != nil {
		return fmt.Errorf("private files: %w", err)
	}
	return nil
}

// privateDir makes a directory with the mode that it has in the private one, unless the tree has it or it is empty.
func (b *build) privateDir(seen release.Dirs, path string, e release.Entry) error {
	d, err := seen.Dir(e.Sum)
	if err != nil || len(d) == 0 {
		return err
	}
	at, there, err := b.tree.find(path)
	if err != nil {
		return err
	}
	if there && at.Kind != release.Directory {
		return fmt.Errorf("%q: a repository has it too, and not as a directory", path)
	}
	_, err = b.tree.mkdir(path, e.Mode)
	return err
}

// hadPrivate reports whether the base had that private file with that content.
func (b *build) hadPrivate(path string, sum release.Sum) bool {
	if b.prior == nil {
		return false
	}
	for _, p := range b.prior.Private {
		if p.Name == path {
			return p.Sum == sum.String()
		}
	}
	return false
}

// generate makes the files that need no step: wikiversions.php.
func (b *build) generate(ctx context.Context) error {
	path := b.s.o.Wikiversions
	if path == "" {
		return nil
	}
	e, there, err := b.tree.find(path)
	if err == nil && (!there || e.Kind != release.File) {
		err = fmt.Errorf("no such file in the tree")
	}
	var text, out []byte
	if err == nil {
		text, err = b.bytes(ctx, path)
	}
	if err == nil {
		out, err = compileWikiversions(text, func(version string) bool {
			e, ok, err := b.tree.find(version)
			return release.CheckName(version) == nil && err == nil && ok && e.Kind == release.Directory
		})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	made := withoutExt(path) + ".php"
	if _, there, err := b.tree.find(made); err != nil {
		return err
	} else if there {
		return fmt.Errorf("%s: it is made of %s, but a repository or the private directory has it", made, path)
	}
	b.record.Generated = append(b.record.Generated, made)
	b.contents[made] = content{data: out}
	return b.tree.put(made, release.Entry{Kind: release.File, Mode: 0o644, Size: int64(len(out)), Sum: release.SumOf(out)})
}

func withoutExt(path string) string { return path[:len(path)-len(filepath.Ext(path))] }
