package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/sourcetest"
)

// site is a number of hosts with real log files, each with a clock.
type site struct {
	t     *testing.T
	form  siteForm
	mu    sync.Mutex
	hosts map[string]*siteHost
	hung  bool
	mute  bool // heartbeats do not arrive
	after func(h *siteHost)
}

// siteForm is how lines are written.
type siteForm struct {
	kind   Kind
	access func(e sourcetest.Event) string
	beat   func(at time.Time, n int) string
	wiki   func(e sourcetest.Event) string // nil: there is no log of exceptions
}

type siteHost struct {
	dir   string
	files [2]*Files // of two agents
	now   time.Time
	skew  time.Duration
	ids   map[string]bool
	beats int
}

func (h *siteHost) path(name string) string { return filepath.Join(h.dir, name) }

func (s *site) clock(h *siteHost) func() time.Time {
	return func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return h.now
	}
}

func newSite(t *testing.T, form siteForm, names []canary.Host) *site {
	s := &site{t: t, form: form, hosts: map[string]*siteHost{}}
	root := t.TempDir()
	for i, n := range names {
		h := &siteHost{dir: filepath.Join(root, fmt.Sprint(i)), ids: map[string]bool{}}
		s.hosts[n.Name] = h
		if err := os.Mkdir(h.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		s.write(h, "access", "")
		c := Config{
			Sources: []Log{{h.path("access"), form.kind}, {h.path("php"), PHP}}, Roots: []string{"/srv/mediawiki"},
			Heartbeat: "http://127.0.0.1/scap-heartbeat", Trial: []string{trialSocket}, Main: []string{mainSocket},
			Signals: []Signal{
				{Name: sourcetest.Edits, Path: "/w/index.php", Statuses: []string{"2xx"}, Query: "edit=1"},
				{Name: sourcetest.Logins, Path: "/w/*", Statuses: []string{"200"}, Query: "login=1"},
			},
		}
		if form.wiki != nil {
			c.Sources = append(c.Sources, Log{h.path("wiki"), MediaWiki})
		}
		for k := range h.files {
			f, err := NewIn(c, World{Now: s.clock(h), Beat: func(context.Context, string, string, string) error { return nil }})
			if err != nil {
				t.Fatal(err)
			}
			f.patience = 0 // a heartbeat arrives when the suite says so
			t.Cleanup(func() { f.Close() })
			h.files[k] = f
		}
	}
	return s
}

// The links by which a web server asks the release that is tried, and the other.
const (
	trialSocket = "/run/php/canary.sock"
	mainSocket  = "/run/php/web.sock"
)

// socket is by which link a release is asked.
func socket(release string) string {
	if release == sourcetest.Release {
		return "unix:" + trialSocket
	}
	return "unix:" + mainSocket
}

func (s *site) write(h *siteHost, name, text string) {
	f, err := os.OpenFile(h.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// reader asks the agents of one deploy host, over JSON as the wire does.
func (s *site) reader(agent int) Reader {
	return ReaderFunc(func(ctx context.Context, host string, q Query) (p Page, err error) {
		s.mu.Lock()
		h, hung := s.hosts[host], s.hung
		if h != nil {
			h.now = q.Now.Add(h.skew)
		}
		s.mu.Unlock()
		if h == nil {
			return p, errors.New("no such host")
		}
		if hung {
			<-ctx.Done()
			return p, context.Cause(ctx)
		}
		b, err := json.Marshal(q)
		if err == nil {
			b, err = h.files[agent].Answer(ctx, b)
		}
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		return p, err
	})
}

func (s *site) log(_ *testing.T, es ...sourcetest.Event) {
	access, wiki := map[*siteHost]*strings.Builder{}, map[*siteHost]*strings.Builder{}
	for _, e := range es {
		h := s.hosts[e.Host]
		if access[h] == nil {
			access[h], wiki[h] = &strings.Builder{}, &strings.Builder{}
		}
		e.At = e.At.Add(h.skew)
		if e.Stray {
			e.Release = ""
			wiki[h].WriteString(s.form.wiki(e))
			continue
		}
		if e.ID == "" || !h.ids[e.ID] { // a request ends once
			access[h].WriteString(s.form.access(e))
		}
		h.ids[e.ID] = true
		if e.Failing && s.form.wiki != nil {
			wiki[h].WriteString(s.form.wiki(e))
		}
	}
	for h, b := range access {
		s.write(h, "access", b.String())
		if s.form.wiki != nil {
			s.write(h, "wiki", wiki[h].String())
		}
		if s.after != nil {
			s.after(h)
		}
	}
}

func (s *site) beat(_ *testing.T, at time.Time, hosts ...string) {
	for _, n := range hosts {
		h := s.hosts[n]
		h.beats++
		if !s.mute {
			s.write(h, "access", s.form.beat(at.Add(h.skew), h.beats))
		}
	}
}

func (s *site) rig() sourcetest.Rig {
	return sourcetest.Rig{
		Source: &Source{Reader: s.reader(0)}, Again: &Source{Reader: s.reader(1)},
		Step: 5 * time.Second, Epoch: at, Log: s.log, Beat: s.beat,
		Nonce: func(_ *testing.T, h canary.Host) {
			host := s.hosts[h.Name]
			s.write(host, "php", fmt.Sprintf("[%s UTC] %s\n", h.Since.Add(host.skew).UTC().Format("02-Jan-2006 15:04:05"), h.Nonce))
		},
		Skew: func(_ *testing.T, host string, ahead time.Duration) { s.hosts[host].skew = ahead },
		Faults: map[string]func(t *testing.T) func(){
			"the heartbeat is not logged": func(*testing.T) func() {
				s.mute = true
				return func() { s.mute = false }
			},
			"the hosts hang": func(*testing.T) func() {
				s.hang(true)
				return func() { s.hang(false) }
			},
			"the directory is away": func(*testing.T) func() {
				for _, h := range s.hosts {
					s.move(h, h.dir+".away")
				}
				return func() {
					for _, h := range s.hosts {
						s.move(h, strings.TrimSuffix(h.dir, ".away"))
					}
				}
			},
			"the access log is emptied before it is read": s.then(func(h *siteHost) { s.truncate(h) }),
			"the access log is rotated at every write":    s.then(func(h *siteHost) { s.rotate(h) }),
			"the access log is copied and cut off": s.then(func(h *siteHost) {
				b, err := os.ReadFile(h.path("access"))
				if err != nil {
					s.t.Fatal(err)
				}
				s.write(h, fmt.Sprintf("access.%d", len(s.entries(h))), string(b))
				s.truncate(h)
			}),
			"the access log changes its form": func(*testing.T) func() {
				form := s.form
				s.form.access = func(sourcetest.Event) string { return "what is this?\n" }
				s.form.beat = func(time.Time, int) string { return "what is this?\n" }
				return func() {
					s.form = form
					for _, h := range s.hosts { // no counting goes on in a log that lost its lines
						s.truncate(h)
					}
				}
			},
		},
	}
}

// then does something to a host after each write to its logs.
func (s *site) then(do func(h *siteHost)) func(t *testing.T) func() {
	return func(*testing.T) func() {
		s.after = do
		return func() { s.after = nil }
	}
}

func (s *site) hang(hung bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = hung
}

func (s *site) move(h *siteHost, to string) {
	if err := os.Rename(h.dir, to); err != nil {
		s.t.Fatal(err)
	}
	h.dir = to
}

func (s *site) entries(h *siteHost) []os.DirEntry {
	list, err := os.ReadDir(h.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func (s *site) rotate(h *siteHost) {
	if err := os.Rename(h.path("access"), h.path(fmt.Sprintf("access.%d", len(s.entries(h))))); err != nil {
		s.t.Fatal(err)
	}
	s.write(h, "access", "")
}

func (s *site) truncate(h *siteHost) {
	if err := os.Truncate(h.path("access"), 0); err != nil {
		s.t.Fatal(err)
	}
}

func jsonForm() siteForm {
	return siteForm{
		kind: AccessJSON,
		access: func(e sourcetest.Event) string {
			status, query := 200, ""
			if e.Failing {
				status = 500
			}
			for _, g := range e.Good {
				query += "&" + map[string]string{sourcetest.Edits: "edit=1", sourcetest.Logins: "login=1"}[g]
			}
			return fmt.Sprintf(`{"time":%q,"msec":"%d.000","reqId":%q,"status":%d,"method":"POST","uri":"/w/index.php?a=b%s","agent":"x","release":%q,"upstream":"0.030"}`+"\n",
				e.At.Format(time.RFC3339), e.At.Unix(), e.ID, status, query, e.Release)
		},
		beat: func(at time.Time, n int) string {
			return fmt.Sprintf(`{"time":%q,"status":404,"uri":"/scap-heartbeat","agent":"scap-agent heartbeat %d"}`+"\n", at.Format(time.RFC3339), n)
		},
		wiki: func(e sourcetest.Event) string {
			class, rest, _ := strings.Cut(e.Print.Text, " in ")
			_, message, _ := strings.Cut(rest, ": ")
			b, _ := json.Marshal(map[string]any{
				"@timestamp": e.At.Format(time.RFC3339), "level": "ERROR", "channel": "exception", "reqId": e.ID, "release": e.Release,
				"exception": map[string]string{"class": class, "message": message, "file": "/srv/mediawiki/" + e.Print.File + ":12"},
			})
			return string(b) + "\n"
		},
	}
}

// combinedForm knows neither ids nor releases.
func combinedForm() siteForm {
	line := func(at time.Time, status int, uri, agent string) string {
		return fmt.Sprintf("10.0.0.1 - - [%s] \"GET %s HTTP/1.1\" %d 12 \"-\" %q\n", at.Format("02/Jan/2006:15:04:05 -0700"), uri, status, agent)
	}
	return siteForm{
		kind: Access,
		access: func(e sourcetest.Event) string {
			if e.Failing {
				return line(e.At, 503, "/wiki/A", "x")
			}
			uri := "/w/index.php?"
			for _, g := range e.Good {
				uri += map[string]string{sourcetest.Edits: "&edit=1", sourcetest.Logins: "&login=1"}[g]
			}
			return line(e.At, 200, uri, "x")
		},
		beat: func(at time.Time, n int) string {
			return line(at, 200, "/scap-heartbeat", fmt.Sprintf("scap-agent heartbeat %d", n))
		},
	}
}

// upstreamForm knows releases by the sockets that were asked, and by ids what failed.
func upstreamForm() siteForm {
	form := jsonForm()
	form.access = func(e sourcetest.Event) string {
		line := strings.Replace(jsonForm().access(e), fmt.Sprintf(`"release":%q`, e.Release), fmt.Sprintf(`"upstream_addr":%q,"upstream_status":"200"`, socket(e.Release)), 1)
		if e.Failing && e.ID != "" && e.ID[len(e.ID)-1]%2 == 0 { // an exception, and yet an answer
			line = strings.Replace(line, `"status":500`, `"status":200`, 1)
		}
		return line
	}
	form.wiki = func(e sourcetest.Event) string {
		e.Release = ""
		return jsonForm().wiki(e)
	}
	return form
}

// workerForm is combined, with the worker of the balancer behind it.
func workerForm() siteForm {
	form := combinedForm()
	form.access = func(e sourcetest.Event) string {
		return strings.TrimSuffix(combinedForm().access(e), "\n") + fmt.Sprintf(" \"%s|fcgi://localhost\"\n", socket(e.Release))
	}
	return form
}

func TestSourceUpstream(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, hosts []canary.Host) sourcetest.Rig {
		r := newSite(t, upstreamForm(), hosts).rig()
		r.NoRelease = true
		return r
	})
}

func TestSourceWorkers(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, hosts []canary.Host) sourcetest.Rig {
		r := newSite(t, workerForm(), hosts).rig()
		r.NoRelease, r.NoPrints, r.NoIDs, r.NoStrays, r.Faults = true, true, true, true, nil
		return r
	})
}

func TestSourceJSON(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, hosts []canary.Host) sourcetest.Rig { return newSite(t, jsonForm(), hosts).rig() })
}

func TestSourceCombined(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, hosts []canary.Host) sourcetest.Rig {
		r := newSite(t, combinedForm(), hosts).rig()
		r.NoRelease, r.NoPrints, r.NoIDs, r.NoArms = true, true, true, true
		return r
	})
}
