package remote

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"scap/sync/wire"
)

// Binary is the agent that is run on hosts. It is installed under its hash, so an orchestrator never meets an agent of
// another version.
type Binary struct {
	sum  string
	data []byte
}

// maxBinary bounds what is taken for an agent.
const maxBinary = 256 << 20

// ReadBinary reads the agent from a local file. One Binary serves all hosts.
func ReadBinary(path string) (*Binary, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxBinary || info.Size() == 0 {
		return nil, fmt.Errorf("agent %s: not a file of a sensible size", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return NewBinary(b), nil
}

// NewBinary makes content the agent.
func NewBinary(content []byte) *Binary {
	sum := sha256.Sum256(content)
	return &Binary{sum: hex.EncodeToString(sum[:]), data: content}
}

// Sum returns the agent's SHA-256 in hex.
func (b *Binary) Sum() string { return b.sum }

// The scripts are constants for /bin/sh. They are quoted with ' for whatever login shell the user has, so they hold
// neither that nor ! nor backslashes; what varies reaches them as arguments, from a set of characters that need no quotes.
const (
	// startScript runs the agent when it is there, ours and unaltered; arguments: directory, hash, flags of the agent.
	startScript = `d=$1; h=$2; f=$d/scap-agent-$h; shift 2; ` +
		`if [ -d "$d" ]; then ` +
		`if [ -O "$d" ] && [ -z "$(find "$d" -prune "(" -perm -020 -o -perm -002 ")")" ]; then :; ` +
		`else echo "$d must belong to $(id -un) and be writable by nobody else" >&2; exit 77; fi; fi; ` +
		`if [ -f "$f" ] && [ -x "$f" ] && s=$(sha256sum <"$f") && [ "${s%% *}" = "$h" ]; then exec "$f" "$@"; fi; ` +
		`echo "` + missing + `"`
	missing = "scap-agent missing"

	// putScript stores the agent from stdin; arguments: directory, hash. Old agents and what died half way go, modestly.
	putScript = `umask 022; d=$1; h=$2; mkdir -p "$d" || exit 73; t=$(mktemp "$d/.put-XXXXXX") || exit 73; ` +
		`if cat >"$t" && s=$(sha256sum <"$t") && [ "${s%% *}" = "$h" ] && chmod 700 "$t" && mv -f "$t" "$d/scap-agent-$h"; ` +
		`then echo stored; else rm -f "$t"; echo "the agent did not arrive whole in $d" >&2; exit 74; fi; ` +
		`find "$d" -maxdepth 1 "(" -name "scap-agent-*" -mtime +30 -o -name ".put-*" -mmin +60 ")" -exec rm -f "{}" + 2>/dev/null`
	stored = "stored\n"
)

// command makes the text that the login shell gets.
func command(script string, args ...string) string {
	return "exec /bin/sh -c '" + script + "' scap " + strings.Join(args, " ")
}

// checkDir refuses a directory that would need quotes anywhere.
func checkDir(dir string) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-"
	if strings.Trim(dir, allowed) != "" || strings.HasPrefix(dir, "-") || len(dir) > 512 {
		return fmt.Errorf("agent directory %q: only letters, digits and /._- are allowed, no leading -", dir)
	}
	for part := range strings.SplitSeq(dir, "/") {
		if part == ".." {
			return fmt.Errorf("agent directory %q: no .. please", dir)
		}
	}
	return nil
}

// start runs the agent and waits for its first word.
func (s *SSH) start(ctx context.Context, c *conn) (io.ReadWriteCloser, error) {
	x, found, err := s.tryStart(ctx, c)
	if err != nil || found {
		return x, err
	}
	if err := s.put(ctx, c); err != nil {
		return nil, fmt.Errorf("install it: %w", err)
	}
	x, found, err = s.tryStart(ctx, c)
	if err == nil && !found {
		err = errors.New("it is not there although it was just installed; is another deploy host cleaning up?")
	}
	return x, err
}

// tryStart starts the agent; found is false when the host does not have it.
func (s *SSH) tryStart(ctx context.Context, c *conn) (rwc io.ReadWriteCloser, found bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.DialTimeout, fmt.Errorf("no word from the agent within %v", s.o.DialTimeout))
	defer cancel()
	args := []string{s.o.AgentDir, s.o.Agent.sum}
	if s.o.AllowRoot {
		args = append(args, "--allow-root")
	}
	x, err := s.exec(ctx, c, command(startScript, args...))
	if err != nil {
		return nil, false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = x.Close() })
	br := bufio.NewReader(x)
	head, _ := br.Peek(len(missing) / 2) // no more than an agent's own first word has; an error shows below
	if string(head) == missing[:len(missing)/2] {
		stop()
		return nil, false, x.Close()
	}
	greeting := wire.Greeting(br)
	if !stop() {
		return nil, false, because(ctx, errors.New("the agent was started"))
	}
	if greeting != nil {
		err := why(x, greeting)
		if len(head) > 0 {
			err = fmt.Errorf("%w; nothing may write to stdout before the agent does: look at the login files of %s there", err, s.o.User)
		}
		_ = x.Close()
		return nil, false, err
	}
	return &greeted{session: x, r: br}, true, nil
}

// greeted is a session whose first bytes were looked at, not taken.
type greeted struct {
	*session
	r *bufio.Reader
}

// Read reads what the agent says.
func (g *greeted) Read(p []byte) (int, error) { return g.r.Read(p) }

// putLimit bounds an upload.
const putLimit = 3 * time.Minute

// put uploads the agent.
func (s *SSH) put(ctx context.Context, c *conn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, putLimit, fmt.Errorf("not done within %v", putLimit))
	defer cancel()
	x, err := s.exec(ctx, c, command(putScript, s.o.AgentDir, s.o.Agent.sum))
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }() // ended already, or to be given up
	stop := context.AfterFunc(ctx, func() { _ = x.Close() })
	defer stop()
	if _, err = x.Write(s.o.Agent.data); err == nil {
		err = x.in.Close()
	}
	said, rerr := io.ReadAll(io.LimitReader(x, 4<<10))
	if err == nil {
		err = rerr
	}
	if err == nil && string(said) != stored {
		err = fmt.Errorf("the host says %s", wire.Quote(said, 300))
	}
	if err != nil {
		return because(ctx, why(x, err))
	}
	return nil
}
