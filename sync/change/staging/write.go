package staging

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
	"scap/sync/release"
	"scap/sync/store"
)

// write brings a sealed tree into the store.
func (b *build) write(ctx context.Context, r release.Release) (err error) {
	in, err := b.s.o.Store.Begin(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := in.AddDirs(b.shelf.objects()); err != nil {
		return err
	}
	missing, err := in.MissingDirs()
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%w: %d of its directory objects are damaged", errAnew, len(missing))
	}
	if err != nil {
		return err
	}
	wants, err := in.Wants()
	if err != nil {
		return err
	}
	if err := b.put(ctx, in, wants); err != nil {
		return err
	}
	return in.Commit(ctx)
}

// put gives the store the files that it wants.
func (b *build) put(ctx context.Context, in *store.Incoming, wants []store.Want) error {
	blobs, rest := map[*blob][]string{}, []string{}
	var order []*blob
	for _, w := range wants {
		c, ok := b.contents[w.Path]
		switch {
		case !ok:
			return fmt.Errorf("%w: its %q is damaged", errAnew, w.Path)
		case c.blob == nil || c.blob.data != nil:
			rest = append(rest, w.Path)
		default:
			if blobs[c.blob] == nil {
				order = append(order, c.blob)
			}
			blobs[c.blob] = append(blobs[c.blob], w.Path)
		}
	}
	give := func(path string, r io.Reader) error { return in.Put(path, in.Free(path, b.mtime), r) }
	g, early := errgroup.WithContext(ctx)
	g.SetLimit(b.s.o.Parallel)
	for _, path := range rest {
		g.Go(func() error {
			if early.Err() != nil {
				return context.Cause(early)
			}
			return b.give(path, give)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.library.each(ctx, order, func(bl *blob, size int64, r io.Reader) error {
		paths := blobs[bl]
		if len(paths) == 1 {
			return give(paths[0], r)
		}
		return fanOut(paths, size, r, give)
	})
}

// give puts one file that is in memory or on disk.
func (b *build) give(path string, give func(string, io.Reader) error) error {
	c := b.contents[path]
	switch {
	case c.blob != nil:
		return give(path, bytes.NewReader(c.blob.data))
	case c.disk == "":
		return give(path, bytes.NewReader(c.data))
	}
	f, err := os.Open(c.disk)
	if err != nil {
		return err
	}
	defer f.Close()
	return give(path, f)
}

// fanOut puts one content at several paths: from memory when it is small, else by way of a file.
func fanOut(paths []string, size int64, r io.Reader, give func(string, io.Reader) error) error {
	if size <= keepBlob {
		text, err := io.ReadAll(r)
		for _, path := range paths {
			if err == nil {
				err = give(path, bytes.NewReader(text))
			}
		}
		return err
	}
	f, err := os.CreateTemp("", "scap-blob")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	for _, path := range paths {
		if err := give(path, io.NewSectionReader(f, 0, size)); err != nil {
			return err
		}
	}
	return nil
}

// keep holds in the mirrors the trees that no branch there has, so that the next release can be compared with this one
// after the mirrors were cleaned up.
func (b *build) keep(ctx context.Context) error {
	held := map[[2]string]bool{}
	if b.base != nil {
		for _, p := range ownTrees(b.base.Parts) {
			held[[2]string{p.Project, p.Final()}] = true
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.s.o.Parallel)
	for _, p := range ownTrees(b.parts) {
		if held[[2]string{p.Project, p.Final()}] {
			continue
		}
		g.Go(func() error {
			repo, err := b.s.o.Mirrors.Repo(p.Project)
			if err != nil {
				return err
			}
			return repo.Keep(ctx, keptName(p), p.Final())
		})
	}
	return g.Wait()
}

// ownTrees are the parts whose trees scap made itself.
func ownTrees(parts []change.Part) []change.Part {
	var out []change.Part
	for _, p := range parts {
		if p.Patched != "" || len(p.Picks) > 0 {
			out = append(out, p)
		}
	}
	return out
}

func keptName(p change.Part) string {
	sum := sha256.Sum256([]byte(p.Final()))
	return "staging/" + hex.EncodeToString(sum[:8])
}
