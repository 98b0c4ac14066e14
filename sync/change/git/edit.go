package git

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
)

// maxTree bounds one directory's object.
const maxTree = 64 << 20

// node is a directory, or a place in one, that is edited.
type node struct {
	set  *Entry // what comes to be here; an Absent one: nothing
	kids map[string]*node
}

// edit returns the tree with entries set at paths, the Absent ones removed. Only directories on the way to them are read
// and written. paths are those where a file would have to be where a directory is, or the other way round.
func (r *Repo) edit(ctx context.Context, tree string, edits map[string]Entry) (id string, paths []string, err error) {
	root := &node{}
	for path, e := range edits {
		at := root
		for name := range strings.SplitSeq(path, "/") {
			if at.kids == nil {
				at.kids = map[string]*node{}
			}
			if at.kids[name] == nil {
				at.kids[name] = &node{}
			}
			at = at.kids[name]
		}
		at.set = &e
	}
	ed, err := r.editor(ctx)
	if err != nil {
		return "", nil, err
	}
	id, err = ed.dir(tree, "", root)
	if closing := ed.close(err != nil); err == nil {
		err = closing
	}
	slices.Sort(ed.clash)
	if err != nil || ed.clash != nil {
		return "", ed.clash, err
	}
	if id == "" {
		id = EmptyTree
	}
	return id, nil, nil
}

// editor reads directories through one git process and writes them through another.
type editor struct {
	r     *Repo
	ctx   context.Context
	read  *Blobs
	mk    *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	said  *tail
	clash []string
}

func (r *Repo) editor(ctx context.Context) (*editor, error) {
	read, err := r.Blobs(ctx)
	if err != nil {
		return nil, err
	}
	ed := &editor{r: r, ctx: ctx, read: read, said: &tail{}}
	ed.mk = r.m.command(ctx, r.dir, command{verb: "mktree", args: []string{"-z", "--missing", "--batch"}})
	ed.mk.Stderr = ed.said
	in, err := ed.mk.StdinPipe()
	if err != nil {
		read.Close()
		return nil, err
	}
	out, err := ed.mk.StdoutPipe()
	if err == nil {
		err = ed.mk.Start()
	}
	if err != nil {
		read.Close()
		return nil, &Error{Verb: "mktree", Project: r.project, Code: -1, Err: err}
	}
	ed.in, ed.out = in, bufio.NewReader(out)
	return ed, nil
}

func (ed *editor) close(failed bool) error {
	err := ed.read.Close()
	ed.in.Close()
	if waiting := ed.mk.Wait(); waiting != nil && err == nil && !failed {
		err = ed.fail(waiting)
	}
	return err
}

func (ed *editor) fail(err error) error {
	if cause := context.Cause(ed.ctx); cause != nil {
		err = cause
	}
	return &Error{Verb: "mktree", Project: ed.r.project, Code: -1, Stderr: ed.said.text(), Err: err}
}

// slot is an entry of a directory.
type slot struct{ mode, oid string }

func (s slot) isDir() bool { return s.mode == "40000" }

// dir returns the directory id (none: "") as n wants it; "" when nothing is left in it.
func (ed *editor) dir(id, path string, n *node) (string, error) {
	slots := map[string]slot{}
	if id != "" {
		var raw bytes.Buffer
		if _, err := ed.read.copy(&raw, id, "tree", maxTree); err != nil {
			return "", err
		}
		var err error
		if slots, err = parseTree(raw.Bytes()); err != nil {
			return "", fmt.Errorf("directory %q in %s: %w", path, ed.r.project, err)
		}
	}
	for name, kid := range n.kids {
		is, err := ed.entry(slots[name], strings.TrimPrefix(path+"/"+name, "/"), kid)
		if err != nil {
			return "", err
		}
		if is.oid == "" {
			delete(slots, name)
		} else {
			slots[name] = is
		}
	}
	if len(slots) == 0 {
		return "", nil
	}
	return ed.write(slots)
}

// entry returns what was at a path as n wants it. Where a directory makes way for a file or a file for a directory, the one
// must have gone altogether before the other can come.
func (ed *editor) entry(was slot, path string, n *node) (slot, error) {
	if n.set != nil && n.set.Kind == Absent && !was.isDir() {
		was = slot{}
	}
	if n.kids != nil {
		switch {
		case was.oid == "" || was.isDir():
			id, err := ed.dir(was.oid, path, n)
			if err != nil {
				return slot{}, err
			}
			if was = (slot{mode: "40000", oid: id}); id == "" {
				was = slot{}
			}
		case n.adds():
			ed.clash = append(ed.clash, path)
		}
	}
	if n.set == nil || n.set.Kind == Absent {
		return was, nil
	}
	if was.isDir() {
		ed.clash = append(ed.clash, path)
	}
	return slot{mode: fmt.Sprintf("%o", n.set.Mode), oid: n.set.OID}, nil
}

// adds reports whether anything comes to be below n.
func (n *node) adds() bool {
	for _, kid := range n.kids {
		if kid.set != nil && kid.set.Kind != Absent || kid.adds() {
			return true
		}
	}
	return false
}

// write writes a directory.
func (ed *editor) write(slots map[string]slot) (string, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(slots)) {
		s, kind := slots[name], "blob"
		switch s.mode {
		case "40000":
			kind = "tree"
		case "160000":
			kind = "commit"
		}
		fmt.Fprintf(&b, "%06s %s %s\t%s\x00", s.mode, kind, s.oid, name)
	}
	b.WriteByte(0)
	if _, err := io.WriteString(ed.in, b.String()); err != nil {
		return "", ed.fail(err)
	}
	line, err := ed.out.ReadString('\n')
	if err != nil {
		return "", ed.fail(err)
	}
	id := strings.TrimSpace(line)
	return id, checkID(id)
}

// parseTree reads a directory's object: mode, space, name, NUL, 20 bytes.
func parseTree(raw []byte) (map[string]slot, error) {
	slots := map[string]slot{}
	for len(raw) > 0 {
		mode, rest, ok := bytes.Cut(raw, []byte(" "))
		name, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok || !ok2 || len(rest) < 20 || len(mode) > 6 || len(name) == 0 || bytes.ContainsAny(mode, "\t\n\x00") {
			return nil, fmt.Errorf("it is no directory as git writes them: %w", ErrName)
		}
		slots[string(name)] = slot{mode: strings.TrimLeft(string(mode), "0"), oid: hex.EncodeToString(rest[:20])}
		raw = rest[20:]
	}
	return slots, nil
}
