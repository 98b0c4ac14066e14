package chart

import (
	"fmt"
	"html"
	"strings"

	"scap/cmd/internal/ui"
)

// class is a verdict's colour.
func (s state) class() string {
	switch s.verdict {
	case "pass", "fail", "suspect":
		return "v-" + s.verdict
	case "hold":
		if s.rank() > 2 {
			return "v-held"
		}
	}
	return "v-hold"
}

// ribbon draws the verdicts over time: each stands until the next look, at most for a minute.
func (p *picture) ribbon(g *panel) {
	const cols, lasts = svgCols, svgCols / 12
	p.text(svgLeft-8, p.y+12, "small soft end", "verdict")
	width := (svgRight - svgLeft) / cols
	draw := func(s state, from, to int) {
		p.add(`<rect class="%s" x="%s" y="%s" width="%s" height="14"><title>%s</title></rect>`, s.class(), num(svgLeft+float64(from)*width), num(p.y+2),
			num(max(float64(to-from)*width, 4)), html.EscapeString(ui.Clean(s.words())))
	}
	from, last := -1, -1
	var now state
	for i, c := range g.columns(p.axis, cols) {
		if !c.filled {
			continue
		}
		if from >= 0 && (c.state != now || i-last > lasts) {
			draw(now, from, min(i, last+lasts))
			from = -1
		}
		if from < 0 {
			from, now = i, c.state
		}
		last = i
	}
	if from >= 0 {
		draw(now, from, last+1)
	}
	p.y += 20
}

// times write the axis with the hosts that run the new release.
func (p *picture) times(g *panel) {
	p.add(`<path class="grid" d="M%s %sH%s"/>`, num(svgLeft), num(p.y), num(svgRight))
	free := 0.0
	for _, t := range p.axis.ticks(10) {
		x := p.x(p.axis.share(t.at))
		if x < free || x > svgRight-10 {
			continue
		}
		p.add(`<path class="grid" d="M%s %sv5"/>`, num(x), num(p.y))
		p.text(x, p.y+16, "small soft mid", t.text)
		free = x + 66
	}
	p.y += 24
	if !g.sawStatistic && len(p.s.panels) > 1 { // said below other panels
		return
	}
	any := false
	free = 0
	for _, m := range p.s.marks {
		if m.kind != batchMark {
			continue
		}
		any = true
		if x := p.x(p.axis.share(m.at)); x >= free {
			p.text(x, p.y+8, "small mid", fmt.Sprint(m.n))
			free = x + 24
		}
	}
	if any {
		p.text(svgLeft-8, p.y+8, "small soft end", "hosts")
		p.y += svgLine
	}
	p.events()
}

// events name what else happened, each at its time, on as many lines as they need.
func (p *picture) events() {
	const rows = 4
	var free [rows]float64
	used := 0
	for _, m := range p.s.marks {
		if m.kind != eventMark {
			continue
		}
		text := ui.Fit(ui.Clean(m.text), 60)
		x, width := p.x(p.axis.share(m.at)), 6.4*float64(ui.Cells(text))
		anchor, from := "", x
		if x+width > svgRight { // to the left of its time
			anchor, from = " end", x-width
		}
		for i := range rows {
			if from < free[i] {
				continue
			}
			p.text(x, p.y+8+float64(i)*14, "small strong"+anchor, text)
			free[i], used = from+width+12, max(used, i+1)
			break
		}
	}
	p.y += float64(used)*14 + 4
}

// behind draws, before what was written since mark, what lies behind it: bands of the phases with their names, and lines.
func (p *picture) behind(mark int, top, bottom float64) {
	front := p.b.String()
	p.b.Reset()
	p.b.WriteString(front[:mark])
	n := 0
	for i, m := range p.s.marks {
		if m.kind != phaseMark {
			continue
		}
		end := svgRight
		for _, next := range p.s.marks[i+1:] {
			if next.kind == phaseMark {
				end = p.x(p.axis.share(next.at))
				break
			}
		}
		x := p.x(p.axis.share(m.at))
		if n++; n%2 == 1 {
			p.add(`<rect class="band" x="%s" y="%s" width="%s" height="%s"/>`, num(x), num(top), num(max(end-x, 0)), num(bottom-top))
		}
		p.add(`<path class="wall" d="M%s %sV%s"/>`, num(x), num(top), num(bottom))
		if name := ui.Fit(ui.Clean(m.text), int((end-x-8)/6.4)); end-x > 20 {
			p.text(x+4, top+12, "small strong", name)
		}
	}
	for _, m := range p.s.marks {
		if m.kind == eventMark {
			p.add(`<path class="event" d="M%s %sV%s"/>`, num(p.x(p.axis.share(m.at))), num(top), num(bottom))
		}
	}
	p.b.WriteString(front[mark:])
}

// table lists the looks that changed the verdict.
func (p *picture) table(g *panel) {
	p.y += svgLine
	p.paragraph("strong", "what changed the verdict", svgText)
	shown, left := g.changesShown()
	for i, c := range shown {
		if left > 0 && i == len(shown)/2 {
			p.paragraph("soft", fmt.Sprintf("… %d more", left), svgText)
		}
		p.add(`<rect class="%s" x="%s" y="%s" width="10" height="10" rx="2"/>`, c.state.class(), num(svgMargin), num(p.y-9))
		head := strings.TrimSpace(ui.Clean(c.phase) + " " + ui.Clean(c.state.words()))
		p.text(svgMargin+18, p.y, "soft", c.at.UTC().Format("15:04:05"))
		p.text(svgTable, p.y, "strong", ui.Fit(head, svgText-14))
		p.y += svgLine
		for _, text := range reasonLines(c.reason) {
			for _, l := range ui.Wrap(text, svgText-14) {
				p.text(svgTable, p.y, "", l)
				p.y += svgLine
			}
		}
		p.y += 4
	}
}
