package remote

import (
	"bytes"
	"context"
	"fmt"
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
	c    credentials
}

// newSSHD starts sshd with further lines of configuration; it lets this test's user in.
func newSSHD(t *testing.T, more ...string) *sshd {
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
	s := &sshd{addr: addr, log: new(bytes.Buffer), c: c}
	cmd.Stderr = s.log
	cmd.WaitDelay = time.Second // its children may outlive it and hold stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if !await(ctx, func() bool { return len(children(t, s.pid, "")) == 0 }) {
			t.Errorf("processes of sessions that ended are left: %v", children(t, s.pid, ""))
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
func (s *sshd) options(t *testing.T, addr string) SSHOptions {
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
func children(t *testing.T, pid int, name string) []int {
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

// openSSH reaches the host through a real sshd that starts real agent processes.
func openSSH(t *testing.T, dir string) link {
	s := newSSHD(t)
	p := newProxy(t, s.addr)
	o := s.options(t, p.addr())
	o.Agent = testAgent(dir)
	return link{opener: open(t, o), cut: p.cut}
}
