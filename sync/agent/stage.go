package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"scap/sync/release"
	"scap/sync/store"
	"scap/sync/wire"
)

// staging is what a session holds between OpStage and OpFiles.
type staging struct {
	id  release.ID
	in  *store.Incoming
	end context.CancelFunc // of the context that in works under
}

func (st *staging) close() error {
	if st == nil {
		return nil
	}
	defer st.end()
	return st.in.Close()
}

// blocks hands out the blocks of one stream from the session's frames.
type blocks struct {
	s     *session
	ended bool      // the End was read
	asked time.Time // when the right to change the host was checked last
}

// next returns a block, io.EOF at the End. A deploy host that died, or that another one has outbid, must not keep the
// store's releases locked with a stream that goes on and on.
func (b *blocks) next(ctx context.Context) ([]byte, error) {
	if b.ended {
		return nil, io.EOF
	}
	idle, cancel := context.WithTimeoutCause(ctx, stagingIdle, errIdle)
	defer cancel()
	f, err := b.s.next(idle)
	if now := time.Now(); err == nil && f.Type == wire.Block && b.s.host != nil && now.Sub(b.asked) > time.Second {
		b.asked = now
		_, err = b.s.host.admit(b.s.who)
	}
	switch {
	case err != nil:
		return nil, err
	case f.Type == wire.End:
		b.ended = true
		return nil, io.EOF
	case f.Type == wire.Block:
		return f.Payload, nil
	}
	return nil, fmt.Errorf("frame %q in a stream of blocks", byte(f.Type))
}

// errIdle ends a stream that has stopped.
var errIdle = wire.Late.Errorf("nothing came for %v in the middle of a stream", stagingIdle)

// items reads the stream's items.
func (b *blocks) items(ctx context.Context) *wire.Items {
	return wire.NewItems(func() ([]byte, error) { return b.next(ctx) })
}

