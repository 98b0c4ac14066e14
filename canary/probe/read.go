package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile    = 1 << 20
	maxProbes  = 200
	maxTimeout = 5 * time.Minute
	defTimeout = 10 * time.Second
	defAgent   = "scap/probe"
)

// Read reads a file of probes and the credentials file that it names. Its error has every mistake with file, line and
// column.
func Read(path string) (*Set, error) {
	doc, err := open(path, false)
	if err != nil {
		return nil, err
	}
	return read(path, doc, func(name string) (map[string]string, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readCredentials(name)
	})
}

// open reads the one document of a small file; a secret one must be closed to everybody but its owner and group.
func open(path string, secret bool) (*yaml.Node, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the probes: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the probes: %w", err)
	}
	if secret && st.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s: everybody can read it (mode %v): chmod o-rwx", path, st.Mode().Perm())
	}
	lr := &io.LimitedReader{R: f, N: maxFile + 1}
	doc, err := document(path, lr)
	if lr.N == 0 {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxFile)
	}
	return doc, err
}

func readCredentials(path string) (map[string]string, error) {
	doc, err := open(path, true)
	if err != nil {
		return nil, err
	}
	r := &reader{file: path}
	m := r.textMap(doc, "credentials")
	for name, value := range m {
		if !isName(name) || value == "" {
			r.errorf(doc, "credentials: %q is no name with a value", name)
		}
	}
	return m, r.err()
}

// defaults are the keys that stand for all probes.
type defaults struct {
	host, agent string
	timeout     time.Duration
}

// setReader reads one file of probes.
type setReader struct {
	reader
	def   defaults
	creds map[string]string
	vars  map[string]bool // what earlier steps and probes capture
	names map[string]bool
}

