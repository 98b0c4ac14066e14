package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxPatch bounds a patch.
const maxPatch = 16 << 20

// PatchError is a patch that does not go onto a tree. Repeating is useless: somebody must rewrite the patch.
type PatchError struct {
	Project string
	Name    string
	Paths   []string // that are in its way, sorted; all the patch's when git does not say which
	Detail  string   // what git said
}

// Error names the patch and the paths.
func (e *PatchError) Error() string {
	text := fmt.Sprintf("patch %q does not apply to %s", e.Name, e.Project)
	for i, path := range e.Paths {
		if i == 10 {
			text += fmt.Sprintf(", and %d more", len(e.Paths)-10)
			break
		}
		sep := ", "
		if i == 0 {
			sep = " at "
		}
		text += sep + strconv.Quote(path)
	}
	if e.Detail != "" {
		text += fmt.Sprintf(" (git said %q)", e.Detail)
	}
	return text
}

// Apply puts a patch, a mail of git format-patch (several in one file are taken in order) or a plain diff, onto a commit's
// or a tree's files, as git am --3way would, and returns the new tree. One whose effect is there already changes nothing.
// A patch that does not apply is a *PatchError; name is how errors call it. The result is remembered by tree and content.
func (r *Repo) Apply(ctx context.Context, onto string, patch []byte, name string) (string, error) {
	if err := checkID(onto); err != nil {
		return "", err
	}
	if len(patch) > maxPatch {
		return "", &PatchError{Project: r.project, Name: name, Detail: fmt.Sprintf("it has %d bytes, more than %d", len(patch), maxPatch)}
	}
	sum := sha256.Sum256(patch)
	ref := "refs/scap/patched/" // with the tree's own id, so that a commit and its tree share the memory
	found, err := r.check(ctx, []string{onto + "^{tree}"})
	if err != nil {
		return "", err
	}
	if found[0].kind != "tree" {
		return "", fmt.Errorf("%s of %s: %w", onto, r.project, ErrNoRef)
	}
	tree := found[0].id
	ref += tree + "/" + hex.EncodeToString(sum[:])
	if found, err = r.check(ctx, []string{ref}); err != nil {
		return "", err
	}
	if found[0].kind == "tree" {
		return found[0].id, nil
	}
	done, err := r.apply(ctx, tree, patch, name)
	if err != nil {
		return "", err
	}
	return done, r.setRef(ctx, ref, done)
}

// apply does it in an index of its own.
func (r *Repo) apply(ctx context.Context, tree string, patch []byte, name string) (string, error) {
	dir, err := r.m.temp()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	diffs, err := r.diffs(ctx, dir, patch, name)
	if err != nil {
		return "", err
	}
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	before, err := r.fill(ctx, env, tree, diffs, name)
	if err != nil {
		return "", err
	}
	for _, diff := range diffs {
		if err := r.applyOne(ctx, dir, env, diff, name); err != nil {
			return "", err
		}
	}
	after, err := r.writeTree(ctx, env)
	if err != nil || before == tree {
		return after, err
	}
	whole, paths, err := r.merge(ctx, before, tree, after)
	if err == nil && paths != nil {
		err = &PatchError{Project: r.project, Name: name, Paths: paths, Detail: "it conflicts with what the tree has there"}
	}
	return whole, err
}

// fill makes the index: of the files that the diffs touch alone, since an index of all 60,000 of core takes half a second.
// Diffs that rename or copy get the whole. It returns the index's tree.
func (r *Repo) fill(ctx context.Context, env []string, tree string, diffs [][]byte, name string) (string, error) {
	var paths []string
	whole := false
	for _, diff := range diffs {
		out, _, err := r.run(ctx, command{verb: "apply", args: []string{"--numstat", "-z", "-"}, env: env, stdin: bytes.NewReader(diff)})
		if said, ok := stderrOf(err); ok {
			return "", &PatchError{Project: r.project, Name: name, Detail: strings.TrimSpace(said)}
		}
		if err != nil {
			return "", err
		}
		for _, path := range numstat(string(out)) {
			if err := checkPath("path", path); err != nil {
				return "", &PatchError{Project: r.project, Name: name, Paths: []string{path}, Detail: err.Error()}
			}
			paths = append(paths, path)
		}
		whole = whole || moves.Match(diff)
	}
	if whole || len(paths) > pathsAtOnce || len(paths) == 0 {
		_, _, err := r.run(ctx, command{verb: "read-tree", args: []string{tree}, env: env})
		return tree, err
	}
	out, _, err := r.run(ctx, command{verb: "ls-tree", args: append([]string{"-z", "--full-tree", tree, "--"}, paths...)})
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, line := range strings.Split(string(out), "\x00") {
		head, path, _ := strings.Cut(line, "\t")
		if words := strings.Fields(head); len(words) == 3 && words[1] != "tree" {
			fmt.Fprintf(&lines, "%s %s 0\t%s\x00", words[0], words[2], path)
		}
	}
	if _, _, err := r.run(ctx, command{verb: "update-index", args: []string{"-z", "--index-info"}, env: env, stdin: strings.NewReader(lines.String())}); err != nil {
		return "", err
	}
	return r.writeTree(ctx, env)
}

// moves finds diffs that take a file from another path than where they put it.
var moves = regexp.MustCompile(`(?m)^(rename|copy) from `)

