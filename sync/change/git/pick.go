package git

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Conflict is a commit that cannot be put on another (or taken back from it) without a human's decision. Repeating is
// useless.
type Conflict struct {
	Project string
	Verb    string // "pick" or "revert"
	Commit  string
	Onto    string
	Paths   []string // that conflict, sorted
}

// Error names the commit, the repository and the paths.
func (c *Conflict) Error() string {
	paths := make([]string, 0, 11)
	for i, p := range c.Paths {
		if i == 10 {
			paths = append(paths, fmt.Sprintf("and %d more", len(c.Paths)-10))
			break
		}
		paths = append(paths, fmt.Sprintf("%q", p))
	}
	return fmt.Sprintf("%s of %.12s onto %.12s of %s conflicts in %s: it needs a rebase by hand", c.Verb, c.Commit, c.Onto, c.Project, strings.Join(paths, ", "))
}

// Pick puts what commit changes against its first parent onto another commit, as git cherry-pick does, without a work
// tree and without following renames (Gerrit follows none). It returns the new commit, whose id depends on the two commits
// alone; when commit's parent is onto already, that is commit itself. A conflict is a *Conflict.
func (r *Repo) Pick(ctx context.Context, onto, commit string) (string, error) {
	raw, c, err := r.rawCommit(ctx, commit)
	if err != nil {
		return "", err
	}
	if len(c.Parents) == 1 && c.Parents[0] == onto {
		return commit, nil
	}
	base := EmptyTree
	trees, err := r.Trees(ctx, append([]string{onto}, c.Parents...)...)
	if err != nil {
		return "", err
	}
	if len(c.Parents) > 0 {
		base = trees[1]
	}
	tree, paths, err := r.merge(ctx, base, trees[0], c.Tree)
	if err != nil {
		return "", err
	}
	if paths != nil {
		return "", &Conflict{Project: r.project, Verb: "pick", Commit: commit, Onto: onto, Paths: paths}
	}
	return r.hashObject(ctx, rewrite(raw, tree, onto))
}

// Revert takes back what commit changed against its first parent. Otherwise it is as Pick.
func (r *Repo) Revert(ctx context.Context, onto, commit string) (string, error) {
	raw, c, err := r.rawCommit(ctx, commit)
	if err != nil {
		return "", err
	}
	trees, err := r.Trees(ctx, append([]string{onto}, c.Parents...)...)
	if err != nil {
		return "", err
	}
	parent := EmptyTree
	if len(c.Parents) > 0 {
		parent = trees[1]
	}
	tree, paths, err := r.merge(ctx, c.Tree, trees[0], parent)
	if err != nil {
		return "", err
	}
	if paths != nil {
		return "", &Conflict{Project: r.project, Verb: "revert", Commit: commit, Onto: onto, Paths: paths}
	}
	message := fmt.Sprintf("Revert %q\n\nThis reverts commit %s.\n", c.Subject, commit)
	return r.hashObject(ctx, synthetic(tree, when(raw), message, onto))
}

// rawCommit reads a commit with its bytes.
func (r *Repo) rawCommit(ctx context.Context, id string) ([]byte, Commit, error) {
	b, err := r.Blobs(ctx)
	if err != nil {
		return nil, Commit{}, err
	}
	defer b.Close()
	var raw bytes.Buffer
	if _, err := b.copy(&raw, id, "commit", maxCommit); err != nil {
		return nil, Commit{}, err
	}
	c, err := parseCommit(raw.Bytes())
	if err != nil {
		return nil, Commit{}, fmt.Errorf("commit %s of %s: %w", id, r.project, err)
	}
	c.ID = id
	return raw.Bytes(), c, b.Close()
}

// when is the date of a commit's committer: a pick made of it has the same, so that its id is always the same.
func when(raw []byte) string {
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	for line := range strings.Lines(string(head)) {
		if who, ok := strings.CutPrefix(line, "committer "); ok {
			if end := strings.LastIndexByte(who, '>'); end >= 0 {
				return strings.TrimSpace(who[end+1:])
			}
		}
	}
	return "0 +0000"
}

// rewrite makes of a commit the one with another tree and parent. Author, encoding and message stay; signatures, which
// are of the other commit, go.
func rewrite(raw []byte, tree, parent string) []byte {
	head, message, _ := bytes.Cut(raw, []byte("\n\n"))
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\nparent %s\n", tree, parent)
	for line := range strings.Lines(string(head)) {
		key, _, _ := strings.Cut(line, " ")
		if key == "author" || key == "encoding" {
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
		if key == "author" {
			fmt.Fprintf(&b, "committer scap <scap@localhost> %s\n", when(raw))
		}
	}
	b.WriteByte('\n')
	b.Write(message)
	return b.Bytes()
}

// synthetic is a commit of ours.
func synthetic(tree, date, message string, parents ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, p := range parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author scap <scap@localhost> %s\ncommitter scap <scap@localhost> %s\n\n%s", date, date, message)
	return b.Bytes()
}

// hashObject writes a commit object and returns its id. Nothing refers to it: git keeps such objects for two weeks.
func (r *Repo) hashObject(ctx context.Context, raw []byte) (string, error) {
	out, _, err := r.run(ctx, command{verb: "hash-object", args: []string{"-t", "commit", "-w", "--stdin"}, stdin: bytes.NewReader(raw)})
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	return id, checkID(id)
}
