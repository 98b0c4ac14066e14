package change

import (
	"fmt"
	"strings"
)

// maxMessage bounds a deploy's message.
const maxMessage = 4 << 10

// Message is what a deploy of these changes is announced as: Backport for [[gerrit:1001|Subject (T123)]], ... A private
// change is told as just that.
func Message(cs []Change) string {
	if len(cs) == 0 {
		return "Backport"
	}
	text := "Backport for "
	for i, c := range cs {
		entry := announced(c)
		if i > 0 {
			entry = ", " + entry
		}
		rest := fmt.Sprintf(" and %d more", len(cs)-i)
		if len(text)+len(entry)+len(rest) > maxMessage {
			return text + rest
		}
		text += entry
	}
	return text
}

func announced(c Change) string {
	if c.Number == 0 {
		return "a private change"
	}
	if c.Private {
		return fmt.Sprintf("[[gerrit:%d|a private change]]", c.Number)
	}
	title := plain(c.Subject, 300)
	if bugs := Bugs(c); len(bugs) > 0 {
		title = strings.TrimSpace(title + " (" + strings.Join(bugs, " ") + ")")
	}
	if title == "" {
		return fmt.Sprintf("[[gerrit:%d]]", c.Number)
	}
	return fmt.Sprintf("[[gerrit:%d|%s]]", c.Number, unbracket(title))
}

// unbracket keeps a title from ending the link that it is in, or beginning one.
func unbracket(title string) string {
	var b strings.Builder
	last := rune(0)
	for _, r := range title {
		if r == last && (r == '[' || r == ']') {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		last = r
	}
	if last == ']' {
		b.WriteByte(' ')
	}
	return b.String()
}
