package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Error is a git command that failed. Kind is one of the sentinels, or nil.
type Error struct {
	Verb    string // git's own: fetch, merge-tree
	Project string
	Code    int    // exit status; -1: it did not end by itself
	Stderr  string // the end of what it said, at most 8 KB
	Kind    error
	Err     error // when it was not run, or was ended
}

// Error names the command, the repository and what git said.
func (e *Error) Error() string {
	text := "git " + e.Verb
	if e.Project != "" {
		text += " in " + e.Project
	}
	switch {
	case e.Err != nil:
		text += ": " + e.Err.Error()
	case e.Kind != nil:
		text += ": " + e.Kind.Error()
	default:
		text += ": exit status " + strconv.Itoa(e.Code)
	}
	if said := strings.TrimSpace(e.Stderr); said != "" && e.Err == nil {
		if len(said) > 600 {
			said = "…" + said[len(said)-600:]
		}
		text += fmt.Sprintf(" (it said %q)", said)
	}
	return text
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

const (
	maxStderr = 8 << 10
	// maxOutput bounds what is kept of an answer: the file list of 4 million files would fit.
	maxOutput = 512 << 20
	// grace is what a git that is told to end has for removing its lock files before it is killed.
	grace = 2 * time.Second
)

var errTooLong = errors.New("the answer is too long")

// command is one run of git.
type command struct {
	verb  string
	args  []string
	stdin io.Reader
	env   []string
	codes []int    // exit statuses besides 0 that are answers
	lock  *os.File // held on by the command, so that whoever takes it next knows that no git writes any more
	read  func(io.Reader) error
}

// run runs git in the repository and returns what it wrote and its exit status, 0 or one of c.codes. With c.read the
// output goes there.
func (r *Repo) run(ctx context.Context, c command) ([]byte, int, error) {
	out, code, err := r.m.run(ctx, r.dir, c)
	var failed *Error
	if errors.As(err, &failed) && failed.Project == "" {
		failed.Project = r.project
	}
	return out, code, err
}

func (m *Mirrors) run(ctx context.Context, dir string, c command) ([]byte, int, error) {
	fail := func(err error) ([]byte, int, error) { return nil, -1, &Error{Verb: c.verb, Code: -1, Err: err} }
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return fail(context.Cause(ctx))
	}
	if ctx.Err() != nil {
		return fail(context.Cause(ctx))
	}
	cmd := m.command(ctx, dir, c)
	said := &tail{}
	out := &bounded{}
	cmd.Stdin, cmd.Stderr, cmd.Stdout = c.stdin, said, out
	var reading error
	run := cmd.Run
	if c.read != nil {
		cmd.Stdout = nil
		run = func() error { return stream(cmd, c.read, &reading) }
	}
	err := run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever of its children is left
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return fail(context.Cause(ctx))
	case reading != nil:
		return fail(reading)
	case out.over:
		return fail(errTooLong)
	case err == nil:
		return out.kept.Bytes(), 0, nil
	case errors.As(err, &exit) && exit.Exited():
		for _, code := range c.codes {
			if exit.ExitCode() == code {
				return out.kept.Bytes(), code, nil
			}
		}
		text := said.text()
		return nil, exit.ExitCode(), &Error{Verb: c.verb, Code: exit.ExitCode(), Stderr: text, Kind: kind(text)}
	}
	return fail(err)
}

// stream runs cmd and gives its output to read; when read fails, cmd is ended.
func stream(cmd *exec.Cmd, read func(io.Reader) error, reading *error) error {
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if *reading = read(pipe); *reading != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	_, _ = io.Copy(io.Discard, pipe)
	return cmd.Wait()
}

// command makes the process: in a group of its own, which is told to end when ctx does, and killed after a grace.
func (m *Mirrors) command(ctx context.Context, dir string, c command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, m.git, append([]string{c.verb}, c.args...)...)
	cmd.Env = append(m.environment(dir), c.env...)
	cmd.Dir = m.o.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if c.lock != nil {
		cmd.ExtraFiles = []*os.File{c.lock}
	}
	return cmd
}

