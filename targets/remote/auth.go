package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// identity says who we are and whom we accept, for one handshake.
type identity struct {
	config *ssh.ClientConfig
	o      *SSHOptions
	known  atomic.Bool // the host has proven its key
	close  func()      // closes the SSH agent's socket
}

// identify reads keys and known hosts afresh, so that a corrected file helps at the next attempt.
func (s *SSH) identify(ctx context.Context) (*identity, error) {
	db, err := knownhosts.NewDB(s.o.KnownHosts...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	keys, err := keyFiles(s.o.Keys)
	if err != nil {
		return nil, err
	}
	id := &identity{o: &s.o, close: func() {}}
	auth := ssh.PublicKeys(keys...)
	if s.o.AuthSocket != "" {
		if auth, err = id.withAgent(ctx, keys); err != nil {
			return nil, err
		}
	}
	check := db.HostKeyCallback()
	id.config = &ssh.ClientConfig{
		User: s.o.User,
		Auth: []ssh.AuthMethod{auth},
		HostKeyCallback: func(host string, addr net.Addr, key ssh.PublicKey) error {
			err := check(host, addr, key)
			id.known.Store(err == nil)
			return err
		},
		HostKeyAlgorithms: db.HostKeyAlgorithms(s.addr()),
		ClientVersion:     "SSH-2.0-scap",
	}
	return id, nil
}

// Usable says what is wrong on this side, whichever host is asked: known hosts or keys that cannot be read, an SSH agent
// that does not answer. It asks no host.
func (s *SSH) Usable() error {
	ctx, cancel := context.WithTimeout(s.life, s.o.DialTimeout)
	defer cancel()
	id, err := s.identify(ctx)
	if err != nil {
		return err
	}
	id.close()
	return nil
}

// withAgent adds the keys of an SSH agent. The socket is closed with ctx, so that an agent that hangs cannot hold us.
func (id *identity) withAgent(ctx context.Context, keys []ssh.Signer) (ssh.AuthMethod, error) {
	sock, err := (&net.Dialer{}).DialContext(ctx, "unix", id.o.AuthSocket)
	if err != nil {
		return nil, fmt.Errorf("SSH agent: %w", err)
	}
	shut := func() { _ = sock.Close() } // nothing was written that could be lost
	stop := context.AfterFunc(ctx, shut)
	id.close = func() { stop(); shut() }
	ask := agent.NewClient(sock)
	return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		more, err := ask.Signers()
		if err != nil {
			return nil, fmt.Errorf("SSH agent at %s: %w", id.o.AuthSocket, err)
		}
		return append(keys[:len(keys):len(keys)], more...), nil
	}), nil
}

// keyFiles reads private keys. All must be usable: a key that is skipped quietly is a refused login later.
func keyFiles(files []string) ([]ssh.Signer, error) {
	signers := make([]ssh.Signer, 0, len(files))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("SSH key: %w", err)
		}
		k, err := ssh.ParsePrivateKey(b)
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			return nil, fmt.Errorf("SSH key %s is encrypted: load it into an SSH agent (ssh-add) and let scap use that", file)
		}
		if err != nil {
			return nil, fmt.Errorf("SSH key %s: %w", file, err)
		}
		signers = append(signers, k)
	}
	return signers, nil
}

// explain says what a deployer can do about a failed handshake.
func (id *identity) explain(err error) error {
	files := strings.Join(id.o.KnownHosts, ", ")
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return fmt.Errorf("the host shows another key than the one in %s: if it was reinstalled, check the new key and replace the line "+
			"(ssh-keygen -R removes it); else somebody is in between: %w", files, err)
	case knownhosts.IsHostUnknown(err):
		return fmt.Errorf("the host's key is not in %s: check it and add it there: %w", files, err)
	case id.known.Load():
		return fmt.Errorf("the host is the right one, but did not let user %s in: %w", id.o.User, err)
	}
	return err
}
