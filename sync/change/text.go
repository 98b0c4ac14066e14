package change

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// String names a change for people: 1001 "Subject" (project, branch).
func (c Change) String() string {
	number := fmt.Sprint(c.Number)
	if c.Number == 0 {
		number = "private change"
	}
	text := number
	if subject := plain(c.Subject, 100); subject != "" {
		text += ` "` + subject + `"`
	}
	if c.Project == "" {
		return text
	}
	return fmt.Sprintf("%s (%s, %s)", text, plain(c.Project, 200), plain(c.Branch, 200))
}

// plain makes text from outside fit for one line: what does not print becomes a space. It takes at most most bytes.
func plain(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(clip(text, 4*most), "?"))
	return clip(strings.Join(strings.Fields(text), " "), most)
}

// clip cuts text to most bytes, the mark of the cut included, and never within a character.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	n := most - len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:max(n, 0)] + "…"
}

// list writes "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
