package announce

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a server that answers each line as it is told to, in virtual time.
type script struct {
	answer func(n int, line string) []string // to a line of the nth connection; "cut" ends it
	mu     sync.Mutex
	conns  int
	heard  []string
	at     []time.Time // of each PRIVMSG
	wg     sync.WaitGroup
	poke   chan string // lines out of turn, to the newest connection
}

func (s *script) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.mu.Lock()
	s.conns++
	n := s.conns
	s.mu.Unlock()
	out, over := make(chan string, 100), make(chan struct{})
	s.wg.Go(func() { // writes, so that reading never waits for it
		defer ours.Close()
		for {
			var line string
			select {
			case line = <-out:
			case line = <-s.poke:
			case <-over:
				return
			}
			if line == "cut" {
				return
			}
			if _, err := ours.Write([]byte(line + "\r\n")); err != nil {
				return
			}
		}
	})
	s.wg.Go(func() {
		defer close(over)
		in := bufio.NewScanner(ours)
		for in.Scan() {
			line := in.Text()
			s.mu.Lock()
			s.heard = append(s.heard, line)
			if strings.HasPrefix(line, "PRIVMSG") {
				s.at = append(s.at, time.Now())
			}
			answers := s.answer(n, line)
			s.mu.Unlock()
			for _, a := range answers {
				out <- a
			}
		}
	})
	return theirs, nil
}

// server answers as a server does that has nothing against anybody.
func server(line string) []string {
	words := strings.Fields(line)
	switch words[0] {
	case "CAP":
		if words[1] == "LS" {
			return []string{":irc 421 * CAP :Unknown command"}
		}
	case "USER":
		return []string{"NOTICE * :*** Looking up your hostname", ":irc 001 scap :Welcome", ":irc 422 scap :MOTD File is missing"}
	case "JOIN":
		return []string{":scap!scap@deploy1 JOIN :" + words[1], ":irc 353 scap = " + words[1] + " :scap", ":irc 366 scap " + words[1] + " :End of NAMES list"}
	case "PING":
		return []string{":irc PONG irc " + words[1]}
	case "QUIT":
		return []string{"ERROR :Closing connection", "cut"}
	}
	return nil
}

// talk lets an announcer of IRC talk with a script.
func talk(t *testing.T, o Options, answer func(n int, line string) []string, do func(ctx context.Context, tell func(string) error, s *script)) *script {
	t.Helper()
	s := &script{answer: answer}
	synctest.Test(t, func(t *testing.T) {
		s.poke = make(chan string)
		o.Channel, o.Nick, o.User = "#ops", "scap", or(o.User, "scap")
		a := newIRC(o)
		a.dial = s.dial
		do(t.Context(), func(text string) error {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("no end within 30s"))
			defer cancel()
			return a.Tell(ctx, Event{Did: text})
		}, s)
		_ = a.Close()
		s.wg.Wait()
	})
	return s
}

func plain(_ int, line string) []string { return server(line) }

// secretFile has a password in it.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIRC(t *testing.T) {
	s := talk(t, Options{}, plain, func(_ context.Context, tell func(string) error, _ *script) {
		for range 2 {
			if err := tell("hello\r\nQUIT\n\x00"); err != nil { // which no event has
				t.Error(err)
			}
		}
	})
	want := []string{
		"NICK scap", "USER scap 0 * :scap", "JOIN #ops", "PRIVMSG #ops :!log hello  QUIT  ", "PING :scap1",
		"PRIVMSG #ops :!log hello  QUIT  ", "PING :scap2", "QUIT :bye",
	}
	if !slices.Equal(s.heard, want) {
		t.Errorf("the server heard %q, want %q", s.heard, want)
	}
}

