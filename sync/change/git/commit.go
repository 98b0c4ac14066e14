package git

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Commit is a commit.
type Commit struct {
	ID         string
	Tree       string
	Parents    []string
	Author     string // name <address>
	AuthorDate time.Time
	Subject    string // the first paragraph, as one line
	Message    string // whole
	ChangeID   string // of the message's last paragraph; "" when it has none
}

// maxCommit bounds a commit object.
const maxCommit = 4 << 20

// Commit reads a commit.
func (r *Repo) Commit(ctx context.Context, id string) (Commit, error) {
	all, err := r.readCommits(ctx, []string{id})
	if err != nil {
		return Commit{}, err
	}
	return all[0], nil
}

// Log returns the commits that are in to and not in from (from "": all), oldest first, and of them the newest most.
// Somebody who must know whether there are more asks for one more.
func (r *Repo) Log(ctx context.Context, from, to string, most int) ([]Commit, error) {
	if err := checkID(to); err != nil {
		return nil, err
	}
	args := []string{"--topo-order", "--reverse", "--max-count=" + strconv.Itoa(max(most, 0)), to}
	if from != "" {
		if err := checkID(from); err != nil {
			return nil, err
		}
		args = append(args, "^"+from)
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	out, _, err := r.run(ctx, command{verb: "rev-list", args: append(args, "--")})
	if err != nil {
		return nil, err
	}
	ids := strings.Fields(string(out))
	if len(ids) == 0 {
		return nil, nil
	}
	return r.readCommits(ctx, ids)
}

// Contains reports whether commit is id itself or one of its ancestors. Both must be in the mirror.
func (r *Repo) Contains(ctx context.Context, id, commit string) (bool, error) {
	if err := checkID(id, commit); err != nil {
		return false, err
	}
	if err := r.ready(ctx); err != nil {
		return false, err
	}
	_, code, err := r.run(ctx, command{verb: "merge-base", args: []string{"--is-ancestor", commit, id}, codes: []int{1}})
	return err == nil && code == 0, err
}

// Trees returns the tree of each commit.
func (r *Repo) Trees(ctx context.Context, commits ...string) ([]string, error) {
	if err := checkID(commits...); err != nil {
		return nil, err
	}
	names := make([]string, len(commits))
	for i, id := range commits {
		names[i] = id + "^{tree}"
	}
	found, err := r.check(ctx, names)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(commits))
	for i, o := range found {
		if o.kind != "tree" {
			return nil, fmt.Errorf("commit %s of %s: %w", commits[i], r.project, ErrNoRef)
		}
		all[i] = o.id
	}
	return all, nil
}

func (r *Repo) readCommits(ctx context.Context, ids []string) ([]Commit, error) {
	if err := checkID(ids...); err != nil {
		return nil, err
	}
	b, err := r.Blobs(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	all := make([]Commit, 0, len(ids))
	for _, id := range ids {
		var raw bytes.Buffer
		if _, err := b.copy(&raw, id, "commit", maxCommit); err != nil {
			return nil, err
		}
		c, err := parseCommit(raw.Bytes())
		if err != nil {
			return nil, fmt.Errorf("commit %s of %s: %w", id, r.project, err)
		}
		c.ID = id
		all = append(all, c)
	}
	return all, b.Close()
}

// parseCommit reads a commit object.
func parseCommit(raw []byte) (Commit, error) {
	head, message, _ := bytes.Cut(raw, []byte("\n\n"))
	var c Commit
	for line := range strings.Lines(string(head)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			c.Author, c.AuthorDate = parseAuthor(value)
		}
	}
	if !IsID(c.Tree) || checkID(c.Parents...) != nil {
		return Commit{}, fmt.Errorf("it is no commit as git writes them: %w", ErrName)
	}
	c.Message = strings.ToValidUTF8(string(message), "\uFFFD")
	c.Subject = subject(c.Message)
	c.ChangeID = changeID(c.Message)
	return c, nil
}

// parseAuthor reads "name <address> seconds zone".
func parseAuthor(text string) (string, time.Time) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	end := strings.LastIndexByte(text, '>')
	if end < 0 {
		return text, time.Time{}
	}
	who := text[:end+1]
	seconds, _, _ := strings.Cut(strings.TrimSpace(text[end+1:]), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return who, time.Time{}
	}
	return who, time.Unix(n, 0).UTC()
}

func subject(message string) string {
	first, _, _ := strings.Cut(strings.TrimLeft(message, "\n"), "\n\n")
	return strings.Join(strings.Fields(first), " ")
}

var changeIDLine = regexp.MustCompile(`(?m)^Change-Id:[ \t]*(I[0-9a-f]{40})[ \t]*\r?$`)

// changeID finds the last Change-Id in the last paragraph.
func changeID(message string) string {
	message = strings.TrimRight(message, " \t\r\n")
	if i := strings.LastIndex(message, "\n\n"); i >= 0 {
		message = message[i:]
	}
	all := changeIDLine.FindAllStringSubmatch(message, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}
