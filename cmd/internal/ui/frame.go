package ui

import (
	"fmt"
	"strings"

	"scap/phases/journal"
)

// style is a colour or weight by its code on the terminal.
type style string

const (
	normal style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

func (v *Screen) paint(s style, text string) string {
	if !v.colour || s == normal || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func cursorUp(n int) string { return fmt.Sprintf("\x1b[%dA", n) }

// span is a piece of a line in one style; row is one line of the block.
type span struct {
	style style
	text  string
}

type row []span

func (r row) plain() string {
	var b strings.Builder
	for _, s := range r {
		b.WriteString(s.text)
	}
	return b.String()
}

func (r row) paint(v *Screen) string {
	var b strings.Builder
	for _, s := range r {
		b.WriteString(v.paint(s.style, s.text))
	}
	return b.String()
}

// cut fits a row to columns.
func (r row) cut(columns int) row {
	var out row
	for _, s := range r {
		n := Cells(s.text)
		if n > columns {
			if text := Fit(s.text, columns); text != "" {
				out = append(out, span{s.style, text})
			}
			return out
		}
		columns -= n
		out = append(out, s)
	}
	return out
}

var styles = map[cell]style{
	waiting: dim, staging: dim, staged: normal, trying: yellow, onTrial: yellow, activating: yellow, proven: green, failed: red, returning: yellow, returned: cyan, out: red, isolated: red,
}

// block is what stands on the terminal now, at most rows-1 lines so that its top can be reached again: the headline, a
// line a phase, the grids as far as there is room, the legend.
func (v *Screen) block(columns, rows int) []row {
	s := v.story
	width := max(columns-1, 1) // the last column makes some terminals wrap
	lines := []row{v.headline().cut(width)}
	room := max(rows-1, 1)
	grids, notes := make([][]row, len(s.phases)), make([][]row, len(s.phases))
	left := room - 1 - len(s.phases) - 1
	if s.watch != nil {
		left--
	}
	for i, p := range s.phases {
		grids[i] = grid(p, width)
		notes[i] = v.reason(p, width)
		left -= len(grids[i]) + len(notes[i])
	}
	for _, hide := range []func(*stage) bool{ // when there is no room: first what is over, then what has not begun
		func(p *stage) bool { return p.how == journal.Done }, func(p *stage) bool { return p.began.IsZero() }, func(*stage) bool { return true },
	} {
		for i, p := range s.phases {
			if left < 0 && grids[i] != nil && hide(p) {
				left += len(grids[i])
				grids[i] = nil
			}
		}
	}
	for i := range notes { // and last of all why a gate says what it says
		if left < 0 {
			left += len(notes[i])
			notes[i] = nil
		}
	}
	shown := false
	for i, p := range s.phases {
		lines = append(lines, v.phaseLine(p, len(notes[i]) == 0).cut(width))
		lines = append(lines, notes[i]...)
		lines = append(lines, grids[i]...)
		shown = shown || grids[i] != nil
	}
	if s.watch != nil {
		lines = append(lines, v.watchLine(width))
	}
	if shown {
		lines = append(lines, s.legend().cut(width))
	}
	if len(lines) > room { // more phases than rows: the headline and the last ones
		lines = append(lines[:1:1], lines[len(lines)-room+1:]...)
	}
	return lines
}

func (v *Screen) headline() row {
	s := v.story
	what := "deploying"
	switch {
	case s.end != nil:
		what = strings.ReplaceAll(Clean(s.end.Verdict), "-", " ")
	case s.back:
		what = "going back"
	case s.outline.Back:
		what = "rolling back"
	}
	r := row{{bold, what + " "}, {normal, Short(s.target())}}
	if s.outline.Message != "" {
		r = append(r, span{normal, " " + quote(s.outline.Message)})
	}
	until := v.now
	if s.end != nil {
		until = s.end.At
	}
	return append(r, span{dim, " " + Took(until.Sub(s.began))})
}

// target is the release that hosts are being brought to.
func (s *story) target() string {
	if s.back {
		return s.from
	}
	return s.to
}

// phaseLine says in one line how far a phase is, with the gate's reason behind it when whole.
func (v *Screen) phaseLine(p *stage, whole bool) row {
	mark, look := "  ", dim
	switch {
	case v.story.back && p.count(returned) > 0 && p.count(proven) == 0:
		mark, look = "< ", cyan
	case p.how == journal.Failed:
		mark, look = "x ", red
	case p.how == journal.Done:
		mark, look = "# ", green
	case !p.began.IsZero():
		mark, look = "> ", yellow
	}
	name, count := v.story.widths()
	r := row{{look, mark}, {normal, Pad(Fit(Clean(p.name), name), name)}, {normal, fmt.Sprintf(" %*d/%-*d", count, p.count(proven), count, len(p.hosts))}}
	if !p.began.IsZero() {
		until := v.now
		if p.how != "" {
			until = p.ended
		}
		r = append(r, span{dim, " " + Took(until.Sub(p.began))})
	}
	if n := p.count(onTrial); n > 0 {
		r = append(r, span{yellow, fmt.Sprintf(" %d on trial%s", n, p.shared(" (%s)"))})
	}
	if n := p.count(failed) + p.count(out); n > 0 {
		r = append(r, span{red, fmt.Sprintf(" %d failed", n)})
	}
	if n := p.count(returned); n > 0 {
		r = append(r, span{cyan, fmt.Sprintf(" %d returned", n)})
	}
	if n := p.count(isolated); n > 0 {
		r = append(r, span{red, fmt.Sprintf(" %d isolated", n)})
	}
	if p.verdict != "" {
		look := map[string]style{"pass": green, "fail": red, "hold": yellow, "suspect": red}[p.verdict]
		r = append(r, span{look, " gate " + p.ruling.says(p.verdict)})
		if reason := Clean(p.reason); whole && reason != "" {
			r = append(r, span{look, ": " + reason})
		}
	}
	return r
}

// reason is the gate's reason below the line of a phase that waits for it, when that line has no room for it.
func (v *Screen) reason(p *stage, width int) []row {
	const indent, most = 6, 4
	if p.verdict == "" || p.how != "" || width < 40 || Cells(v.phaseLine(p, true).plain()) <= width {
		return nil
	}
	texts := paragraphs(p.reason, most)
	if ends := causes[p.ruling.Cause].ends; ends != "" && p.verdict == "hold" {
		texts = append(texts, ends)
	}
	var rows []row
	for _, text := range texts {
		for _, l := range Wrap(text, width-indent) {
			if len(rows) == most {
				rows[most-1] = row{{normal, strings.Repeat(" ", indent)}, {dim, "… (the journal has the rest)"}}
				return rows
			}
			rows = append(rows, row{{normal, strings.Repeat(" ", indent)}, {normal, l}})
		}
	}
	return rows
}

// widths returns the columns of the phases' names and of their counts, so that they stand below each other.
func (s *story) widths() (name, count int) {
	name, count = 8, 1
	for _, p := range s.phases {
		name = max(name, min(Cells(Clean(p.name)), 24))
		count = max(count, len(fmt.Sprint(len(p.hosts))))
	}
	return name, count
}

// grid shows the hosts of a phase, one letter each.
func grid(p *stage, width int) []row {
	const indent = 2
	per := max(width-indent, 1)
	var rows []row
	for from := 0; from < len(p.hosts); from += per {
		r := row{{normal, strings.Repeat(" ", min(indent, width))}}
		for _, h := range p.hosts[from:min(from+per, len(p.hosts))] {
			if last := &r[len(r)-1]; len(r) > 1 && last.style == styles[h.cell] {
				last.text += string(rune(h.cell))
			} else {
				r = append(r, span{styles[h.cell], string(rune(h.cell))})
			}
		}
		rows = append(rows, r.cut(width))
	}
	return rows
}

// legend names the letters that stand in the grids now.
func (s *story) legend() row {
	r := row{{normal, " "}}
	for _, l := range legend {
		n := 0
		for _, p := range s.phases {
			n += p.count(l.cell)
		}
		if n > 0 {
			r = append(r, span{normal, " "}, span{styles[l.cell], string(rune(l.cell))}, span{dim, fmt.Sprintf(" %s %d ", l.word, n)})
		}
	}
	return r
}
