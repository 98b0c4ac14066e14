package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/targets"
)

const states = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state
3 app 1 mw1 127.0.0.1 2 0 1 1 1 15 3 3 6
3 app 2 mw2 127.0.0.1 0 8 1 1 1 15 2 0 6
3 app 3 mw3 127.0.0.1 2 0 0 1 1 15 0 3 6
3 app 4 mw4 127.0.0.1 2 0 1 1 1 15 2 3 6
3 app 5 mw5 127.0.0.1 2 0 1 1 1 15 0 3 6

`

// shuffled has other columns in another order: only the names count.
const shuffled = `1
# srv_uweight srv_check_result new_column srv_name srv_admin_state be_name srv_op_state srv_id
1 3 x mw1 1 app 2 9
`

const stats = `# pxname,svname,qcur,qmax,scur,smax,status,weight,check_status,last_chk,
app,mw1,0,3,2,9,UP,1,* L7OK,"quoted, with a comma",
app,mw2,1,0,0,0,DOWN,1,L7STS,,
app,mw3,0,0,0,0,UP,0,L7OK,,
app,mw4,0,0,0,0,UP 1/2,1,L7STS,,
app,BACKEND,1,0,2,0,UP,1,,,

`

func TestHAProxyAnswers(t *testing.T) {
	tests := map[string]struct {
		server, states, stats string
		out, green            bool
		sessions              uint64
		err                   error
	}{
		"in":               {server: "mw1", states: states, stats: stats, green: true, sessions: 2},
		"drained and down": {server: "mw2", states: states, stats: stats, out: true},
		"weight 0":         {server: "mw3", states: states, stats: stats, out: true, green: true},
		"on its way down":  {server: "mw4", states: states, stats: stats},
		"no row":           {server: "mw5", states: states, stats: stats, err: errNoSuchServer},
		"other columns":    {server: "mw1", states: shuffled, stats: stats, out: true, green: true, sessions: 2},
		"unknown server":   {server: "mw9", states: states, stats: stats, err: errNoSuchServer},
		"unknown backend":  {server: "mw1", states: "Can't find backend.\n\n", stats: stats, err: errNoSuchServer},
		"unknown in stat":  {server: "mw1", states: states, stats: "Unknown command\n\n", err: errNoSuchServer},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := row{backend: "app", server: tt.server}
			err := r.readState(tt.states)
			if err == nil {
				err = r.readStat(tt.stats)
			}
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && (r.out() != tt.out || r.green() != tt.green || r.sessions != tt.sessions) {
				t.Errorf("%s: out %t, green %t, sessions %d; want %t, %t, %d", r, r.out(), r.green(), r.sessions, tt.out, tt.green, tt.sessions)
			}
		})
	}
}

func TestHAProxyNeedsItsColumns(t *testing.T) {
	r := row{backend: "app", server: "mw1"}
	if err := r.readState("1\n# be_name srv_name srv_op_state\napp mw1 2\n"); err == nil {
		t.Error("a state without srv_admin_state was believed")
	}
	if err := r.readStat("# pxname,svname,status\napp,mw1,UP\n"); err == nil {
		t.Error("statistics without scur were believed")
	}
}

func FuzzHAProxyAnswers(f *testing.F) {
	seeds := []string{states, shuffled, stats, "", "# ", "# be_name\n\n", "#,\n\"", strings.Repeat("# a ", 100), "1\n# be_name srv_name\napp\n"}
	for _, s := range seeds {
		f.Add(s, "mw1")
	}
	if len(seeds) < 9 {
		f.Fatalf("only %d seeds", len(seeds))
	}
	f.Fuzz(func(t *testing.T, answer, server string) {
		r := row{backend: "app", server: server}
		if err := r.readState(answer); err == nil && !strings.Contains(answer, "srv_admin_state") {
			t.Errorf("a state was read from %q", answer)
		}
		r = row{backend: "app", server: server}
		if err := r.readStat(answer); err == nil && !strings.Contains(answer, "scur") {
			t.Errorf("sessions were read from %q", answer)
		}
		_ = r.String()
	})
}

func TestHAProxyNames(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) { return nil, errDead }
	for _, bad := range []string{"", "app", "app/", "/mw1", "app/a b", "app/{host};show info", "app/x\nshow info", "a/b/c", "app/é"} {
		if _, err := NewHAProxy("lb", dial, bad); err == nil {
			t.Errorf("server %q was accepted", bad)
		}
	}
	h, err := NewHAProxy("lb", dial, "app/{short}")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"mw1;shutdown", "mw1\nset server x/y state maint", "mw 1", ""} {
		if err := h.Drain(t.Context(), host); err == nil || errors.Is(err, errDead) {
			t.Errorf("host %q reached the socket: %v", host, err)
		}
	}
	if b, s, err := h.servers[0].of("mw1.example.org"); b != "app" || s != "mw1" || err != nil {
		t.Errorf("template: %q %q %v", b, s, err)
	}
}

// scripted answers each command with what is written for it.
func scripted(t *testing.T, answers map[string]string) (Dialer, *[]string) {
	var asked []string
	return func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close() //nolint:errcheck // a fake
			line, err := io.ReadAll(io.LimitReader(oneLine{server}, 1<<10))
			if err != nil {
				t.Errorf("read a command: %v", err)
			}
			cmd := strings.TrimSpace(string(line))
			asked = append(asked, cmd)
			_, _ = io.WriteString(server, answers[cmd])
		}()
		return client, nil
	}, &asked
}

// oneLine ends after a newline.
type oneLine struct{ r io.Reader }

func (o oneLine) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := o.r.Read(p)
	if n > 0 && p[n-1] == '\n' {
		err = io.EOF
	}
	return n, err
}

func TestHAProxyRefusals(t *testing.T) {
	for name, answer := range map[string]string{
		"no such server": "No such server.\n\n",
		"level user":     "Permission denied\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			dial, asked := scripted(t, map[string]string{"set server app/mw1 state drain": answer})
			h, err := NewHAProxy("lb", dial, "app/{host}")
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Drain(t.Context(), "mw1"); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(answer)) {
				t.Errorf("error %v, want %q in it", err, answer)
			}
			if len(*asked) != 1 {
				t.Errorf("asked %q", *asked)
			}
		})
	}
	t.Run("died before its answer", func(t *testing.T) {
		dial, _ := scripted(t, nil)
		h, _ := NewHAProxy("lb", dial, "app/{host}")
		if err := h.Ready(t.Context(), "mw1"); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("an empty connection counted as done: %v", err)
		}
	})
	t.Run("endless answer", func(t *testing.T) {
		dial, _ := scripted(t, map[string]string{"show servers state app": strings.Repeat("x", maxAnswer+1)})
		h, _ := NewHAProxy("lb", dial, "app/{host}")
		if _, _, err := h.State(t.Context(), "mw1"); !errors.Is(err, errTooLong) {
			t.Errorf("error %v", err)
		}
	})
}

func TestHAProxyQueueIsNotIdle(t *testing.T) {
	dial, _ := scripted(t, map[string]string{"show servers state app": states, "show stat app 4 1": stats, "show stat app 4 2": stats, "show stat app 4 4": stats})
	h, err := NewHAProxy("lb", dial, "app/{host}")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"mw1": false, "mw2": false, "mw4": true} { // sessions, a queue, neither
		if idle, err := h.Idle(t.Context(), host); err != nil || idle != want {
			t.Errorf("%s idle: %t, %v; want %t", host, idle, err, want)
		}
	}
}

func TestHAProxyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		h, err := NewHAProxy("lb", func(context.Context) (net.Conn, error) { return client, nil }, "app/{host}")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if pooled, _, err := h.State(ctx, "mw1"); !errors.Is(err, context.DeadlineExceeded) || pooled != targets.PoolUnknown {
			t.Errorf("state %q, %v", pooled, err)
		}
	})
}

func TestSocket(t *testing.T) {
	for _, bad := range []string{"", "haproxy.sock", "unix:", "tcp:localhost", "udp:1.2.3.4:5"} {
		if _, err := Socket(bad); err == nil {
			t.Errorf("socket %q was accepted", bad)
		}
	}
	path := fmt.Sprintf("%s/a.sock", t.TempDir())
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	for _, good := range []string{path, "unix:" + path} {
		dial, err := Socket(good)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
}
