package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// check compares an answer with what is expected and says the first difference, in a fixed order.
func (e Expect) check(a reply) error {
	want := e.Status
	if len(want) == 0 {
		want = []int{http.StatusOK}
	}
	if !slices.Contains(want, a.status) {
		return fmt.Errorf("status %d, want %s%s", a.status, strings.Trim(fmt.Sprint(want), "[]"), excerpt(a))
	}
	for _, name := range sorted(e.Headers) {
		values := a.header.Values(name)
		if !slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, e.Headers[name]) }) {
			return fmt.Errorf("header %s is %q, want %q in it", name, cut(strings.Join(values, ", ")), e.Headers[name])
		}
	}
	for _, text := range e.Contains {
		if !bytes.Contains(a.body, []byte(text)) {
			return fmt.Errorf("%q is not in the body%s", text, excerpt(a))
		}
	}
	for _, text := range e.Lacks {
		if i := bytes.Index(a.body, []byte(text)); i >= 0 {
			return fmt.Errorf("%q is in the body: %q", text, cut(string(a.body[i:min(len(a.body), i+maxExcerpt)])))
		}
	}
	for _, pattern := range e.Matches {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if !re.Match(a.body) {
			return fmt.Errorf("the body does not match %q%s", pattern, excerpt(a))
		}
	}
	return e.checkJSON(a)
}

func (e Expect) checkJSON(a reply) error {
	if len(e.JSON) == 0 {
		return nil
	}
	root, err := decode(a.body)
	if err != nil {
		return fmt.Errorf("the body is no JSON: %w%s", err, excerpt(a))
	}
	for _, path := range sorted(e.JSON) {
		want, err := decode(e.JSON[path])
		if err != nil {
			return fmt.Errorf("json %s: %w", path, err)
		}
		got, err := at(root, path)
		if err != nil {
			return err
		}
		if !equal(got, want) {
			b, _ := json.Marshal(got)
			return fmt.Errorf("json %s is %s, want %s", path, cut(string(b)), e.JSON[path])
		}
	}
	return nil
}

func decode(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("something follows it")
	}
	return v, nil
}

// at walks down path: keys of objects, positions in lists.
func at(v any, path string) (any, error) {
	for _, part := range strings.Split(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			next, ok := node[part]
			if !ok {
				return nil, fmt.Errorf("json %s: there is no %q", path, part)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(node) {
				return nil, fmt.Errorf("json %s: no position %q in a list of %d", path, part, len(node))
			}
			v = node[i]
		default:
			return nil, fmt.Errorf("json %s: nothing below a value at %q", path, part)
		}
	}
	return v, nil
}

// equal compares scalars; 1 and 1.0 are one number, 1 and "1" are not one value.
func equal(got, want any) bool {
	g, ok1 := got.(json.Number)
	w, ok2 := want.(json.Number)
	if ok1 && ok2 {
		a, err1 := g.Float64()
		b, err2 := w.Float64()
		return g == w || err1 == nil && err2 == nil && a == b
	}
	switch got.(type) {
	case map[string]any, []any:
		return false
	}
	return got == want
}

// find takes a variable's value out of an answer.
func (r *runner) find(c Capture, a reply) (string, error) {
	switch {
	case c.JSON != "":
		root, err := decode(a.body)
		if err != nil {
			return "", fmt.Errorf("the body is no JSON: %w", err)
		}
		v, err := at(root, c.JSON)
		if err != nil {
			return "", err
		}
		switch v := v.(type) {
		case string:
			return v, nil
		case json.Number:
			return v.String(), nil
		}
		return "", fmt.Errorf("json %s is no text", c.JSON)
	case c.Regexp != "":
		re, err := regexp.Compile(c.Regexp)
		if err != nil {
			return "", err
		}
		m := re.FindSubmatch(a.body)
		if len(m) != 2 {
			return "", fmt.Errorf("the body does not match %q%s", c.Regexp, excerpt(a))
		}
		return string(m[1]), nil
	case c.Header != "":
		return a.header.Get(c.Header), nil
	}
	for _, cookie := range r.session.Jar.Cookies(a.url) {
		if cookie.Name == c.Cookie {
			return cookie.Value, nil
		}
	}
	return "", fmt.Errorf("there is no cookie %q", c.Cookie)
}

const maxExcerpt = 160

// excerpt shows the beginning of a body that is not as expected.
func excerpt(a reply) string {
	text := strings.Join(strings.Fields(string(a.body[:min(len(a.body), 4*maxExcerpt)])), " ")
	if text == "" {
		return ", and an empty body"
	}
	return fmt.Sprintf(": %q", cut(text))
}

func cut(s string) string {
	if len(s) > maxExcerpt {
		s = s[:maxExcerpt] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
