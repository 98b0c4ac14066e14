package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

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

// replay reads directory objects that an earlier Incoming received. The first record that is not whole ends the log:
// the rest was being written when that one died.
func (in *Incoming) replay() error {
	r, good := bufio.NewReaderSize(in.log, 1<<20), int64(0)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			break
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n > release.MaxDirBytes || in.bytes+n > objectsLimit {
			break
		}
		raw := make([]byte, n)
		if _, err := io.ReadFull(r, raw); err != nil {
			break
		}
		if _, err := release.DecodeDir(raw); err != nil {
			break
		}
		in.objects[release.SumOf(raw)] = raw
		in.bytes += n
		good += n + int64(len(head))
	}
	if err := in.log.Truncate(good); err != nil {
		return err
	}
	_, err := in.log.Seek(good, io.SeekStart)
	return err
}

// AddDirs takes directory objects. One that is invalid is refused, one that is no part of the release is forgotten.
func (in *Incoming) AddDirs(raw [][]byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil
	}
	var out []byte
	for _, b := range raw {
		if _, err := release.DecodeDir(b); err != nil {
			return fmt.Errorf("release %s: %w", in.r.ID.Short(), err)
		}
		sum := release.SumOf(b)
		if in.objects[sum] != nil {
			continue
		}
		if in.bytes += int64(len(b)); in.bytes > objectsLimit {
			return fmt.Errorf("release %s: %w: more than %d bytes of directories", in.r.ID.Short(), release.ErrInvalid, objectsLimit)
		}
		in.objects[sum] = append([]byte(nil), b...)
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
	}
	in.plan = nil
	if err := in.at.change("append", logName); err != nil {
		return err
	}
	if _, err := in.log.Write(out); err != nil {
		return fmt.Errorf("release %s: keep directory objects: %w", in.r.ID.Short(), full(err))
	}
	return nil
}

// MissingDirs returns directory objects that the release needs and that are not here. Objects not yet here can name
// further ones, so it is asked until it returns none.
func (in *Incoming) MissingDirs() ([]release.Sum, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil, nil
	}
	for {
		whole := in.s.packs.whole()
		_, missing, err := in.reach()
		if err != nil || len(missing) > 0 {
			return missing, err
		}
		// What seemed to be here is read now: an object may turn out to be damaged, and its whole pack with it.
		if in.prepare() == nil || whole == in.s.packs.whole() {
			return nil, nil // Wants tells of any error
		}
	}
}

// reach returns the release's directory objects that are here but not in the store, and those that are nowhere.
func (in *Incoming) reach() (fresh map[release.Sum][]byte, missing []release.Sum, err error) {
	fresh = map[release.Sum][]byte{}
	whole, seen := in.s.packs.whole(), map[release.Sum]bool{}
	var visit func(sum release.Sum, depth int) error
	visit = func(sum release.Sum, depth int) error {
		if seen[sum] {
			return nil
		}
		seen[sum] = true
		if depth > release.MaxDepth {
			return fmt.Errorf("release %s: %w: deeper than %d directories", in.r.ID.Short(), release.ErrInvalid, release.MaxDepth)
		}
		stored := in.s.packs.has(sum)
		if stored && whole {
			return nil // and so is all that it names
		}
		d, ok := in.dir(sum)
		if !ok {
			missing = append(missing, sum)
			return nil
		}
		if raw := in.objects[sum]; raw != nil {
			fresh[sum] = raw
		}
		for _, e := range d {
			if e.Kind != release.Directory {
				continue
			}
			if err := visit(e.Sum, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	err = visit(release.Sum(in.r.ID), 0)
	return fresh, missing, err
}

// dir returns a directory object that is here and whole.
func (in *Incoming) dir(sum release.Sum) (release.Dir, bool) {
	d, err := overlay{in.objects, in.s.packs}.Dir(sum)
	return d, err == nil
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

// recheck reads the files that an earlier Incoming left.
func (in *Incoming) recheck(wants []Want) error {
	names, err := in.files.names()
	if err != nil || len(names) == 0 {
		return err
	}
	left := make(map[string]bool, len(names))
	for _, n := range names {
		left[n] = true
	}
	work := newCrew(in.ctx).batch()
	var mu sync.Mutex
	var todo []Want
	for _, w := range wants {
		if left[fileName(w.Path)] && !in.have[w.Path] {
			todo = append(todo, w)
		}
	}
	for _, w := range todo {
		name := fileName(w.Path)
		work.do(func() error {
			st, err := in.files.stat(name)
			if err != nil {
				return err
			}
			sum, err := hashFile(in.files, name, stampOf(&st))
			if err != nil || sum != w.Sum || uint16(st.Mode&0o7777) != in.want[w.Path].Mode {
				return in.files.unlink(name) // torn by a power cut, or of another release's shape
			}
			mu.Lock()
			defer mu.Unlock()
			in.have[w.Path] = true
			return nil
		})
	}
	return work.wait()
}

// fileName is under what a received file waits: a path may be longer than a name can be.
func fileName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])
}

// Put takes one wanted file. Content other than what the release says is refused, and so is a path that is not wanted.
// A file that was put already is read and ignored.
func (in *Incoming) Put(path string, mtime time.Time, r io.Reader) error {
	in.mu.Lock()
	e, wanted := in.want[path]
	skip := in.done || in.have[path]
	in.temp++
	temp := fmt.Sprintf("tmp-%d-%d", os.Getpid(), in.temp)
	in.mu.Unlock()
	if skip {
		_, err := io.Copy(io.Discard, io.LimitReader(r, e.Size+1))
		return err
	}
	if !wanted || !clean(path) {
		return fmt.Errorf("put %q in release %s: nobody wants it", path, in.r.ID.Short())
	}
	if err := in.files.unlink(temp); err != nil && !missing(err) {
		return err
	}
	err := fill(in.files, temp, e, mtime.UnixNano(), r)
	if err == nil {
		err = in.files.rename(temp, in.files, fileName(path))
	}
	if err != nil {
		return fmt.Errorf("put %q in release %s: %w", path, in.r.ID.Short(), full(err))
	}
	in.mu.Lock()
	in.have[path] = true
	in.mu.Unlock()
	return nil
}

// place links a received file into the tree that is built. The received one stays until the release is complete.
func (in *Incoming) place(to *dir, name, path string, e release.Entry) (int64, error) {
	st, err := in.files.stat(fileName(path))
	if err != nil {
		return 0, err
	}
	e.Name = name
	return st.Mtim.Nano(), linkOrCopy(in.files, fileName(path), to, e)
}

var _ placer = (*Incoming)(nil)

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