// skip reads to the End, so that the session can go on.
func (b *blocks) skip(ctx context.Context) error {
	for {
		switch _, err := b.next(ctx); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// stage takes directory objects and answers what is still missing of the release: directories, or else files. Ctx bounds
// the work, conn the connection.
func (s *session) stage(ctx, conn context.Context, body json.RawMessage) error {
	stream := &blocks{s: s}
	missing, wants, err := s.offer(ctx, conn, body, stream)
	if err != nil {
		err = errors.Join(err, s.endStaging())    // others may stage now, and this one can begin again
		if err := s.reply(nil, err); err != nil { // at once: the asker need not send the rest
			return err
		}
		return stream.skip(conn)
	}
	if err := s.reply(wire.Staged{Missing: len(missing), Wants: len(wants)}, nil); err != nil {
		return err
	}
	sum := func(b []byte, sum release.Sum) []byte { return append(b, sum[:]...) }
	if err := sendList(s, wire.Sums, missing, sum); err != nil {
		return err
	}
	want := func(b []byte, w store.Want) []byte {
		return wire.Want{Path: w.Path, Sum: w.Sum, Size: w.Size}.Append(b)
	}
	if err := sendList(s, wire.Wants, wants, want); err != nil {
		return err
	}
	if err := s.send(wire.End, nil); err != nil {
		return err
	}
	return stream.skip(conn)
}

// listPart is about how much of a list goes into one frame.
const listPart = 256 << 10

// sendList writes a list as frames of type t.
func sendList[T any](s *session, t wire.Type, list []T, add func([]byte, T) []byte) error {
	var b []byte
	for i, item := range list {
		if b = add(b, item); len(b) >= listPart || i == len(list)-1 {
			if err := s.send(t, b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return nil
}

// offer begins or resumes the staging, adds the directory objects that come and says what is missing.
func (s *session) offer(ctx, conn context.Context, body json.RawMessage, stream *blocks) ([]release.Sum, []store.Want, error) {
	if s.host == nil {
		return nil, nil, wire.Refused.Errorf("stage before hello")
	}
	var r release.Release
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, nil, fmt.Errorf("question stage: %w", err)
	}
	if _, err := s.host.admit(s.who); err != nil {
		return nil, nil, err
	}
	if s.staging == nil || s.staging.id != r.ID {
		if err := s.begin(ctx, conn, r); err != nil {
			return nil, nil, err
		}
	}
	in := s.staging.in
	if err := addDirs(in, stream.items(ctx)); err != nil {
		return nil, nil, err
	}
	missing, err := in.MissingDirs()
	if err != nil || len(missing) > 0 {
		return missing, nil, err
	}
	wants, err := in.Wants()
	return nil, wants, err
}

// begin opens the staging of r in place of what the session staged before. It waits for others as long as ctx says; the
// staging itself lives on until it is ended, or the connection is.
func (s *session) begin(ctx, conn context.Context, r release.Release) error {
	if err := s.endStaging(); err != nil {
		return err
	}
	if err := s.host.distrust(ctx, r.ID); err != nil {
		return err
	}
	life, end := context.WithCancel(conn)
	stop := context.AfterFunc(ctx, end)
	in, err := s.host.Store.Begin(life, r)
	if err == nil && !stop() { // ctx ended at the last moment
		err = errors.Join(context.Cause(ctx), in.Close())
	}
	if err != nil {
		end()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		return err
	}
	s.staging = &staging{id: r.ID, in: in, end: end}
	return nil
}

// distrust hashes a release that is here from before: what is activated must be what was planned, whatever somebody did to
// it in the meantime. A damaged one is taken away, so that it comes anew; the one that is served cannot be.
func (h *Host) distrust(ctx context.Context, id release.ID) error {
	if !h.Store.Has(id) {
		return nil
	}
	damage := h.Store.Verify(ctx, id)
	if !errors.Is(damage, store.ErrDamaged) {
		return damage
	}
	if current, err := h.Store.Current(); err != nil || current == id {
		return errors.Join(fmt.Errorf("the host serves a damaged copy (`scap rollback RELEASE` to another one, then deploy again): %w", damage), err)
	}
	if err := h.Store.Remove(ctx, id); err != nil {
		return fmt.Errorf("take away what is damaged: %w", errors.Join(damage, err))
	}
	return nil
}

func (s *session) endStaging() error {
	st := s.staging
	s.staging = nil
	return st.close()
}

// addDirs adds the stream's directory objects, a bounded number at a time.
func addDirs(in *store.Incoming, items *wire.Items) error {
	defer items.Close()
	var (
		dirs [][]byte
		size int
	)
	for {
		d, err := items.Dir()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		last := err != nil
		if !last {
			dirs, size = append(dirs, d), size+len(d)
		}
		if len(dirs) > 0 && (last || size >= listPart) {
			if err := in.AddDirs(dirs); err != nil {
				return err
			}
			dirs, size = dirs[:0], 0
		}
		if last {
			return nil
		}
	}
}

// files takes the wanted files and completes the release.
func (s *session) files(ctx, conn context.Context) error {
	stream := &blocks{s: s}
	id, err := s.fill(ctx, stream)
	if cerr := s.endStaging(); err == nil {
		err = cerr
	}
	if err := s.reply(wire.Committed{ID: id}, err); err != nil {
		return err
	}
	return stream.skip(conn)
}

func (s *session) fill(ctx context.Context, stream *blocks) (release.ID, error) {
	if s.staging == nil {
		return release.ID{}, wire.Refused.Errorf("files before stage")
	}
	id, in := s.staging.id, s.staging.in
	items := stream.items(ctx)
	defer items.Close()
	for {
		f, err := items.File()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = in.Put(f.Path, f.Mtime, items)
		}
		if err != nil {
			return release.ID{}, err
		}
	}
	if _, err := s.host.admit(s.who); err != nil { // another deploy may have claimed the host meanwhile
		return release.ID{}, err
	}
	return id, in.Commit(ctx)
}
