package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// ErrIncomplete means that a release cannot be built yet: directories or files are missing. Ask for them, put them, try
// again.
var ErrIncomplete = errors.New("not all of the release is here")

// Incoming is a release on its way into the store. What it has received survives it, so that Begin of the same release
// goes on where this one ended. Its methods may be called from several goroutines.
type Incoming struct {
	s      *Store
	ctx    context.Context // of Begin: bounds what is read to answer Wants
	r      release.Release
	done   bool // the release is here already
	unlock func()
	at     *dir // incoming/<id>
	files  *dir // incoming/<id>/files: verified files, by the hash of their path

	mu      sync.Mutex
	log     *os.File // incoming/<id>/dirs: directory objects, in the order they came
	objects map[release.Sum][]byte
	bytes   int64
	plan    *plan
	want    map[string]release.Entry
	have    map[string]bool
	temp    int
	// hopeless is why this can never be a release.
	hopeless error
}

// The names in an incoming/ directory, besides buildName.
const (
	filesName = "files"
	logName   = "dirs"
)

// objectsLimit bounds the directory objects of one release.
const objectsLimit = 512 << 20

// Begin prepares to receive r and keeps every other change of the store's releases waiting until Close; it waits itself,
// until ctx ends, while another is at work. When r is here already there is nothing to send and Commit does nothing.
func (s *Store) Begin(ctx context.Context, r release.Release) (*Incoming, error) {
	if r.ID.IsZero() {
		return nil, errors.New("begin a release: it has no id")
	}
	unlock, err := s.lock(ctx, buildLockName)
	if err != nil {
		return nil, fmt.Errorf("begin release %s: %w", r.ID.Short(), err)
	}
	in := &Incoming{s: s, ctx: ctx, r: r, unlock: unlock, objects: map[release.Sum][]byte{}, have: map[string]bool{}}
	if in.done = s.Has(r.ID); in.done {
		// What an Incoming leaves that died between Commit and Close.
		if err := s.discard(ctx, s.incoming, r.ID.String()); err != nil {
			return nil, errors.Join(fmt.Errorf("begin release %s: %w", r.ID.Short(), err), in.Close())
		}
		return in, nil
	}
	if err := in.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("begin release %s: %w", r.ID.Short(), full(err)), in.Close())
	}
	return in, nil
}

func (in *Incoming) open() (err error) {
	if in.at, err = in.s.work(in.ctx, in.r.ID); err != nil {
		return err
	}
	if err := in.at.mkdir(filesName, 0o700); err != nil {
		return err
	}
	if in.files, err = in.at.sub(filesName); err != nil {
		return err
	}
	if err := in.at.change("append", logName); err != nil {
		return err
	}
	fd, err := open(in.at.fd, logName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return in.at.err("open", logName, err)
	}
	in.log = os.NewFile(uintptr(fd), logName)
	return in.replay()
}

// work opens incoming/<id> and throws away what an earlier build left there half-made.
func (s *Store) work(ctx context.Context, id release.ID) (*dir, error) {
	if err := s.incoming.mkdir(id.String(), 0o700); err != nil {
		return nil, err
	}
	at, err := s.incoming.sub(id.String())
	if err != nil {
		return nil, err
	}
	if err := s.discard(ctx, at, buildName); err != nil {
		at.close()
		return nil, err
	}
	return at, nil
}

// Wants returns the files that must be put. It needs all directories, and leaves out what was put already, now or before
// an interruption; of the latter every byte is checked again.
func (in *Incoming) Wants() ([]Want, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil, nil
	}
	if err := in.prepare(); err != nil {
		return nil, err
	}
	var out []Want
	for _, w := range in.plan.wants {
		if !in.have[w.Path] {
			out = append(out, w)
		}
	}
	return out, nil
}

func (in *Incoming) prepare() error {
	if in.plan != nil || in.hopeless != nil {
		return in.hopeless
	}
	_, lack, err := in.reach()
	if err != nil {
		return err
	}
	if len(lack) > 0 {
		return fmt.Errorf("release %s: %w: %d directory objects", in.r.ID.Short(), ErrIncomplete, len(lack))
	}
	p, err := in.s.newPlan(in.ctx, overlay{in.objects, in.s.packs}, in.r.ID, in.r.Files)
	if errors.Is(err, release.ErrInvalid) {
		in.hopeless = err
	}
	if err != nil {
		return err
	}
	in.want = make(map[string]release.Entry, len(p.wants))
	for _, c := range p.puts {
		if c.Entry.Kind == release.File && p.relink[c.Path] == nil {
			in.want[c.Path] = c.Entry
		}
	}
	if err := in.recheck(p.wants); err != nil {
		return err
	}
	in.plan = p
	return nil
}

// Commit builds the tree beside all others, makes it durable and lets it appear under releases/ in one step. After an
// error nothing has appeared, what was received is still here, and Commit, or Begin and Commit, can be tried again.
func (in *Incoming) Commit(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil
	}
	if err := in.prepare(); err != nil {
		return err
	}
	for _, w := range in.plan.wants {
		if !in.have[w.Path] {
			return fmt.Errorf("release %s: %w: %q, perhaps more", in.r.ID.Short(), ErrIncomplete, w.Path)
		}
	}
	fresh, _, err := in.reach()
	if err != nil {
		return err
	}
	p := in.plan
	in.plan = nil // a failed build may have used up the base
	if err := in.s.build(ctx, p, in.r, in.at, in, fresh); err != nil {
		return err
	}
	in.done = true
	return nil
}

// Close lets others change the store again. What was received stays until the release is complete.
func (in *Incoming) Close() error {
	var err error
	if in.log != nil {
		err = in.log.Close()
	}
	for _, d := range []*dir{in.files, in.at} {
		if d != nil {
			d.close()
		}
	}
	if in.at != nil && in.done {
		err = errors.Join(err, in.s.discard(context.WithoutCancel(in.ctx), in.s.incoming, in.r.ID.String()))
	}
	in.at, in.files, in.log = nil, nil, nil
	if in.unlock != nil {
		in.unlock()
		in.unlock = nil
	}
	if err != nil {
		return fmt.Errorf("close release %s: %w", in.r.ID.Short(), err)
	}
	return nil
}
