package opensearch

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/canary"
	"scap/canary/sourcetest"
	model "scap/fixtures/opensearch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a model that hosts ship their records to.
type world struct {
	*model.Server
	served map[string]bool // request ids whose request was logged
	ahead  map[string]time.Duration
}

func newWorld(t *testing.T) *world {
	w := &world{Server: model.New(t), served: map[string]bool{}, ahead: map[string]time.Duration{}}
	// The indices are there before anything of these hosts is in them.
	w.Put("logstash-mediawiki-2023.01.17", model.Doc{"type": "syslog"})
	return w
}

func (w *world) at(host string, t time.Time) string {
	return t.Add(w.ahead[host]).UTC().Format("2006-01-02T15:04:05.000Z")
}

const index = "logstash-mediawiki-2023.01.17"

func (w *world) log(_ *testing.T, es ...sourcetest.Event) {
	var docs []model.Doc
	for _, e := range es {
		base := model.Doc{"@timestamp": w.at(e.Host, e.At), "host": e.Host, "release": e.Release, "level": "INFO"}
		if e.Stray {
			delete(base, "release")
		}
		if e.ID != "" {
			base["reqId"] = e.ID
		}
		add := func(more model.Doc) {
			d := maps.Clone(base)
			maps.Copy(d, more)
			docs = append(docs, d)
		}
		if id := e.Host + " " + e.ID; !e.Stray && (e.ID == "" || !w.served[id]) {
			w.served[id] = true
			add(model.Doc{"type": "webrequest"})
		}
		if e.Failing {
			class, rest, _ := strings.Cut(e.Print.Text, " in ")
			file, message, _ := strings.Cut(rest, ": ")
			add(model.Doc{
				"type": "mediawiki", "channel": "exception", "level": "ERROR", "message": "[" + e.ID + "] " + message,
				"normalized_message": message, "exception": model.Doc{"class": class, "file": "/srv/mediawiki/" + e.Release + "/" + file},
			})
		}
		for _, s := range e.Good {
			add(model.Doc{"type": "mediawiki", "channel": "stats", "signal": s})
		}
	}
	w.Put(index, docs...)
}

func (w *world) beat(_ *testing.T, at time.Time, hosts ...string) {
	for _, h := range hosts {
		w.Put(index, model.Doc{"@timestamp": w.at(h, at), "host": h, "type": "scap-heartbeat"})
	}
}

func (w *world) nonce(_ *testing.T, h canary.Host) {
	w.Put(index, model.Doc{"@timestamp": w.at(h.Name, h.Since), "host": h.Name, "type": "scap-heartbeat", "nonce": h.Nonce})
}

func (w *world) config() Config {
	return Config{
		URL: w.URL(), Index: "logstash-mediawiki-*",
		Failing: Scap, Requests: "type:webrequest",
		Good:   map[string]string{sourcetest.Edits: "channel:stats AND signal:edits", sourcetest.Logins: "channel:stats AND signal:logins"},
		Fields: Fields{Release: "release", Request: "reqId", Class: "exception.class", File: "exception.file", Message: "normalized_message.keyword"},
		Roots:  []string{"/srv/mediawiki"},
	}
}

func (w *world) rig(t *testing.T, source, again canary.Source) sourcetest.Rig {
	r := sourcetest.Rig{
		Source: source, Again: again, Step: 5 * time.Second, Epoch: time.Date(2023, 1, 17, 20, 13, 2, 0, time.UTC),
		Log: w.log, Beat: w.beat, Nonce: w.nonce,
		Skew: func(_ *testing.T, host string, ahead time.Duration) { w.ahead[host] = ahead },
		Faults: map[string]func(*testing.T) func(){
			"ingestion stops": func(*testing.T) func() { return w.Hold() },
			"the credentials are not good any more": func(*testing.T) func() {
				w.Protect("scap:secret")
				return func() { w.Protect("") }
			},
		},
	}
	for _, name := range slices.Collect(maps.Keys(model.Faults())) {
		r.Faults[name] = func(*testing.T) func() {
			w.Break(model.Faults()[name])
			return func() { w.Break(nil) }
		}
	}
	return r
}

func source(t *testing.T, c Config) *Source {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.client.RetryWaitMin, s.client.RetryWaitMax = time.Millisecond, 4*time.Millisecond
	t.Cleanup(s.client.HTTPClient.CloseIdleConnections)
	return s
}

func TestSource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, _ []canary.Host) sourcetest.Rig {
		w := newWorld(t)
		return w.rig(t, source(t, w.config()), source(t, w.config()))
	})
}

// One search holds one host only, so that every question is asked in parts.
func TestSourceInParts(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, _ []canary.Host) sourcetest.Rig {
		w := newWorld(t)
		s := source(t, w.config())
		s.size = 1
		r := w.rig(t, s, nil)
		r.Faults = nil
		return r
	})
}

func TestFailuresOnly(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, _ []canary.Host) sourcetest.Rig {
		w := newWorld(t)
		c := w.config()
		c.Requests = ""
		r := w.rig(t, source(t, c).Failures(), nil)
		r.NoRequests, r.Faults = true, nil
		return r
	})
}

// Without a field of releases two of one host are refused.
func TestSourceWithoutReleases(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, _ []canary.Host) sourcetest.Rig {
		w := newWorld(t)
		c := w.config()
		c.Fields.Release = ""
		r := w.rig(t, source(t, c), nil)
		r.NoRelease, r.NoArms, r.Faults = true, true, nil
		return r
	})
}
