package chart

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"scap/cmd/internal/ui"
)

// Sizes of the SVG, in its own units.
const (
	svgWidth  = 1000.0
	svgLeft   = 84.0 // where charts begin
	svgRight  = 980.0
	svgMargin = 20.0
	svgTable  = 108.0 // where the table's words begin
	svgLine   = 16.0  // a line of text
	svgText   = 118   // letters in a line of the table
	svgCols   = 448   // columns of a curve
	svgBars   = 128   // columns of the rates
)

// picture is an SVG being drawn, from top to bottom.
type picture struct {
	b    strings.Builder
	s    *Story
	axis *axis
	y    float64
}

// SVG writes the story as one SVG without scripts or anything from elsewhere. Texts from the journal are clean and
// escaped: they are texts, whatever they hold.
func (s *Story) SVG(w io.Writer) error {
	p := &picture{s: s, axis: newAxis(s.moments), y: svgMargin + 12}
	if why := s.nothing(); why != "" {
		p.paragraph("title", why, 90)
	} else {
		p.paragraph("title", s.title(), 90)
		p.paragraph("soft", s.subtitle(), svgText)
		p.legend()
		for _, x := range s.panels {
			p.panel(x)
		}
		for _, n := range append(s.notes(), s.gaps(p.axis)...) {
			p.paragraph("soft", n, svgText)
		}
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s">`+
		"\n<style>%s</style>\n"+`<rect class="page" width="100%%" height="100%%"/>`+"\n%s</svg>\n",
		svgWidth, math.Ceil(p.y+svgMargin), svgWidth, math.Ceil(p.y+svgMargin), html.EscapeString(ui.Fit(s.title(), 200)), style(), p.b.String())
	return err
}

