package push

import (
	"container/list"
	"sync"

	"github.com/klauspost/compress/zstd"

	"scap/sync/release"
	"scap/sync/wire"
)

// cacheSize bounds the compressed blocks that a Sender keeps for hosts that come a little later.
const cacheSize = 64 << 20

// Sender is a Source that many pushes share: what several hosts want is read and compressed once.
type Sender struct {
	Source
	enc *zstd.Encoder

	mu    sync.Mutex
	byKey map[blockKey]*list.Element // of *cached
	order *list.List                 // most recently used first
	size  int                        // bytes of all finished blocks
}

type blockKey struct {
	stream release.Sum
	index  int
}

type cached struct {
	key   blockKey
	ready chan struct{} // closed when data and err are set
	data  []byte
	err   error
	kept  bool // counted in size; under mu
}

// Share returns src as a Sender; src itself when it is one.
func Share(src Source) *Sender {
	if s, ok := src.(*Sender); ok {
		return s
	}
	return &Sender{Source: src, enc: wire.NewEncoder(), byKey: make(map[blockKey]*list.Element), order: list.New()}
}

// block returns block i of st, compressed. Who asks for a block in the making waits for it: it is bounded disk work.
func (s *Sender) block(st *stream, i int) ([]byte, error) {
	key := blockKey{st.key, i}
	s.mu.Lock()
	if e, ok := s.byKey[key]; ok {
		s.order.MoveToFront(e)
		s.mu.Unlock()
		c := e.Value.(*cached)
		<-c.ready
		return c.data, c.err
	}
	c := &cached{key: key, ready: make(chan struct{})}
	s.byKey[key] = s.order.PushFront(c)
	s.mu.Unlock()

	raw, err := st.raw(s.Source, i)
	if err == nil {
		c.data = s.enc.EncodeAll(raw, nil)
	}
	c.err = err
	close(c.ready)
	s.settle(c)
	return c.data, c.err
}

// settle accounts for a finished block and forgets what is over the limit, the oldest first, and blocks that failed.
func (s *Sender) settle(c *cached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.err != nil {
		s.forget(s.byKey[c.key])
		return
	}
	c.kept = true
	s.size += len(c.data)
	for e := s.order.Back(); e != nil && s.size > cacheSize; {
		prev := e.Prev()
		if old := e.Value.(*cached); old.kept && old != c {
			s.size -= len(old.data)
			s.forget(e)
		}
		e = prev
	}
}

func (s *Sender) forget(e *list.Element) {
	delete(s.byKey, e.Value.(*cached).key)
	s.order.Remove(e)
}
