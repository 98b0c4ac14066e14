package registration

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed reader.php
var readerPHP string

// reader is one php process that reads sources. It is asked by one goroutine at a time.
type reader struct {
	ctx    context.Context
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr *tail
}

// What is wanted of a source.
const (
	declarations byte = 'd'
	tables       byte = 't'
	builtin      byte = 'i'
)

const (
	maxAnswer  = 64 << 20
	maxPHP     = "1G" // php's own bound: tokens take about a hundred times the bytes of their source
	stderrKept = 2 << 10
)

// errNoPHP is a php that is not on this machine, or has no tokenizer.
var errNoPHP = errors.New("no php")

// startReader starts php. It and all that it starts die with ctx.
func startReader(ctx context.Context, argv []string) (*reader, error) {
	if len(argv) == 0 {
		return nil, fmt.Errorf("%w is configured", errNoPHP)
	}
	name, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPHP, err)
	}
	r := &reader{ctx: ctx, stderr: &tail{}}
	args := slices.Clone(argv[1:])
	for _, setting := range []string{
		"memory_limit=" + maxPHP, "display_errors=stderr", "auto_prepend_file=", "auto_append_file=", "output_buffering=0", "opcache.enable_cli=0",
	} {
		args = append(args, "-d", setting)
	}
	r.cmd = exec.CommandContext(ctx, name, append(args, "-r", strings.TrimPrefix(readerPHP, "<?php\n"))...)
	r.cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	r.cmd.Dir = "/"
	r.cmd.Stderr = r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = func() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) }
	r.cmd.WaitDelay = 2 * time.Second
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if r.out, err = r.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return r, r.greet()
}

func (r *reader) greet() error {
	var hello struct {
		PHP       string `json:"php"`
		Tokenizer bool   `json:"tokenizer"`
	}
	if err := r.answer(&hello); err != nil {
		err = r.broken("start", err)
		r.close()
		return err
	}
	if !hello.Tokenizer {
		r.close()
		return fmt.Errorf("%w that can read PHP: version %s has no tokenizer extension", errNoPHP, hello.PHP)
	}
	return nil
}

// ask sends a source of a path and reads what it declares.
func (r *reader) ask(want byte, name string, data []byte) (*source, error) {
	frame := make([]byte, 0, len(name)+9)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(name)))
	frame = append(frame, name...)
	frame = append(frame, want)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(data)))
	// php reads a question whole before it answers, so writing does not wait for reading.
	for _, part := range [][]byte{frame, data} {
		if _, err := r.in.Write(part); err != nil {
			return nil, r.broken(name, err)
		}
	}
	s := &source{}
	if err := r.answer(s); err != nil {
		return nil, r.broken(name, err)
	}
	return s, nil
}

func (r *reader) answer(to any) error {
	var length [4]byte
	if _, err := io.ReadFull(r.out, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxAnswer {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	var data bytes.Buffer // grows with what arrives
	if _, err := io.CopyN(&data, r.out, int64(n)); err != nil {
		return err
	}
	d := json.NewDecoder(&data)
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// broken says what php was doing when it went away, and its last words.
func (r *reader) broken(name string, err error) error {
	if r.ctx.Err() != nil {
		return fmt.Errorf("php on %s: %w", name, context.Cause(r.ctx))
	}
	r.close()
	if said := strings.TrimSpace(string(r.stderr.kept)); said != "" {
		return fmt.Errorf("php on %s: %w: %.500q", name, err, said)
	}
	return fmt.Errorf("php on %s: %w", name, err)
}

// close ends php, which ends by itself when there are no more questions.
func (r *reader) close() {
	r.in.Close()
	r.out.Close()
	_ = r.cmd.Wait() // how it ended says nothing that the answers did not
}

// tail keeps the last bytes that are written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - stderrKept; over > 0 {
		t.kept = slices.Delete(t.kept, 0, over)
	}
	return len(p), nil
}
