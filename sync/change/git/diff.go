package git

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Kind is what stands at a path.
type Kind byte

// The kinds of entries. The zero Kind is that of an Entry that is not there.
const (
	Absent Kind = iota
	Regular
	Executable
	Symlink
	Gitlink // a submodule's commit
)

// Entry is what stands at a path; its zero value is nothing.
type Entry struct {
	Mode uint32 // git's: 0100644, 0100755, 0120000, 0160000
	OID  string // a blob, or of a Gitlink a commit
	Kind Kind
}

// Diff is a path at which two trees differ.
type Diff struct {
	Path     string
	Old, New Entry
}

const (
	maxDiffs = 4 << 20
	maxLine  = 64 << 10
)

// Diff lists the paths at which two commits or trees differ, by path, without renames; submodules are entries of their
// own kind. from "" is the empty tree, so that all of to is listed. Only directories that differ are read.
func (r *Repo) Diff(ctx context.Context, from, to string) ([]Diff, error) {
	if from == "" {
		from = EmptyTree
	}
	if err := checkID(from, to); err != nil {
		return nil, err
	}
	if from == to {
		return nil, nil
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	var all []Diff
	read := func(out io.Reader) error {
		return readRaw(bufio.NewReaderSize(out, 64<<10), func(commit string, d Diff) error {
			if commit != "" {
				return fmt.Errorf("unexpected commit %s", commit)
			}
			all = append(all, d)
			return nil
		})
	}
	_, _, err := r.run(ctx, command{verb: "diff-tree", args: []string{"-r", "-z", "--raw", "--no-renames", "--no-abbrev", from, to, "--"}, read: read})
	return all, err
}

// Touched lists what each commit changes against its first parent.
func (r *Repo) Touched(ctx context.Context, commits ...string) (map[string][]Diff, error) {
	if err := checkID(commits...); err != nil || len(commits) == 0 {
		return nil, err
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	all := make(map[string][]Diff, len(commits))
	for _, id := range commits {
		all[id] = nil
	}
	read := func(out io.Reader) error {
		current := ""
		return readRaw(bufio.NewReaderSize(out, 64<<10), func(commit string, d Diff) error {
			if commit != "" {
				current = commit
				return nil
			}
			if _, asked := all[current]; !asked {
				return fmt.Errorf("answer about %q, which was not asked", current)
			}
			all[current] = append(all[current], d)
			return nil
		})
	}
	args := []string{"--stdin", "-r", "-z", "--raw", "--root", "--diff-merges=first-parent", "--no-renames", "--no-abbrev", "--always"}
	_, _, err := r.run(ctx, command{verb: "diff-tree", args: args, stdin: strings.NewReader(strings.Join(commits, "\n") + "\n"), read: read})
	return all, err
}

// readRaw reads git's raw format with -z: ":mode mode oid oid status" NUL path NUL, and ids of commits between them.
func readRaw(in *bufio.Reader, each func(commit string, d Diff) error) error {
	for n := 0; ; n++ {
		head, err := readNUL(in)
		if err == io.EOF { //nolint:errorlint // readNUL's own
			return nil
		}
		if err != nil {
			return err
		}
		if n > maxDiffs {
			return errTooLong
		}
		if id := string(head); IsID(id) {
			if err := each(id, Diff{}); err != nil {
				return err
			}
			continue
		}
		path, err := readNUL(in)
		if err != nil {
			return fmt.Errorf("answer breaks off: %w", io.ErrUnexpectedEOF)
		}
		d, err := parseRaw(string(head), string(path))
		if err != nil {
			return err
		}
		if err := each("", d); err != nil {
			return err
		}
	}
}

// readNUL reads up to a NUL; io.EOF only where nothing is left.
func readNUL(in *bufio.Reader) ([]byte, error) {
	var all []byte
	for {
		part, err := in.ReadSlice(0)
		all = append(all, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(all, []byte{0}), nil
		case len(all) > maxLine:
			return nil, errTooLong
		case err == io.EOF && len(all) > 0: //nolint:errorlint // bufio's own
			return nil, io.ErrUnexpectedEOF
		case err != bufio.ErrBufferFull: //nolint:errorlint // bufio's own
			return nil, err
		}
	}
}

func parseRaw(head, path string) (Diff, error) {
	words := strings.Split(strings.TrimPrefix(head, ":"), " ")
	if !strings.HasPrefix(head, ":") || len(words) != 5 || path == "" {
		return Diff{}, fmt.Errorf("raw difference %q cannot be read", head)
	}
	was, err := entry(words[0], words[2])
	if err != nil {
		return Diff{}, fmt.Errorf("%q: %w", path, err)
	}
	is, err := entry(words[1], words[3])
	if err != nil {
		return Diff{}, fmt.Errorf("%q: %w", path, err)
	}
	return Diff{Path: path, Old: was, New: is}, nil
}

func entry(mode, oid string) (Entry, error) {
	n, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || !IsID(oid) {
		return Entry{}, fmt.Errorf("mode %q or object %q cannot be read", mode, oid)
	}
	e := Entry{Mode: uint32(n), OID: oid}
	switch n {
	case 0:
		return Entry{}, nil
	case 0o100644, 0o100664: // old histories have group-writable files
		e.Kind = Regular
	case 0o100755:
		e.Kind = Executable
	case 0o120000:
		e.Kind = Symlink
	case 0o160000:
		e.Kind = Gitlink
	default:
		return Entry{}, fmt.Errorf("mode %s is none of a file's", mode)
	}
	return e, nil
}