func read(file string, doc *yaml.Node, credentials func(string) (map[string]string, error)) (*Set, error) {
	r := &setReader{
		reader: reader{file: file}, def: defaults{agent: defAgent, timeout: defTimeout}, vars: map[string]bool{}, names: map[string]bool{},
	}
	var login, probes *yaml.Node
	r.mapping(doc, "the file", map[string]func(*yaml.Node){
		"host":    func(n *yaml.Node) { r.def.host = r.hostName(n) },
		"timeout": func(n *yaml.Node) { r.def.timeout = r.duration(n, "timeout", time.Millisecond, maxTimeout) },
		"user_agent": func(n *yaml.Node) {
			r.def.agent = r.text(n, "user_agent")
			if !strings.HasPrefix(r.def.agent, "scap/") || !isHeaderValue(r.def.agent) {
				r.errorf(n, "user_agent: want one that begins with scap/, so that no log counts a probe as a user's request")
			}
		},
		"credentials": func(n *yaml.Node) {
			var err error
			if r.creds, err = credentials(r.text(n, "credentials")); err != nil {
				r.errorf(n, "credentials: %v", err)
			}
		},
		"login":  func(n *yaml.Node) { login = n },
		"probes": func(n *yaml.Node) { probes = n },
	})
	s := &Set{credentials: r.creds}
	if login != nil {
		r.list(login, "login", func(n *yaml.Node) { s.Login = append(s.Login, r.probe(n, "a step of login", true)) })
	}
	if probes != nil {
		r.list(probes, "probes", func(n *yaml.Node) {
			p := r.probe(n, "a probe", false)
			if p.Session && login == nil {
				r.errorf(n, "probe %q wants a session, and there is no login", p.Name)
			}
			s.Probes = append(s.Probes, p)
		})
	}
	if len(s.Probes) == 0 && probes == nil {
		r.errorf(doc, "probes: there are none, so nothing would be checked")
	}
	if n := len(s.Probes) + len(s.Login); n > maxProbes {
		r.errorf(doc, "probes: %d are more than %d", n, maxProbes)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *setReader) probe(n *yaml.Node, what string, step bool) Probe {
	p := Probe{Host: r.def.host, UserAgent: r.def.agent, Timeout: r.def.timeout, Session: step}
	fields := map[string]func(*yaml.Node){
		"name":    func(n *yaml.Node) { p.Name = r.text(n, "name") },
		"path":    func(n *yaml.Node) { p.Path = r.path(n) },
		"host":    func(n *yaml.Node) { p.Host = r.hostName(n) },
		"timeout": func(n *yaml.Node) { p.Timeout = r.duration(n, "timeout", time.Millisecond, maxTimeout) },
		"method":  func(n *yaml.Node) { p.Method = r.text(n, "method") },
		"follow":  func(n *yaml.Node) { p.Follow = r.boolean(n, "follow") },
		"headers": func(n *yaml.Node) { p.Headers = r.headers(n) },
		"form":    func(n *yaml.Node) { p.Form = r.form(n) },
		"expect":  func(n *yaml.Node) { p.Expect = r.expect(n) },
		"capture": func(n *yaml.Node) { p.Capture = r.capture(n) },
	}
	if !step {
		fields["session"] = func(n *yaml.Node) { p.Session = r.boolean(n, "session") }
	}
	has := r.mapping(n, what, fields)
	for _, key := range []string{"name", "path"} {
		if !has[key] && n.Kind == yaml.MappingNode {
			r.errorf(n, "%s has no %s", what, key)
		}
	}
	if p.Name != "" && r.names[p.Name] {
		r.errorf(n, "two are named %q", p.Name)
	}
	r.names[p.Name] = true
	switch {
	case p.Method == "" && p.Form != nil:
		p.Method = http.MethodPost
	case p.Method == "":
		p.Method = http.MethodGet
	case p.Method != http.MethodGet && p.Method != http.MethodHead && p.Method != http.MethodPost:
		r.errorf(n, "method %q: want GET, HEAD or POST", p.Method)
	case p.Method != http.MethodPost && p.Form != nil:
		r.errorf(n, "a form is sent by POST, not %s", p.Method)
	}
	if p.Expect.Status == nil {
		p.Expect.Status = []int{http.StatusOK}
	}
	for name := range p.Capture {
		r.vars[name] = true
	}
	return p
}

func (r *setReader) hostName(n *yaml.Node) string {
	host := r.text(n, "host")
	if u, err := url.Parse("http://" + host); err != nil || u.Host != host || host == "" {
		r.errorf(n, "host: %q is no host name", host)
	}
	return host
}

func (r *setReader) path(n *yaml.Node) string {
	p := r.text(n, "path")
	plain := variable.ReplaceAllString(p, "x")
	foreign := strings.ContainsRune(plain, '#') || strings.ContainsFunc(plain, func(c rune) bool { return c <= ' ' || c == 0x7f })
	if _, err := url.ParseRequestURI(plain); err != nil || foreign || !strings.HasPrefix(plain, "/") || strings.HasPrefix(plain, "//") {
		r.errorf(n, "path: want one like /wiki/Main_Page, percent-encoded")
	}
	r.variables(n, p, false)
	return p
}

func (r *setReader) headers(n *yaml.Node) map[string]string {
	m := map[string]string{}
	r.pairs(n, "headers", func(key, value *yaml.Node) {
		v := r.text(value, "header "+key.Value)
		switch canon := http.CanonicalHeaderKey(key.Value); {
		case !isToken(key.Value) || !isHeaderValue(v):
			r.errorf(key, "header %q: is no header's name and value", key.Value)
		case canon == "Host" || canon == "User-Agent" || canon == "Content-Length" || canon == "Transfer-Encoding":
			r.errorf(key, "header %s: cannot be set here (there are the keys host and user_agent)", canon)
		}
		r.variables(value, v, true)
		m[key.Value] = v
	})
	return m
}

func (r *setReader) form(n *yaml.Node) map[string]string {
	m := map[string]string{}
	r.pairs(n, "form", func(key, value *yaml.Node) {
		m[key.Value] = r.text(value, "form "+key.Value)
		r.variables(value, m[key.Value], true)
	})
	return m
}

// variable is ${name} or ${credentials.name}.
var variable = regexp.MustCompile(`\$\{([^}]*)\}`)

// variables checks that what s refers to is known by then. Credentials stay out of paths: those end in access logs.
func (r *setReader) variables(n *yaml.Node, s string, secret bool) {
	for _, m := range variable.FindAllStringSubmatch(s, -1) {
		name, isSecret := strings.CutPrefix(m[1], "credentials.")
		_, known := r.creds[name]
		switch {
		case isSecret && !secret:
			r.errorf(n, "${%s}: a credential in a path would be written to access logs", m[1])
		case isSecret && !known:
			r.errorf(n, "${%s}: the credentials file has no %q", m[1], name)
		case !isSecret && !r.vars[m[1]]:
			r.errorf(n, "${%s}: no earlier step captures it", m[1])
		}
	}
}

func (r *setReader) capture(n *yaml.Node) map[string]Capture {
	m := map[string]Capture{}
	r.pairs(n, "capture", func(key, value *yaml.Node) {
		if !isName(key.Value) {
			r.errorf(key, "capture: %q is no name", key.Value)
		}
		var c Capture
		has := r.mapping(value, "capture "+key.Value, map[string]func(*yaml.Node){
			"json": func(n *yaml.Node) { c.JSON = r.jsonPath(n, n) },
			"regexp": func(n *yaml.Node) {
				c.Regexp = r.text(n, "regexp")
				if re, err := regexp.Compile(c.Regexp); err != nil {
					r.errorf(n, "regexp: %v", err)
				} else if re.NumSubexp() != 1 {
					r.errorf(n, "regexp: want exactly one group (…)")
				}
			},
			"header": func(n *yaml.Node) { c.Header = r.text(n, "header") },
			"cookie": func(n *yaml.Node) { c.Cookie = r.text(n, "cookie") },
		})
		if len(has) != 1 && value.Kind == yaml.MappingNode {
			r.errorf(value, "capture %s: want one of json, regexp, header, cookie", key.Value)
		}
		m[key.Value] = c
	})
	return m
}

func (r *setReader) expect(n *yaml.Node) (e Expect) {
	r.mapping(n, "expect", map[string]func(*yaml.Node){
		"status": func(n *yaml.Node) {
			r.list(n, "status", func(c *yaml.Node) {
				var code int
				if c.Tag != "!!int" || c.Decode(&code) != nil || code < 100 || code > 599 {
					r.errorf(c, "status: want a number from 100 to 599")
				}
				e.Status = append(e.Status, code)
			})
		},
		"headers":  func(n *yaml.Node) { e.Headers = r.textMap(n, "header") },
		"contains": func(n *yaml.Node) { e.Contains = r.texts(n, "contains") },
		"lacks":    func(n *yaml.Node) { e.Lacks = r.texts(n, "lacks") },
		"matches": func(n *yaml.Node) {
			e.Matches = r.texts(n, "matches")
			for _, m := range e.Matches {
				if _, err := regexp.Compile(m); err != nil {
					r.errorf(n, "matches: %v", err)
				}
			}
		},
		"json": func(n *yaml.Node) {
			e.JSON = map[string]json.RawMessage{}
			r.pairs(n, "json", func(key, value *yaml.Node) {
				raw, err := scalar(value)
				if err != nil {
					r.errorf(value, "json %s: %v", key.Value, err)
				}
				e.JSON[r.jsonPath(key, key)] = raw
			})
		},
	})
	return e
}

func (r *setReader) jsonPath(n, at *yaml.Node) string {
	p := r.text(n, "json")
	for _, part := range strings.Split(p, ".") {
		if part == "" {
			r.errorf(at, "json: %q is no path: want keys and positions joined by dots", p)
			break
		}
	}
	return p
}

// scalar turns a YAML value into the JSON value that it must equal.
func scalar(n *yaml.Node) (json.RawMessage, error) {
	var v any
	if n.Kind != yaml.ScalarNode || n.Tag == "!!timestamp" || n.Tag == "!!binary" {
		return nil, errors.New("want a text, a number, true, false or null")
	}
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func isName(s string) bool {
	return s != "" && len(s) < 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	})
}

func isHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}
