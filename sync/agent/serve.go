package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"scap/sync/release"
	"scap/sync/wire"
)

// Serve answers one connection until it ends, then returns nil; a broken connection or protocol is an error. When the
// connection is gone or ctx ends, what is under way is given up, except for a switch, a repair, an adoption or the end of a
// trial that has begun: Serve returns after its end. A trial that was being begun is taken back. Rw is closed if it can be; one
// that cannot must end by itself.
func Serve(ctx context.Context, h *Host, rw io.ReadWriter) error {
	return ServeWith(ctx, func(context.Context, Config) (*Host, error) { return h, nil }, rw)
}

// ServeWith is Serve for an agent that learns from the hello which host it is on.
func ServeWith(ctx context.Context, open func(context.Context, Config) (*Host, error), rw io.ReadWriter) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{open: open, frames: make(chan wire.Frame, 4), w: wire.NewWriter(rw)}
	read := make(chan error, 1)
	go func() {
		err := s.read(ctx, wire.NewReader(rw))
		cancel(errGone)
		close(s.frames)
		read <- err
	}()
	closer, closes := rw.(io.Closer)
	if closes {
		stop := context.AfterFunc(ctx, func() { _ = closer.Close() }) // frees a blocked read or write
		defer stop()
	}
	err := s.serve(ctx)
	gone := errors.Is(context.Cause(ctx), errGone)
	cancel(err)
	if serr := s.endStaging(); serr != nil {
		err = errors.Join(err, serr)
	}
	if closes || gone {
		if rerr := <-read; gone && rerr != nil && !errors.Is(rerr, io.EOF) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// errGone is the cause of a connection's context after the connection ended.
var errGone = errors.New("the connection to the deploy host is gone")

// session is one connection. Its fields belong to the goroutine of serve.
type session struct {
	open    func(context.Context, Config) (*Host, error)
	host    *Host // nil before the hello
	frames  chan wire.Frame
	w       *wire.Writer
	who     claim
	staging *staging // nil outside of a staging
}

// read hands frames to serve. It goes on reading while an operation is under way, to notice that the connection is gone.
func (s *session) read(ctx context.Context, r *wire.Reader) error {
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		select {
		case s.frames <- f:
		case <-ctx.Done():
			return nil
		}
	}
}

