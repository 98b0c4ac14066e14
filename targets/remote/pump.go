package remote

import (
	"io"
	"sync"
)

// pumped is a channel of an SSH connection behind pipes of this side, so that closing it frees whoever reads or writes
// although the host is hung and the channel itself cannot be closed.
type pumped struct {
	out    *io.PipeReader
	in     *io.PipeWriter
	once   sync.Once
	closed chan struct{} // closed by Close

	outW *io.PipeWriter
	inR  *io.PipeReader
}

func newPumped() *pumped {
	p := &pumped{closed: make(chan struct{})}
	p.out, p.outW = io.Pipe()
	p.inR, p.in = io.Pipe()
	return p
}

// Read reads what the host writes.
func (p *pumped) Read(b []byte) (int, error) { return p.out.Read(b) }

// Write writes to the host.
func (p *pumped) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close abandons the channel; nothing is waited for.
func (p *pumped) Close() error {
	p.once.Do(func() {
		close(p.closed)
		_ = p.out.CloseWithError(io.ErrClosedPipe)
		_ = p.in.CloseWithError(io.ErrClosedPipe)
	})
	return nil
}

// pump carries bytes between the pipes and the channel until both directions have ended, or the connection has. Ended is
// called when the host has written its last byte; shut closes the channel and may be stuck until the connection ends.
func (p *pumped) pump(to io.WriteCloser, from io.Reader, ended, shut func()) {
	var all sync.WaitGroup
	over := make(chan struct{})
	all.Go(func() {
		_, _ = io.Copy(to, p.inR) // an error shows in the other direction, as the end
		_ = to.Close()
		_ = p.inR.CloseWithError(io.ErrClosedPipe)
	})
	all.Go(func() {
		select {
		case <-p.closed:
		case <-over:
		}
		shut()
		_ = p.in.Close()
	})
	_, err := io.Copy(p.outW, from)
	_ = p.outW.CloseWithError(err)
	ended()
	close(over)
	all.Wait()
}
