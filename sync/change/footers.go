package change

import (
	"slices"
	"strings"
)

// Footers returns what stands behind "Name:" at the beginning of a line of a commit's message, by name in small letters,
// in order. As for Zuul and its like, all lines count, not only those of the last paragraph: a cherry-pick or a revert
// puts paragraphs of its own behind that.
func Footers(message string) map[string][]string {
	found := map[string][]string{}
	for line := range strings.Lines(message) {
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || value == "" || !isFooter(name) {
			continue
		}
		name = strings.ToLower(name)
		found[name] = append(found[name], value)
	}
	return found
}

func isFooter(name string) bool {
	if name == "" || len(name) > 60 {
		return false
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// dependsOn returns the values of the Depends-On footers of a change's message, each once, and no more than one beyond
// what is allowed.
func dependsOn(c *Change) []string {
	var texts []string
	for _, text := range Footers(c.Message)["depends-on"] {
		if len(texts) > maxDependsOn {
			break
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// reference is what a Depends-On names: all changes with a Change-Id, or one change. The zero reference is neither, such as
// a pull request somewhere else.
type reference struct {
	id     string
	number int
}

func parseReference(text, gerritURL string) reference {
	if isChangeID(text) {
		return reference{id: "I" + strings.ToLower(text[1:])}
	}
	n, err := parseNumber(text, gerritURL)
	if err != nil {
		return reference{}
	}
	return reference{number: n}
}

// site is the address of the Gerrit that a change is on, as far as its own address tells.
func site(c *Change) string {
	base, _, _ := strings.Cut(c.URL, "/c/")
	return base
}

// maxBugs is how many tasks of one change are of interest to anybody.
const maxBugs = 50

// Bugs returns the tasks that a change's Bug footers name, T and a number, each once, in order.
func Bugs(c Change) []string {
	var bugs []string
	for _, text := range Footers(c.Message)["bug"] {
		for _, bug := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
			if len(bugs) < maxBugs && isTask(bug) && !slices.Contains(bugs, bug) {
				bugs = append(bugs, bug)
			}
		}
	}
	return bugs
}

func isTask(text string) bool {
	digits, ok := strings.CutPrefix(text, "T")
	return ok && digits != "" && len(digits) <= 9 && digits[0] != '0' && strings.Trim(digits, "0123456789") == ""
}
