package staging

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"scap/sync/release"
	"scap/sync/store"
)

// runSteps makes the generated parts, wave by wave.
func (b *build) runSteps(ctx context.Context) error {
	for _, wave := range b.s.order {
		id, err := b.tree.seal()
		if err != nil {
			return err
		}
		jobs := b.jobs(wave)
		var todo []*job
		for _, j := range jobs {
			j.rec.Inputs, err = inputsOf(b.shelf, id, j)
			if errors.Is(err, errNoInput) && len(b.pending) > 0 {
				err = nil // they are what a step would make that a dry build does not run
			}
			if err != nil {
				return err
			}
			if old, ok := b.earlier(j); ok {
				j.rec = old
			} else {
				todo = append(todo, j)
			}
		}
		if err := b.reuse(jobs); err != nil {
			return err
		}
		if b.o.Dry {
			for _, j := range todo {
				b.pending = append(b.pending, j.rec)
			}
			continue
		}
		if err := b.runWave(ctx, todo); err != nil {
			return err
		}
		for _, j := range jobs {
			b.record.Steps = append(b.record.Steps, j.rec)
		}
	}
	return nil
}

// earlier returns what the same step made of the same inputs in the base.
func (b *build) earlier(j *job) (StepRecord, bool) {
	if b.base == nil {
		return StepRecord{}, false
	}
	for _, old := range b.base.Steps {
		if old.Name == j.rec.Name && old.Version == j.rec.Version && old.Inputs == j.rec.Inputs && old.Outputs == j.rec.Outputs {
			return old, true
		}
	}
	return StepRecord{}, false
}

// reuse puts what was made before back into the tree.
func (b *build) reuse(jobs []*job) error {
	for _, j := range jobs {
		if j.rec.Output == (release.Sum{}) || j.rec.Outputs == "" {
			continue
		}
		if err := b.tree.graft(j.rec.Outputs, dirMode, j.rec.Output); err != nil {
			return fmt.Errorf("what step %s made: %w", j.title(), err)
		}
	}
	return nil
}

// runWave runs jobs in a tree that stands in the store, and takes what they made.
func (b *build) runWave(ctx context.Context, jobs []*job) error {
	if len(jobs) == 0 {
		return nil
	}
	at, err := b.standing(ctx)
	if err != nil {
		return fmt.Errorf("make the tree for the steps: %w", err)
	}
	if b.work == "" {
		if b.work, err = os.MkdirTemp(b.s.o.Dir, "work-"); err != nil {
			return err
		}
	}
	free := make([]bool, len(jobs))
	g, runCtx := errgroup.WithContext(ctx)
	g.SetLimit(b.s.o.Parallel)
	for i, j := range jobs {
		b.o.Tell("step " + j.title() + ": its inputs changed")
		g.Go(func() error {
			dir, err := os.MkdirTemp(b.work, "step-")
			if err != nil {
				return err
			}
			j.out = filepath.Join(dir, "out")
			free[i], err = j.run(runCtx, b.s.start, dir, b.s.o.Store.Path(at))
			return err
		})
	}
	err = g.Wait()
	for _, unconfined := range free {
		if unconfined { // nothing kept it from writing where it must not
			err = errors.Join(err, b.untouched(ctx, at))
			break
		}
	}
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := b.take(ctx, j); err != nil {
			return fmt.Errorf("what step %s made: %w", j.title(), err)
		}
		b.ran = append(b.ran, j.rec)
	}
	return b.s.retire(ctx) // the next tree is made of this one: it is the nearest there is
}

// untouched checks the tree that steps were given. One that they wrote to, or may have, must not become what the next
// release is made of.
func (b *build) untouched(ctx context.Context, id release.ID) error {
	err := b.s.o.Store.Verify(ctx, id)
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("a step wrote to the tree that it was given to read; releases that share these files are damaged too: %w", err)
	}
	if b.s.stands(id) {
		err = errors.Join(err, b.s.o.Store.Remove(context.WithoutCancel(ctx), id))
	}
	return err
}

// run runs the command. unconfined says that it could write anywhere.
func (j *job) run(ctx context.Context, start starter, dir, tree string) (unconfined bool, err error) {
	limit := j.step.Timeout
	if limit <= 0 {
		limit = stepTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	temp := filepath.Join(dir, "tmp")
	for _, d := range []string{j.out, temp} {
		if err := errors.Join(os.Mkdir(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			return false, err
		}
	}
	fill := strings.NewReplacer("{tree}", tree, "{out}", j.out, versionMark, j.version)
	argv := make([]string, len(j.step.Command))
	for i, a := range j.step.Command {
		argv[i] = fill.Replace(a)
	}
	make := func() (*exec.Cmd, *tail) {
		said := &tail{max: maxSaid}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = tree, said, said
		cmd.Env = append(plainEnv(), "HOME="+temp, "TMPDIR="+temp)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		return cmd, said
	}
	cmd, said := make()
	err = start(cmd, []string{j.out, temp})
	if errors.Is(err, errUnconfined) {
		cmd, said = make()
		unconfined, err = true, cmd.Start()
	}
	if err == nil {
		err = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left running must not write on
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return unconfined, fmt.Errorf("step %s: %w%s", j.title(), err, lastLines(said.String()))
	}
	return unconfined, nil
}

// plainEnv is the environment of what is run here.
func plainEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "LANG=C.UTF-8"}
}

// saidLines bounds how much of a step's output an error tells.
const saidLines = 20

func lastLines(text string) string {
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-saidLines):]
	return "; it said last:\n  " + strings.Join(lines, "\n  ")
}

// take puts what a job made into the tree, if it is something that a release can hold.
func (b *build) take(ctx context.Context, j *job) error {
	seen, err := store.Scan(ctx, j.out, nil)
	if err != nil {
		return err
	}
	if j.rec.Outputs == "" {
		if seen.Files > 0 {
			return fmt.Errorf("%d files, and no place for them", seen.Files)
		}
		return nil
	}
	if seen.Files == 0 {
		return errors.New("not one file")
	}
	add := func(sum release.Sum) error {
		d, err := seen.Dir(sum)
		if err == nil {
			b.shelf.add(d.Encode(), d)
		}
		return err
	}
	j.rec.Output = release.Sum(seen.ID)
	if err := add(j.rec.Output); err != nil {
		return err
	}
	err = release.Walk(seen, seen.ID, func(path string, e release.Entry) error {
		switch e.Kind {
		case release.Directory:
			return add(e.Sum)
		case release.File:
			b.contents[join(j.rec.Outputs, path)] = content{disk: filepath.Join(j.out, path)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.tree.graft(j.rec.Outputs, dirMode, j.rec.Output)
}