// serve answers questions until the connection is gone.
func (s *session) serve(ctx context.Context) error {
	err := s.w.Greet()
	for err == nil {
		err = s.one(ctx)
	}
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// stagingIdle is how long a deploy may be silent between the two steps of a staging: it keeps others waiting.
const stagingIdle = 2 * time.Minute

// one takes a question and answers it.
func (s *session) one(ctx context.Context) error {
	f, err := s.awaitQuestion(ctx)
	if err != nil {
		return err
	}
	if f.Type != wire.Question {
		return fmt.Errorf("frame %q where a question was due", byte(f.Type))
	}
	var q wire.Request
	if err := json.Unmarshal(f.Payload, &q); err != nil {
		return fmt.Errorf("question: %w", err)
	}
	return s.handle(ctx, q)
}

// awaitQuestion returns the next frame. A staging that is not gone on with is given up.
func (s *session) awaitQuestion(ctx context.Context) (wire.Frame, error) {
	if s.staging == nil {
		return s.next(ctx)
	}
	idle, cancel := context.WithTimeout(ctx, stagingIdle)
	defer cancel()
	f, err := s.next(idle)
	if err == nil || ctx.Err() != nil || errors.Is(err, errGone) {
		return f, err
	}
	if err := s.endStaging(); err != nil {
		return f, err
	}
	return s.next(ctx)
}

// next returns the next frame.
func (s *session) next(ctx context.Context) (wire.Frame, error) {
	select {
	case f, ok := <-s.frames:
		if ok {
			return f, nil
		}
		return wire.Frame{}, errGone
	case <-ctx.Done():
		return wire.Frame{}, context.Cause(ctx)
	}
}

// handle answers one question. Its error ends the session; what only the asker need know is in the reply.
func (s *session) handle(ctx context.Context, q wire.Request) error {
	limit := wait
	if q.Limit > 0 {
		limit = q.Limit
	}
	conn := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch q.Op {
	case wire.OpStage:
		return s.stage(ctx, conn, q.Body)
	case wire.OpFiles:
		return s.files(ctx, conn)
	}
	body, err := s.answer(ctx, q)
	return s.reply(body, err)
}

// reply writes the answer, or the error in place of it.
func (s *session) reply(body any, err error) error {
	var a wire.Response
	if err == nil && body != nil {
		a.Body, err = json.Marshal(body)
	}
	if err != nil {
		a.Error, a.Body = wire.ErrorOf(err), nil
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if len(b) > wire.Reply.Bound() {
		return s.reply(nil, fmt.Errorf("the answer has %d bytes, at most %d can be sent", len(b), wire.Reply.Bound()))
	}
	return s.send(wire.Reply, b)
}

// send writes a frame. Where that fails nobody listens any more.
func (s *session) send(t wire.Type, payload []byte) error {
	if err := s.w.Frame(t, payload); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// answer answers a question that is one frame and whose answer is one frame.
func (s *session) answer(ctx context.Context, q wire.Request) (any, error) {
	if q.Op == wire.OpHello {
		return with(q, func(b wire.Hello) (any, error) { return s.hello(ctx, b) })
	}
	h := s.host
	if h == nil {
		return nil, wire.Refused.Errorf("%s before hello", q.Op)
	}
	switch q.Op {
	case wire.OpState:
		return with(q, func(b wire.StateAsk) (any, error) { return h.state(ctx, b) })
	case wire.OpClaim:
		return with(q, func(b wire.Claim) (any, error) {
			s.who = claim{b.Token, b.Owner}
			return nil, h.claim(ctx, s.who)
		})
	case wire.OpVerify:
		return with(q, func(b wire.Named) (any, error) { return nil, h.Store.Verify(ctx, b.ID) })
	case wire.OpSwitch:
		return with(q, func(b release.Switch) (any, error) { return h.change(ctx, s.as(b.Token, b.Owner), b) })
	case wire.OpRepair:
		return with(q, func(b release.Switch) (any, error) { return h.repair(ctx, s.as(b.Token, b.Owner), b) })
	case wire.OpTry:
		return with(q, func(b wire.Try) (any, error) { return h.try(ctx, s.as(b.Switch.Token, b.Switch.Owner), b) })
	case wire.OpEndTry:
		return with(q, func(b wire.Token) (any, error) { return h.endTry(ctx, s.as(b.Token, "")) })
	case wire.OpOut:
		return with(q, func(b wire.Out) (any, error) { return nil, h.out(ctx, s.as(b.Token, b.Owner), b) })
	case wire.OpQuiet:
		return with(q, func(b wire.Quiet) (any, error) { return h.quiet(ctx, b.Window) })
	case wire.OpPrune:
		return with(q, func(b wire.Prune) (any, error) { return h.prune(ctx, s.as(b.Token, ""), b.Keep) })
	case wire.OpAdopt:
		return with(q, func(b wire.Token) (any, error) { return h.adopt(ctx, s.as(b.Token, "")) })
	case wire.OpAsk:
		return with(q, func(b wire.Ask) (any, error) { return h.ask(ctx, b) })
	}
	return nil, wire.Refused.Errorf("no operation %s", wire.Quote([]byte(q.Op), 40))
}

// as is the claim under token by this session's owner, or by owner in a session that has claimed nothing.
func (s *session) as(token uint64, owner string) claim {
	if s.who.owner != "" {
		owner = s.who.owner
	}
	return claim{token, owner}
}

// with decodes a question's body and answers it.
func with[T any](q wire.Request, do func(T) (any, error)) (any, error) {
	var body T
	if err := json.Unmarshal(q.Body, &body); err != nil {
		return nil, wire.Refused.Errorf("question %s: %w", q.Op, err)
	}
	return do(body)
}

func (s *session) hello(ctx context.Context, b wire.Hello) (any, error) {
	if s.host != nil {
		return nil, wire.Refused.Errorf("a second hello")
	}
	var c Config
	if len(b.Config) > 0 {
		if err := json.Unmarshal(b.Config, &c); err != nil {
			return nil, fmt.Errorf("settings of the host: %w", err)
		}
	}
	h, err := s.open(ctx, c)
	if err != nil {
		return nil, err
	}
	w := wire.Welcome{UID: os.Getuid(), Clock: time.Now().UTC()}
	if w.Hostname, err = os.Hostname(); err != nil {
		return nil, err
	}
	if w.Releases, err = h.releases(); err != nil {
		return nil, err
	}
	s.host, s.who = h, claim{b.Token, b.Owner}
	return w, nil
}
