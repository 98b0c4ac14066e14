package chart

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"scap/cmd/internal/ui"
)

const (
	gutter      = 12 // columns left of a chart: numbers, a blank and the axis
	narrowest   = 40
	widest      = 100
	harmRows    = 8
	safeRows    = 5
	tableIndent = 9
)

// sheet is a rendering for a terminal.
type sheet struct {
	brush
	Look
	signs signs
	s     *Story
	axis  *axis
	b     strings.Builder
	w     int // columns of a chart
}

// Render writes the story for a terminal. No line is wider than l.Width, and none holds a control character but those that
// set colours, when l says so.
func (s *Story) Render(w io.Writer, l Look) error {
	l.Width = min(max(l.Width, narrowest), widest)
	d := &sheet{brush: brush{l.Colour}, Look: l, signs: l.signs(), s: s, axis: newAxis(s.moments), w: l.Width - gutter - 1}
	if why := s.nothing(); why != "" {
		d.wrap(plain, why, 0)
	} else {
		d.head()
		d.timeline()
		for _, p := range s.panels {
			d.panel(p)
		}
		for _, n := range s.notes() {
			d.wrap(faint, n, 0)
		}
	}
	_, err := io.WriteString(w, d.b.String())
	return err
}

func (d *sheet) line(text string) { d.b.WriteString(d.fold(text) + "\n") }

