package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"scap/sync/release"
)

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

// Free returns mtime or, when a release that is here has another content of a wanted file at that very second, the first
// second after it that is free: whatever trusts a time to tell contents apart would be deceived. Who makes a release asks
// it after Wants; who passes one on keeps the mtime that the file has.
func (in *Incoming) Free(path string, mtime time.Time) time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.plan != nil && in.plan.clashes(path, mtime.UnixNano()) {
		mtime = time.Unix(mtime.Unix()+1, 0)
	}
	return mtime
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
