package prom

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSelector bounds a selector's text, and the value of a host's label.
const maxSelector, maxLabel = 4000, 500

// selector is a PromQL vector selector that was read in full, so that matchers can be added to it.
type selector struct {
	name    string
	matches string // what stands between the braces, without a comma at its end
}

// with is the selector, narrowed to series whose label is one of values, over the last ms milliseconds.
func (s selector) with(label string, values []string, ms int64) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	slices.Sort(quoted)
	return fmt.Sprintf("%s[%dms]", s.narrow(label+"=~"+strconv.Quote(strings.Join(quoted, "|"))), ms)
}

func (s selector) narrow(match string) string {
	if s.matches != "" && match != "" {
		match = s.matches + "," + match
	}
	if match == "" {
		match = s.matches
	}
	return s.name + "{" + match + "}"
}

// placeholder finds what looks like one inside of a string; \p{Greek} and x{2} are regular expressions.
var placeholder = regexp.MustCompile(`(?:^|[^pP])(\{[A-Za-z_]+\})`)

// parseSelector reads name{label="value",...}, where either part may be missing. Errors name the column, counted in bytes from 1.
func parseSelector(text string) (selector, error) {
	if len(text) > maxSelector {
		return selector{}, fmt.Errorf("%d bytes long, at most %d", len(text), maxSelector)
	}
	p := &parser{text: text}
	p.space()
	s := selector{name: p.word(true)}
	p.space()
	named := s.name != ""
	if p.next() == '{' {
		p.pos++
		start := p.pos
		has, err := p.matchers()
		if err != nil {
			return selector{}, err
		}
		s.matches = strings.TrimRight(strings.TrimSpace(p.text[start:p.pos]), ", \t")
		p.pos++
		p.space()
		named = named || has
	}
	switch {
	case p.next() == '(' || p.pos < len(text) && named:
		return selector{}, p.wrong(`want a plain selector of a counter, as name{label="value"}: no function, range or offset; its samples are asked for as they are`)
	case p.pos < len(text):
		return selector{}, p.wrong("want the name of a counter")
	case !named:
		return selector{}, p.wrong("names no counter")
	}
	return s, nil
}

type parser struct {
	text string
	pos  int
}

func (p *parser) wrong(format string, args ...any) error {
	return fmt.Errorf("column %d: %s", p.pos+1, fmt.Sprintf(format, args...))
}

// next is the byte at pos, 0 at the end.
func (p *parser) next() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// word reads the name of a metric, which may hold colons, or of a label.
func (p *parser) word(metric bool) string {
	start := p.pos
	for ; p.pos < len(p.text); p.pos++ {
		if !wordByte(p.text[p.pos], p.pos > start, metric) {
			break
		}
	}
	return p.text[start:p.pos]
}

func wordByte(c byte, inside, metric bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || inside && c >= '0' && c <= '9' || metric && c == ':'
}

func isLabel(s string) bool {
	for i := range len(s) {
		if !wordByte(s[i], i > 0, false) {
			return false
		}
	}
	return s != "" && len(s) <= maxLabel
}

// matchers reads up to the closing brace and says whether the metric's name is among them.
func (p *parser) matchers() (named bool, err error) {
	for {
		p.space()
		if p.next() == '}' {
			return named, nil
		}
		label := p.word(false)
		if label == "" {
			return false, p.wrong("want a label or }")
		}
		named = named || label == "__name__"
		p.space()
		op := p.operator()
		if op == "" {
			return false, p.wrong("want =, !=, =~ or !~ behind the label %s", label)
		}
		p.space()
		if err := p.value(op); err != nil {
			return false, err
		}
		p.space()
		switch p.next() {
		case ',':
			p.pos++
		case '}':
		default:
			return false, p.wrong("want , or }")
		}
	}
}

func (p *parser) operator() string {
	for _, op := range []string{"=~", "!~", "!=", "="} {
		if strings.HasPrefix(p.text[p.pos:], op) {
			p.pos += len(op)
			return op
		}
	}
	return ""
}

// value reads a quoted string and refuses placeholders and broken regular expressions in it.
func (p *parser) value(op string) error {
	start := p.pos
	quote := p.next()
	if quote == 0 || strings.IndexByte("\"'`", quote) < 0 {
		return p.wrong("want a quoted value")
	}
	p.pos++
	var value strings.Builder
	for p.next() != quote {
		if p.pos >= len(p.text) || quote != '`' && p.next() == '\n' {
			return p.wrong("the value that begins at column %d does not end", start+1)
		}
		if quote == '`' {
			value.WriteByte(p.next())
			p.pos++
			continue
		}
		r, wide, rest, err := strconv.UnquoteChar(p.text[p.pos:], quote)
		if err != nil {
			return p.wrong("an escape that is none")
		}
		if wide {
			value.WriteRune(r)
		} else {
			value.WriteByte(byte(r))
		}
		p.pos = len(p.text) - len(rest)
	}
	raw := p.text[start:p.pos]
	if at := placeholder.FindStringSubmatchIndex(raw); at != nil {
		p.pos = start + at[2]
		return p.wrong("unknown placeholder %s: host and release are matched by themselves", raw[at[2]:at[3]])
	}
	if !utf8.ValidString(value.String()) {
		p.pos = start
		return p.wrong("the value is no UTF-8")
	}
	if op == "=~" || op == "!~" {
		if _, err := regexp.Compile("^(?:" + value.String() + ")$"); err != nil {
			p.pos = start
			return p.wrong("no regular expression: %s", clean(err.Error()))
		}
	}
	p.pos++
	return nil
}

// hostTemplate says what the label of a host says.
type hostTemplate string

var hostWord = regexp.MustCompile(`\{[^{}]*\}`)

func parseHost(text string) (hostTemplate, error) {
	words := hostWord.FindAllStringIndex(text, -1)
	for _, at := range words {
		if w := text[at[0]:at[1]]; w != "{host}" && w != "{short}" {
			return "", fmt.Errorf("column %d: unknown placeholder %s: want {host} or {short}", at[0]+1, clean(w))
		}
	}
	if len(words) == 0 || len(text) > maxLabel {
		return "", errors.New("names neither {host} nor {short}, or is too long: all hosts would be one")
	}
	return hostTemplate(text), nil
}

func (h hostTemplate) of(name string) (string, error) {
	short, _, _ := strings.Cut(name, ".")
	label := strings.NewReplacer("{host}", name, "{short}", short).Replace(string(h))
	if name == "" || short == "" || len(label) > maxLabel || !utf8.ValidString(name) {
		return "", fmt.Errorf("%q is no host's name that a label could hold", clean(name))
	}
	return label, nil
}

// clean is text of somebody else, bounded and without control characters.
func clean(s string) string {
	const most = 200
	var b strings.Builder
	for _, r := range s {
		if b.Len() > most {
			b.WriteString("...")
			break
		}
		if unicode.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
		} else {
			b.WriteByte('?')
		}
	}
	return b.String()
}
