package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"scap/sync/agent"
)

// inMemory serves the host by goroutines of this process.
func inMemory(t *testing.T, dir string) link {
	h, err := paperHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{host: h}
	return link{opener: m, cut: m.cut}
}

type memory struct {
	host *agent.Host
	mu   sync.Mutex
	ends []net.Conn
	wg   sync.WaitGroup
}

func (m *memory) Open(context.Context) (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, theirs)
	m.wg.Go(func() { _ = agent.Serve(context.Background(), m.host, theirs) })
	return ours, nil
}

func (m *memory) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.ends {
		_ = c.Close()
	}
	m.ends = nil
}

func (m *memory) Close() error { m.cut(); m.wg.Wait(); return nil }

// credentials are a client key and a host key, in files.
type credentials struct {
	key, knownHosts string
	user            ssh.PublicKey
	host            ssh.Signer
	hostKey         string // the host's private key file
}

func newKey(t testing.TB, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func newCredentials(t testing.TB) credentials {
	dir := t.TempDir()
	c := credentials{key: filepath.Join(dir, "key"), hostKey: filepath.Join(dir, "hostkey"), knownHosts: filepath.Join(dir, "known_hosts")}
	c.user = newKey(t, c.key).PublicKey()
	c.host = newKey(t, c.hostKey)
	return c
}

// know writes the known_hosts file: addr has the host key.
func (c credentials) know(t testing.TB, addr string, key ssh.PublicKey) {
	t.Helper()
	line := knownhosts.Line([]string{addr}, key) + "\n"
	if err := os.WriteFile(c.knownHosts, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
}

// options dial addr with these credentials and patience for a slow test machine.
func (c credentials) options(t testing.TB, addr string) SSHOptions {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	o := SSHOptions{
		Host: host, User: "deploy", Keys: []string{c.key}, KnownHosts: []string{c.knownHosts},
		DialTimeout: 30 * time.Second, Keepalive: time.Second, Misses: 20,
	}
	if _, err := fmt.Sscan(port, &o.Port); err != nil {
		t.Fatal(err)
	}
	return o
}

func open(t testing.TB, o SSHOptions) *SSH {
	t.Helper()
	s, err := NewSSH(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// proxy is a wire that can be cut, or carry nothing any more.
type proxy struct {
	l      net.Listener
	mu     sync.Mutex
	conns  []net.Conn
	frozen chan struct{} // closed: bytes are swallowed
	wg     sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, frozen: make(chan struct{})}
	p.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.wg.Go(func() { p.pump(in, out) })
			p.wg.Go(func() { p.pump(out, in) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); p.cut(); p.wg.Wait() })
	return p
}

func (p *proxy) pump(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			_ = to.Close()
			return
		}
		select {
		case <-p.frozen:
			continue
		default:
		}
		if _, err := to.Write(b[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}

// addr is where it listens.
func (p *proxy) addr() string { return p.l.Addr().String() }

// freeze lets no byte through any more.
func (p *proxy) freeze() { close(p.frozen) }

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// sshServer is an SSH server of this process. What a session does is up to handle, which gets the command.
type sshServer struct {
	l        net.Listener
	conns    []net.Conn
	mu       sync.Mutex
	wg       sync.WaitGroup
	sessions int // granted at a time on one connection; 0: any number
	handle   func(command string, ch ssh.Channel) (exit uint32)
	commands []string
}

func newSSHServer(t *testing.T, c credentials, handle func(string, ssh.Channel) uint32) *sshServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(c.user.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	conf.AddHostKey(c.host)
	s := &sshServer{l: l, handle: handle}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			s.wg.Go(func() { s.connection(conn, conf) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *sshServer) connection(conn net.Conn, conf *ssh.ServerConfig) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, conf)
	if err != nil {
		return
	}
	s.wg.Go(func() { ssh.DiscardRequests(requests) })
	open := make(chan struct{}, 100)
	for nc := range channels {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		if s.sessions > 0 && len(open) >= s.sessions {
			_ = nc.Reject(ssh.Prohibited, "open failed")
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		open <- struct{}{}
		s.wg.Go(func() { s.session(ch, reqs); <-open })
	}
}

func (s *sshServer) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	for req := range reqs {
		if req.Type != "exec" {
			_ = req.Reply(false, nil)
			continue
		}
		var cmd struct{ Command string }
		_ = ssh.Unmarshal(req.Payload, &cmd)
		s.mu.Lock()
		s.commands = append(s.commands, cmd.Command)
		s.mu.Unlock()
		_ = req.Reply(true, nil)
		s.wg.Go(func() { ssh.DiscardRequests(reqs) })
		code := s.handle(cmd.Command, ch)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		_ = ch.Close()
		return
	}
}

// inProcess serves the host by goroutines behind an SSH server of this process.
func inProcess(t *testing.T, dir string) link {
	h, err := paperHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := newCredentials(t)
	s := newSSHServer(t, c, func(_ string, ch ssh.Channel) uint32 {
		_ = agent.Serve(context.Background(), h, ch)
		return 0
	})
	p := newProxy(t, s.l.Addr().String())
	c.know(t, p.addr(), c.host.PublicKey())
	o := c.options(t, p.addr())
	o.Agent = NewBinary([]byte("not needed"))
	return link{opener: open(t, o), cut: p.cut}
}

// testAgent is a program that turns into an agent of paper for the host in dir.
func testAgent(dir string) *Binary {
	return NewBinary([]byte(strings.Join([]string{
		"#!/bin/sh", "export " + agentEnv + "='" + dir + "'", "exec '" + os.Args[0] + "'", "",
	}, "\n")))
}
