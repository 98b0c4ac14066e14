package git

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Keep holds a commit or a tree under a name, so that no clean-up of the mirror removes it. The same name again holds the
// new one instead.
func (r *Repo) Keep(ctx context.Context, name, id string) error {
	if err := checkRef("name", name); err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	return r.setRef(ctx, "refs/scap/keep/"+name, id)
}

// Forget ends Keep. A name that is not kept is no error.
func (r *Repo) Forget(ctx context.Context, name string) error {
	if err := checkRef("name", name); err != nil {
		return err
	}
	if r.base == nil && !r.exists() {
		return nil
	}
	return r.write(ctx, func(lock *os.File) error {
		_, _, err := r.run(ctx, command{verb: "update-ref", args: []string{"--no-deref", "-d", "refs/scap/keep/" + name}, lock: lock})
		return err
	})
}

// Kept returns what is held, by name.
func (r *Repo) Kept(ctx context.Context) (map[string]string, error) {
	return r.refs(ctx, "refs/scap/keep/")
}

func (r *Repo) setRef(ctx context.Context, ref, id string) error {
	return r.write(ctx, func(lock *os.File) error {
		_, _, err := r.run(ctx, command{verb: "update-ref", args: []string{"--no-deref", ref, id}, lock: lock})
		return err
	})
}

// refs lists refs below a prefix that ends in a slash, by the rest of their names.
func (r *Repo) refs(ctx context.Context, prefix string) (map[string]string, error) {
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	if !r.exists() {
		return nil, nil
	}
	out, _, err := r.run(ctx, command{verb: "for-each-ref", args: []string{"--format=%(objectname) %(refname)", prefix}})
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, ok := strings.CutPrefix(ref, prefix)
		if !ok || !IsID(id) {
			return nil, fmt.Errorf("git for-each-ref in %s: line %q cannot be read", r.project, line)
		}
		all[name] = id
	}
	return all, nil
}

// Tidy drops what can be made or fetched again (patched trees, patch sets of changes), all that Keep does not hold, and
// packs the rest. It takes minutes in a large repository and keeps fetches waiting: not for a deploy.
func (r *Repo) Tidy(ctx context.Context) error {
	if r.base != nil || !r.exists() {
		return nil
	}
	return r.write(ctx, func(lock *os.File) error {
		var drop strings.Builder
		for _, prefix := range []string{"refs/scap/patched/", "refs/changes/"} {
			refs, err := r.refs(ctx, prefix)
			if err != nil {
				return err
			}
			for name := range refs {
				drop.WriteString("delete " + prefix + name + "\n")
			}
		}
		if _, _, err := r.run(ctx, command{verb: "update-ref", args: []string{"--no-deref", "--stdin"}, stdin: strings.NewReader(drop.String()), lock: lock}); err != nil {
			return err
		}
		_, _, err := r.run(ctx, command{verb: "gc", args: []string{"--quiet"}, lock: lock})
		return err
	})
}
