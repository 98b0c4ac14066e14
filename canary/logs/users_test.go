package logs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scap/canary"
	"scap/canary/logs"
)

const (
	heartbeat = "http://127.0.0.1/scap-heartbeat"
	wrongs    = "DBQueryError" // what has always gone wrong
	news      = "TypeError"
)

// trial is a deploy in the time of a bubble: users ask hosts, which log what they serve; an agent on each follows its log files;
// and a gate is asked every five seconds.
type trial struct {
	t        *testing.T
	window   canary.Window
	gate     *canary.Traffic
	evidence canary.Evidence
	hosts    map[string]*host
	canaries []string
	controls []string
	began    time.Time // of the traffic
}

// host is one host. A test sets its fields in between looks.
type host struct {
	canary.Host
	dir     string
	agent   *logs.Files
	restart time.Time     // when the runtime of the new release began; zero: never
	skew    time.Duration // how far its clock is ahead
	lag     time.Duration // how long a line is on its way into a log
	onWay   []line
	away    error // what asking its agent gets
	serves  int   // requests a second
	rate    float64
	extra   float64 // share that fails besides,
	class   string  // in this way,
	workers int     // on so many workers
}

// line is text on its way into a log.
type line struct {
	log, text string
	arrives   time.Time
}

const tick = 5 * time.Second

// newTrial proves the canaries after a minute of the old release.
func newTrial(t *testing.T, canaries, controls int, before func(*trial)) *trial {
	d := &trial{t: t, hosts: map[string]*host{}, began: time.Now(), window: canary.Window{Deploy: "d", Phase: "p", Release: "release-new", From: "release-old"}}
	root := t.TempDir()
	for i := range canaries + controls {
		name := fmt.Sprint("mw", 1001+i)
		if i < canaries {
			d.canaries = append(d.canaries, name)
		} else {
			d.controls = append(d.controls, name)
		}
		d.hosts[name] = newHost(t, name, filepath.Join(root, name))
	}
	source := &logs.Source{Reader: logs.ReaderFunc(d.ask)}
	// Little traffic is judged by much harm, in half the time.
	d.gate = &canary.Traffic{From: "logs", Source: source, Rule: canary.Rule{HarmRate: 0.02, MinRequests: 500, Dwell: 30 * time.Second}}
	if before != nil {
		before(d)
	}
	d.on((*host).old, d.both()...)
	for range 12 {
		time.Sleep(tick)
		d.users()
	}
	d.window.Opened = time.Now()
	for i, name := range append(append([]string{}, d.canaries...), d.controls...) {
		h := d.hosts[name]
		h.Release, h.Since = "release-old", d.began.Add(-time.Hour+h.skew)
		if i < canaries {
			h.prove(d.window.Release, time.Now().Add(-3*time.Second))
			d.window.Canary = append(d.window.Canary, h.Host)
		} else {
			d.window.Control = append(d.window.Control, h.Host)
		}
	}
	return d
}

func newHost(t *testing.T, name, dir string) *host {
	h := &host{Host: canary.Host{Name: name}, dir: dir, serves: 8, rate: 1e-3, class: wrongs, workers: 4}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("wiki", "")
	agent, err := logs.NewIn(logs.Config{
		Sources: []logs.Log{{Path: h.path("access"), Kind: logs.AccessJSON}, {Path: h.path("wiki"), Kind: logs.MediaWiki}, {Path: h.path("php"), Kind: logs.PHP}},
		Roots:   []string{"/srv/mediawiki"}, Heartbeat: heartbeat,
	}, logs.World{Now: func() time.Time { return time.Now().Add(h.skew) }, Beat: h.beat})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Close() })
	h.agent = agent
	return h
}

// old is what was logged in the quarter of an hour before: one request every five seconds.
func (h *host) old() {
	for at := time.Now().Add(-15 * time.Minute); at.Before(time.Now()); at = at.Add(tick) {
		text := fmt.Sprintf(`{"msec":"%d.000","status":200,"method":"GET","uri":"/wiki/Cat","agent":"Mozilla","release":"release-old","upstream":"0.030"}`+"\n", at.Add(h.skew).Unix())
		h.onWay = append(h.onWay, line{"access", text, at.Add(h.lag)})
	}
	h.arrive()
}

func (h *host) path(log string) string { return filepath.Join(h.dir, log) }

// prove lets the runtime of a release begin, which writes its nonce.
func (h *host) prove(release string, at time.Time) {
	h.restart = at
	h.Release, h.Since, h.Nonce = release, at.Add(h.skew), "scap-nonce-"+h.Name
	h.write("php", fmt.Sprintf("[%s UTC] NOTICE: %s\n", h.Since.UTC().Format("02-Jan-2006 15:04:05"), h.Nonce))
}