// TestIRCPasswords says a password as the server wants it.
func TestIRCPasswords(t *testing.T) {
	long := strings.Repeat("x", 300) // as base64 it has more than one part
	for _, row := range []struct {
		name, password, offers string
		answers                map[string][]string
		heard                  []string
		err                    string
	}{
		{"a server without SASL", "pw d", "multi-prefix", nil, []string{"CAP LS 302", "PASS :pw d", "NICK scap", "USER acc 0 * :scap", "CAP END"}, ""},
		{"a server that knows no capabilities", "pw", "", nil, []string{"CAP LS 302", "PASS :pw", "NICK scap", "USER acc 0 * :scap", "CAP END"}, ""},
		{"SASL", "pw", "sasl=EXTERNAL,PLAIN away-notify", nil, []string{
			"CAP LS 302", "NICK scap", "USER acc 0 * :scap", "CAP REQ :sasl", "AUTHENTICATE PLAIN",
			"AUTHENTICATE " + base64.StdEncoding.EncodeToString([]byte("acc\x00acc\x00pw")), "CAP END",
		}, ""},
		{"SASL without PLAIN", "pw", "sasl=EXTERNAL", nil, []string{"CAP LS 302", "PASS :pw", "NICK scap", "USER acc 0 * :scap", "CAP END"}, ""},
		{"SASL in parts", long, "sasl", nil, nil, ""},
		{"a wrong password", "pw", "sasl", map[string][]string{"AUTHENTICATE Y": {":irc 904 scap :SASL authentication failed"}}, nil, `the server says 904: "SASL authentication failed"`},
		{"a password that is repeated", "pw", "x", map[string][]string{"CAP END": {":irc 464 scap :Password pw incorrect"}}, nil, `the server says 464: "Password (secret) incorrect"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := ""
			s := talk(t, Options{User: "acc", PasswordFile: secretFile(t, row.password)}, func(_ int, line string) []string {
				for begin, a := range row.answers {
					if strings.HasPrefix(line, begin) {
						return a
					}
				}
				part, isPart := strings.CutPrefix(line, "AUTHENTICATE ")
				switch {
				case line == "CAP LS 302" && row.offers != "":
					return []string{":irc CAP * LS * :batch", ":irc CAP * LS :" + row.offers}
				case strings.HasPrefix(line, "USER"):
					return nil
				case line == "CAP REQ :sasl":
					return []string{":irc CAP scap ACK :sasl"}
				case line == "AUTHENTICATE PLAIN":
					return []string{"AUTHENTICATE +"}
				case isPart:
					if got += strings.TrimSuffix(part, "+"); len(part) < 400 {
						return []string{":irc 903 scap :SASL authentication successful"}
					}
				case line == "CAP END":
					return []string{":irc 001 scap :Welcome"}
				}
				return server(line)
			}, func(_ context.Context, tell func(string) error, _ *script) {
				err := tell("hello")
				if text := fmt.Sprint(err); row.err != "" && text != row.err || row.err == "" && err != nil {
					t.Errorf("error %q, want %q", text, row.err)
				}
			})
			if n := len(row.heard); n > 0 && !slices.Equal(s.heard[:n], row.heard) {
				t.Errorf("the server heard %q, want %q first", s.heard, row.heard)
			}
			if row.password == long && got != base64.StdEncoding.EncodeToString([]byte("acc\x00acc\x00"+long)) {
				t.Errorf("it authenticates with %q", got)
			}
			if row.err != "" && s.conns != 1 {
				t.Errorf("it tries %d times", s.conns)
			}
		})
	}
}

// TestIRCFaults are servers that do not do as they should.
func TestIRCFaults(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer func(n int, line string) []string
		said   int // how often the line came
		conns  int
		err    string
	}{
		{"the nick is in use", func(_ int, line string) []string {
			switch {
			case line == "NICK sc__":
				return []string{":irc 001 sc__ :Welcome"}
			case strings.HasPrefix(line, "NICK"):
				return []string{":irc 433 * scap :Nickname is already in use"}
			case strings.HasPrefix(line, "USER"):
				return nil
			case strings.HasPrefix(line, "JOIN"):
				return []string{":somebody!x@y JOIN #ops", ":sc__!x@y JOIN #OPS"}
			}
			return server(line)
		}, 1, 1, ""},
		{"every nick is in use", func(_ int, line string) []string {
			if strings.HasPrefix(line, "NICK") {
				return []string{":irc 433 * scap :Nickname is already in use"}
			}
			return nil
		}, 0, 1, "the nick scap and those like it are in use"},
		{"it pings before it welcomes", func(_ int, line string) []string {
			switch {
			case strings.HasPrefix(line, "USER"):
				return []string{"PING :a cookie"}
			case line == "PONG :a cookie":
				return []string{":irc 001 scap :Welcome"}
			}
			return server(line)
		}, 1, 1, ""},
		{"it ends the connection behind the line", func(n int, line string) []string {
			if n == 1 && strings.HasPrefix(line, "PRIVMSG") {
				return []string{"cut"}
			}
			return server(line)
		}, 2, 2, ""},
		{"it never answers the ping", func(n int, line string) []string {
			if strings.HasPrefix(line, "PING") {
				return nil
			}
			return server(line)
		}, 1, 1, "no end within 30s"},
		{"it throws everybody out", func(_ int, line string) []string {
			if strings.HasPrefix(line, "NICK") {
				return []string{"ERROR :Too many connections", "cut"}
			}
			return nil
		}, 0, 3, `the server has ended the connection: "Too many connections"`},
		{"the channel is closed to us", func(_ int, line string) []string {
			if strings.HasPrefix(line, "JOIN") {
				return []string{":irc 474 scap #ops :Cannot join channel (+b)"}
			}
			return server(line)
		}, 0, 1, `the server says 474: "Cannot join channel (+b)"`},
		{"the channel is moderated", func(_ int, line string) []string {
			if strings.HasPrefix(line, "PRIVMSG") {
				return []string{":irc 404 scap #ops :Cannot send to channel"}
			}
			return server(line)
		}, 1, 1, `the server says 404: "Cannot send to channel"`},
		{"a line without an end", func(n int, line string) []string {
			if n == 1 && strings.HasPrefix(line, "JOIN") {
				return []string{strings.Repeat("x", 20_000)}
			}
			return server(line)
		}, 1, 2, ""},
		{"nonsense", func(_ int, line string) []string {
			return append([]string{"", ":", ": ", "@x", "@", "PRIVMSG", "\x00", ":irc 001", "001"}, server(line)...)
		}, 1, 1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := talk(t, Options{}, row.answer, func(_ context.Context, tell func(string) error, _ *script) {
				if got := fmt.Sprint(tell("hello")); got != or(row.err, "<nil>") {
					t.Errorf("error %q, want %q", got, row.err)
				}
			})
			if len(s.at) != row.said || s.conns != row.conns {
				t.Errorf("said %d times on %d connections, want %d on %d", len(s.at), s.conns, row.said, row.conns)
			}
		})
	}
}

// TestIRCStays stays connected for hours, is kicked, and comes back.
func TestIRCStays(t *testing.T) {
	s := talk(t, Options{}, plain, func(_ context.Context, tell func(string) error, s *script) {
		if err := tell("one"); err != nil {
			t.Error(err)
		}
		for range 100 {
			time.Sleep(2 * time.Minute)
			s.poke <- "PING :irc"
		}
		s.poke <- ":op!x@y KICK #ops scap :go away"
		synctest.Wait()
		if err := tell("two"); err != nil {
			t.Error(err)
		}
	})
	pongs := 0
	for _, l := range s.heard {
		if l == "PONG :irc" {
			pongs++
		}
	}
	if joins := strings.Count(strings.Join(s.heard, "\n"), "JOIN"); pongs != 100 || joins != 2 || s.conns != 1 {
		t.Errorf("%d pongs, %d joins on %d connections; want 100, 2 on 1", pongs, joins, s.conns)
	}
}

// TestIRCPace says no more than servers want to hear: four lines at once, then one each two seconds.
func TestIRCPace(t *testing.T) {
	s := talk(t, Options{}, plain, func(_ context.Context, tell func(string) error, _ *script) {
		for range 10 {
			if err := tell("hello"); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if err := tell("later"); err != nil {
			t.Error(err)
		}
	})
	var after []int
	for _, at := range s.at {
		after = append(after, int(at.Sub(s.at[0]).Seconds()))
	}
	if want := []int{0, 0, 0, 0, 2, 4, 6, 8, 10, 12, 72}; !slices.Equal(after, want) {
		t.Errorf("said after %v seconds, want %v", after, want)
	}
}

func TestParse(t *testing.T) {
	for _, row := range []struct {
		line string
		want string
	}{
		{":scap!u@h PRIVMSG #ops :!log a  b", "scap|PRIVMSG|#ops|!log a  b"},
		{"@time=x;y=z :irc.example 001 scap  :Welcome :to", "irc.example|001|scap|Welcome :to"},
		{"ping :x", "|PING|x"},
		{"MODE #x +o  a ", "|MODE|#x|+o|a"},
		{"A 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "|A|1|2|3|4|5|6|7|8|9|10|11|12|13|14|15"},
		{"JOIN :", "|JOIN|"},
		{"", "no"},
		{":only", "no"},
		{"@tags", "no"},
		{"é x", "no"},
	} {
		m, ok := parse(row.line)
		got := "no"
		if ok {
			got = strings.Join(append([]string{m.from, m.command}, m.params...), "|")
		}
		if got != row.want {
			t.Errorf("%q is %q, want %q", row.line, got, row.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{":scap!u@h PRIVMSG #ops :hello", "@a :b 433 * scap :in use", "PING", "::::", "@ @ @", ": : :", "\x00", "CAP * LS * :sasl"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parse(line)
		if ok && (m.command == "" || len(m.params) > 15) {
			t.Errorf("%q is %+v", line, m)
		}
		_, _, _ = m.last(), m.param(3), m.isError()
	})
}
