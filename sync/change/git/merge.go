package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// merge brings what leads from base to theirs into ours, all of them trees, path by path; paths are those that conflict, nil
// when none does.
//
// It is no git merge-tree: that follows renames, and git 2.39 cannot be told not to, while Gerrit's merges (JGit's) follow
// none. What Gerrit would refuse must be refused here, before it is on a test server, and what comes out must be the same.
func (r *Repo) merge(ctx context.Context, base, ours, theirs string) (tree string, paths []string, err error) {
	switch {
	case base == theirs || ours == theirs:
		return ours, nil, nil
	case base == ours:
		return theirs, nil, nil
	}
	diffs, err := r.Diff(ctx, base, theirs)
	if err != nil {
		return "", nil, err
	}
	current, err := r.entries(ctx, ours, diffs)
	if err != nil {
		return "", nil, err
	}
	edits := map[string]Entry{}
	for _, d := range diffs {
		is := current[d.Path]
		switch is {
		case d.New: // it is there already
		case d.Old:
			edits[d.Path] = d.New
		default:
			merged, ok, err := r.mergeFile(ctx, d, is)
			if err != nil {
				return "", nil, err
			}
			if !ok {
				paths = append(paths, d.Path)
				continue
			}
			edits[d.Path] = merged
		}
	}
	if paths != nil {
		return "", paths, nil
	}
	return r.edit(ctx, ours, edits)
}

// entries looks up what stands in a tree at the paths of diffs; directories are left out.
func (r *Repo) entries(ctx context.Context, tree string, diffs []Diff) (map[string]Entry, error) {
	all := map[string]Entry{}
	for chunk := range slices.Chunk(diffs, pathsAtOnce) {
		args := []string{"-z", "--full-tree", tree, "--"}
		for _, d := range chunk {
			args = append(args, d.Path)
		}
		out, _, err := r.run(ctx, command{verb: "ls-tree", args: args})
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(string(out), "\x00") {
			head, path, _ := strings.Cut(line, "\t")
			words := strings.Fields(head)
			if len(words) != 3 || words[1] == "tree" {
				continue
			}
			if all[path], err = entry(words[0], words[2]); err != nil {
				return nil, fmt.Errorf("%q in %s: %w", path, r.project, err)
			}
		}
	}
	return all, nil
}

// mergeFile merges a file that both sides changed; false: it conflicts.
func (r *Repo) mergeFile(ctx context.Context, d Diff, ours Entry) (Entry, bool, error) {
	sides := [3]Entry{ours, d.Old, d.New}
	for _, e := range sides {
		if e.Kind != Regular && e.Kind != Executable {
			return Entry{}, false, nil // one side removed it, both added it, or it is a link
		}
	}
	merged := ours
	if ours.Mode == d.Old.Mode {
		merged.Mode, merged.Kind = d.New.Mode, d.New.Kind
	}
	switch {
	case ours.OID == d.New.OID || d.New.OID == d.Old.OID:
		return merged, true, nil
	case ours.OID == d.Old.OID:
		merged.OID = d.New.OID
		return merged, true, nil
	}
	text, ok, err := r.mergeText(ctx, sides)
	if err != nil || !ok {
		return Entry{}, false, err
	}
	out, _, err := r.run(ctx, command{verb: "hash-object", args: []string{"-t", "blob", "-w", "--no-filters", "--stdin"}, stdin: bytes.NewReader(text)})
	if err != nil {
		return Entry{}, false, err
	}
	merged.OID = strings.TrimSpace(string(out))
	return merged, true, checkID(merged.OID)
}

// mergeText merges three contents by lines.
func (r *Repo) mergeText(ctx context.Context, sides [3]Entry) ([]byte, bool, error) {
	dir, err := r.m.temp()
	if err != nil {
		return nil, false, err
	}
	defer os.RemoveAll(dir)
	b, err := r.Blobs(ctx)
	if err != nil {
		return nil, false, err
	}
	defer b.Close()
	args := []string{"-p", "-q"}
	for i, e := range sides {
		var text bytes.Buffer
		if _, err := b.copy(&text, e.OID, "blob", maxFile); err != nil {
			return nil, false, err
		}
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			return nil, false, err
		}
		args = append(args, path)
	}
	out, code, err := r.run(ctx, command{verb: "merge-file", args: args, codes: conflicts})
	return out, err == nil && code == 0, err
}

// conflicts are merge-file's exit statuses for that many conflicts, or for binary files.
var conflicts = func() []int {
	all := []int{255}
	for n := 1; n <= 127; n++ {
		all = append(all, n)
	}
	return all
}()
