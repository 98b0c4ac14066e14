// Package store keeps releases on one host's disk: whole trees named by their hash, the link that says which one is
// served, the directory objects that describe them and the host's own journal. The same code serves the deploy host,
// where releases are made, and the targets, where they are received; a tree under releases/ is complete and never
// edited.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// The layout under a store's root.
const (
	releasesName  = "releases" // <id>/: complete trees, and nothing half-made
	currentName   = "current"  // link to releases/<id>
	objectsName   = "objects"  // packs of directory objects
	metaName      = "meta"     // <id>.json: what is known of a release; <id>.times: its files' mtimes
	incomingName  = "incoming" // <id>/: what has been received of a release, and the tree while it is built
	spareName     = "spare"    // <id>/: a complete tree that may be changed into the next release
	trashName     = "trash"    // what is being removed
	tmpName       = "tmp"      // files being written
	scanName      = "scan"     // what earlier snapshots saw of their source
	hostName      = "host.json"
	lockName      = "lock"       // Lock
	buildLockName = "build.lock" // held while trees are built or removed
	swapName      = "swap.lock"  // held while current changes, and while a release leaves releases/
)

// ErrNotCurrent means that `current` is neither what Swap was to replace nor what it was to become.
var ErrNotCurrent = errors.New("another release is current")

// ErrDamaged means that something in the store does not have the content that its name says. Stage the release again.
var ErrDamaged = errors.New("damaged in the store")

// Store is a store of releases. Its methods may be called from several goroutines and processes.
type Store struct {
	path                                                             string
	fault                                                            *fault
	root, releases, objects, meta, incoming, spare, trash, tmp, scan *dir
	packs                                                            *packs

	mu   sync.Mutex
	read proven // by the last Verify that found nothing wrong
}

var _ release.Dirs = (*Store)(nil)

// Open opens the store at root and creates what is missing there.
func Open(root string) (*Store, error) { return openWith(root, nil) }

func openWith(root string, f *fault) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if _, err := os.Lstat(root); missing(err) {
		// What executes a release may be another user, whatever the umask of this one.
		err = errors.Join(os.MkdirAll(root, 0o755), os.Chmod(root, 0o755))
		if err != nil {
			return nil, fmt.Errorf("open store %s: %w", root, err)
		}
	}
	s := &Store{path: root, fault: f}
	if s.root, err = openDir(root, f); err != nil {
		return nil, fmt.Errorf("open store %s: %w", root, err)
	}
	for name, at := range map[string]**dir{
		releasesName: &s.releases, objectsName: &s.objects, metaName: &s.meta, incomingName: &s.incoming,
		spareName: &s.spare, trashName: &s.trash, tmpName: &s.tmp, scanName: &s.scan,
	} {
		if *at, err = s.place(name); err != nil {
			return nil, errors.Join(fmt.Errorf("open store %s: %w", root, err), s.Close())
		}
	}
	s.packs = &packs{at: s.objects}
	return s, nil
}

func (s *Store) place(name string) (*dir, error) {
	d, err := s.root.sub(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	if err := s.root.mkdir(name, 0o755); err != nil {
		return nil, err
	}
	return s.root.sub(name)
}

// Close gives back what the store keeps open. No method may be called afterwards.
func (s *Store) Close() error {
	for _, d := range []*dir{s.root, s.releases, s.objects, s.meta, s.incoming, s.spare, s.trash, s.tmp, s.scan} {
		if d != nil {
			d.close()
		}
	}
	if s.packs != nil {
		s.packs.close()
	}
	return nil
}

// Root returns the store's absolute path.
func (s *Store) Root() string { return s.path }

// Path returns where the tree of id is or would be.
func (s *Store) Path(id release.ID) string { return filepath.Join(s.path, releasesName, id.String()) }

// Dir returns a directory object that the store keeps, checked against its name. It wraps fs.ErrNotExist when there is
// none.
func (s *Store) Dir(sum release.Sum) (release.Dir, error) { return s.packs.Dir(sum) }

// Has reports whether id is here, complete.
func (s *Store) Has(id release.ID) bool {
	_, err := s.Lookup(id)
	return err == nil
}

// Lookup returns what is known of a complete release, or an error that wraps fs.ErrNotExist.
func (s *Store) Lookup(id release.ID) (release.Release, error) {
	st, err := s.releases.stat(id.String())
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = fmt.Errorf("not a directory: %w", ErrDamaged)
	}
	if err != nil {
		return release.Release{}, fmt.Errorf("release %s in %s: %w", id.Short(), s.path, err)
	}
	return s.readMeta(id)
}

// Releases returns the complete releases, the newest first.
func (s *Store) Releases() ([]release.Release, error) {
	names, err := s.releases.names()
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	var out []release.Release
	for _, name := range names {
		id, err := release.ParseID(name)
		if err != nil {
			continue // not ours
		}
		if r, err := s.Lookup(id); err == nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b release.Release) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID.String(), b.ID.String())
	})
	return out, nil
}

// OpenFile opens one file of a complete release for reading; its mtime is the one that peers are to give theirs.
func (s *Store) OpenFile(id release.ID, path string) (*os.File, error) {
	if !s.Has(id) {
		return nil, fmt.Errorf("open %q of release %s: %w", path, id.Short(), fs.ErrNotExist)
	}
	dirPath, name := split(path)
	d, err := s.releases.walk(join(id.String(), dirPath))
	if err != nil {
		return nil, err
	}
	defer d.close()
	f, _, err := d.open(name)
	return f, err
}

func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func join(parent, name string) string {
	switch {
	case parent == "":
		return name
	case name == "":
		return parent
	}
	return parent + "/" + name
}

// metaLimit bounds what is read of a release's own words.
const metaLimit = 64 << 10

func (s *Store) readMeta(id release.ID) (release.Release, error) {
	var r release.Release
	b, err := s.readFile(s.meta, id.String()+".json", metaLimit)
	if err != nil {
		return r, fmt.Errorf("release %s: %w", id.Short(), err)
	}
	if err := strict(b, &r); err != nil || r.ID != id {
		return release.Release{}, fmt.Errorf("release %s: meta/%s.json is not its description (%w): %w", id.Short(), id, err, ErrDamaged)
	}
	return r, nil
}

func (s *Store) writeMeta(r release.Release) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("release %s: %w", r.ID.Short(), err)
	}
	if len(b) > metaLimit {
		return fmt.Errorf("release %s: a message of %d bytes is too long", r.ID.Short(), len(r.Message))
	}
	return s.writeFile(s.meta, r.ID.String()+".json", b, true)
}

// Lock takes the host's lock for the caller, waiting until ctx ends. No method of Store takes it: whoever must be alone
// on a host holds it around all that he does.
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) { return s.lock(ctx, lockName) }

func (s *Store) lock(ctx context.Context, name string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	l := flock.New(filepath.Join(s.path, name))
	ok, err := l.TryLockContext(ctx, 20*time.Millisecond)
	switch {
	case ctx.Err() != nil:
		_ = l.Close() // it may have been got at the last moment
		return nil, fmt.Errorf("lock %s: %w (another deploy works on this host)", l.Path(), errors.Join(err, context.Cause(ctx)))
	case err == nil && !ok:
		err = errors.New("held by another process")
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	return func() { _ = l.Close() }, nil
}
