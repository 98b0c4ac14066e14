package chart

import "strings"

// palette are the colours of a page. They are written out, not as variables: not all that show SVG know those.
type palette struct{ page, ink, soft, grid, band, curve, fail, failzone, pass, passzone, canary, control, hold, held, suspect string }

// style has the look of everything, for a light page and for a dark one. There are no scripts, links or fonts from
// elsewhere.
func style() string {
	light := palette{
		page: "#ffffff", ink: "#1f2430", soft: "#5d6675", grid: "#e1e5eb", band: "#f5f6f8", curve: "#175cd3", fail: "#b42318", failzone: "#fdecea",
		pass: "#067647", passzone: "#e6f6ee", canary: "#dc6803", control: "#5d6675", hold: "#c8ced8", held: "#e0a106", suspect: "#8e3fc9",
	}
	dark := palette{
		page: "#14171f", ink: "#e6e9f0", soft: "#98a2b3", grid: "#2a303c", band: "#1a1e28", curve: "#84adff", fail: "#f97066", failzone: "#2f1b1e",
		pass: "#47cd89", passzone: "#13281e", canary: "#fdb022", control: "#98a2b3", hold: "#4a5468", held: "#eab308", suspect: "#c38cf0",
	}
	const shapes = `text{font:12px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;white-space:pre}
text.title{font-size:17px;font-weight:700}text.name{font-size:14px;font-weight:700}text.small{font-size:10.5px}text.end{text-anchor:end}text.mid{text-anchor:middle}text.strong{font-weight:700}
.wall{stroke-dasharray:2 3;opacity:.6}.event{stroke-dasharray:4 3;stroke-width:1.5}.curve,.over,.proof,.drop,.control{fill:none;stroke-linejoin:round}
.curve,.drop{stroke-width:2}.over,.proof{stroke-width:2.8}.faillimit,.passlimit{stroke-dasharray:6 4}.control{stroke-width:1.8}
`
	return "\n" + shapes + light.rules() + "\n@media (prefers-color-scheme:dark){" + dark.rules() + "}\n"
}

func (c palette) rules() string {
	return strings.NewReplacer("PAGE", c.page, "INK", c.ink, "SOFT", c.soft, "GRID", c.grid, "BAND", c.band, "CURVE", c.curve, "FAILZONE", c.failzone,
		"FAIL", c.fail, "PASSZONE", c.passzone, "PASS", c.pass, "CANARY", c.canary, "CONTROL", c.control, "HOLD", c.hold, "HELD", c.held, "SUSPECT", c.suspect,
	).Replace(".page{fill:PAGE}text{fill:INK}text.soft{fill:SOFT}.grid{stroke:GRID}.band{fill:BAND}.wall{stroke:SOFT}.event{stroke:HELD}" +
		".curve{stroke:CURVE}.point{fill:CURVE}.pointover{fill:FAIL}.pointproof{fill:PASS}.drop{stroke:SUSPECT}.over,.faillimit{stroke:FAIL}.proof,.passlimit{stroke:PASS}.failzone{fill:FAILZONE}.passzone{fill:PASSZONE}" +
		".canary{fill:CANARY}.control{stroke:CONTROL}.v-pass{fill:PASS}.v-fail{fill:FAIL}.v-suspect{fill:SUSPECT}.v-held{fill:HELD}.v-hold{fill:HOLD}")
}
