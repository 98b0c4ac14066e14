package webserver

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// nginx reads a configuration from its main file on.
func (r *reader) nginx(file string) {
	root := r.parseNginx(file, filepath.Dir(file), 0)
	n := &nginx{reader: r, upstreams: map[string]directive{}, choices: map[string]directive{}}
	n.collect(root)
	for _, u := range n.upstreams {
		n.upstream(u)
	}
	n.walk(root, level{})
}

// nginx is a configuration being looked at.
type nginx struct {
	*reader
	upstreams map[string]directive
	choices   map[string]directive // variables that stand for one of several: by split_clients or map
}

func (n *nginx) collect(list []directive) {
	for _, d := range list {
		if d.name() == "upstream" && len(d.words) == 2 {
			n.upstreams[d.words[1]] = d
		}
		if (d.name() == "split_clients" || d.name() == "map") && len(d.words) == 3 {
			n.choices[d.words[2]] = d
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
	main, trial, sticky := -1, -1, n.split(u.words[1])
	var pool Pool
	var at directive // the server line of Listen
	for _, d := range u.block {
		if d.name() != "server" || len(d.words) < 2 {
			continue
		}
		p, isTrial, ok := n.pool(unixPath(d.words[1]))
		switch {
		case !ok:
		case slices.Contains(d.words, "backup"): // of users who are split by a variable: see chosen
			sticky = true
		case isTrial:
			trial = weight(d)
		default:
			pool, main, at = p, weight(d), d
		}
	}
	if main < 0 && !sticky {
		return
	}
	for _, d := range u.block {
		if d.name() == "keepalive" {
			n.found(Line{File: d.file, Number: d.line, Have: d.text(), Must: true, Why: "a connection kept to a php-fpm that ends loses the next POST on it"})
		}
	}
	if sticky || pool.Trial == "" || trial > 0 && n.weighs(main, trial) {
		return
	}
	n.found(n.second(at, pool))
}

// split reports whether an upstream is one of those between which a variable chooses.
func (n *nginx) split(name string) bool {
	for _, c := range n.choices {
		for _, d := range c.block {
			if len(d.words) == 2 && d.words[1] == name {
				return true
			}
		}
	}
	return false
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
	if c, ok := n.choices[d.words[1]]; ok {
		return n.chosen(c)
	}
	p, _, ok := n.leads(d.words[1])
	return p, ok
}

// leads finds the pool that the name of an upstream, or an address, leads to; first says that its trial is asked first.
func (n *nginx) leads(to string) (p Pool, first, ok bool) {
	if path := unixPath(to); path != "" {
		return n.pool(path)
	}
	for _, s := range n.upstreams[to].block {
		if s.name() != "server" || len(s.words) < 2 {
			continue
		}
		q, trial, is := n.pool(unixPath(s.words[1]))
		if !is {
			continue
		}
		first = first || trial && !slices.Contains(s.words, "backup")
		if !trial {
			p, ok = q, true
		}
	}
	return p, first, ok
}

// chosen looks at users who are split by something of theirs, such as a cookie: one part must reach the trial first, and the
// pool when there is none; the rest the pool.
func (n *nginx) chosen(c directive) (pool Pool, ok bool) {
	tried := -1.0
	for _, d := range c.block {
		if len(d.words) != 2 {
			continue
		}
		p, first, is := n.leads(d.words[1])
		if !is {
			continue
		}
		pool, ok = p, true
		if share, err := strconv.ParseFloat(strings.TrimSuffix(d.words[0], "%"), 64); first && err == nil {
			tried = share / 100
		}
	}
	if !ok || pool.Trial == "" {
		return pool, ok
	}
	if tried > 0 && (n.q.Share <= 0 || math.Abs(tried-n.q.Share) <= n.q.Share/10) {
		return pool, ok
	}
	share := n.q.Share
	if share <= 0 {
		share = 0.05
	}
	n.found(Line{
		File: c.file, Number: c.line, Have: c.text(),
		Why:  fmt.Sprintf("trials need %.3g%% of the users to reach an upstream of server unix:%s max_fails=1 fail_timeout=1s; and server unix:%s backup;", 100*share, pool.Trial, pool.Listen),
		Want: c.text(),
	})
	return pool, ok
}
