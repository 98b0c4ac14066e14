package git

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

const (
	attempts = 3
	maxRefs  = 10000 // of one fetch
)

func backoff(attempt int) time.Duration {
	d := time.Duration(attempt-1) * 700 * time.Millisecond
	return d + time.Duration(rand.Int64N(int64(d)))
}

// Fetch brings refs ("refs/heads/x", "refs/changes/34/1234/5") and commits (40 hex digits) into the mirror, all or none,
// with one git process, and returns the commit of each. Refs keep their names in the mirror; a branch that was rewound is
// rewound here. Commits that are there already are not asked for. A mirror that is missing is made.
//
// It is tried again when the server is down or breaks off. Two fetches into one mirror, by whatever processes, wait for
// each other. When ctx ends git is ended too, and nothing that it leaves hinders the next fetch.
func (r *Repo) Fetch(ctx context.Context, refs ...string) (map[string]string, error) {
	if len(refs) == 0 || len(refs) > maxRefs {
		return nil, fmt.Errorf("fetch %d refs of %s: %w", len(refs), r.project, ErrName)
	}
	for _, ref := range refs {
		if err := checkFetched(ref); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.m.o.Timeout, fmt.Errorf("%w within %v", ErrDown, r.m.o.Timeout))
	defer cancel()
	var heads map[string]string
	err := r.write(ctx, func(lock *os.File) error {
		specs, err := r.refspecs(ctx, refs)
		if err != nil {
			return err
		}
		if len(specs) > 0 {
			if err := r.fetch(ctx, lock, specs); err != nil {
				return err
			}
		}
		heads, err = r.commits(ctx, refs)
		return err
	})
	return heads, err
}

func checkFetched(ref string) error {
	if IsID(ref) {
		return nil
	}
	if !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/changes/") {
		return refused("ref", ref, "only branches, changes and commit ids are fetched")
	}
	return checkRef("ref", ref)
}

// refspecs leaves out the commits that are there.
func (r *Repo) refspecs(ctx context.Context, refs []string) ([]string, error) {
	var ids, specs []string
	for _, ref := range refs {
		if IsID(ref) {
			ids = append(ids, ref)
		} else {
			specs = append(specs, "+"+ref+":"+ref)
		}
	}
	has, err := r.Has(ctx, ids...)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if !has[i] {
			specs = append(specs, id+":refs/scap/wanted/"+id)
		}
	}
	return specs, nil
}

// fetch runs git fetch, again while the server is down.
func (r *Repo) fetch(ctx context.Context, lock *os.File, specs []string) error {
	args := []string{
		"--quiet", "--no-progress", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
		"--no-show-forced-updates", "--atomic", "--force", "--stdin", "--", r.m.o.URL + "/" + r.project,
	}
	cleared := false
	for attempt := 1; ; attempt++ {
		if attempt > 1 {
			if err := wait(ctx, r.m.pause(attempt)); err != nil {
				return fmt.Errorf("fetch %s: %w", r.project, err)
			}
		}
		_, _, err := r.run(ctx, command{verb: "fetch", args: args, stdin: strings.NewReader(strings.Join(specs, "\n") + "\n"), lock: lock})
		if err == nil {
			return nil
		}
		if said, ok := stderrOf(err); ok && !cleared && strings.Contains(said, "cannot lock ref") {
			cleared = true
			if err := r.clear(ctx, lock, specs); err != nil {
				return err
			}
			attempt--
			continue
		}
		if !errors.Is(err, ErrDown) || attempt == attempts || ctx.Err() != nil {
			return err
		}
		if err := r.sweep(); err != nil {
			return fmt.Errorf("mirror of %s: %w", r.project, err)
		}
	}
}

// clear removes branches that are in the way by their names: the server has a/b now, so its a, which we still have, is gone.
func (r *Repo) clear(ctx context.Context, lock *os.File, specs []string) error {
	heads, err := r.refs(ctx, "refs/heads/")
	if err != nil {
		return err
	}
	var drop strings.Builder
	for name := range heads {
		had := "refs/heads/" + name
		for _, spec := range specs {
			_, wanted, _ := strings.Cut(spec, ":")
			if strings.HasPrefix(wanted, had+"/") || strings.HasPrefix(had, wanted+"/") {
				drop.WriteString("delete " + had + "\n")
				break
			}
		}
	}
	_, _, err = r.run(ctx, command{verb: "update-ref", args: []string{"--no-deref", "--stdin"}, stdin: strings.NewReader(drop.String()), lock: lock})
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commits returns the commit of each ref or id.
func (r *Repo) commits(ctx context.Context, refs []string) (map[string]string, error) {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref + "^{commit}"
	}
	found, err := r.check(ctx, names)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(refs))
	for i, ref := range refs {
		if found[i].kind != "commit" {
			return nil, fmt.Errorf("%s of %s: it is no commit: %w", ref, r.project, ErrNoRef)
		}
		all[ref] = found[i].id
	}
	return all, nil
}

// Remote asks the server, not the mirror, for the branches whose name begins with prefix, and their commits.
func (r *Repo) Remote(ctx context.Context, prefix string) (map[string]string, error) {
	if prefix != "" {
		if err := CheckBranch(strings.TrimSuffix(prefix, "/")); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(r.m.o.Dir, 0o755); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.m.o.Timeout, fmt.Errorf("%w within %v", ErrDown, r.m.o.Timeout))
	defer cancel()
	args := []string{"--quiet", "--refs", "--", r.m.o.URL + "/" + r.project, "refs/heads/" + prefix + "*"}
	for attempt := 1; ; attempt++ {
		out, _, err := r.m.run(ctx, "", command{verb: "ls-remote", args: args})
		if err == nil {
			return parseRemote(string(out), prefix)
		}
		var failed *Error
		if errors.As(err, &failed) {
			failed.Project = r.project
		}
		if !errors.Is(err, ErrDown) || attempt == attempts || ctx.Err() != nil {
			return nil, err
		}
		if err := wait(ctx, r.m.pause(attempt+1)); err != nil {
			return nil, fmt.Errorf("ask %s for its branches: %w", r.project, err)
		}
	}
}

// parseRemote reads ls-remote's lines. A server may send names that we would not; they are left out.
func parseRemote(text, prefix string) (map[string]string, error) {
	heads := map[string]string{}
	for line := range strings.Lines(text) {
		id, ref, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || !IsID(id) {
			return nil, fmt.Errorf("git ls-remote: line %q cannot be read", line)
		}
		branch, ok := strings.CutPrefix(ref, "refs/heads/")
		if ok && strings.HasPrefix(branch, prefix) && CheckBranch(branch) == nil {
			heads[branch] = id
		}
	}
	return heads, nil
}
