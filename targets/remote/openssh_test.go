package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshd is a real OpenSSH server of this test.
type sshd struct {
	addr string
	log  *bytes.Buffer
	pid  int
	home string // of whoever logs in
	c    credentials
}

// newSSHD starts sshd with further lines of configuration; it lets this test's user in.
func newSSHD(t testing.TB, more ...string) *sshd {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: install openssh-server", err)
	}
	c, dir := newCredentials(t), t.TempDir()
	authorized := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(authorized, ssh.MarshalAuthorizedKey(c.user), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	lines := append([]string{
		"ListenAddress 127.0.0.1", "Port " + port, "HostKey " + c.hostKey, "AuthorizedKeysFile " + authorized,
		"PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "LogLevel ERROR",
		"SetEnv HOME=" + dir, // not the user's own dot files
	}, more...)
	conf := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	cmd := exec.Command(path, "-D", "-e", "-f", conf)
	s := &sshd{addr: addr, log: new(bytes.Buffer), home: dir, c: c}
	cmd.Stderr = s.log
	cmd.WaitDelay = time.Second // its children may outlive it and hold stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if !await(ctx, func() bool { return len(children(t, s.pid, "")) == 0 && len(s.agents(t)) == 0 }) {
			t.Errorf("processes of sessions that ended are left: %v %v", children(t, s.pid, ""), s.agents(t))
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && s.log.Len() > 0 {
			t.Logf("sshd: %s", s.log)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if !await(ctx, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		t.Fatalf("sshd does not listen: %s", s.log)
	}
	return s
}

// options reach sshd at addr: its own, or that of a proxy before it.
func (s *sshd) options(t testing.TB, addr string) SSHOptions {
	t.Helper()
	s.c.know(t, addr, s.c.host.PublicKey())
	o := s.c.options(t, addr)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	o.User, o.AllowRoot = me.Username, true
	o.AgentDir = t.TempDir() + "/agent"
	return o
}

// children returns the processes below pid, by the name of their program.
func children(t testing.TB, pid int, name string) []int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it ended meanwhile
	}
	var found []int
	for _, text := range strings.Fields(string(b)) {
		var kid int
		if _, err := fmt.Sscan(text, &kid); err != nil {
			t.Fatal(err)
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", kid))
		if strings.HasPrefix(string(comm), name) {
			found = append(found, kid)
		}
		found = append(found, children(t, kid, name)...)
	}
	return found
}

// agents returns the processes that sessions started, orphans too.
func (s *sshd) agents(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte("HOME="+s.home+"\x00")) {
			found = append(found, f)
		}
	}
	return found
}

// openSSH reaches the host through a real sshd that starts real agent processes.
func openSSH(t *testing.T, dir string) link {
	s := newSSHD(t)
	p := newProxy(t, s.addr)
	o := s.options(t, p.addr())
	o.Agent = testAgent(dir)
	return link{opener: open(t, o), cut: p.cut}
}

// TestLoginFilesThatTalk: a shell that greets before the agent is quoted, with what to look for.
func TestLoginFilesThatTalk(t *testing.T) {
	s := newSSHD(t)
	o := s.options(t, s.addr)
	o.Agent = testAgent(t.TempDir())
	write(t, s.home, ".bashrc", []byte("echo Welcome to the wiki\n"))
	rwc, err := open(t, o).Open(t.Context())
	if err == nil { // the user's shell is not bash
		_ = rwc.Close()
		t.Skip("the login shell reads no .bashrc here")
	}
	if !strings.Contains(err.Error(), "Welcome to the wiki") || !strings.Contains(err.Error(), "login files") {
		t.Error(err)
	}
}

// TestDial reaches a socket of the host, and lets go of it at once although nobody answers.
func TestDial(t *testing.T) {
	s := newSSHD(t)
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 5)
		_, _ = io.ReadFull(conn, b)
		_, _ = conn.Write(append(b, '!'))
		_, _ = conn.Read(b) // until the other side is gone
	}()
	host := open(t, s.options(t, s.addr))
	conn, err := host.Dial(t.Context(), "unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello!" {
		t.Errorf("%q %v", b, err)
	}
	blocked := make(chan error, 1)
	go func() { _, err := conn.Read(b); blocked <- err }()
	_ = conn.Close()
	if err := <-blocked; err == nil {
		t.Error("a closed connection still reads")
	}
	<-ended
	_ = l.Close()
	if _, err := host.Dial(t.Context(), "unix", l.Addr().String()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("dial nobody: %v", err)
	}
}
