package chart

import "strings"

// Colours on a terminal, by code.
type paint string

const (
	plain   paint = ""
	faint   paint = "2"
	strong  paint = "1"
	red     paint = "31"
	green   paint = "32"
	yellow  paint = "33"
	blue    paint = "34"
	magenta paint = "35"
	cyan    paint = "36"
)

// glyph is one cell of a drawing.
type glyph struct {
	r rune
	p paint
}

// brush writes glyphs and texts with or without colour.
type brush struct{ colour bool }

func (b brush) text(p paint, text string) string {
	if !b.colour || p == plain || text == "" {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

// row writes a row of glyphs, trailing blanks left out.
func (b brush) row(gs []glyph) string {
	n := len(gs)
	for n > 0 && (gs[n-1].r == ' ' || gs[n-1].r == 0) {
		n--
	}
	var out, run strings.Builder
	last := plain
	flush := func() {
		out.WriteString(b.text(last, run.String()))
		run.Reset()
	}
	for _, g := range gs[:n] {
		if g.p != last {
			flush()
			last = g.p
		}
		if g.r == 0 {
			g.r = ' '
		}
		run.WriteRune(g.r)
	}
	flush()
	return out.String()
}

// canvas is a grid of cells on which curves are drawn, in braille dots (two by four a cell) or, in ASCII, one sign a cell.
type canvas struct {
	w, h  int
	ascii bool
	dots  [][]byte // braille bits, or in ASCII the sign
	sign  byte     // what is drawn with in ASCII
	inks  [][]paint
	under [][]glyph // lines and marks behind the curve
}

func newCanvas(w, h int, ascii bool) *canvas {
	c := &canvas{w: w, h: h, ascii: ascii, sign: '*'}
	for range h {
		c.dots = append(c.dots, make([]byte, w))
		c.inks = append(c.inks, make([]paint, w))
		c.under = append(c.under, make([]glyph, w))
	}
	return c
}

// fine is how many points a curve can have below each other.
func (c *canvas) fine() int {
	if c.ascii {
		return c.h
	}
	return 4 * c.h
}

// y is where a share of the height, from 0 at the bottom to 1, lies among the fine points, from 0 at the top.
func (c *canvas) y(share float64) int {
	return min(max(int((1-clamp(share, 0, 1))*float64(c.fine()-1)+0.5), 0), c.fine()-1)
}

// bits are the braille dots of a cell, by column and row.
var bits = [2][4]byte{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

// set draws a point: half is 0 or 1, the left or right half of the cell.
func (c *canvas) set(x, half, y int, p paint) {
	if x < 0 || x >= c.w || y < 0 || y >= c.fine() {
		return
	}
	if c.ascii {
		c.dots[y][x], c.inks[y][x] = c.sign, p
		return
	}
	c.dots[y/4][x] |= bits[half&1][y%4]
	c.inks[y/4][x] = p
}

// upright draws all points between two heights.
func (c *canvas) upright(x, half, y0, y1 int, p paint) {
	for y := min(y0, y1); y <= max(y0, y1); y++ {
		c.set(x, half, y, p)
	}
}

// level draws a line behind the curve across the height of y.
func (c *canvas) level(y int, sign rune, p paint) {
	row := y
	if !c.ascii {
		row = y / 4
	}
	for x := range c.w {
		c.under[row][x] = glyph{sign, p}
	}
}

// wall draws an upright line behind everything at a column.
func (c *canvas) wall(x int, sign rune, p paint) {
	for y := range c.h {
		if x >= 0 && x < c.w && c.under[y][x].r == 0 {
			c.under[y][x] = glyph{sign, p}
		}
	}
}

// row returns the glyphs of a row.
func (c *canvas) row(y int) []glyph {
	gs := make([]glyph, c.w)
	for x := range gs {
		switch {
		case c.dots[y][x] == 0:
			gs[x] = c.under[y][x]
		case c.ascii:
			gs[x] = glyph{rune(c.dots[y][x]), c.inks[y][x]}
		default:
			gs[x] = glyph{rune(0x2800) + rune(c.dots[y][x]), c.inks[y][x]}
		}
	}
	return gs
}
