package push

import (
	"iter"

	"github.com/klauspost/compress/zstd"

	"scap/sync/wire"
)

// writeBlocks writes n blocks and the End, fewer when stop is closed before: the agent has answered then and reads on only
// to the End. An error of the source closes the session: the agent must not take a part for the whole.
func (c *Client) writeBlocks(n int, block func(int) ([]byte, error), stop <-chan struct{}) error {
	for i := range n {
		select {
		case <-stop:
			return c.writeEnd()
		default:
		}
		b, err := block(i)
		if err != nil {
			_ = c.rwc.Close()
			return err
		}
		if err := c.w.Frame(wire.Block, b); err != nil {
			return lost{err}
		}
	}
	return c.writeEnd()
}

func (c *Client) writeEnd() error {
	if err := c.w.Frame(wire.End, nil); err != nil {
		return lost{err}
	}
	return nil
}

// writeDirs writes directory objects as blocks, then the End.
func (c *Client) writeDirs(dirs iter.Seq2[[]byte, error], stop <-chan struct{}) error {
	var (
		raw []byte
		enc *zstd.Encoder // made only where there is something to send
	)
	flush := func(part []byte) error {
		if enc == nil {
			enc = wire.NewEncoder()
		}
		if err := c.w.Frame(wire.Block, enc.EncodeAll(part, nil)); err != nil {
			return lost{err}
		}
		return nil
	}
	for d, err := range dirs {
		if err != nil {
			_ = c.rwc.Close()
			return err
		}
		raw = append(wire.AppendDir(raw, len(d)), d...)
		for len(raw) >= wire.BlockSize {
			select {
			case <-stop:
				return c.writeEnd()
			default:
			}
			if err := flush(raw[:wire.BlockSize]); err != nil {
				return err
			}
			raw = append(raw[:0], raw[wire.BlockSize:]...)
		}
	}
	if len(raw) > 0 {
		if err := flush(raw); err != nil {
			return err
		}
	}
	return c.writeEnd()
}
