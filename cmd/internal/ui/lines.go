package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"scap/phases/journal"
)

// stamp is the time on a line, always UTC.
const stamp = "2006-01-02T15:04:05Z"

// plain is the view for a pipe, a log or a screen reader.
type plain struct {
	turn  turn
	out   output
	story *story
	over  bool
}

var _ View = (*plain)(nil)

// Lines returns the view for a pipe: one plain line for each thing worth telling, with its time in UTC, then the closing
// block. No line holds a control character, whatever the records hold.
func Lines(w io.Writer) View {
	return &plain{turn: newTurn(), out: output{w: w}, story: newStory()}
}

// Show writes what r tells.
func (v *plain) Show(r journal.Record) {
	v.turn.take()
	defer v.turn.give()
	if v.over {
		return
	}
	var b strings.Builder
	for _, l := range v.story.tell(r) {
		fmt.Fprintf(&b, "%s %s\n", r.At.UTC().Format(stamp), l.whole())
	}
	v.out.write(b.String())
}

// Close writes the closing block.
func (v *plain) Close() {
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
	at := v.story.now.UTC().Format(stamp)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", at, c.head)
	for _, row := range c.rows {
		fmt.Fprintf(&b, "%s   %-6s%s\n", at, row[0]+":", " "+row[1])
	}
	v.out.write(b.String())
}

func (v *plain) recall(r journal.Record) {
	v.turn.take()
	defer v.turn.give()
	v.story.tell(r)
}

// Recall lets a view know what happened before it, without showing it: the journal of a deploy that is taken up again.
func Recall(v View, past iter.Seq[journal.Record]) {
	if k, ok := v.(interface{ recall(journal.Record) }); ok {
		for r := range past {
			k.recall(r)
		}
	}
}

// records is the view for programs.
type records struct {
	turn turn
	out  output
	over bool
}

var _ View = (*records)(nil)

// JSON returns the view for programs: the journal's records as they are, one a line.
func JSON(w io.Writer) View { return &records{turn: newTurn(), out: output{w: w}} }

// Show writes r. Letters that a terminal could obey are escaped as JSON allows, so the record stays the same.
func (v *records) Show(r journal.Record) {
	v.turn.take()
	defer v.turn.give()
	if v.over {
		return
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil { // Data is no JSON: say so rather than lose the record
		b.Reset()
		r.Text, r.Data = joined(r.Text, fmt.Sprintf("(data left out: %v)", err)), nil
		if e.Encode(r) != nil {
			return
		}
	}
	v.out.write(harmless(b.String()))
}

// Close ends the view.
func (v *records) Close() {
	if v.turn.takeSoon() {
		v.over = true
		v.turn.give()
	}
}

// harmless escapes DEL and the C1 controls, which encoding/json leaves as they are; they can only be within strings.
func harmless(text string) string {
	if !strings.ContainsFunc(text, func(c rune) bool { return c >= 0x7f && c <= 0x9f }) {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		if c >= 0x7f && c <= 0x9f {
			fmt.Fprintf(&b, `\u%04x`, c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}
