package logs

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a fingerprint is made of, in bytes.
const (
	rawMessage = 600 // of the log's message that is looked at
	maxMessage = 200
	maxClass   = 120
	maxFile    = 160
)

// printKind is one fingerprint.
type printKind struct{ text, file string }

// printer turns what logs say of failures into fingerprints that are the same on every host and in every release.
type printer struct{ roots []string }

// of returns "Class in src/Hook.php:12: message", cleaned and bounded, with everything that differs from one request to the
// next replaced; and the file, when it is one of the release.
func (p printer) of(e event) printKind {
	f := e.fault
	class, _, _ := strings.Cut(f.class, "@anonymous") // what follows is a path and an address
	if class = clean(class, maxClass); class == "" {
		class = "error"
	}
	var b strings.Builder
	b.WriteString(class)
	shown, file := p.place(f.file)
	if shown != "" {
		b.WriteString(" in " + shown)
		if no := digits(f.line); no != "" {
			b.WriteString(":" + no[:min(len(no), 9)])
		}
	}
	if message := normalise(f.message); message != "" {
		b.WriteString(": " + message)
	}
	return printKind{b.String(), file}
}

// place returns a file as people know it, and relative to the release's root when it is in the release.
func (p printer) place(name string) (shown, file string) {
	if name == "" || len(name) > 4096 {
		return "", ""
	}
	if _, rel, ok := cutRelease(name); ok {
		file = rel
	} else if !strings.HasPrefix(name, "/") {
		file = name
	}
	for _, root := range p.roots {
		if rel, ok := strings.CutPrefix(name, strings.TrimSuffix(root, "/")+"/"); ok && file == "" {
			file = rel
		}
	}
	if file != "" {
		file = path.Clean(file)
		if !strings.HasPrefix(file, "..") && len(file) <= maxFile && clean(file, maxFile) == file {
			return file, file
		}
		name = file
	}
	if name = clean(name, 4096); len(name) > maxFile {
		name = "…" + strings.ToValidUTF8(name[len(name)-maxFile:], "")
	}
	return name, ""
}

// cutRelease finds "…/releases/<64 hex digits>/" in a path: the release, and what follows.
func cutRelease(name string) (id, rel string, ok bool) {
	const dir, digits = "/releases/", 64
	for rest := name; ; {
		_, after, ok := strings.Cut(rest, dir)
		if !ok {
			return "", "", false
		}
		if len(after) > digits+1 && after[digits] == '/' && isHex(after[:digits]) {
			return after[:digits], after[digits+1:], true
		}
		rest = after
	}
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// clean bounds s and leaves nothing in it that a terminal obeys.
func clean(s string, most int) string {
	if len(s) > 4*most {
		s = s[:4*most]
	}
	if len(s) <= most && isPlain(s) {
		return s
	}
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		if r < utf8.RuneSelf {
			return r <= ' ' || r == 0x7f
		}
		return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
	}), " ")
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
	}
	return s
}

// isPlain reports whether s is printable ASCII without two spaces in a row, so that cleaning it changes nothing.
func isPlain(s string) bool {
	before := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == ' ' && before == ' ' {
			return false
		}
		before = c
	}
	return before != ' ' || s == ""
}

// normalise replaces what differs from one request to the next: quoted strings and paths by *, hexadecimal ids by *, numbers by N.
func normalise(message string) string {
	cut := len(message) > rawMessage
	if cut {
		message = message[:rawMessage]
	}
	message, _, _ = strings.Cut(message, "\nStack trace:")
	s := clean(message, rawMessage)
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < maxMessage; {
		n, with := piece(s, i)
		b.WriteString(with)
		i += n
	}
	return clean(b.String(), maxMessage)
}

// piece returns the length of what stands at s[i:] and what it is replaced with.
func piece(s string, i int) (n int, with string) {
	c := s[i]
	switch fresh := i == 0 || !isWord(s[i-1]); {
	case (c == '"' || c == '`' || c == '\'') && fresh:
		if n := quote(s[i:]); n > 0 {
			return n, "*"
		}
	case c == '/' && fresh:
		if n := run(s[i:], isPath); strings.Count(s[i:i+n], "/") > 1 {
			return n, "*"
		}
	case isWord(c) && fresh:
		n := run(s[i:], isWord)
		word := s[i : i+n]
		if strings.HasPrefix(s[i+n:], "://") {
			return run(s[i:], func(c byte) bool { return c != ' ' && c != ',' && c != ')' }), "*"
		}
		const id = 8
		if n >= id && isHex(strings.ToLower(word)) && strings.ContainsAny(word, "0123456789") && run(word, isDigit) < n {
			return n, "*"
		}
		return n, numbers(word)
	}
	_, n = utf8.DecodeRuneInString(s[i:])
	return n, s[i : i+n]
}

// quote returns the length of a quoted string that s begins with; an apostrophe is none.
func quote(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] == s[0] && (i+1 == len(s) || !isWord(s[i+1])) {
			return i + 1
		}
	}
	return 0
}

// numbers replaces a word that begins with a digit, and runs of three digits and more in any other.
func numbers(word string) string {
	const long = 3
	var b strings.Builder
	for i := 0; i < len(word); {
		n := run(word[i:], isDigit)
		switch {
		case n == 0:
			b.WriteByte(word[i])
			n = 1
		case i == 0 || n >= long:
			b.WriteByte('N')
		default:
			b.WriteString(word[i : i+n])
		}
		i += n
	}
	return b.String()
}

// run returns how many bytes s begins with that are of a kind.
func run(s string, of func(byte) bool) int {
	for i := range len(s) {
		if !of(s[i]) {
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

func isPath(c byte) bool {
	return isWord(c) || strings.IndexByte("/.-+@%=~:", c) >= 0
}

// rankOf orders what several logs say of one request: an exception says more than a gateway's complaint, that more than a status.
func rankOf(e event) int8 {
	switch {
	case e.web:
		return 2
	case e.fault.class == "nginx" || strings.HasPrefix(e.fault.class, "php-fpm child"):
		return 1
	}
	return 0
}

// said is how a problem names a span of time.
func said(seconds int64) string {
	if seconds < 0 {
		seconds = -seconds
	}
	h, m, s := seconds/3600, seconds/60%60, seconds%60
	switch {
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0 && m < 10:
		return fmt.Sprintf("%d min %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	}
	return fmt.Sprintf("%d s", s)
}
