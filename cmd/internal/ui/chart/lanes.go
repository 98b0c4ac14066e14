package chart

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"scap/cmd/internal/ui"
)

// states draw the verdicts, a letter a column.
func (d *sheet) states(p *panel) {
	gs := make([]glyph, d.w)
	for x, c := range p.columns(d.axis, d.w) {
		if c.filled {
			r, ink := c.state.sign()
			gs[x] = glyph{r, ink}
		}
	}
	d.line(d.text(faint, fmt.Sprintf("%*s %c", gutter-2, "verdict", d.signs.bar)) + d.row(gs))
}

// floor draws the time axis.
func (d *sheet) floor() {
	gs := make([]glyph, d.w)
	for x := range gs {
		gs[x] = glyph{d.signs.floor, faint}
	}
	text := make([]glyph, d.w)
	free := 0
	for _, t := range d.axis.ticks(max(d.w/10, 2)) {
		x := d.axis.column(t.at, d.w)
		if x < free || x+len(t.text) > d.w {
			continue
		}
		gs[x].r = d.signs.tick
		for i, r := range t.text {
			text[x+i] = glyph{r, faint}
		}
		free = x + len(t.text) + 2
	}
	d.line(d.text(faint, strings.Repeat(" ", gutter-1)+string(d.signs.corner)) + d.row(gs))
	d.line(strings.Repeat(" ", gutter) + d.row(text))
}

// timeline names phases, the hosts that run the new release, and what happened, once for all gates.
func (d *sheet) timeline() {
	d.line("")
	d.lane("phase", phaseMark, 1, strong)
	d.lane("hosts", batchMark, 1, plain)
	d.lane("event", eventMark, 4, yellow)
	d.floor()
	d.wrap(faint, "hosts: on the new release; verdicts: . gathers  - holds  + passes  ? suspects a host  X fails", 2)
	for _, g := range d.s.gaps(d.axis) {
		d.wrap(faint, g, 2)
	}
}

// lane writes the marks of a kind, on as many lines as they need, at most most: one that finds no room is left out. A phase's
// name ends where the next phase begins.
func (d *sheet) lane(name string, kind, most int, ink paint) {
	var rows [][]glyph
	for _, m := range d.s.marks {
		if m.kind != kind {
			continue
		}
		x, label := d.axis.column(m.at, d.w), d.label(m)
		if n := len(label); kind == eventMark && x+n > d.w { // to the left of its time
			label, x = slices.Concat(label[1:], label[:1]), max(x-n+1, 0)
		}
		row := 0
		for row < len(rows) && !free(rows[row], x, len(label), kind) {
			row++
		}
		if row == most {
			continue
		}
		if row == len(rows) {
			rows = append(rows, make([]glyph, d.w))
		}
		if kind == phaseMark {
			clear(rows[row][x:])
		}
		for i, r := range label[:min(len(label), d.w-x)] {
			rows[row][x+i] = glyph{r, ink}
		}
	}
	for i, row := range rows {
		if i > 0 {
			name = ""
		}
		d.line(d.text(faint, fmt.Sprintf("%*s  ", gutter-2, name)) + d.row(row))
	}
}

// free reports whether a label has room in a row. A phase takes it.
func free(row []glyph, x, n, kind int) bool {
	if kind == phaseMark {
		return true
	}
	for i := max(x-1, 0); i < min(x+n+1, len(row)); i++ {
		if row[i].r != 0 {
			return false
		}
	}
	return true
}

// label is what stands at a mark, one letter a cell.
func (d *sheet) label(m mark) []rune {
	text := strconv.Itoa(m.n)
	switch m.kind {
	case phaseMark:
		text = "|" + ui.Clean(m.text)
	case eventMark:
		text = "^" + ui.Clean(ui.Fit(m.text, 40))
	}
	label := []rune(d.fold(text))
	for i, r := range label {
		if ui.Cells(string(r)) != 1 { // would not fit its cell
			label[i] = '?'
		}
	}
	return label[:min(len(label), d.w)]
}

// gaps say what time is left out of the axis.
func (s *Story) gaps(a *axis) []string {
	var list []string
	for i, g := range a.gaps {
		if i == 3 {
			return append(list, fmt.Sprintf("and %d gaps more", len(a.gaps)-i))
		}
		list = append(list, fmt.Sprintf("nothing is drawn of the %s before %s: nothing happened", ui.Took(g.long), g.at.UTC().Format("15:04:05")))
	}
	return list
}

// table lists the looks that changed the verdict, each with its reason.
func (d *sheet) table(p *panel) {
	shown, left := p.changesShown()
	d.wrap(strong, "what changed the verdict", 0)
	for i, c := range shown {
		if left > 0 && i == len(shown)/2 {
			d.wrap(faint, fmt.Sprintf("… %d more", left), tableIndent)
		}
		_, ink := c.state.sign()
		head := c.at.UTC().Format("15:04:05") + " " + ui.Clean(c.phase)
		if c.phase != "" {
			head += " "
		}
		word := ui.Clean(c.state.words())
		for k, l := range ui.Wrap(d.fold(head+word), d.Width) {
			if k == 0 && strings.HasSuffix(l, word) {
				l = strings.TrimSuffix(l, word) + d.text(ink, word)
			}
			d.line(l)
		}
		for _, text := range reasonLines(c.reason) {
			d.wrap(plain, text, tableIndent)
		}
	}
}

// reasonLines are a reason's lines, each clean, bounded.
func reasonLines(reason string) []string {
	const most, long = 4, 600
	var list []string
	for l := range strings.SplitSeq(strings.TrimSpace(reason), "\n") {
		if l = strings.TrimSpace(ui.Clean(l)); l == "" {
			continue
		}
		if len(list) == most {
			return append(list, "… (the journal has the rest)")
		}
		list = append(list, ui.Fit(l, long))
	}
	return list
}

// thousands writes 31,020.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// number writes a figure as people read it: 210, 0.31, 4.1e+05.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 1e5 || a < 1e-3:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// power is a label of the logarithmic axis.
func power(log float64) string {
	if log >= -2 && log <= 3 {
		return strconv.FormatFloat(math.Pow(10, log), 'g', -1, 64)
	}
	return fmt.Sprintf("1e%g", log)
}

// count writes "1 look", "12 looks".
func count(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return thousands(n) + " " + word + "s"
}
