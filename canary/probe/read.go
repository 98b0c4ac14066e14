package probe

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