func (p *picture) add(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// text writes clean text at a place.
func (p *picture) text(x, y float64, class, text string) {
	p.add(`<text x="%s" y="%s" class="%s">%s</text>`, num(x), num(y), class, html.EscapeString(text))
}

// paragraph writes lines of at most most letters and goes on below them.
func (p *picture) paragraph(class, text string, most int) {
	step := svgLine
	if class == "title" {
		step = 22
	}
	for _, l := range ui.Wrap(text, most) {
		p.text(svgMargin, p.y, class, l)
		p.y += step
	}
}

// num writes a coordinate.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func (p *picture) x(share float64) float64 { return svgLeft + share*(svgRight-svgLeft) }

func (p *picture) legend() {
	p.y += 6
	x := svgMargin
	for _, l := range []struct{ class, text string }{
		{"v-hold", "gathers"},
		{"v-held", "holds"},
		{"v-pass", "passes"},
		{"v-suspect", "suspects a host"},
		{"v-fail", "fails"},
		{"canary", "new release"},
		{"", "old release"},
	} {
		if l.class == "" {
			p.add(`<path class="control" d="M%s %sh14"/>`, num(x), num(p.y-4))
		} else {
			p.add(`<rect class="%s" x="%s" y="%s" width="12" height="10" rx="2"/>`, l.class, num(x), num(p.y-9))
		}
		p.text(x+18, p.y, "small soft", l.text)
		x += 18 + 7*float64(len(l.text)) + 18
	}
	p.y += svgLine
}

// area is where one chart of a panel is drawn.
type area struct{ top, height float64 }

func (a area) at(share float64) float64 { return a.top + a.height*(1-clamp(share, 0, 1)) }

func (p *picture) panel(g *panel) {
	p.y += 18
	p.paragraph("name", g.heading(), 100)
	if g.sawStatistic {
		for _, l := range g.summary() {
			p.paragraph("soft", l, svgText)
		}
	}
	p.y += 4
	top := p.y
	mark := p.b.Len()
	p.y += 18 // names of the phases
	if g.sawStatistic {
		cols := g.columns(p.axis, svgCols)
		low, high := g.harms()
		p.curve(g, cols, chartOf{
			title: "evidence of harm (logarithmic): fails at " + number(orNumber(g.failAt, 200)), height: 150, low: low, high: high, limit: g.failLine(),
			class: "over", zone: "failzone", line: "faillimit", word: "FAIL " + number(orNumber(g.failAt, 200)), label: power,
			of: func(c column) (float64, float64, float64) { return c.harmLow, c.harmHigh, c.harmLast },
		})
		low, high = g.safes()
		p.curve(g, cols, chartOf{
			title: "evidence of no harm (logarithmic): passes at " + number(orNumber(g.passAt, 40)), height: 100, low: low, high: high,
			limit: g.passLine(), class: "proof", zone: "passzone", line: "passlimit", word: "PASS " + number(orNumber(g.passAt, 40)),
			label: power,
			of:    func(c column) (float64, float64, float64) { return c.safeLow, c.safeHigh, c.safeLast },
		})
		p.rates(g)
	}
	p.ribbon(g)
	bottom := p.y
	p.times(g)
	p.behind(mark, top, bottom)
	p.table(g)
}

// chartOf is one curve with its threshold.
type chartOf struct {
	title, class, zone, line, word string
	height, low, high, limit       float64
	label                          func(float64) string
	of                             func(column) (low, high, last float64)
}

func (p *picture) curve(g *panel, cols []column, c chartOf) {
	p.text(svgLeft+4, p.y+10, "small soft", c.title)
	a := area{p.y + 16, c.height}
	share := func(v float64) float64 { return (v - c.low) / (c.high - c.low) }
	limit := a.at(share(c.limit))
	p.add(`<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, c.zone, num(svgLeft), num(a.top), num(svgRight-svgLeft), num(limit-a.top))
	step := math.Ceil((c.high - c.low) / 5)
	for v := math.Ceil(c.low/step) * step; v <= c.high; v += step {
		y := a.at(share(v))
		p.add(`<path class="grid" d="M%s %sH%s"/>`, num(svgLeft), num(y), num(svgRight))
		if math.Abs(y-limit) > 12 {
			p.text(svgLeft-8, y+4, "small soft end", c.label(v))
		}
	}
	p.add(`<path class="%s" d="M%s %sH%s"/>`, c.line, num(svgLeft), num(limit), num(svgRight))
	p.text(svgLeft-8, limit+4, "small strong end", c.word)
	under, over := pathOf(cols, a, share, c, false), pathOf(cols, a, share, c, true)
	if c.class == "over" && g.sawSignal {
		drop := c
		drop.of = func(c column) (float64, float64, float64) { return c.dropLow, c.dropHigh, c.dropLast }
		p.add(`<path class="drop" d="%s"/>`, pathOf(cols, a, share, drop, false))
		p.text(svgRight, p.y+10, "small soft end", "violet: a signal's drop")
	}
	if under != "" {
		p.add(`<path class="curve" d="%s"/>`, under)
	}
	if over != "" {
		p.add(`<path class="%s" d="%s"/>`, c.class, over)
	}
	for i, col := range slices.Backward(cols) { // where it stands
		if !col.seen {
			continue
		}
		_, _, last := c.of(col)
		class := "point"
		if last >= c.limit {
			class += c.class
		}
		p.add(`<circle class="%s" cx="%s" cy="%s" r="4"/>`, class, num(svgLeft+(float64(i)+.5)*(svgRight-svgLeft)/float64(len(cols))), num(a.at(share(last))))
		break
	}
	p.y = a.top + a.height + 10
}

// pathOf is the curve as steps: evidence stands until the next look. beyond is only what lies beyond the threshold.
func pathOf(cols []column, a area, share func(float64) float64, c chartOf, beyond bool) string {
	var b strings.Builder
	width := (svgRight - svgLeft) / float64(len(cols))
	down := false
	for i, col := range cols {
		if !col.seen {
			continue
		}
		low, high, last := c.of(col)
		x := num(svgLeft + (float64(i)+.5)*width)
		if beyond && last < c.limit {
			if down {
				fmt.Fprintf(&b, "H%s", x)
			}
			down = false
			continue
		}
		if !down {
			fmt.Fprintf(&b, "M%s %s", x, num(a.at(share(last))))
			down = true
			continue
		}
		fmt.Fprintf(&b, "H%sV%s", x, num(a.at(share(low))))
		if high > low {
			fmt.Fprintf(&b, "V%s", num(a.at(share(high))))
		}
		fmt.Fprintf(&b, "V%s", num(a.at(share(last))))
	}
	if down {
		b.WriteString("h2")
	}
	return b.String()
}

// rates draw the share of failing requests: the new release as bars, the old one as a line.
func (p *picture) rates(g *panel) {
	cols := g.columns(p.axis, svgBars)
	most := 0.0
	for _, c := range cols {
		for _, a := range []arm{c.canary, c.control} {
			if r, ok := a.rate(); ok {
				most = max(most, r)
			}
		}
	}
	p.text(svgLeft+4, p.y+10, "small soft", "share of requests that fail")
	a := area{p.y + 16, 70}
	p.add(`<path class="grid" d="M%s %sH%sM%s %sH%s"/>`, num(svgLeft), num(a.top), num(svgRight), num(svgLeft), num(a.top+a.height), num(svgRight))
	p.text(svgLeft-8, a.top+4, "small soft end", percent(most))
	p.text(svgLeft-8, a.top+a.height+4, "small soft end", "0 %")
	width := (svgRight - svgLeft) / svgBars
	var line strings.Builder
	pen := "M"
	for i, c := range cols {
		x := svgLeft + float64(i)*width
		if r, ok := c.canary.rate(); ok && r > 0 {
			h := max(a.height*r/most, 2)
			p.add(`<rect class="canary" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`, num(x+.5), num(a.top+a.height-h), num(width-1), num(h),
				html.EscapeString("new release: "+c.canary.words()))
		}
		if r, ok := c.control.rate(); ok && most > 0 {
			fmt.Fprintf(&line, "%s%s %s", pen, num(x+width/2), num(a.at(r/most)))
			pen = "L"
		}
	}
	if line.Len() > 0 {
		p.add(`<path class="control" d="%s"/>`, line.String())
	}
	p.y = a.top + a.height + 10
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 2, 64) + " %" }
