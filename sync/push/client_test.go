package push

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"scap/sync/wire"
)

// rogue starts an agent that answers the hello and then writes frames, whatever it is asked. It takes all that is sent.
func rogue(t *testing.T, frames ...wire.Frame) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r, w := wire.NewReader(theirs), wire.NewWriter(theirs)
		if _, err := r.Next(); err != nil {
			return
		}
		hello, _ := json.Marshal(wire.Response{Body: json.RawMessage(`{"hostname":"rogue"}`)})
		_ = w.Frame(wire.Reply, hello)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for {
				if _, err := r.Next(); err != nil {
					return
				}
			}
		}()
		for _, f := range frames {
			_ = w.Frame(f.Type, f.Payload)
		}
		<-drained
	}()
	c, err := Connect(t.Context(), ours, wire.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = theirs.Close(); <-ended })
	return c
}

func reply(text string) wire.Frame { return wire.Frame{Type: wire.Reply, Payload: []byte(text)} }

// TestRogueAgent: an agent that lies costs an error in time, never memory, a hang or a wrong success.
func TestRogueAgent(t *testing.T) {
	src := newShelf(t)
	r := src.add(t, tree(3, "A"))
	end := wire.Frame{Type: wire.End}
	outside := wire.Want{Path: "../../etc/passwd", Size: 10}.Append(nil)
	for name, c := range map[string]struct {
		frames []wire.Frame
		want   string
	}{
		"no JSON":            {[]wire.Frame{reply(`{`)}, "answer"},
		"another frame":      {[]wire.Frame{{Type: wire.Sums}}, "was due"},
		"a list at once":     {[]wire.Frame{end}, "ended where an answer was due"},
		"too many":           {[]wire.Frame{reply(`{"body":{"wants":1000000000}}`)}, "claims to lack"},
		"list ends early":    {[]wire.Frame{reply(`{"body":{"wants":2}}`), end}, "ended early"},
		"empty list":         {[]wire.Frame{reply(`{"body":{"wants":2}}`), {Type: wire.Wants}}, "wanted files"},
		"bad list":           {[]wire.Frame{reply(`{"body":{"missing":2}}`), {Type: wire.Sums, Payload: []byte("x")}}, "missing directories"},
		"outside":            {[]wire.Frame{reply(`{"body":{"wants":1}}`), {Type: wire.Wants, Payload: outside}, end}, "outside of a release"},
		"unknown directory":  {[]wire.Frame{reply(`{"body":{"missing":1}}`), {Type: wire.Sums, Payload: make([]byte, 32)}, end}, "directory object"},
		"another tree":       {[]wire.Frame{reply(`{"body":{}}`), end, reply(`{"body":{"id":""}}`)}, "the host made none"},
		"an error":           {[]wire.Frame{reply(`{"error":{"kind":"nospace","text":"disk \u001b[2J full"}}`)}, "disk ?[2J full"},
		"a later error":      {[]wire.Frame{reply(`{"body":{}}`), end, reply(`{"error":{"text":"no"}}`)}, "no"},
		"a frame of no type": {[]wire.Frame{reply(`{"body":5}`)}, "answer"},
	} {
		done := make(chan error, 1)
		peer := rogue(t, c.frames...)
		go func() { done <- Send(context.Background(), peer, src, r, nil) }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: it hangs", name)
		}
	}
}

// TestClientIsOfNoUseAfterALoss: every later question fails at once with the same word.
func TestClientIsOfNoUseAfterALoss(t *testing.T) {
	c := rogue(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancelled := make(chan struct{})
	go func() { defer close(cancelled); cancel(enough) }()
	err := c.Call(ctx, wire.OpState, wire.StateAsk{}, nil)
	<-cancelled
	if !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	c2 := rogue(t, wire.Frame{Type: wire.End})
	if err := c2.Call(t.Context(), wire.OpState, nil, nil); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	if err := c2.Call(t.Context(), wire.OpState, nil, nil); !errors.Is(err, ErrLost) {
		t.Errorf("again: %v", err)
	}
}

// TestConnectQuotesNoise and closes what it was given.
func TestConnectQuotesNoise(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		_, _ = io.WriteString(theirs, "Last login: Mon\r\n")
		_ = theirs.Close()
	}()
	if _, err := Connect(t.Context(), ours, wire.Hello{}); !errors.Is(err, wire.ErrPreamble) || !strings.Contains(err.Error(), `Last login: Mon\r\n`) {
		t.Errorf("%v", err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it is left open: %v", err)
	}
}

// TestQuestionsTakeTurns: two askers get one answer each.
func TestQuestionsTakeTurns(t *testing.T) {
	c := rogue(t, reply(`{"body":{"free":1}}`), reply(`{"body":{"free":2}}`))
	free := make(chan uint64, 2)
	for range 2 {
		go func() {
			var st wire.State
			if err := c.Call(context.Background(), wire.OpState, nil, &st); err != nil {
				t.Error(err)
			}
			free <- st.Free
		}()
	}
	if a, b := <-free, <-free; a+b != 3 {
		t.Errorf("answers %d and %d", a, b)
	}
	if c.Welcome().Hostname != "rogue" {
		t.Error(c.Welcome())
	}
}
