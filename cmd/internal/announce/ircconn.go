package announce

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ircConn is one connection to a server. One goroutine uses it, while one of its own reads and answers the server's pings.
type ircConn struct {
	socket net.Conn
	ended  chan struct{} // closed when nothing more will be read

	mu     sync.Mutex
	hear   func(message) (over bool, err error) // who waits for an answer
	answer chan error
	err    error // why it ended
	nick   string
	joined string // the channel that it is in
	pings  int

	wmu sync.Mutex // one line at a time
}

func newIRCConn(socket net.Conn) *ircConn {
	c := &ircConn{socket: socket, ended: make(chan struct{})}
	go c.read() // ends when the socket is closed
	return c
}

// lineLongest is what a server may send as one line: 512 bytes, and 8191 of tags.
const lineLongest = 9 << 10

var errGone = errors.New("the server has ended the connection")

func (c *ircConn) read() {
	defer close(c.ended)
	in := bufio.NewScanner(c.socket)
	in.Buffer(make([]byte, 0, 1<<10), lineLongest)
	for in.Scan() {
		m, ok := parse(strings.TrimRight(in.Text(), "\r"))
		if !ok {
			continue
		}
		if m.command == "PING" {
			_ = c.send("PONG :" + m.last()) // a connection that is broken is seen by who says something
			continue
		}
		c.heard(m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = errGone
		if in.Err() != nil {
			c.err = fmt.Errorf("%w: %w", errGone, in.Err())
		}
	}
}

// heard keeps what m changes and gives it to who waits.
func (c *ircConn) heard(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.command == "ERROR":
		c.err = fmt.Errorf("%w: %q", errGone, cut(clean(m.last()), 200))
	case m.command == "KICK" && same(m.param(1), c.nick), m.command == "PART" && same(m.from, c.nick):
		c.joined = ""
	case m.command == "NICK" && same(m.from, c.nick):
		c.nick = m.last()
	}
	if c.hear == nil {
		return
	}
	if over, err := c.hear(m); over || err != nil {
		c.answer <- err // buffered, once
		c.hear = nil
	}
}

// ask sends lines and gives all that comes to hear, until that is over or ctx ends. hear may send, and holds c.mu.
func (c *ircConn) ask(ctx context.Context, hear func(message) (over bool, err error), lines ...string) error {
	answer := make(chan error, 1)
	c.mu.Lock()
	c.hear, c.answer = hear, answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.hear = nil
		c.mu.Unlock()
	}()
	for _, l := range lines {
		if err := c.send(l); err != nil {
			return err
		}
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ended:
	}
	select {
	case err := <-answer: // with the last line
		return err
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// send writes one line, whatever stands in it.
func (c *ircConn) send(line string) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.socket.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := c.socket.Write([]byte(strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(line) + "\r\n"))
	return err
}

// register makes the server know who is there: by SASL PLAIN where there is a password and the server has it, else by PASS.
func (c *ircConn) register(ctx context.Context, nick, user, password string) error {
	sasl := false
	if password != "" {
		var err error
		if sasl, err = c.offersSASL(ctx); err != nil {
			return err
		}
	}
	hello := []string{"NICK " + nick, "USER " + user + " 0 * :scap"}
	switch {
	case sasl:
		hello = append(hello, "CAP REQ :sasl")
	case password != "":
		hello = append([]string{"PASS :" + password}, append(hello, "CAP END")...)
	}
	c.mu.Lock()
	c.nick = nick
	c.mu.Unlock()
	tries := 0
	return c.ask(ctx, func(m message) (bool, error) {
		switch m.command {
		case "001":
			c.nick = or(m.param(0), c.nick)
			return true, nil
		case "433", "436": // in use
			if tries++; tries > 3 {
				return true, &refusal{fmt.Sprintf("the nick %s and those like it are in use", nick)}
			}
			c.nick = nick[:max(1, len(nick)-tries)] + strings.Repeat("_", tries) // no longer, for servers have limits
			return false, c.send("NICK " + c.nick)
		case "432", "464", "465":
			return true, refused(m)
		case "ERROR":
			return true, c.err
		}
		if sasl {
			return false, c.authenticate(m, user, password)
		}
		return false, nil
	}, hello...)
}

