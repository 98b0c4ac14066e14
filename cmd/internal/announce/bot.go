package announce

import (
	"context"
	"net"
)

// mark begins a line of the log of deploys, for the bot that keeps it.
const mark = "!log "

// lineMost is what a line may have on IRC, whose messages end at 512 bytes with all that servers put before it.
const lineMost = 400

// bot is a tcpircbot: what is sent to it, a line a connection, it says on IRC.
type bot struct{ address string }

// Tell sends the line. It is not said again when the connection fails in the middle: there is no answer to go by.
func (b *bot) Tell(ctx context.Context, e Event) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if limit, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(limit) // a connection without deadlines is ended by the next line
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, err = conn.Write([]byte(e.Text(mark, lineMost) + "\n"))
	return err
}
