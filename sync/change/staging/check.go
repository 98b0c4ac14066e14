package staging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"scap/sync/change/registration"
	"scap/sync/release"
)

// register has the registrations of extensions and skins checked that the change could have broken, version by version.
func (b *build) register(ctx context.Context) error {
	level := b.s.o.Registration
	if level == Off || b.prior == nil {
		return nil
	}
	id, err := b.tree.seal()
	if err != nil {
		return err
	}
	changed := sortedKeys(b.touched)
	for _, v := range b.versions {
		core := b.s.o.VersionPrefix + v
		var paths []string
		for _, p := range changed {
			if below(p, core) {
				paths = append(paths, p)
			}
		}
		if len(paths) == 0 {
			continue
		}
		tree := &files{ctx: ctx, b: b, id: id, made: b.mtime}
		o := registration.Options{PHP: b.s.o.PHP, Core: core, Paths: paths}
		if b.s.o.Store.Has(b.prior.Release) {
			o.Before = os.DirFS(b.s.o.Store.Path(b.prior.Release))
		}
		report, err := registration.Check(ctx, tree, o)
		if err != nil {
			return err
		}
		b.report(core, report, level)
	}
	return nil
}

// report takes over what the change broke. What was so before is served already, and no business of this change; what
// breaks nothing stops nothing.
func (b *build) report(core string, r *registration.Report, level Level) {
	for _, f := range r.Findings {
		if f.Old {
			continue
		}
		level := level
		if f.Harmless {
			level = Warn
		}
		text := fmt.Sprintf("%s (%s)", f.Text, f.Kind)
		if f.Pointer != "" {
			text = f.Pointer + ": " + text
		}
		b.find(Finding{Check: "registration", Path: f.File, Text: text, Level: level})
	}
	if r.More > 0 {
		b.findings = append(b.findings, Finding{Check: "registration", Path: core, Text: fmt.Sprintf("and %d more", r.More), Level: level})
	}
	if r.Unchecked != "" {
		b.warn("registration", core, "not all could be looked at: "+r.Unchecked)
	}
}

// files is the sealed tree as a file system, though it may stand nowhere on disk.
type files struct {
	ctx  context.Context
	b    *build
	id   release.ID
	made time.Time
}

var (
	_ fs.ReadFileFS = (*files)(nil)
	_ fs.ReadDirFS  = (*files)(nil)
	_ fs.StatFS     = (*files)(nil)
)

const maxLinks = 16

// find follows links, which never lead out of the tree.
func (f *files) find(op, name string) (string, release.Entry, error) {
	fail := func(err error) (string, release.Entry, error) {
		return "", release.Entry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	at := name
	for range maxLinks {
		if at == "." {
			return at, release.Entry{Name: ".", Kind: release.Directory, Mode: dirMode, Sum: release.Sum(f.id)}, nil
		}
		e, link, err := f.step(at)
		if err != nil {
			return fail(err)
		}
		if link == "" {
			return at, e, nil
		}
		if at = link; !fs.ValidPath(at) {
			return fail(fs.ErrNotExist)
		}
	}
	return fail(errors.New("too many links"))
}

// step walks down a path and returns what is there or, at the first link on the way, where that leads.
func (f *files) step(name string) (e release.Entry, link string, err error) {
	sum, dir := release.Sum(f.id), ""
	for rest := name; ; {
		part, more, deeper := cut(rest)
		d, err := f.b.shelf.Dir(sum)
		if err != nil {
			return e, "", err
		}
		e, ok := d.Find(part)
		switch {
		case !ok:
			return e, "", fs.ErrNotExist
		case e.Kind == release.Link:
			return e, path.Join(dir, e.Target, more), nil
		case !deeper:
			return e, "", nil
		case e.Kind != release.Directory:
			return e, "", fs.ErrNotExist
		}
		sum, dir, rest = e.Sum, join(dir, part), more
	}
}

func cut(p string) (head, rest string, more bool) {
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i], p[i+1:], true
		}
	}
	return p, "", false
}

// ReadFile returns a file's content.
func (f *files) ReadFile(name string) ([]byte, error) {
	at, e, err := f.find("read", name)
	if err != nil {
		return nil, err
	}
	if e.Kind != release.File {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	text, err := f.b.bytes(f.ctx, at)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return slices.Clone(text), nil
}

// ReadDir lists a directory.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	_, e, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.Kind != release.Directory {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	d, err := f.b.shelf.Dir(e.Sum)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	out := make([]fs.DirEntry, len(d))
	for i, e := range d {
		out[i] = fs.FileInfoToDirEntry(info{e, f.made})
	}
	return out, nil
}

// Stat describes a file or directory; links are followed.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	_, e, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	e.Name = path.Base(name)
	return info{e, f.made}, nil
}

// Open opens a file or directory.
func (f *files) Open(name string) (fs.File, error) {
	_, e, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	e.Name = path.Base(name)
	if e.Kind == release.Directory {
		list, err := f.ReadDir(name)
		return &openDir{info: info{e, f.made}, list: list}, err
	}
	text, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &openFile{info{e, f.made}, bytes.NewReader(text)}, nil
}

type openFile struct {
	info info
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info info
	list []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: errors.New("is a directory")}
}

// ReadDir gives the next entries.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.list) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.list) {
		n = len(d.list)
	}
	out := d.list[:n]
	d.list = d.list[n:]
	return out, nil
}

// info describes an entry as package fs wants it.
type info struct {
	e    release.Entry
	made time.Time
}

func (i info) Name() string       { return i.e.Name }
func (i info) Size() int64        { return i.e.Size }
func (i info) ModTime() time.Time { return i.made }
func (i info) IsDir() bool        { return i.e.Kind == release.Directory }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	m := fs.FileMode(i.e.Mode)
	switch i.e.Kind {
	case release.Directory:
		m |= fs.ModeDir
	case release.Link:
		m |= fs.ModeSymlink | 0o777
	}
	return m
}
