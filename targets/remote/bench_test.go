package remote

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"scap/sync/wire"
)

// BenchmarkOpenSSH measures what a deploy pays for a host over a real sshd on this machine: the connection with the
// agent's first word, a further session, and a question on an open one.
func BenchmarkOpenSSH(b *testing.B) {
	s := newSSHD(b, "MaxSessions 1000")
	o := s.options(b, s.addr)
	file := filepath.Join(b.TempDir(), "scap-agent")
	build := exec.Command("go", "build", "-trimpath", "-o", file, "scap/cmd/scap-agent")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	var err error
	if o.Agent, err = ReadBinary(file); err != nil {
		b.Fatal(err)
	}
	warm := open(b, o)
	conf := []byte(`{"root":"` + b.TempDir() + `/root"}`)
	host := New("host1", warm, nil, conf)
	ask := func(h *Host) {
		var st wire.State
		if err := h.call(context.Background(), &h.talk, wire.OpState, wire.StateAsk{}, &st); err != nil {
			b.Fatal(err)
		}
	}
	ask(host) // uploads the agent
	b.Run("connect and ask", func(b *testing.B) {
		for b.Loop() {
			s := open(b, o)
			ask(New("host1", s, nil, conf))
			_ = s.Close()
		}
	})
	b.Run("session and ask", func(b *testing.B) {
		for b.Loop() {
			h := New("host1", warm, nil, conf)
			ask(h)
			_ = h.talk.client.Close()
		}
	})
	b.Run("ask", func(b *testing.B) {
		for b.Loop() {
			ask(host)
		}
	})
}
