package ui

import (
	"io"
	"strings"
	"sync"
	"time"

	"scap/phases/journal"
)

// LiveOptions are how a terminal is used. The zero value draws without colour and only when a record comes.
type LiveOptions struct {
	Colour bool             // see Colour
	Tick   <-chan time.Time // each time it delivers is now: the block is drawn again, so that seconds go on
}

// Colour reports whether the environment allows colour: NO_COLOR unset or empty and a terminal that is not dumb.
func Colour(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && getenv("TERM") != ""
}

// Screen is the view for a terminal: a block of one line a phase and a grid with one letter a host, redrawn in place,
// and above it, for good, what went wrong and what gates said.
type Screen struct {
	size   func() (columns, rows int)
	colour bool

	turn   turn
	out    output
	story  *story
	drawn  []string // lines of the block as they stand on the terminal, without colour
	styled []string // the same as written
	over   bool
	now    time.Time

	stop func()
}

var _ View = (*Screen)(nil)

// Live returns the view for a terminal of the size that size tells, asked at every drawing. It starts a goroutine when
// o.Tick is given; Close ends it.
func Live(w io.Writer, size func() (columns, rows int), o LiveOptions) *Screen {
	v := &Screen{size: size, colour: o.Colour, turn: newTurn(), out: output{w: w}, story: newStory(), stop: func() {}}
	if o.Tick != nil {
		done, ended := make(chan struct{}), make(chan struct{})
		v.stop = sync.OnceFunc(func() {
			close(done)
			timer := time.NewTimer(patience)
			defer timer.Stop()
			select {
			case <-ended:
			case <-timer.C:
			}
		})
		go func() { // ends within Close, or later when the terminal itself hangs
			defer close(ended)
			v.follow(o.Tick, done)
		}()
	}
	return v
}

func (v *Screen) follow(tick <-chan time.Time, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case now, ok := <-tick:
			if !ok {
				return
			}
			v.turn.take()
			if !v.over && len(v.drawn) > 0 {
				v.advance(now)
				v.draw(nil)
			}
			v.turn.give()
		}
	}
}

// advance moves the clock, never back: records and ticks may come from different clocks.
func (v *Screen) advance(now time.Time) {
	if now.After(v.now) {
		v.now = now
	}
}

// Show draws what r changes.
func (v *Screen) Show(r journal.Record) {
	v.turn.take()
	defer v.turn.give()
	if v.over {
		return
	}
	v.advance(r.At)
	var above [][]string
	for _, l := range v.story.tell(r) {
		if l.loud {
			above = append(above, append([]string{r.At.UTC().Format("15:04:05") + " " + l.text}, l.more...))
		}
	}
	v.draw(above)
	if r.Act == journal.Confirm && r.Kind == journal.Intent {
		v.leave()
	}
}

// Break leaves the block as it stands and the cursor below it, for a question or a message of somebody else. The block is
// drawn anew below that with the next record.
func (v *Screen) Break() {
	if !v.turn.takeSoon() {
		return
	}
	defer v.turn.give()
	if !v.over {
		v.leave()
	}
}

// leave forgets the block: without one, ticks draw nothing.
func (v *Screen) leave() { v.drawn, v.styled = nil, nil }

// Close draws the last state and the closing block below it.
func (v *Screen) Close() {
	v.stop()
	if !v.turn.takeSoon() {
		return
	}
	defer v.turn.give()
	if v.over {
		return
	}
	v.over = true
	c, ok := v.story.close()
	if !ok {
		return
	}
	v.draw(nil)
	columns, _ := v.measure()
	var b strings.Builder
	b.WriteString("\r\n")
	for _, l := range Wrap(c.head, columns-1) {
		b.WriteString(v.paint(bold, l) + "\r\n")
	}
	for _, row := range c.rows {
		label := Pad(row[0], 7)
		if columns < 30 { // no room for two columns
			label = ""
			b.WriteString(row[0] + ":\r\n")
		}
		for _, l := range Wrap(row[1], columns-1-len(label)) {
			b.WriteString(label + l + "\r\n")
			label = strings.Repeat(" ", len(label))
		}
	}
	v.out.write(b.String())
}

func (v *Screen) recall(r journal.Record) {
	v.turn.take()
	defer v.turn.give()
	v.story.tell(r)
}

// measure returns the terminal's size, or a usual one when it is not known.
func (v *Screen) measure() (columns, rows int) {
	columns, rows = v.size()
	if columns <= 0 {
		columns = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return columns, rows
}

// draw writes above the block what stays, and then only those lines of the block that are not as they stand: one write,
// no clearing first, so nothing flickers.
func (v *Screen) draw(above [][]string) {
	columns, rows := v.measure()
	next := v.block(columns, rows)
	plain, styled := make([]string, len(next)), make([]string, len(next))
	for i, l := range next {
		plain[i], styled[i] = l.plain(), l.paint(v)
	}
	var b strings.Builder
	up := height(v.drawn, columns)
	same := len(above) == 0 && up == len(v.drawn) && up < rows // else the terminal was made narrower or lower
	if up > 0 {
		b.WriteString("\r" + cursorUp(up))
	}
	if !same {
		b.WriteString("\x1b[J")
		for _, said := range above {
			b.WriteString(strings.Join(clipped(hanging(said, columns-1), columns), "\r\n") + "\r\n")
		}
	}
	changed := !same || len(plain) != len(v.drawn)
	for i, l := range styled {
		if same && i < len(v.styled) && v.styled[i] == l {
			b.WriteString("\r\n")
			continue
		}
		changed = true
		b.WriteString(l + "\x1b[K\r\n")
	}
	if same && len(v.drawn) > len(plain) {
		b.WriteString("\x1b[J")
	}
	if changed {
		v.out.write(b.String())
	}
	v.drawn, v.styled = plain, styled
}

// hanging breaks what was said into lines, all but the first indented to where the text behind the time begins.
func hanging(said []string, most int) []string {
	indent := 9
	if most < 3*indent {
		indent = 0
	}
	room := most - indent
	var lines []string
	for i, text := range said {
		if i == 0 && indent > 0 {
			// The time stands before the indented text: break as if it were not there.
			head := text[:min(indent, len(text))]
			for k, l := range Wrap(text[len(head):], room) {
				if k > 0 {
					head = strings.Repeat(" ", indent)
				}
				lines = append(lines, head+l)
			}
			continue
		}
		for _, l := range Wrap(text, room) {
			lines = append(lines, strings.Repeat(" ", indent)+l)
		}
	}
	return lines
}

// clipped keeps the first lines of what stays above the block: a host may send a page of error, and the journal has it all.
func clipped(lines []string, columns int) []string {
	const most = 8
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most-1:most-1], Fit("… (the journal has the rest)", columns-1))
}

// height counts the rows that lines take on a terminal of that width: more than they are when it was wider before.
func height(lines []string, columns int) int {
	n := 0
	for _, l := range lines {
		n += max(1, (Cells(l)+columns-1)/columns)
	}
	return n
}
