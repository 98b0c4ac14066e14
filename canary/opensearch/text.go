package opensearch

import (
	"regexp"
	"strings"
	"unicode"
)

// maxText bounds every text that comes from outside, in bytes.
const maxText = 400

// clean makes a text of others one line of bounded length without control characters.
func clean(s string) string {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if cut {
		s += "…"
	}
	return s
}

// cleaned is an error whose text comes from outside.
type cleaned struct{ error }

func (c cleaned) Error() string { return clean(c.error.Error()) }

func (c cleaned) Unwrap() error { return c.error }

// Numbers and ids differ from request to request; what kind of failure it is does not depend on them.
var varying = regexp.MustCompile(`\b(0x)?[0-9a-fA-F]*[0-9][0-9a-fA-F-]{7,}\b|[0-9]+`)

func normalise(message string) string {
	return strings.TrimSpace(varying.ReplaceAllString(clean(message), "#"))
}

var releaseID = regexp.MustCompile(`^[0-9a-f]{16,64}/`)

// relative cuts the directory that holds the release off a file's path, with the release's id.
func relative(file string, roots []string) string {
	file = clean(file)
	for _, root := range roots {
		if rest, below := strings.CutPrefix(file, strings.TrimSuffix(root, "/")+"/"); below && root != "" {
			return releaseID.ReplaceAllString(rest, "")
		}
	}
	return file
}

var lineNumber = regexp.MustCompile(`(:|\()[0-9]+\)?$`)

// fingerprint names a kind of failure as other sources do: "Class in file:12: message", with what is known of it.
func fingerprint(class, file, message string) (text, bare string) {
	bare = lineNumber.ReplaceAllString(file, "")
	text = clean(class)
	if text == "" {
		text = "failure"
	}
	if file != "" {
		text += " in " + file
	}
	if m := normalise(message); m != "" {
		text += ": " + m
	}
	return clean(text), bare
}
