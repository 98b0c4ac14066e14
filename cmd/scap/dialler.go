package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"scap/cmd/internal/config"
	"scap/targets/remote"
)

// readAgent reads the agent that is copied to targets.
func readAgent(c *config.Config) (*remote.Binary, error) {
	path := c.SSH.AgentBinary
	if path == "" {
		path = agentBeside()
	}
	b, err := remote.ReadBinary(path)
	if err != nil {
		return nil, usage(fmt.Errorf("the agent for targets (ssh.agent_binary): %w", err))
	}
	return b, nil
}

// agentBeside is where the agent is when the configuration does not say.
func agentBeside() string {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return filepath.Join(filepath.Dir(self), "scap-agent")
}

// dialler makes SSH connections from the configuration.
type dialler struct {
	conf  *config.Config
	agent *remote.Binary
	jump  *remote.SSH
	turns chan struct{} // ssh.max_connects

	usable bool // keys, known hosts and SSH agent are as they should be
}

// ssh returns a connection to host, not yet made.
func (d *dialler) ssh(host string, jump *remote.SSH) (*remote.SSH, error) {
	address, port, err := splitPort(d.conf.SSH.Of(host))
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", host, err)
	}
	o := d.options(d.conf.SSH.User, address, port)
	o.Jump = jump
	return remote.NewSSH(o)
}

// options are what all connections have in common, so that whoever may reach the hosts may reach the jump host.
func (d *dialler) options(user, address string, port int) remote.SSHOptions {
	s := d.conf.SSH
	socket := s.AgentSocket
	if socket == "" && len(s.IdentityFiles) == 0 {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	return remote.SSHOptions{
		Host: address, Port: port, User: user, Keys: s.IdentityFiles, AuthSocket: socket, KnownHosts: s.KnownHosts,
		Agent: d.agent, AgentDir: s.AgentDir, AllowRoot: s.AllowRoot,
		DialTimeout: s.ConnectTimeout, Keepalive: s.KeepaliveInterval, Misses: s.KeepaliveCount,
	}
}

func splitPort(text string) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(portText)
	return host, port, err
}

func (d *dialler) openJump() error {
	text := d.conf.SSH.JumpHost
	if text == "" {
		return nil
	}
	user, address, ok := strings.Cut(text, "@")
	if !ok {
		user, address = d.conf.SSH.User, text
	}
	host, port, err := splitPort(address)
	if err != nil {
		host, port = address, 22
	}
	if d.jump, err = remote.NewSSH(d.options(user, host, port)); err != nil {
		return usage(fmt.Errorf("ssh.jump_host: %w", err))
	}
	return nil
}

// host returns the opener of a target's agent sessions. What is wrong on this side is told once, by the first.
func (d *dialler) host(name string) (remote.Opener, error) {
	s, err := d.ssh(name, d.jump)
	if err == nil && !d.usable {
		err = s.Usable()
		d.usable = err == nil
	}
	if err != nil {
		return nil, usage(fmt.Errorf("no host can be reached from here (ssh in %s): %w", d.conf.File, err))
	}
	return limited{Opener: s, turns: d.turns}, nil
}

// limited keeps connections from being opened all at once: a thousand handshakes together only time each other out.
type limited struct {
	remote.Opener
	turns chan struct{}
}

// Open waits for its turn, then opens.
func (l limited) Open(ctx context.Context) (io.ReadWriteCloser, error) {
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return l.Opener.Open(ctx)
}
