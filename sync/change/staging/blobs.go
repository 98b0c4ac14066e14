package staging

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"scap/sync/change/git"
	"scap/sync/release"
)

// blob is a file's content in git.
type blob struct {
	project, oid string
	sum          release.Sum
	size         int64
	data         []byte // kept while there is room
}

// content is where the bytes of a file are: one of the three.
type content struct {
	blob *blob
	disk string
	data []byte
}

const (
	// keepBlob and keepAll bound what is kept in memory of blobs that were read, so that a small change is read once.
	keepBlob = 1 << 20
	keepAll  = 64 << 20
	// chunkBlobs is how many blobs one reader takes at a time.
	chunkBlobs = 2000
)

// library is all blobs that a build names, and the processes that read them.
type library struct {
	ctx      context.Context // of the build: readers live as long
	mirrors  *git.Mirrors
	parallel int
	blobs    map[[2]string]*blob
	news     []*blob // not read yet, in the order in which they were named

	mu   sync.Mutex
	kept int64
	idle map[string][]*git.Blobs
	open int // idle ones
}

func newLibrary(ctx context.Context, m *git.Mirrors, parallel int) *library {
	return &library{ctx: ctx, mirrors: m, parallel: parallel, blobs: map[[2]string]*blob{}, idle: map[string][]*git.Blobs{}}
}

// blob returns the one of that name. It is not for several goroutines.
func (l *library) blob(project, oid string) *blob {
	key := [2]string{project, oid}
	b := l.blobs[key]
	if b == nil {
		b = &blob{project: project, oid: oid}
		l.blobs[key] = b
		l.news = append(l.news, b)
	}
	return b
}

// weigh reads the blobs whose sum is not known yet.
func (l *library) weigh(ctx context.Context) error {
	todo := l.news
	l.news = nil
	return l.each(ctx, todo, func(b *blob, size int64, r io.Reader) error {
		h := sha256.New()
		w, keep := io.Writer(h), (*bytes.Buffer)(nil)
		if size <= keepBlob && l.room(size) {
			keep = bytes.NewBuffer(make([]byte, 0, size))
			w = io.MultiWriter(h, keep)
		}
		n, err := io.Copy(w, r)
		if err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		b.size = n
		h.Sum(b.sum[:0])
		if keep != nil {
			b.data = keep.Bytes()
		}
		return nil
	})
}

func (l *library) room(n int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept+n > keepAll {
		return false
	}
	l.kept += n
	return true
}

// each reads blobs, several at once, and gives each to do.
func (l *library) each(ctx context.Context, list []*blob, do func(b *blob, size int64, r io.Reader) error) error {
	by := map[string][]*blob{}
	for _, b := range list {
		by[b.project] = append(by[b.project], b)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(l.parallel)
	for _, project := range sortedKeys(by) {
		for part := range slices.Chunk(by[project], chunkBlobs) {
			g.Go(func() error {
				return l.with(ctx, project, func(r *git.Blobs) error {
					oids := make([]string, len(part))
					for i, b := range part {
						oids[i] = b.oid
					}
					return r.CopyAll(oids, func(i int, size int64, content io.Reader) error {
						if ctx.Err() != nil {
							return context.Cause(ctx)
						}
						return do(part[i], size, content)
					})
				})
			})
		}
	}
	return g.Wait()
}

// with lends a reader of a project.
func (l *library) with(ctx context.Context, project string, do func(*git.Blobs) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r, err := l.reader(project)
	if err != nil {
		return err
	}
	if err := do(r); err != nil {
		r.Close() // in the middle of an answer
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= 4*l.parallel {
		return r.Close()
	}
	l.idle[project] = append(l.idle[project], r)
	l.open++
	return nil
}

func (l *library) reader(project string) (*git.Blobs, error) {
	l.mu.Lock()
	if list := l.idle[project]; len(list) > 0 {
		r := list[len(list)-1]
		l.idle[project], l.open = list[:len(list)-1], l.open-1
		l.mu.Unlock()
		return r, nil
	}
	l.mu.Unlock()
	repo, err := l.mirrors.Repo(project)
	if err != nil {
		return nil, err
	}
	return repo.Blobs(l.ctx)
}

func (l *library) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.idle {
		for _, r := range list {
			r.Close()
		}
	}
	l.idle, l.open = map[string][]*git.Blobs{}, 0
}

// maxRead bounds a file that is read into memory to be looked at.
const maxRead = 32 << 20

// read returns a content whole.
func (l *library) read(ctx context.Context, c content) ([]byte, error) {
	var b bytes.Buffer
	switch {
	case c.blob == nil && c.disk != "":
		return readFile(c.disk, maxRead)
	case c.blob == nil:
		return c.data, nil
	case c.blob.data != nil:
		return c.blob.data, nil
	case c.blob.size > maxRead:
		return nil, fmt.Errorf("%d bytes: too large to be looked at", c.blob.size)
	}
	err := l.with(ctx, c.blob.project, func(r *git.Blobs) error {
		_, err := r.Copy(&b, c.blob.oid)
		return err
	})
	return b.Bytes(), err
}

// readFile reads a regular file of at most that many bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, err
}