// write is what the programs of the host do with a line.
func (h *host) write(log, text string) {
	h.onWay = append(h.onWay, line{log, text, time.Now().Add(h.lag)})
	h.arrive()
}

// arrive puts the lines into the logs that are there by now.
func (h *host) arrive() {
	texts := map[string]string{}
	for len(h.onWay) > 0 && !h.onWay[0].arrives.After(time.Now()) {
		texts[h.onWay[0].log] += h.onWay[0].text
		h.onWay = h.onWay[1:]
	}
	for log, text := range texts {
		f, err := os.OpenFile(h.path(log), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
			f.Close()
		}
		must(err)
	}
}

func (h *host) beat(_ context.Context, _, _, agent string) error {
	now := time.Now().Add(h.skew)
	h.write("access", fmt.Sprintf(`{"msec":"%d.%03d","status":404,"method":"GET","uri":"/scap-heartbeat","agent":%q,"upstream":"-"}`+"\n", now.Unix(), now.Nanosecond()/1e6, agent))
	return nil
}

// ask is the way to the agents, in JSON as over the wire.
func (d *trial) ask(ctx context.Context, name string, q logs.Query) (p logs.Page, err error) {
	h := d.hosts[name]
	if h.away != nil {
		return p, h.away
	}
	b, err := json.Marshal(q)
	if err == nil {
		b, err = h.agent.Answer(ctx, b)
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	return p, err
}

// users lets every host serve what it was asked in the last tick. What that is depends on the host and the time alone.
func (d *trial) users() {
	for name, h := range d.hosts {
		var access, wiki strings.Builder
		for at := time.Now().Add(-tick); at.Before(time.Now()); at = at.Add(time.Second) {
			h.serve(at, name, &access, &wiki)
		}
		h.write("access", access.String())
		if wiki.Len() > 0 {
			h.write("wiki", wiki.String())
		}
	}
}

func (h *host) serve(at time.Time, name string, access, wiki *strings.Builder) {
	seed := fnv.New64a()
	seed.Write([]byte(name))
	by := rand.New(rand.NewPCG(seed.Sum64(), uint64(at.Unix())))
	release := "release-old"
	if !h.restart.IsZero() && !at.Before(h.restart) {
		release = "release-new"
	}
	for i := range h.serves {
		id := fmt.Sprintf("%s-%d-%d", name, at.Unix(), i)
		when := at.Add(h.skew + time.Duration(i)*time.Second/time.Duration(h.serves))
		class, worker, status := "", by.IntN(4), 200
		switch chance := by.Float64(); {
		case chance < h.rate:
			class = wrongs
		case chance < h.rate+h.extra:
			class, worker = h.class, by.IntN(h.workers)
		}
		if class != "" {
			status = 500
			fmt.Fprintf(wiki, `{"@timestamp":%q,"level":"ERROR","channel":"exception","reqId":%q,"release":%q,"exception":{"class":%q,"message":"it went wrong","file":"/srv/mediawiki/src/%s.php:12"}}`+"\n",
				when.Format(time.RFC3339Nano), id, release, class, class)
		}
		fmt.Fprintf(access, `{"msec":"%d.%03d","reqId":%q,"status":%d,"method":"GET","uri":"/wiki/Cat","agent":"Mozilla","release":%q,"worker":"%d","upstream":"0.030"}`+"\n",
			when.Unix(), when.Nanosecond()/1e6, id, status, release, worker)
	}
}

// look asks the gate at the next whole tick.
func (d *trial) look() canary.Ruling {
	time.Sleep(time.Until(time.Now().Truncate(tick).Add(tick)))
	d.users()
	w := d.window
	w.Now = time.Now()
	r, err := d.gate.Judge(d.t.Context(), w, d.evidence)
	if err != nil {
		d.t.Fatal(err)
	}
	d.evidence = r.Evidence
	return r
}

// after is the time since the canaries were proven.
func (d *trial) after() time.Duration { return time.Since(d.window.Opened).Truncate(time.Second) }

// on does something to some hosts.
func (d *trial) on(do func(h *host), names ...string) {
	for _, n := range names {
		do(d.hosts[n])
	}
}

// both are the hosts of both arms.
func (d *trial) both() []string { return append(append([]string{}, d.canaries...), d.controls...) }

// out takes a host out of the deploy, as a Suspect asks for.
func (d *trial) out(name string) {
	var left []canary.Host
	for _, h := range d.window.Canary {
		if h.Name != name {
			left = append(left, h)
		}
	}
	d.window.Canary = left
}
