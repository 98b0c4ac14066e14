package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"scap/fixtures/paper"
	"scap/sync/agent"
	"scap/sync/push"
	"scap/sync/release"
	"scap/sync/wire"
	"scap/targets"
)

// says is a server whose sessions write text and end.
func says(text string, exit uint32) func(string, ssh.Channel) uint32 {
	return func(_ string, ch ssh.Channel) uint32 {
		_, _ = io.WriteString(ch, text)
		_, _ = io.WriteString(ch.Stderr(), "what stderr says\n")
		return exit
	}
}

// refused opens a session and returns why that failed; it must end in time and name parts.
func refused(t *testing.T, s *SSH, within time.Duration, parts ...string) error {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rwc, err := s.Open(ctx)
	if err == nil {
		_ = rwc.Close()
		t.Errorf("opened; want an error with %q", parts)
		return nil
	}
	if took := time.Since(begun); took > within {
		t.Errorf("it took %v, at most %v are allowed: %v", took, within, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if strings.ContainsAny(err.Error(), "\x1b\x07\r\n") {
		t.Errorf("%q would be obeyed by a terminal", err)
	}
	return err
}

func TestHostKeys(t *testing.T) {
	c := newCredentials(t)
	s := newSSHServer(t, c, says("never", 0))
	addr := s.l.Addr().String()
	o := c.options(t, addr)
	o.Agent = NewBinary([]byte("x"))

	c.know(t, "other.example:22", c.host.PublicKey())
	refused(t, open(t, o), time.Minute, "not in "+c.knownHosts, "add it")
	c.know(t, addr, newKey(t, filepath.Join(t.TempDir(), "k")).PublicKey())
	refused(t, open(t, o), time.Minute, "another key than the one in "+c.knownHosts, "ssh-keygen -R")
	o.KnownHosts = []string{filepath.Join(t.TempDir(), "missing")}
	refused(t, open(t, o), time.Minute, "missing")
	if len(s.commands) > 0 {
		t.Errorf("commands were sent to an unknown host: %q", s.commands)
	}
}

func TestKeys(t *testing.T) {
	c := newCredentials(t)
	s := newSSHServer(t, c, says("no agent", 0))
	addr := s.l.Addr().String()
	c.know(t, addr, c.host.PublicKey())
	o := c.options(t, addr)
	o.Agent = NewBinary([]byte("x"))

	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.WriteFile(locked, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Keys = []string{locked}
	refused(t, open(t, o), time.Minute, locked, "encrypted", "ssh-add")
	o.Keys = []string{filepath.Join(t.TempDir(), "missing")}
	refused(t, open(t, o), time.Minute, "missing")
	stranger := filepath.Join(t.TempDir(), "stranger")
	newKey(t, stranger)
	o.Keys = []string{stranger}
	refused(t, open(t, o), time.Minute, "did not let user deploy in")
	o.Keys, o.AuthSocket = nil, filepath.Join(t.TempDir(), "nobody")
	refused(t, open(t, o), time.Minute, "SSH agent", o.AuthSocket)
	o.AuthSocket = keyAgent(t, c.key)
	refused(t, open(t, o), time.Minute, "no agent") // it was let in
}

// TestUsable: what is wrong on this side is known without asking a host.
func TestUsable(t *testing.T) {
	c := newCredentials(t)
	c.know(t, "other.example:22", c.host.PublicKey())
	missing := filepath.Join(t.TempDir(), "missing")
	for name, spoil := range map[string]func(*SSHOptions){
		"":            func(*SSHOptions) {},
		"known hosts": func(o *SSHOptions) { o.KnownHosts = []string{missing} },
		"SSH key":     func(o *SSHOptions) { o.Keys = []string{missing} },
		"SSH agent":   func(o *SSHOptions) { o.AuthSocket = missing },
	} {
		o := c.options(t, "192.0.2.1:22") // nobody is there
		spoil(&o)
		s, err := NewSSH(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Usable(); name == "" && err != nil || name != "" && (err == nil || !strings.Contains(err.Error(), name)) {
			t.Errorf("%q is wrong: %v", name, err)
		}
		_ = s.Close()
	}
}

// keyAgent is an SSH agent that holds the key.
func keyAgent(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	ring := sshagent.NewKeyring()
	if err := ring.Add(sshagent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "a")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = sshagent.ServeAgent(ring, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended; _ = os.RemoveAll(dir) })
	return l.Addr().String()
}

// TestNoise: what is not an agent is quoted, and the session's error text with it.
func TestNoise(t *testing.T) {
	c := newCredentials(t)
	for text, parts := range map[string][]string{
		"Welcome to host1\r\n\x1b]0;evil\x07": {"does not speak", "Welcome to host1", "what stderr says"},
		"":                                    {"ended before a word", "what stderr says"},
		"scap-wire 7777\n":                    {"7777"},
	} {
		s := newSSHServer(t, c, says(text, 126))
		c.know(t, s.l.Addr().String(), c.host.PublicKey())
		o := c.options(t, s.l.Addr().String())
		o.Agent = NewBinary([]byte("x"))
		refused(t, open(t, o), time.Minute, append(parts, "126", "noexec")...)
	}
}

// TestDeadHosts: a host that hangs, refuses or dies is an error in bounded time, with its reason.
func TestDeadHosts(t *testing.T) {
	c := newCredentials(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, by the kernel, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	quick := func(addr string) SSHOptions {
		c.know(t, addr, c.host.PublicKey())
		o := c.options(t, addr)
		o.Agent, o.DialTimeout, o.Keepalive, o.Misses = NewBinary([]byte("x")), 300*time.Millisecond, 50*time.Millisecond, 4
		return o
	}
	refused(t, open(t, quick(silent.Addr().String())), 30*time.Second, "no SSH connection within 300ms")

	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	refused(t, open(t, quick(gone.Addr().String())), 30*time.Second, "connection refused")

	stop := make(chan struct{})
	defer close(stop)
	mute := newSSHServer(t, c, func(string, ssh.Channel) uint32 { <-stop; return 0 })
	o := quick(mute.l.Addr().String())
	refused(t, open(t, o), 30*time.Second, "no word from the agent within 300ms")

	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := open(t, o).Open(ctx); !errors.Is(err, enough) {
		t.Errorf("cancelled: %v", err)
	}
	s := open(t, o)
	_ = s.Close()
	if _, err := s.Open(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := s.Dial(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestBlackHole freezes the wire in the middle of a question and of a switch.
func TestBlackHole(t *testing.T) {
	for name, ask := range map[string]func(w *world) error{
		"question": func(w *world) error { _, err := w.host.Quiet(context.Background(), time.Hour); return err },
		"switch":   func(w *world) error { return w.host.Activate(context.Background(), w.toB()) },
		"trial": func(w *world) error {
			write(t, w.dir, "handover", nil)
			return w.host.Try(context.Background(), w.toB(), time.Now().Add(time.Hour))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				p *proxy
				h *agent.Host
			)
			w := deployed(t, func(t *testing.T, dir string) link {
				var err error
				if h, err = paperHost(dir); err != nil {
					t.Fatal(err)
				}
				c := newCredentials(t)
				s := newSSHServer(t, c, func(_ string, ch ssh.Channel) uint32 { _ = agent.Serve(context.Background(), h, ch); return 0 })
				p = newProxy(t, s.l.Addr().String())
				c.know(t, p.addr(), c.host.PublicKey())
				o := c.options(t, p.addr())
				o.Agent, o.Keepalive, o.Misses, o.DialTimeout = NewBinary([]byte("x")), 100*time.Millisecond, 20, 2*time.Second
				return link{opener: open(t, o), cut: p.cut}
			})
			w.host.Regain = time.Second
			if err := w.host.Stage(t.Context(), w.b); err != nil {
				t.Fatal(err)
			}
			end := w.order(t, "hold")
			done := make(chan error, 1)
			go func() { done <- ask(w) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			rt := h.Runtime.(paper.Trier)
			if !await(ctx, func() bool { return rt.Calls.Load() > 0 }) {
				t.Fatal("the host was not asked")
			}
			p.freeze()
			select {
			case err := <-done:
				if !errors.Is(err, push.ErrLost) || !strings.Contains(err.Error(), "has not answered for 2s") {
					t.Errorf("%v", err)
				}
				if errors.Is(err, targets.ErrReturned) || name == "switch" && !strings.Contains(err.Error(), "may have switched or not") ||
					name == "trial" && !strings.Contains(err.Error(), "it may be tried until ") {
					t.Errorf("the end of the switch is not known, but: %v", err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it hangs")
			}
			end()
		})
	}
}

// TestFewSessions: a host that allows one session at a time gets all questions on it.
func TestFewSessions(t *testing.T) {
	var server *sshServer
	w := deployed(t, func(t *testing.T, dir string) link {
		h, err := paperHost(dir)
		if err != nil {
			t.Fatal(err)
		}
		c := newCredentials(t)
		server = newSSHServer(t, c, func(_ string, ch ssh.Channel) uint32 { _ = agent.Serve(context.Background(), h, ch); return 0 })
		server.sessions = 1
		c.know(t, server.l.Addr().String(), c.host.PublicKey())
		o := c.options(t, server.l.Addr().String())
		o.Agent = NewBinary([]byte("x"))
		return link{opener: open(t, o)}
	})
	w.serves(t, w.a.ID)
	if err := errors.Join(w.host.Stage(t.Context(), w.b), w.host.Activate(t.Context(), w.toB())); err != nil {
		t.Error(err)
	}
	w.serves(t, w.b.ID)
	if len(server.commands) != 1 {
		t.Errorf("%d sessions were opened", len(server.commands))
	}
}

func TestJumpHost(t *testing.T) {
	c := newCredentials(t)
	h, err := paperHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	far := newSSHServer(t, c, func(_ string, ch ssh.Channel) uint32 { _ = agent.Serve(context.Background(), h, ch); return 0 })
	near := newSSHD(t)
	var lines []string
	for _, l := range []struct {
		addr string
		key  ssh.PublicKey
	}{{near.addr, near.c.host.PublicKey()}, {far.l.Addr().String(), c.host.PublicKey()}} {
		c.know(t, l.addr, l.key)
		b, err := os.ReadFile(c.knownHosts)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	jo := near.options(t, near.addr)
	o := c.options(t, far.l.Addr().String())
	if err := os.WriteFile(c.knownHosts, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	jump := open(t, jo)
	o.Agent, o.Jump = NewBinary([]byte("x")), jump
	s := open(t, o)
	rwc, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.Greeting(rwc.(*greeted).r); err != nil {
		t.Error(err)
	}
	_ = rwc.Close()
	o.KnownHosts = jo.KnownHosts
	refused(t, open(t, o), time.Minute, "not in")
	_ = jump.Close()
	refused(t, open(t, o), time.Minute, "by way of "+jump.addr())
}

func TestOptionsAreChecked(t *testing.T) {
	good := SSHOptions{Host: "h", User: "u", KnownHosts: []string{"f"}, Keys: []string{"k"}}
	if _, err := NewSSH(good); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*SSHOptions){
		"host":        func(o *SSHOptions) { o.Host = "" },
		"user":        func(o *SSHOptions) { o.User = "" },
		"port":        func(o *SSHOptions) { o.Port = 70000 },
		"known_hosts": func(o *SSHOptions) { o.KnownHosts = nil },
		"key":         func(o *SSHOptions) { o.Keys = nil },
		"';rm -rf /'": func(o *SSHOptions) { o.AgentDir = "/a';rm -rf /'" },
		"$HOME":       func(o *SSHOptions) { o.AgentDir = "$HOME/x" },
		"../x":        func(o *SSHOptions) { o.AgentDir = "/a/../x" },
		"-rf":         func(o *SSHOptions) { o.AgentDir = "-rf" },
		"~/x":         func(o *SSHOptions) { o.AgentDir = "~/x" },
	} {
		o := good
		spoil(&o)
		if _, err := NewSSH(o); err == nil || !strings.Contains(err.Error(), strings.Trim(what, "'")[:1]) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAgentOnTheHost looks at what a real sshd and a real shell make of the agent's installation.
func TestAgentOnTheHost(t *testing.T) {
	s := newSSHD(t)
	dir := t.TempDir()
	o := s.options(t, s.addr)
	o.Agent = testAgent(dir)
	file := filepath.Join(o.AgentDir, "scap-agent-"+o.Agent.Sum())
	start := func() {
		t.Helper()
		rwc, err := open(t, o).Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = rwc.Close()
	}
	stale, old := filepath.Join(o.AgentDir, ".put-stale"), filepath.Join(o.AgentDir, "scap-agent-old")
	write(t, o.AgentDir, ".put-stale", nil)
	write(t, o.AgentDir, "scap-agent-old", nil)
	write(t, o.AgentDir, "mine", nil)
	then := time.Now().Add(-40 * 24 * time.Hour)
	for _, f := range []string{stale, old, filepath.Join(o.AgentDir, "mine")} {
		if err := os.Chtimes(f, then, then); err != nil {
			t.Fatal(err)
		}
	}
	start()
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v %v", info, err)
	}
	names, _ := filepath.Glob(filepath.Join(o.AgentDir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(o.AgentDir, ".put*"))
	if len(names) != 2 || len(hidden) != 0 {
		t.Errorf("left in the agent's directory: %q %q", names, hidden)
	}
	start()
	if again, err := os.Stat(file); err != nil || !os.SameFile(info, again) {
		t.Errorf("uploaded again: %v", err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\ntouch "+dir+"/pwned\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	start()
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("an altered agent was run")
	}
	if err := os.Chmod(o.AgentDir, 0o777); err != nil {
		t.Fatal(err)
	}
	refused(t, open(t, o), time.Minute, o.AgentDir, "writable by nobody else")
	blocked := o
	blocked.AgentDir = filepath.Join(file, "below-a-file")
	refused(t, open(t, blocked), time.Minute, "install it")
	alien := o
	alien.AgentDir, alien.Agent = t.TempDir()+"/a", NewBinary([]byte("\x7fELF of another machine"))
	refused(t, open(t, alien), time.Minute, "does not speak")
}

// TestHungSSHD stops a real sshd's processes while the host is asked.
func TestHungSSHD(t *testing.T) {
	var server *sshd
	w := deployed(t, func(t *testing.T, dir string) link {
		server = newSSHD(t)
		o := server.options(t, server.addr)
		o.Agent, o.Keepalive, o.Misses, o.DialTimeout = testAgent(dir), 200*time.Millisecond, 10, 2*time.Second
		return link{opener: open(t, o)}
	})
	pids := append(children(t, server.pid, "sshd"), server.pid)
	if len(pids) < 2 {
		t.Fatalf("sshd has no children: %v", pids)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}()
	done := make(chan error, 1)
	go func() { _, err := w.host.State(context.Background()); done <- err }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "host1") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	w.serves(t, w.a.ID)
}

// TestAgentKilledInSwitch kills the agent process in the middle of a switch: the host is neither one nor the other, which
// Activate says, and a repair brings it to one release.
func TestAgentKilledInSwitch(t *testing.T) {
	w := deployed(t, openSSH)
	if err := w.host.Stage(t.Context(), w.b); err != nil {
		t.Fatal(err)
	}
	alive := w.order(t, "kill")
	err := w.host.Activate(t.Context(), w.toB())
	fails(t, "activate", err, targets.ErrOut)
	if !strings.Contains(err.Error(), "the agent died in the middle") || errors.Is(err, targets.ErrReturned) {
		t.Errorf("%v", err)
	}
	st, err := w.host.State(t.Context())
	if err != nil || st.Intent.Outcome != release.Unknown || st.Intent.Switch != w.toB() || !st.Running.IsZero() {
		t.Errorf("%+v, %v", st, err)
	}
	alive()
	if err := w.host.Repair(t.Context(), release.Switch{To: w.a.ID, Token: 1, Owner: "first"}); err != nil {
		t.Error(err)
	}
	w.serves(t, w.a.ID)
}