// fold makes ASCII of what the chart itself writes, and codes of the rest.
func (d *sheet) fold(text string) string {
	if !d.ASCII {
		return text
	}
	text = strings.NewReplacer("…", "...", "≥", ">=", "µ", "u").Replace(text)
	var b strings.Builder
	for _, c := range text {
		if c >= 0x7f {
			b.WriteString(strings.Trim(strconv.QuoteToASCII(string(c)), `"`))
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

// wrap writes clean text, its further lines indented.
func (d *sheet) wrap(p paint, text string, indent int) {
	for _, l := range ui.Wrap(d.fold(text), d.Width-indent) {
		d.line(strings.Repeat(" ", indent) + d.text(p, l))
	}
}

func (d *sheet) head() {
	d.wrap(strong, d.s.title(), 0)
	d.wrap(faint, d.s.subtitle(), 0)
}

func (d *sheet) panel(p *panel) {
	d.line("")
	d.wrap(strong, p.heading(), 0)
	if p.sawStatistic {
		d.summary(p)
		cols := p.columns(d.axis, d.w)
		d.line("")
		d.harm(p, cols)
		d.line("")
		d.safe(p, cols)
		d.line("")
		d.rates(p, cols)
	}
	d.states(p)
	d.floor()
	d.line("")
	d.table(p)
}

// heading is the gate's name and its last word.
func (p *panel) heading() string {
	text := ui.Clean(p.name)
	if text == "" {
		text = "gate"
	}
	if n := len(p.points); n > 0 {
		text += fmt.Sprintf(": %s after %s", ui.Clean(p.points[n-1].state.words()), count(int64(n), "look"))
	}
	return text
}

// summary says the last figures in words.
func (d *sheet) summary(p *panel) {
	for _, l := range p.summary() {
		d.wrap(plain, l, 2)
	}
}

func (p *panel) summary() []string {
	arms := fmt.Sprintf("in all: canary %s, control %s", p.total[0].words(), p.total[1].words())
	e := fmt.Sprintf("last: evidence of harm %s of %s, of no harm %s of %s", number(p.last.harm), number(orNumber(p.failAt, 200)),
		number(p.last.safe), number(orNumber(p.passAt, 40)))
	if p.phi > 0 {
		e += fmt.Sprintf(", clustering %.2g", p.phi)
	}
	list := []string{arms, e}
	for _, s := range p.last.signals {
		text := fmt.Sprintf("signal %s: %s a minute", ui.Clean(ui.Fit(s.name, 60)), number(s.minute))
		if s.usual > 0 {
			text += fmt.Sprintf(", usually %s", number(s.usual))
		}
		list = append(list, fmt.Sprintf("%s; evidence of a drop %s of %s", text, number(s.e), number(orNumber(p.failAt, 200))))
	}
	return list
}

// words are an arm's counts: 14 of 31,020 failing (0.045 %).
func (a arm) words() string {
	text := fmt.Sprintf("%s of %s failing", thousands(a.x), thousands(a.n))
	if r, ok := a.rate(); ok && a.n > 0 {
		text += fmt.Sprintf(" (%s %%)", strconv.FormatFloat(100*r, 'g', 2, 64))
	}
	return text
}

// curve draws a band of low to high in each column, joined.
func (d *sheet) curve(c *canvas, cols []column, at func(column) (low, high, last float64, ok bool), share func(float64) float64, ink func(float64) paint) {
	before := -1
	for x, col := range cols {
		low, high, last, ok := at(col)
		if !ok {
			if before >= 0 && !col.filled { // between looks the evidence stands
				c.set(x, 0, before, ink(math.NaN()))
				c.set(x, 1, before, ink(math.NaN()))
			}
			continue
		}
		y := c.y(share(last))
		if before >= 0 {
			c.upright(x, 0, before, y, ink(high))
		}
		c.upright(x, 0, c.y(share(low)), c.y(share(high)), ink(high))
		c.set(x, 1, y, ink(last))
		before = y
	}
}

// plot draws a canvas with its axis: labels by row.
func (d *sheet) plot(c *canvas, labels map[int]string, limit int) {
	for _, g := range d.axis.gaps {
		c.wall(d.axis.column(g.at, d.w), '/', faint)
	}
	for _, m := range d.s.marks {
		if m.kind == phaseMark {
			c.wall(d.axis.column(m.at, d.w), d.signs.wall, faint)
		}
	}
	for y := range c.h {
		label := labels[y]
		p := faint
		if y == limit {
			p = plain
		}
		d.line(d.text(p, fmt.Sprintf("%*.*s ", gutter-2, gutter-2, label)) + d.text(faint, string(d.signs.bar)) + d.row(c.row(y)))
	}
}

func (d *sheet) harm(p *panel, cols []column) {
	title := fmt.Sprintf("evidence of harm: fails at %s (logarithmic)", number(orNumber(p.failAt, 200)))
	if p.sawSignal && (d.Colour || d.ASCII) {
		title += map[bool]string{true: "; o a signal's drop", false: "; violet: a signal's drop"}[d.ASCII]
	}
	d.wrap(plain, title, 2)
	low, high := p.harms()
	share := func(v float64) float64 { return (v - low) / (high - low) }
	c := newCanvas(d.w, harmRows, d.ASCII)
	limit := d.limit(c, share(p.failLine()), red)
	if p.sawSignal && (d.Colour || d.ASCII) { // else it could not be told from the other
		c.sign = 'o'
		d.curve(c, cols, func(x column) (float64, float64, float64, bool) { return x.dropLow, x.dropHigh, x.dropLast, x.watched }, share,
			func(float64) paint { return magenta })
		c.sign = '*'
	}
	d.curve(c, cols, func(x column) (float64, float64, float64, bool) { return x.harmLow, x.harmHigh, x.harmLast, x.seen }, share,
		func(v float64) paint {
			if v >= p.failLine() {
				return red
			}
			return cyan
		})
	labels := map[int]string{0: power(high), harmRows - 1: power(low)}
	if one := d.rowOf(c, share(0)); labels[one] == "" {
		labels[one] = "1"
	}
	labels[limit] = "FAIL " + number(orNumber(p.failAt, 200))
	d.plot(c, labels, limit)
}

func (d *sheet) safe(p *panel, cols []column) {
	d.wrap(plain, fmt.Sprintf("evidence of no harm: passes at %s (logarithmic)", number(orNumber(p.passAt, 40))), 2)
	low, high := p.safes()
	share := func(v float64) float64 { return (v - low) / (high - low) }
	c := newCanvas(d.w, safeRows, d.ASCII)
	limit := d.limit(c, share(p.passLine()), green)
	d.curve(c, cols, func(x column) (float64, float64, float64, bool) { return x.safeLow, x.safeHigh, x.safeLast, x.seen }, share,
		func(v float64) paint {
			if v >= p.passLine() {
				return green
			}
			return blue
		})
	labels := map[int]string{0: power(high), safeRows - 1: power(low)}
	if one := d.rowOf(c, share(0)); labels[one] == "" {
		labels[one] = "1"
	}
	labels[limit] = "PASS " + number(orNumber(p.passAt, 40))
	d.plot(c, labels, limit)
}

// limit draws the line of a threshold and returns its row.
func (d *sheet) limit(c *canvas, share float64, p paint) int {
	y := c.y(share)
	c.level(y, d.signs.limit, p)
	return d.rowOf(c, share)
}

func (d *sheet) rowOf(c *canvas, share float64) int {
	y := c.y(share)
	if !c.ascii {
		y /= 4
	}
	return y
}

// rates draw how much of each arm failed, column by column, on one scale.
func (d *sheet) rates(p *panel, cols []column) {
	most := 0.0
	for _, c := range cols {
		for _, a := range []arm{c.canary, c.control} {
			if r, ok := a.rate(); ok {
				most = max(most, r)
			}
		}
	}
	d.wrap(plain, fmt.Sprintf("share of requests that fail: the highest is %s %%", strconv.FormatFloat(100*most, 'g', 2, 64)), 2)
	for i, name := range []string{"canary", "control"} {
		gs := make([]glyph, d.w)
		for x, c := range cols {
			a := []arm{c.canary, c.control}[i]
			r, ok := a.rate()
			if !ok {
				continue
			}
			level := 0
			if most > 0 && r > 0 { // a failing request is never drawn as none
				level = max(1, int(math.Ceil(r/most*float64(len(d.signs.levels)-1))))
			}
			gs[x] = glyph{d.signs.levels[min(level, len(d.signs.levels)-1)], []paint{yellow, faint}[i]}
		}
		d.line(d.text(faint, fmt.Sprintf("%*s %c", gutter-2, name, d.signs.bar)) + d.row(gs))
	}
}
