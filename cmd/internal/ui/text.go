package ui

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Clean makes one harmless line of any text: nothing that came from a host, a log or a deployer may move the cursor,
// change colours, end the line or write from right to left. Line ends become "; ", what cannot be shown becomes its code.
func Clean(text string) string {
	text = strings.TrimRight(text, "\r\n\t ")
	var b strings.Builder
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case c == '\n' || c == '\u2028' || c == '\u2029':
			b.WriteString("; ")
		case c == '\r' && strings.HasPrefix(text[i+1:], "\n"):
		case c == '\t':
			b.WriteByte(' ')
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c > 0x7e && !unicode.IsPrint(c): // C1 controls, marks of direction, other invisible letters
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
		i += size
	}
	return b.String()
}

// Cells counts the columns that clean text takes on a terminal.
func Cells(text string) int {
	n := 0
	for _, c := range text {
		n += runeCells(c)
	}
	return n
}

func runeCells(c rune) int {
	switch {
	case c < 0x300:
		return 1
	case unicode.In(c, unicode.Mn, unicode.Me):
		return 0
	case c >= 0x1100 && c <= 0x115f, c >= 0x2e80 && c <= 0xa4cf, c >= 0xac00 && c <= 0xd7a3, c >= 0xf900 && c <= 0xfaff,
		c >= 0xfe30 && c <= 0xfe6f, c >= 0xff00 && c <= 0xff60, c >= 0xffe0 && c <= 0xffe6, c >= 0x1f300 && c <= 0x1faff, c >= 0x20000:
		return 2
	}
	return 1
}

// Fit cuts clean text to at most most columns; what was cut is shown by a dot.
func Fit(text string, most int) string {
	if Cells(text) <= most {
		return text
	}
	n := 0
	for i, c := range text {
		if n+runeCells(c) > most-1 {
			return text[:i] + strings.Repeat("…", min(1, max(most, 0)))
		}
		n += runeCells(c)
	}
	return text
}

// Wrap breaks clean text into lines of at most most columns, after spaces where there are some.
func Wrap(text string, most int) []string {
	var lines []string
	most = max(most, 2) // the widest letter
	for Cells(text) > most {
		n, cut, space := 0, 0, 0
		for i, c := range text {
			if n += runeCells(c); n > most {
				break
			}
			cut = i + utf8.RuneLen(c)
			if c == ' ' {
				space = cut
			}
		}
		if space > cut/2 {
			cut = space
		}
		lines = append(lines, strings.TrimRight(text[:cut], " "))
		text = text[cut:]
	}
	return append(lines, text)
}

// quote puts a deployer's words in quotes.
func quote(text string) string { return `"` + Clean(text) + `"` }

// Pad fills clean text up to most columns.
func Pad(text string, most int) string { return text + strings.Repeat(" ", max(0, most-Cells(text))) }

// Short is a release as people know it.
func Short(id string) string {
	if id == "" {
		return "none"
	}
	return Clean(id[:min(12, len(id))])
}

// Took writes how long something took: 4.2s, 1m12s, 1h04m.
func Took(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Truncate(time.Second).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// hosts counts: 1 host, 12 hosts.
func hosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprintf("%d hosts", n)
}
