package webserver

import (
	"fmt"
	"strings"
)

// directive is one of nginx's: words up to a semicolon, or up to the brace that opens its block.
type directive struct {
	file  string
	line  int
	words []string
	block []directive
	open  bool // it has a block
}

func (d directive) name() string { return d.words[0] }

func (d directive) text() string {
	if d.open {
		return strings.Join(d.words, " ") + " {"
	}
	return strings.Join(d.words, " ") + ";"
}

// parseNginx reads one file and what it includes.
func (r *reader) parseNginx(file, dir string, depth int) []directive {
	if depth > maxDepth {
		r.problem("%s: includes nested deeper than %d", file, maxDepth)
		return nil
	}
	text, ok := r.text(file)
	if !ok {
		return nil
	}
	t := &tokens{text: text, line: 1}
	list, err := t.block(file, false)
	if err != nil {
		r.problem("%s:%d: %v", file, t.line, err)
	}
	return r.expand(list, dir, depth)
}

// expand puts what is included in the place of each include.
func (r *reader) expand(list []directive, dir string, depth int) (all []directive) {
	for _, d := range list {
		if d.name() == "include" && len(d.words) == 2 && !d.open {
			for _, path := range r.included(d.words[1], dir) {
				all = append(all, r.parseNginx(path, dir, depth+1)...)
			}
			continue
		}
		d.block = r.expand(d.block, dir, depth)
		all = append(all, d)
	}
	return all
}

// tokens cuts nginx's language into words.
type tokens struct {
	text string
	at   int
	line int
}

// next returns a word, or one of ; { }. An empty one is the end.
func (t *tokens) next() (word string, line int, err error) {
	for t.at < len(t.text) {
		switch c := t.text[t.at]; c {
		case '\n':
			t.line++
			t.at++
		case ' ', '\t', '\r':
			t.at++
		case '#':
			for t.at < len(t.text) && t.text[t.at] != '\n' {
				t.at++
			}
		case ';', '{', '}':
			t.at++
			return string(c), t.line, nil
		case '"', '\'':
			return t.quoted(c)
		default:
			return t.plain(), t.line, nil
		}
	}
	return "", t.line, nil
}

func (t *tokens) quoted(quote byte) (string, int, error) {
	line := t.line
	var b strings.Builder
	for t.at++; t.at < len(t.text); t.at++ {
		switch c := t.text[t.at]; {
		case c == quote:
			t.at++
			if b.Len() == 0 {
				return `""`, line, nil
			}
			return b.String(), line, nil
		case c == '\\' && t.at+1 < len(t.text):
			t.at++
			b.WriteByte(t.text[t.at])
		default:
			if c == '\n' {
				t.line++
			}
			b.WriteByte(c)
		}
	}
	return "", line, fmt.Errorf("a quote that line %d opens has no end", line)
}

func (t *tokens) plain() string {
	from := t.at
	for t.at < len(t.text) && !strings.ContainsRune(" \t\r\n;", rune(t.text[t.at])) {
		switch c := t.text[t.at]; {
		case c == '\\' && t.at+1 < len(t.text):
			t.at++
		case c == '{' && t.at > from && t.text[t.at-1] != '$', c == '}' && !strings.Contains(t.text[from:t.at], "${"):
			return t.text[from:t.at]
		}
		t.at++
	}
	return t.text[from:t.at]
}

// block reads directives up to the end, or the brace that ends the block.
func (t *tokens) block(file string, inner bool) (list []directive, err error) {
	var d directive
	for {
		word, line, err := t.next()
		switch {
		case err != nil:
			return list, err
		case word == "":
			if inner || len(d.words) > 0 {
				return list, fmt.Errorf("the file ends in the middle of a block or directive")
			}
			return list, nil
		case word == "}":
			if !inner || len(d.words) > 0 {
				return list, fmt.Errorf("a } that closes nothing")
			}
			return list, nil
		case (word == ";" || word == "{") && len(d.words) == 0:
			return list, fmt.Errorf("%s without a directive", word)
		case word == "{":
			d.open = true
			if d.block, err = t.block(file, true); err != nil {
				return list, err
			}
			list, d = append(list, d), directive{}
		case word == ";":
			list, d = append(list, d), directive{}
		default:
			if len(d.words) == 0 {
				d.file, d.line = file, line
			}
			d.words = append(d.words, word)
		}
	}
}
