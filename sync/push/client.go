package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"scap/sync/release"
	"scap/sync/wire"
)

// ErrLost means that the session with the agent ended in the middle of a question: what was asked may have happened. The
// Client is of no more use; connect again and ask for the state.
var ErrLost = errors.New("the session with the host was lost")

// Client asks an agent over one session. Its methods may be called from several goroutines and take turns. A context
// that ends while a question is under way closes the session: the agent then gives up, except for a switch, which it ends.
type Client struct {
	rwc     io.ReadWriteCloser
	r       *wire.Reader
	w       *wire.Writer
	welcome wire.Welcome
	turn    chan struct{} // holds one token while nobody uses the session
	dead    error         // set by the holder of the turn; the session is closed then
}

var _ Peer = (*Client)(nil)

// Connect greets the agent at the other end of rwc. It closes rwc when that fails; afterwards the Client owns it.
func Connect(ctx context.Context, rwc io.ReadWriteCloser, hello wire.Hello) (*Client, error) {
	c := &Client{rwc: rwc, r: wire.NewReader(rwc), w: wire.NewWriter(rwc), turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	if err := c.Call(ctx, wire.OpHello, hello, &c.welcome); err != nil {
		_ = c.Close() // the error to tell is err
		return nil, err
	}
	return c, nil
}

// Welcome returns what the agent said of itself when the session began.
func (c *Client) Welcome() wire.Welcome { return c.welcome }

// Close ends the session. A question under way ends with ErrLost.
func (c *Client) Close() error { return c.rwc.Close() }

// Call asks op with the question in and reads the answer into out (nil: no answer is expected). An error that the agent
// sent is a *wire.Error; one that wraps ErrLost says that nobody knows.
func (c *Client) Call(ctx context.Context, op wire.Op, in, out any) error {
	return c.session(ctx, func() error {
		if err := c.ask(ctx, op, in); err != nil {
			return err
		}
		return c.answer(out)
	})
}

// lost marks an error of the session itself, after which it cannot be used.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// session runs do as the only user of the session, and closes it when ctx ends before do does.
func (c *Client) session(ctx context.Context, do func() error) error {
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.dead != nil {
		return fmt.Errorf("%w: %w", ErrLost, c.dead)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.rwc.Close() })
	err := do()
	ended := !stop()
	var l lost
	switch {
	case errors.As(err, &l):
		c.dead = l.error
		_ = c.rwc.Close() // it is broken already
		if ended {
			return fmt.Errorf("%w: %w", ErrLost, context.Cause(ctx))
		}
		return fmt.Errorf("%w: %w", ErrLost, l.error)
	case ended:
		c.dead = context.Cause(ctx)
	}
	return err
}

// ask writes the question. It tells the agent how long an answer is waited for.
func (c *Client) ask(ctx context.Context, op wire.Op, in any) error {
	q := wire.Request{Op: op}
	if end, ok := ctx.Deadline(); ok {
		q.Limit = max(time.Until(end), time.Millisecond)
	}
	var err error
	if in != nil {
		if q.Body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("question %s: %w", op, err)
		}
	}
	b, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("question %s: %w", op, err)
	}
	if err := c.w.Frame(wire.Question, b); err != nil {
		return lost{err}
	}
	return nil
}

// frame reads one frame of the given type; an End frame is given back as io.EOF where a list may end.
func (c *Client) frame(want wire.Type) ([]byte, error) {
	f, err := c.r.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, lost{io.ErrUnexpectedEOF} // an io.EOF to our callers is the end of a list
	case err != nil:
		return nil, lost{err}
	case f.Type == want:
		return f.Payload, nil
	case f.Type == wire.End:
		return nil, io.EOF
	}
	return nil, lost{fmt.Errorf("frame %q where %q was due", byte(f.Type), byte(want))}
}

func (c *Client) answer(out any) error {
	b, err := c.frame(wire.Reply)
	if errors.Is(err, io.EOF) {
		return lost{errors.New("a list ended where an answer was due")}
	}
	if err != nil {
		return err
	}
	var a wire.Response
	if err := json.Unmarshal(b, &a); err != nil {
		return lost{fmt.Errorf("answer: %w", err)}
	}
	if a.Error != nil {
		return a.Error
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// during writes a stream while the answer is awaited, since the agent may refuse in the middle of it.
func (c *Client) during(write func(stop <-chan struct{}) error, read func() error) error {
	stop, written := make(chan struct{}), make(chan error, 1)
	go func() { written <- write(stop) }()
	err := read()
	close(stop)
	var l lost
	if errors.As(err, &l) {
		_ = c.rwc.Close() // the writer may be stuck
	}
	if werr := <-written; werr != nil && (err == nil || errors.As(err, &l) && !errors.As(werr, &l)) {
		err = werr
	}
	return err
}

// Stage implements Peer. One round trip, whatever is sent.
func (c *Client) Stage(ctx context.Context, r release.Release, dirs iter.Seq2[[]byte, error]) ([]release.Sum, []wire.Want, error) {
	var (
		missing []release.Sum
		wants   []wire.Want
	)
	err := c.session(ctx, func() error {
		if err := c.ask(ctx, wire.OpStage, r); err != nil {
			return err
		}
		return c.during(
			func(stop <-chan struct{}) error { return c.writeDirs(dirs, stop) },
			func() (err error) { missing, wants, err = c.staged(); return err })
	})
	return missing, wants, err
}

// maxListed bounds what an agent may claim to lack.
const maxListed = 8 << 20

// staged reads the answer to OpStage and its lists.
func (c *Client) staged() (missing []release.Sum, wants []wire.Want, err error) {
	var s wire.Staged
	if err := c.answer(&s); err != nil {
		return nil, nil, err
	}
	if s.Missing > maxListed || s.Wants > maxListed {
		return nil, nil, lost{fmt.Errorf("the host claims to lack %d directories and %d files", s.Missing, s.Wants)}
	}
	for len(missing) < s.Missing {
		b, err := c.frame(wire.Sums)
		if err != nil {
			return nil, nil, cut(err)
		}
		sums, err := wire.ParseSums(b)
		if err != nil || len(sums) == 0 {
			return nil, nil, lost{fmt.Errorf("list of missing directories: %w", err)}
		}
		missing = append(missing, sums...)
	}
	for len(wants) < s.Wants {
		b, err := c.frame(wire.Wants)
		if err != nil {
			return nil, nil, cut(err)
		}
		ws, err := wire.ParseWants(b)
		if err != nil || len(ws) == 0 {
			return nil, nil, lost{fmt.Errorf("list of wanted files: %w", err)}
		}
		wants = append(wants, ws...)
	}
	if _, err := c.frame(wire.End); err != nil {
		return nil, nil, err
	}
	return missing, wants, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return lost{errors.New("a list ended early")}
	}
	return err
}

// Files implements Peer.
func (c *Client) Files(ctx context.Context, r release.Release, n int, block func(int) ([]byte, error)) error {
	var done wire.Committed
	err := c.session(ctx, func() error {
		if err := c.ask(ctx, wire.OpFiles, nil); err != nil {
			return err
		}
		return c.during(
			func(stop <-chan struct{}) error { return c.writeBlocks(n, block, stop) },
			func() error { return c.answer(&done) })
	})
	if err == nil && done.ID != r.ID {
		err = fmt.Errorf("the host made %s out of what was sent for %s", done.ID.Short(), r.ID.Short())
	}
	return err
}
