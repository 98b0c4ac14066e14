package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Serve answers the requests that come line by line, one after the other, until in ends. Every line gets one Reply; a line that
// is too long ends the session, since nobody knows where the next one begins. An operation that has begun is ended, also when
// nobody reads the reply any more, and one that still waits for others then is never begun; a cancelled ctx stops it where that
// leaves nothing half done. conf is what Load returned.
func Serve(ctx context.Context, conf Config, in io.Reader, out io.Writer) error {
	k, err := open(conf)
	if err != nil {
		return err
	}
	return k.serve(ctx, in, out)
}

func (k *keeper) serve(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReaderSize(in, maxRequest)
	for ctx.Err() == nil {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			err = fmt.Errorf("a request of more than %d bytes", maxRequest)
			return errors.Join(err, say(out, replyOf(refused(err))))
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("read a request: %w", err)
		case len(line) == 0:
			return nil
		}
		if err := say(out, k.answer(ctx, line, func() bool { return unheard(out) })); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
	return context.Cause(ctx)
}

// say writes one reply.
func say(out io.Writer, r Reply) error {
	b, err := json.Marshal(r)
	if err == nil && len(b) >= maxReply {
		b, err = json.Marshal(Reply{Error: fmt.Sprintf("the answer would have %d bytes, more than %d", len(b), maxReply)})
	}
	if err != nil {
		return err
	}
	if _, err := out.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write a reply: %w", err)
	}
	return nil
}

// answer reads a line and does what it says, unless its asker is gone before it could begin.
func (k *keeper) answer(ctx context.Context, line []byte, gone func() bool) Reply {
	q, err := parseRequest(line)
	if err != nil {
		return replyOf(refused(err))
	}
	return k.do(ctx, q, gone)
}

// replyOf is the reply to what went wrong, or to nothing.
func replyOf(err error) Reply {
	if err == nil {
		return Reply{}
	}
	var r *refusal
	if errors.As(err, &r) {
		return Reply{Error: err.Error(), Code: r.code}
	}
	return Reply{Error: err.Error()}
}

// do does one operation.
func (k *keeper) do(ctx context.Context, q Request, gone func() bool) Reply {
	if q.Op == OpState {
		s, err := k.state()
		if err != nil {
			return replyOf(fmt.Errorf("how the generations stand: %w", err))
		}
		return Reply{State: &s}
	}
	var started *Generation
	err := k.locked(ctx, func(r *record) (err error) {
		if err := k.possible(r, q); err != nil {
			return err
		}
		if q.Op != OpReopen {
			if err := k.tidy(ctx, r); err != nil {
				return fmt.Errorf("end what an earlier operation left: %w", err)
			}
		}
		if gone() { // while it waited for others, or for requests of what was to be ended first
			return refuse("who asked for it is gone")
		}
		started, err = k.act(ctx, r, q)
		return err
	})
	if err != nil {
		r := replyOf(err)
		r.Error = fmt.Sprintf("%s: %s", q.Op, r.Error)
		return r
	}
	return Reply{Generation: started}
}

func (k *keeper) act(ctx context.Context, r *record, q Request) (*Generation, error) {
	switch q.Op {
	case OpStart:
		return k.startOne(ctx, r, q)
	case OpPublish:
		return nil, k.publish(ctx, r, q)
	case OpTry:
		return nil, k.try(r, q)
	case OpEnd:
		return nil, k.endOne(ctx, r, q)
	case OpHalt:
		return nil, k.halt(ctx, r, q.Kill)
	case OpAdopt:
		return nil, k.adopt(ctx, r)
	case OpGiveUp:
		return nil, k.giveUp(ctx, r, q.Kill)
	case OpReopen:
		return nil, k.reopen(r)
	}
	return nil, refuse("operation %.40q: there is none of that name", q.Op)
}

// possible refuses what no look at the processes is needed for.
func (k *keeper) possible(r *record, q Request) error {
	pool, known := k.conf.pool(q.Pool)
	if q.Pool != "" && !known {
		return refuse("pool %.80q: this host's keeper has none of that name", q.Pool)
	}
	if slices.Contains([]Op{OpStart, OpPublish, OpTry}, q.Op) {
		if r.Hand != "" {
			return &refusal{NotOurs, fmt.Sprintf("%s this host has begun and not ended: repeat it", r.Hand)}
		}
		if !r.Adopted {
			return &refusal{NotOurs, "the host's php-fpm is its distribution's: adopt it first"}
		}
	}
	if q.Op == OpTry && pool.Trial == "" {
		return refuse("pool %s has no socket for trials", pool.Name)
	}
	if now := time.Now(); !q.Until.IsZero() && (q.Until.After(now.Add(maxUntil)) || q.Op != OpPublish && !q.Until.After(now)) {
		return refuse("until %s: want a time from now on, at most %v ahead; here it is %s", q.Until.Format(time.RFC3339), maxUntil, now.Format(time.RFC3339))
	}
	if q.Generation > r.Last {
		return refuse("generation %d: the last one was %d", q.Generation, r.Last)
	}
	if e := r.find(q.Generation); e != nil && q.Pool != "" && e.Pool != q.Pool {
		return refuse("generation %d is of pool %s, not of %s", e.Number, e.Pool, q.Pool)
	}
	return nil
}
