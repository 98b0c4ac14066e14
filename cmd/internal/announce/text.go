package announce

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean makes one harmless line of any text: no control character, nothing invisible, no mark of direction, and one space
// where several of them were. What is no UTF-8 becomes U+FFFD.
func clean(text string) string {
	var b strings.Builder
	space := false
	for _, c := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case unicode.IsSpace(c) || unicode.IsControl(c):
			space = b.Len() > 0
		case !unicode.IsPrint(c): // also U+2028, bidirectional marks, zero width
		default:
			if space {
				b.WriteByte(' ')
				space = false
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}

// cut shortens text to at most most bytes, at a letter, and shows by a dot that it did.
func cut(text string, most int) string {
	const dots = "…"
	if len(text) <= most {
		return text
	}
	n := most - len(dots)
	if n < 0 {
		return ""
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.TrimRight(text[:n], " ") + dots
}

// took writes a duration as the log of deploys has it: 05m 12s.
func took(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	return fmt.Sprintf("%02dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
}

// some lists names, not all of many.
func some(names []string) string {
	const most = 8
	var list []string
	for _, n := range names[:min(len(names), most)] {
		list = append(list, clean(n))
	}
	text := strings.Join(list, ", ")
	if n := len(names) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// short is a release as people know it.
func short(id string) string { return clean(id[:min(12, len(id))]) }

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
