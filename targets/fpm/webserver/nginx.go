package webserver

import (
	"fmt"
	"path/filepath"
	"strconv"
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

// nginx reads a configuration from its main file on.
func (r *reader) nginx(file string) {
	root := r.parseNginx(file, filepath.Dir(file), 0)
	n := &nginx{reader: r, upstreams: map[string]directive{}}
	n.collect(root)
	for _, u := range n.upstreams {
		n.upstream(u)
	}
	n.walk(root, level{})
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
		switch c := t.text[t.at]; {
		case c == '\n':
			t.line++
			t.at++
		case c == ' ' || c == '\t' || c == '\r':
			t.at++
		case c == '#':
			for t.at < len(t.text) && t.text[t.at] != '\n' {
				t.at++
			}
		case c == ';' || c == '{' || c == '}':
			t.at++
			return string(c), t.line, nil
		case c == '"' || c == '\'':
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

// nginx is a configuration being looked at.
type nginx struct {
	*reader
	upstreams map[string]directive
}

func (n *nginx) collect(list []directive) {
	for _, d := range list {
		if d.name() == "upstream" && len(d.words) == 2 {
			n.upstreams[d.words[1]] = d
		}
		n.collect(d.block)
	}
}

// unixPath is the socket's path in an address such as unix:/run/x.sock or unix:/run/x.sock: with a name behind it.
func unixPath(address string) string {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return ""
	}
	path, _, _ = strings.Cut(path, ":")
	return path
}

// upstream looks at one that leads to a pool.
func (n *nginx) upstream(u directive) {
	main, trial := -1, -1
	var pool Pool
	var at directive // the server line of Listen
	for _, d := range u.block {
		if d.name() != "server" || len(d.words) < 2 {
			continue
		}
		p, isTrial, ok := n.pool(unixPath(d.words[1]))
		switch {
		case !ok:
		case isTrial:
			trial = weight(d)
		default:
			pool, main, at = p, weight(d), d
		}
	}
	if main < 0 {
		return
	}
	for _, d := range u.block {
		if d.name() == "keepalive" {
			n.found(Line{File: d.file, Number: d.line, Have: d.text(), Must: true, Why: "a connection kept to a php-fpm that ends loses the next POST on it"})
		}
	}
	if pool.Trial == "" || trial > 0 && n.weighs(main, trial) {
		return
	}
	n.found(n.second(at, pool))
}

// second is the line that an upstream needs for trials beside, or in place of, the one of a pool.
func (n *nginx) second(at directive, p Pool) Line {
	a, b := weights(n.q.Share)
	return Line{
		File: at.file, Number: at.line, Have: at.text(), Why: "a trial's socket is there only while a release is tried; nginx goes on to the other without it",
		Want: fmt.Sprintf("server unix:%s weight=%d max_fails=0;\nserver unix:%s weight=%d max_fails=1 fail_timeout=1s;", p.Listen, a, p.Trial, b),
	}
}

func weight(server directive) int {
	for _, w := range server.words[2:] {
		if text, ok := strings.CutPrefix(w, "weight="); ok {
			if v, err := strconv.Atoi(text); err == nil {
				return v
			}
		}
	}
	return 1
}

// level is what a block has from those around it. Parameters come from the nearest block that sets any.
type level struct {
	params []directive
	root   directive
	keep   directive
}

func (n *nginx) walk(list []directive, in level) {
	var params []directive
	var passes []directive
	for _, d := range list {
		switch {
		case d.name() == "fastcgi_param":
			params = append(params, d)
		case d.name() == "root" && len(d.words) == 2:
			in.root = d
		case d.name() == "fastcgi_keep_conn":
			in.keep = d
		case d.name() == "fastcgi_pass" && len(d.words) == 2:
			passes = append(passes, d)
		}
	}
	if len(params) > 0 {
		in.params = params
	}
	for _, d := range passes {
		n.pass(d, in)
	}
	for _, d := range list {
		if d.open && d.name() != "upstream" {
			n.walk(d.block, in)
		}
	}
}

// pass looks at a place that passes requests to a pool.
func (n *nginx) pass(d directive, in level) {
	pool, ok := n.reaches(d)
	if !ok {
		return
	}
	n.serves("nginx", pool)
	if len(in.keep.words) == 2 && in.keep.words[1] == "on" {
		n.found(Line{File: in.keep.file, Number: in.keep.line, Have: in.keep.text(), Must: true, Why: "a connection kept to a php-fpm that ends loses the next POST on it"})
	}
	usesRoot := false
	for _, p := range in.params {
		text := p.text()
		if strings.Contains(text, "$realpath_root") {
			n.found(Line{
				File: p.file, Number: p.line, Have: text, Want: strings.ReplaceAll(text, "$realpath_root", "$document_root"), Must: true,
				Why: "the host resolves the link to another release than the one that a php-fpm beside it sees: name scripts by the served path",
			})
		}
		usesRoot = usesRoot || strings.Contains(text, "$document_root") || strings.Contains(text, "$request_filename")
	}
	if root := in.root; usesRoot && len(root.words) == 2 && !strings.Contains(root.words[1], "$") && root.words[1] != n.q.Served && !strings.HasPrefix(root.words[1], n.q.Served+"/") {
		n.problem("%s:%d: root %s is not below %s: php-fpm would be given scripts by another way than the served path", root.file, root.line, root.words[1], n.q.Served)
	}
}

// reaches finds the pool that a fastcgi_pass leads to.
func (n *nginx) reaches(d directive) (Pool, bool) {
	if path := unixPath(d.words[1]); path != "" {
		p, trial, ok := n.pool(path)
		if ok && !trial && p.Trial != "" {
			a, b := weights(n.q.Share)
			name := "scap_" + strings.TrimSuffix(filepath.Base(p.Listen), filepath.Ext(p.Listen))
			name = strings.Map(func(c rune) rune {
				if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
					return c
				}
				return '_'
			}, name)
			n.found(Line{
				File: d.file, Number: d.line, Have: d.text(), Want: "fastcgi_pass " + name + ";",
				Why: fmt.Sprintf("trials need an upstream, in http: upstream %s { server unix:%s weight=%d max_fails=0; server unix:%s weight=%d max_fails=1 fail_timeout=1s; }", name, p.Listen, a, p.Trial, b),
			})
		}
		return p, ok
	}
	for _, s := range n.upstreams[d.words[1]].block {
		if s.name() == "server" && len(s.words) > 1 {
			if p, trial, ok := n.pool(unixPath(s.words[1])); ok && !trial {
				return p, true
			}
		}
	}
	return Pool{}, false
}