func (r *Repo) writeTree(ctx context.Context, env []string) (string, error) {
	out, _, err := r.run(ctx, command{verb: "write-tree", env: env})
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	return id, checkID(id)
}

// applyOne puts a diff into the index: as it stands, or else, when the blobs that it was made from are here, by merging
// what it did to those with what the index has.
func (r *Repo) applyOne(ctx context.Context, dir string, env []string, diff []byte, name string) error {
	args := []string{"--cached", "--whitespace=nowarn", "-"}
	_, _, direct := r.run(ctx, command{verb: "apply", args: args, env: env, stdin: bytes.NewReader(diff)})
	if direct == nil {
		return nil
	}
	said, ok := stderrOf(direct)
	if !ok || ctx.Err() != nil {
		return direct // git could not work at all
	}
	then := filepath.Join(dir, "then")
	thenEnv := []string{"GIT_INDEX_FILE=" + then}
	if err := os.Remove(then); err != nil && !os.IsNotExist(err) {
		return err
	}
	failed := func(err error) error {
		if _, ok := stderrOf(err); !ok || ctx.Err() != nil {
			return err
		}
		return r.patchError(ctx, env, diff, name, said)
	}
	if _, _, err := r.run(ctx, command{verb: "apply", args: []string{"--build-fake-ancestor=" + then, "-"}, env: env, stdin: bytes.NewReader(diff)}); err != nil {
		return failed(err)
	}
	base, err := r.writeTree(ctx, thenEnv)
	if err != nil {
		return failed(err)
	}
	if _, _, err := r.run(ctx, command{verb: "apply", args: args, env: thenEnv, stdin: bytes.NewReader(diff)}); err != nil {
		return failed(err)
	}
	theirs, err := r.writeTree(ctx, thenEnv)
	if err != nil {
		return failed(err)
	}
	ours, err := r.writeTree(ctx, env)
	if err != nil {
		return err
	}
	tree, paths, err := r.merge(ctx, base, ours, theirs)
	if err != nil {
		return err
	}
	if paths != nil {
		return &PatchError{Project: r.project, Name: name, Paths: paths, Detail: "it conflicts with what the tree has there"}
	}
	_, _, err = r.run(ctx, command{verb: "read-tree", args: []string{tree}, env: env})
	return err
}

// mail is how a mail or a mailbox begins.
var mail = regexp.MustCompile(`\A(From |[A-Za-z][A-Za-z0-9-]*:[ \t])`)

// diffs takes the diffs out of mails, whose encodings git-mailinfo(1) undoes. What is no mail is a diff.
func (r *Repo) diffs(ctx context.Context, dir string, patch []byte, name string) ([][]byte, error) {
	if !mail.Match(patch) {
		return [][]byte{patch}, nil
	}
	mails := filepath.Join(dir, "mails")
	if err := os.Mkdir(mails, 0o700); err != nil {
		return nil, err
	}
	bad := func(err error) error {
		if ctx.Err() != nil {
			return err
		}
		return &PatchError{Project: r.project, Name: name, Detail: "it cannot be read as a mail: " + err.Error()}
	}
	out, _, err := r.run(ctx, command{verb: "mailsplit", args: []string{"-d6", "-b", "-o" + mails}, stdin: bytes.NewReader(patch)})
	if err != nil {
		return nil, bad(err)
	}
	count, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || count < 1 || count > 1000 {
		return nil, bad(fmt.Errorf("it holds %.20q mails", out))
	}
	var all [][]byte
	for i := 1; i <= count; i++ {
		text, err := os.ReadFile(filepath.Join(mails, fmt.Sprintf("%06d", i)))
		if err != nil {
			return nil, err
		}
		diff := filepath.Join(dir, "diff")
		if _, _, err := r.run(ctx, command{verb: "mailinfo", args: []string{"--no-scissors", filepath.Join(dir, "message"), diff}, stdin: bytes.NewReader(text)}); err != nil {
			return nil, bad(err)
		}
		if text, err = os.ReadFile(diff); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// patchError says which paths are in a patch's way.
func (r *Repo) patchError(ctx context.Context, env []string, diff []byte, name, said string) error {
	pe := &PatchError{Project: r.project, Name: name, Detail: strings.TrimSpace(said)}
	if len(pe.Detail) > 1000 {
		pe.Detail = pe.Detail[:1000] + "…"
	}
	if out, _, err := r.run(ctx, command{verb: "apply", args: []string{"--numstat", "-z", "-"}, env: env, stdin: bytes.NewReader(diff)}); err == nil {
		all := numstat(string(out))
		for _, path := range all {
			if strings.Contains(said, path) {
				pe.Paths = append(pe.Paths, path)
			}
		}
		if len(pe.Paths) == 0 {
			pe.Paths = all
		}
	}
	slices.Sort(pe.Paths)
	pe.Paths = slices.Compact(pe.Paths)
	return pe
}

// numstat reads the paths of git apply --numstat -z.
func numstat(out string) []string {
	var all []string
	for _, line := range strings.Split(out, "\x00") {
		if words := strings.SplitN(line, "\t", 3); len(words) == 3 && words[2] != "" {
			all = append(all, words[2])
		}
	}
	return all
}

// stderrOf returns what a git said that ended by itself with a complaint.
func stderrOf(err error) (string, bool) {
	e, ok := err.(*Error) //nolint:errorlint // run's own, not wrapped yet
	if !ok || e.Err != nil || e.Code < 0 {
		return "", false
	}
	return e.Stderr, true
}