// environment is all that git knows of the world.
func (m *Mirrors) environment(dir string) []string {
	transports := "http:https"
	if m.o.Local {
		transports += ":file"
	}
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C", "TZ=UTC",
		"HOME=" + m.home(), "XDG_CONFIG_HOME=" + m.home(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_SSH_COMMAND=/bin/false",
		"GIT_PAGER=cat", "GIT_EDITOR=/bin/false", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL=" + transports, "GIT_PROTOCOL_FROM_USER=0",
		"GIT_AUTHOR_NAME=scap", "GIT_AUTHOR_EMAIL=scap@localhost", "GIT_AUTHOR_DATE=0 +0000",
		"GIT_COMMITTER_NAME=scap", "GIT_COMMITTER_EMAIL=scap@localhost", "GIT_COMMITTER_DATE=0 +0000",
	}
	if dir != "" {
		env = append(env, "GIT_DIR="+dir)
	} else {
		env = append(env, "GIT_CEILING_DIRECTORIES="+filepath.Dir(m.o.Dir)) // no repository around us is ours
	}
	settings := m.settings(dir)
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)))
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

// settings is git's configuration.
func (m *Mirrors) settings(dir string) [][2]string {
	s := [][2]string{
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"core.quotePath", "false"},
		{"core.logAllRefUpdates", "false"},
		{"core.attributesFile", "/dev/null"},
		{"core.fsync", "committed,reference"}, // what a record names must be there after a crash
		{"credential.helper", ""},
		{"fetch.fsckObjects", "true"},
		{"fetch.recurseSubmodules", "false"},
		{"gc.auto", "0"}, // nothing begins to pack while a deploy waits
		{"maintenance.auto", "false"},
		{"http.followRedirects", "false"}, // credentials go to one host
		{"http.lowSpeedLimit", "100"},
		{"http.lowSpeedTime", "30"},
		{"http.sslVerify", "true"},
		{"merge.conflictStyle", "merge"},
		{"diff.renames", "false"},
		{"uploadpack.allowAnySHA1InWant", "true"}, // by file:// only: the other end has our environment
	}
	// Old histories have these, and none of them harms a reader.
	for _, harmless := range []string{"missingSpaceBeforeDate", "missingSpaceBeforeEmail", "missingNameBeforeEmail", "missingEmail", "badTimezone", "badDateOverflow", "zeroPaddedFilemode", "badName", "badEmail"} {
		s = append(s, [2]string{"fetch.fsck." + harmless, "ignore"})
	}
	if m.o.CAFile != "" {
		s = append(s, [2]string{"http.sslCAInfo", m.o.CAFile})
	}
	if dir != "" {
		s = append(s, [2]string{"safe.directory", dir}) // a reader may be another user than the mirrors' owner
	}
	return s
}

// kind says what stderr means; git with LC_ALL=C has no other way of telling.
func kind(stderr string) error {
	low := strings.ToLower(stderr)
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(low, t) {
				return true
			}
		}
		return false
	}
	switch {
	case has("couldn't find remote ref", "not our ref", "no such remote ref", "want ref", "not valid: "):
		return ErrNoRef
	case has("authentication failed", "could not read username", "could not read password", "returned error: 401", "returned error: 403", "http 403"):
		return ErrAuth
	case has("repository not found", "returned error: 404", "does not appear to be a git repository", "' not found"):
		return ErrNoRepo
	case has("could not resolve host", "failed to connect", "couldn't connect", "connection refused", "connection reset", "timed out",
		"early eof", "unexpected disconnect", "the remote end hung up", "rpc failed", "returned error: 5", "returned error: 429",
		"empty reply from server", "operation too slow", "recv failure", "send failure", "transfer closed", "gnutls", "expected flush", "http/2 stream"):
		return ErrDown
	}
	return nil
}

// bounded keeps an answer up to maxOutput.
type bounded struct {
	kept bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxOutput {
		b.over = true
		return 0, errTooLong
	}
	return b.kept.Write(p)
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - maxStderr; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tail) text() string { return strings.ToValidUTF8(string(t.kept), "?") }
