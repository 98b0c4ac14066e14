package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
)

// maxFile bounds what File reads.
const maxFile = 32 << 20

// Blobs reads objects through one git process. It is for one goroutine; open several for speed. When its context ends the
// process does, and the read under way fails.
type Blobs struct {
	r      *Repo
	ctx    context.Context
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	said   *tail
	broken error
	closed bool
}

// Blobs starts a reader of the repository's objects.
func (r *Repo) Blobs(ctx context.Context) (*Blobs, error) {
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	if !r.exists() {
		return nil, fmt.Errorf("%s: it was never fetched: %w", r.project, ErrNoRef)
	}
	if ctx.Err() != nil {
		return nil, &Error{Verb: "cat-file", Project: r.project, Code: -1, Err: context.Cause(ctx)}
	}
	b := &Blobs{r: r, ctx: ctx, said: &tail{}}
	b.cmd = r.m.command(ctx, r.dir, command{verb: "cat-file", args: []string{"--batch"}})
	b.cmd.Stderr = b.said
	in, err := b.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.in, b.out = in, bufio.NewReaderSize(out, 64<<10)
	if err := b.cmd.Start(); err != nil {
		return nil, &Error{Verb: "cat-file", Project: r.project, Code: -1, Err: err}
	}
	return b, nil
}

// Copy writes a blob's content to w and returns its size. An object that is missing is an ErrNoRef. When w fails, the
// reader goes on with the next blob.
func (b *Blobs) Copy(w io.Writer, oid string) (int64, error) { return b.copy(w, oid, "blob", -1) }

func (b *Blobs) copy(w io.Writer, oid, kind string, most int64) (int64, error) {
	if err := checkID(oid); err != nil {
		return 0, err
	}
	if b.broken != nil {
		return 0, b.broken
	}
	if _, err := io.WriteString(b.in, oid+"\n"); err != nil {
		return 0, b.fail(err)
	}
	return b.next(w, oid, kind, most)
}

// CopyAll copies many blobs without waiting for git between them: for each oid, in order, do gets its place, its size and
// its content, and need not read to the end. It stops at do's first error and returns it; the reader is then of no more use.
func (b *Blobs) CopyAll(oids []string, do func(i int, size int64, content io.Reader) error) error {
	if err := checkID(oids...); err != nil {
		return err
	}
	if b.broken != nil {
		return b.broken
	}
	asked := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(b.in, 4<<10)
		for _, oid := range oids {
			w.WriteString(oid) //nolint:errcheck // Flush tells
			w.WriteByte('\n')  //nolint:errcheck // Flush tells
		}
		asked <- w.Flush()
	}()
	var err error
	for i, oid := range oids {
		var size int64
		if size, err = b.header(oid, "blob", -1); err != nil {
			break
		}
		content := &io.LimitedReader{R: b.out, N: size}
		if err = do(i, size, content); err != nil {
			break
		}
		if _, err = io.Copy(io.Discard, content); err == nil && content.N > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			_, err = b.out.Discard(1)
		}
		if err != nil {
			err = b.fail(err)
			break
		}
	}
	if err != nil {
		if b.broken == nil {
			b.broken = err // unread answers are in the pipe
		}
		b.kill() // the asker must not wait for ever
	}
	if asking := <-asked; err == nil && asking != nil {
		err = b.fail(asking)
	}
	return err
}

// header reads the line before an object.
func (b *Blobs) header(oid, kind string, most int64) (int64, error) {
	line, err := b.out.ReadString('\n')
	if err != nil {
		return 0, b.fail(err)
	}
	line = strings.TrimSuffix(line, "\n")
	o := parseHeader(line)
	switch {
	case o.kind == "":
		return 0, fmt.Errorf("object %s of %s: %w", oid, b.r.project, ErrNoRef)
	case o.kind != kind:
		return 0, b.skip(o.size, fmt.Errorf("object %s of %s is a %s, not a %s: %w", oid, b.r.project, o.kind, kind, ErrName))
	case most >= 0 && o.size > most:
		return 0, b.skip(o.size, fmt.Errorf("object %s of %s: %w: %d bytes", oid, b.r.project, errTooLong, o.size))
	}
	return o.size, nil
}

// skip reads past an object that is not wanted, and returns why.
func (b *Blobs) skip(size int64, why error) error {
	if _, err := io.CopyN(io.Discard, b.out, size+1); err != nil {
		return b.fail(err)
	}
	return why
}

func (b *Blobs) next(w io.Writer, oid, kind string, most int64) (int64, error) {
	size, err := b.header(oid, kind, most)
	if err != nil {
		return 0, err
	}
	content := &io.LimitedReader{R: b.out, N: size}
	n, err := io.Copy(w, content)
	left := content.N
	if left > 0 {
		if _, skipping := io.CopyN(io.Discard, b.out, left); skipping != nil {
			return n, b.fail(skipping)
		}
	}
	if _, skipping := b.out.Discard(1); skipping != nil {
		return n, b.fail(skipping)
	}
	if err != nil {
		return n, fmt.Errorf("object %s of %s: %w", oid, b.r.project, err)
	}
	return n, nil
}

// fail remembers that the process is of no more use, and why.
func (b *Blobs) fail(err error) error {
	if cause := context.Cause(b.ctx); cause != nil {
		err = cause
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	b.broken = &Error{Verb: "cat-file", Project: b.r.project, Code: -1, Err: err}
	return b.broken
}

func (b *Blobs) kill() { _ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) }

// Close ends the process. A second Close does nothing.
func (b *Blobs) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.in.Close()
	if b.broken != nil {
		b.kill()
	}
	err := b.cmd.Wait()
	switch cause := context.Cause(b.ctx); {
	case b.broken != nil:
		err = nil // it was told when it broke
	case err != nil && cause != nil:
		err = &Error{Verb: "cat-file", Project: b.r.project, Code: -1, Err: cause}
	case err != nil:
		err = &Error{Verb: "cat-file", Project: b.r.project, Code: -1, Stderr: b.said.text(), Err: err}
	}
	return err
}

// File reads a file of a commit or a tree, at most 32 MB of it. One that is not there is an fs.ErrNotExist.
func (r *Repo) File(ctx context.Context, treeish, path string) ([]byte, error) {
	if err := checkID(treeish); err != nil {
		return nil, err
	}
	if err := checkPath("path", path); err != nil {
		return nil, err
	}
	found, err := r.check(ctx, []string{treeish, treeish + ":" + path})
	if err != nil {
		return nil, err
	}
	switch {
	case found[0].kind == "":
		return nil, fmt.Errorf("%s of %s: %w", treeish, r.project, ErrNoRef)
	case found[1].kind == "":
		return nil, fmt.Errorf("file %q in %s of %s: %w", path, treeish, r.project, fs.ErrNotExist)
	case found[1].kind != "blob":
		return nil, fmt.Errorf("file %q in %s of %s: it is a %s", path, treeish, r.project, found[1].kind)
	}
	b, err := r.Blobs(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var content bytes.Buffer
	if _, err := b.copy(&content, found[1].id, "blob", maxFile); err != nil {
		return nil, fmt.Errorf("file %q: %w", path, err)
	}
	return content.Bytes(), b.Close()
}
