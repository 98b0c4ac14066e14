package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// lock takes the repository for this process and goroutine alone, for whatever writes refs. The kernel frees the lock
// when the last process that has it ends: a git that outlived its scap still holds it (see command.lock).
func (r *Repo) lock(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(r.dir), 0o755); err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", r.project, err)
	}
	f, err := os.OpenFile(r.dir+".lock", os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", r.project, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock the mirror of %s: %w", r.project, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the mirror of %s, which another fetch has: %w", r.project, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// write locks the repository, makes it when it is missing, removes what a git that was killed left in its way, and calls
// do with the lock.
func (r *Repo) write(ctx context.Context, do func(lock *os.File) error) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	lock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := r.make(ctx); err != nil {
		return err
	}
	if err := r.sweep(); err != nil {
		return fmt.Errorf("mirror of %s: %w", r.project, err)
	}
	return do(lock)
}

// make makes the bare repository, whole or not at all. The caller has the lock.
func (r *Repo) make(ctx context.Context) error {
	if r.exists() {
		return nil
	}
	fresh := r.dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("mirror of %s: %w", r.project, err)
	}
	args := []string{"--bare", "--quiet", "--template=", "--object-format=sha1", "--initial-branch=scap/none", "--", fresh}
	if _, _, err := r.m.run(ctx, "", command{verb: "init", args: args}); err != nil {
		return fmt.Errorf("mirror of %s: %w", r.project, err)
	}
	if r.base != nil && r.base.exists() {
		if err := r.standOn(ctx, fresh); err != nil {
			return fmt.Errorf("quarantine for %s: %w", r.project, err)
		}
	}
	if err := os.Rename(fresh, r.dir); err != nil {
		return fmt.Errorf("mirror of %s: %w", r.project, err)
	}
	return nil
}

// standOn lets the new repository in dir read the base's objects, and gives it the base's refs as they are now.
func (r *Repo) standOn(ctx context.Context, dir string) error {
	refs, _, err := r.base.run(ctx, command{verb: "for-each-ref", args: []string{"--format=%(objectname) %(refname)"}})
	if err != nil {
		return err
	}
	info := filepath.Join(dir, "objects", "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	objects := filepath.Join(r.base.dir, "objects")
	if strings.ContainsAny(objects, "\n\"") {
		return refused("directory", objects, "git reads no such path as an alternate")
	}
	if err := os.WriteFile(filepath.Join(info, "alternates"), []byte(objects+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "packed-refs"), append([]byte("# pack-refs with: sorted \n"), refs...), 0o644)
}

// ready makes a quarantine's repository before its first use. A mirror's is made by the first fetch.
func (r *Repo) ready(ctx context.Context) error {
	if r.base == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.there || r.exists() {
		r.there = true
		return nil
	}
	if !r.base.exists() {
		return nil // a first fetch makes it
	}
	if err := os.MkdirAll(r.m.home(), 0o700); err != nil {
		return fmt.Errorf("quarantine for %s: %w", r.project, err)
	}
	lock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := r.make(ctx); err != nil {
		return err
	}
	r.there = true
	return nil
}

// sweep removes lock files and half-written packs of a git that was killed: the caller has the lock, so none runs.
func (r *Repo) sweep() error {
	for _, name := range []string{"packed-refs.lock", "packed-refs.new", "config.lock", "HEAD.lock", "shallow.lock"} {
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	packs, err := filepath.Glob(filepath.Join(r.dir, "objects", "pack", "tmp_*"))
	if err != nil {
		return err
	}
	for _, path := range packs {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return filepath.WalkDir(filepath.Join(r.dir, "refs"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".lock") {
			err = os.Remove(path)
		}
		return err
	})
}

// object is what cat-file says of a name.
type object struct {
	id, kind string // kind "": it is not there
	size     int64
}

// check looks names up: ids, refs, id^{tree}. No newline may be in them.
func (r *Repo) check(ctx context.Context, names []string) ([]object, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	if !r.exists() {
		return make([]object, len(names)), nil
	}
	known, ask := r.memory.recall(names)
	if len(ask) > 0 {
		found, err := r.ask(ctx, ask)
		if err != nil {
			return nil, err
		}
		r.memory.learn(found)
		maps.Copy(known, found)
	}
	all := make([]object, len(names))
	for i, name := range names {
		all[i] = known[name]
	}
	return all, nil
}

// ask has git look names up.
func (r *Repo) ask(ctx context.Context, names []string) (map[string]object, error) {
	out, _, err := r.run(ctx, command{verb: "cat-file", args: []string{"--batch-check"}, stdin: strings.NewReader(strings.Join(names, "\n") + "\n")})
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != len(names) {
		return nil, &Error{Verb: "cat-file", Project: r.project, Code: -1, Err: fmt.Errorf("%d answers to %d questions", len(lines), len(names))}
	}
	all := make(map[string]object, len(names))
	for i, line := range lines {
		all[names[i]] = parseHeader(string(line))
	}
	return all, nil
}

// parseHeader reads cat-file's line before an object; what is missing has the zero object.
func parseHeader(line string) object {
	var o object
	if n, err := fmt.Sscanf(line, "%40s %10s %d", &o.id, &o.kind, &o.size); err != nil || n != 3 || !IsID(o.id) || o.size < 0 {
		return object{}
	}
	switch o.kind {
	case "commit", "tree", "blob", "tag":
		return o
	}
	return object{}
}

// Has reports which of the objects are in the mirror.
func (r *Repo) Has(ctx context.Context, ids ...string) ([]bool, error) {
	if err := checkID(ids...); err != nil {
		return nil, err
	}
	found, err := r.check(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make([]bool, len(ids))
	for i, o := range found {
		all[i] = o.kind != ""
	}
	return all, nil
}

// Head returns the commit of a branch as of the last fetch, or ErrNoRef.
func (r *Repo) Head(ctx context.Context, branch string) (string, error) {
	if err := CheckBranch(branch); err != nil {
		return "", err
	}
	found, err := r.check(ctx, []string{"refs/heads/" + branch + "^{commit}"})
	if err != nil {
		return "", err
	}
	if found[0].kind == "" {
		return "", fmt.Errorf("branch %s of %s: %w (the mirror has what the last fetch brought)", branch, r.project, ErrNoRef)
	}
	return found[0].id, nil
}