// offersSASL asks for the server's capabilities. One that knows of none says so, or nothing.
func (c *ircConn) offersSASL(ctx context.Context) (offers bool, err error) {
	const patience = 3 * time.Second
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = c.ask(limited, func(m message) (bool, error) {
		switch {
		case m.command == "421", m.command == "451":
			return true, nil
		case m.command == "ERROR":
			return true, c.err
		case m.command != "CAP" || m.param(1) != "LS":
			return false, nil
		}
		for _, word := range strings.Fields(m.last()) {
			name, how, some := strings.Cut(word, "=")
			offers = offers || name == "sasl" && (!some || strings.Contains(","+how+",", ",PLAIN,"))
		}
		return m.param(2) != "*", nil
	}, "CAP LS 302")
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	return offers, err
}

// authenticate answers what the server says of SASL.
func (c *ircConn) authenticate(m message, user, password string) error {
	switch {
	case m.command == "CAP" && m.param(1) == "ACK":
		return c.send("AUTHENTICATE PLAIN")
	case m.command == "CAP" && m.param(1) == "NAK":
		return &refusal{"the server offers SASL and does not take it"}
	case m.command == "AUTHENTICATE" && m.last() == "+":
		text := base64.StdEncoding.EncodeToString([]byte(user + "\x00" + user + "\x00" + password))
		const most = 400 // a part that is as long says that another follows
		for len(text) >= most {
			if err := c.send("AUTHENTICATE " + text[:most]); err != nil {
				return err
			}
			text = text[most:]
		}
		return c.send("AUTHENTICATE " + or(text, "+"))
	case m.command == "903":
		return c.send("CAP END")
	case m.command == "902", m.command == "904", m.command == "905", m.command == "906", m.command == "908":
		return refused(m)
	}
	return nil
}

// join enters the channel, if it is not there.
func (c *ircConn) join(ctx context.Context, channel string) error {
	c.mu.Lock()
	there := c.joined == channel
	c.mu.Unlock()
	if there {
		return nil
	}
	return c.ask(ctx, func(m message) (bool, error) {
		switch {
		case m.command == "JOIN" && same(m.from, c.nick) && same(m.param(0), channel):
			c.joined = channel
			return true, nil
		case m.command == "ERROR":
			return true, c.err
		case m.isError() && same(m.param(1), channel):
			return true, refused(m)
		}
		return false, nil
	}, "JOIN "+channel)
}

// say says a line in the channel. A ping behind it shows that the server has taken it.
func (c *ircConn) say(ctx context.Context, channel, line string) error {
	c.pings++
	token := "scap" + strconv.Itoa(c.pings)
	return c.ask(ctx, func(m message) (bool, error) {
		switch {
		case m.command == "PONG" && m.last() == token:
			return true, nil
		case m.command == "ERROR":
			return true, c.err
		case m.isError() && (same(m.param(1), channel) || m.command == "412" || m.command == "417"):
			return true, refused(m)
		}
		return false, nil
	}, "PRIVMSG "+channel+" :"+line, "PING :"+token)
}

// refused is the server's no.
func refused(m message) error {
	return &refusal{fmt.Sprintf("the server says %s: %q", m.command, cut(clean(m.last()), 200))}
}

// same compares names as IRC does, but for the letters of Scandinavia.
func same(a, b string) bool { return strings.EqualFold(a, b) }

// gone reports whether nothing can be said any more.
func (c *ircConn) gone() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// quit takes leave, and does not wait for long until the server has heard it.
func (c *ircConn) quit() {
	if c.send("QUIT :bye") == nil {
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case <-c.ended:
		case <-timer.C:
		}
	}
	c.close()
}

// close ends the connection and its goroutine.
func (c *ircConn) close() {
	_ = c.socket.Close() // it is over either way
	<-c.ended
}
