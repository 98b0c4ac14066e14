package chart

import "strings"

// Look is how a terminal is used.
type Look struct {
	Width  int // columns; what is out of 40 to 100 is brought there
	Colour bool
	ASCII  bool // nothing but ASCII is drawn
}

// LookOf returns what the environment allows on a terminal of that width: colour unless NO_COLOR is set or TERM is dumb or
// not set; ASCII when TERM is dumb or not set, or the locale is not UTF-8.
func LookOf(getenv func(string) string, width int) Look {
	dumb := getenv("TERM") == "dumb" || getenv("TERM") == ""
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ReplaceAll(strings.ToLower(locale), "-", "")
	return Look{Width: width, Colour: getenv("NO_COLOR") == "" && !dumb, ASCII: dumb || !strings.Contains(locale, "utf8")}
}

// signs are what a chart is drawn with.
type signs struct {
	limit, wall, bar, corner, floor, tick rune
	levels                                []rune // from none to most
	cut                                   string
}

func (l Look) signs() signs {
	if l.ASCII {
		return signs{limit: '-', wall: ':', bar: '|', corner: '+', floor: '-', tick: '+', levels: []rune("_.:-=+*#"), cut: "..."}
	}
	return signs{limit: '┄', wall: '┊', bar: '│', corner: '└', floor: '─', tick: '┴', levels: []rune("▁▂▃▄▅▆▇█"), cut: "…"}
}

// stateSign is a verdict in one letter, for a column.
func (s state) sign() (rune, paint) {
	switch s.verdict {
	case "pass":
		return '+', green
	case "fail":
		return 'X', red
	case "suspect":
		return '?', magenta
	case "hold":
		if s.cause == "gathering" || s.cause == "" {
			return '.', faint
		}
		return '-', yellow
	}
	return ' ', plain
}

// words is a verdict with its cause.
func (s state) words() string {
	if s.verdict == "hold" && s.cause != "" {
		return "hold, " + s.cause
	}
	return s.verdict
}
