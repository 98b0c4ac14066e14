package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// Client asks the keeper of this host, one process a question. It is safe for concurrent use.
type Client struct {
	// Command speaks the keeper's protocol, as root: sudo -n /usr/local/sbin/scap-agent keeper. No shell reads it.
	Command []string
}

// Error is a Reply that says no: nothing was changed, unless Code is empty.
type Error struct {
	Code Code
	Text string
}

// Error returns the keeper's text.
func (e *Error) Error() string { return e.Text }

// ErrUnusable wraps what hinders a question from being answered at all: no such program, no right to run it, a
// configuration that the keeper refuses. What it was asked for may have happened if the keeper died on the way.
var ErrUnusable = errors.New("it cannot be used")

// Do asks for one operation. The error is an *Error when the keeper says no, and wraps ErrUnusable when it says nothing. When
// ctx ends the keeper is told, and Do returns as soon as the keeper has: at a point where nothing is half done.
func (c Client) Do(ctx context.Context, q Request) (Reply, error) {
	if len(c.Command) == 0 {
		return Reply{}, fmt.Errorf("%w: no command is configured", ErrUnusable)
	}
	line, err := json.Marshal(q)
	if err != nil {
		return Reply{}, err
	}
	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	cmd.Stdin = bytes.NewReader(append(line, '\n'))
	out, said := &bounded{limit: maxReply}, &bounded{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, said, "/"
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // through sudo it may not arrive: then it ends by itself
	ended := cmd.Run()
	reply, err := parseReply(out.Bytes())
	if err != nil {
		if ended != nil && len(out.Bytes()) == 0 {
			err = ended // which says why there is no reply
		}
		err = fmt.Errorf("%w: %s: %w", ErrUnusable, strings.Join(c.Command, " "), err)
		if text := strings.TrimSpace(said.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return Reply{}, err
	}
	if reply.Error != "" {
		return reply, &Error{Code: reply.Code, Text: reply.Error}
	}
	return reply, nil
}

// parseReply reads one line. A newer keeper may say more than is known here.
func parseReply(b []byte) (Reply, error) {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok || len(rest) > 0 {
		return Reply{}, fmt.Errorf("%d bytes that are not one line", len(b))
	}
	var r Reply
	if err := json.Unmarshal(line, &r); err != nil {
		return Reply{}, fmt.Errorf("a reply that is none: %w", err)
	}
	return r, nil
}

// bounded keeps the first bytes that are written to it. The buffer is no embedded one: its ReadFrom would go past the bound.
type bounded struct {
	limit int
	kept  bytes.Buffer
}

// Write never fails: what does not fit is dropped.
func (b *bounded) Write(p []byte) (int, error) {
	_, _ = b.kept.Write(p[:min(len(p), b.limit-b.kept.Len())])
	return len(p), nil
}

func (b *bounded) Bytes() []byte  { return b.kept.Bytes() }
func (b *bounded) String() string { return b.kept.String() }
