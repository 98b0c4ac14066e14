package probe

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

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
