// Package webserver reads the configuration of a host's nginx or Apache as files and says which of its lines keep php-fpm
// from being handed over: kept connections, scripts named by where a link leads on the host's side, a missing upstream for
// trials. It changes nothing: who may change a web server's configuration is root, or what manages the host.
package webserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Pool is one php-fpm pool as the web server knows it.
type Pool struct {
	Listen string `json:"listen"`          // the unix socket that requests are passed to
	Trial  string `json:"trial,omitempty"` // that of a trial, where one is wanted
}

// Question asks about some pools.
type Question struct {
	// Files are the main configuration files; none: those of the distribution that are there.
	Files  []string `json:"files,omitempty"`
	Pools  []Pool   `json:"pools"`
	Served string   `json:"served"` // scripts must be named by paths below it
	// Share is the part of the requests that a trial is to get, which the weights must say; 0: no matter.
	Share float64 `json:"share,omitempty"`
}

// Line is one line that should be another.
type Line struct {
	File   string `json:"file"`
	Number int    `json:"number"`         // from 1
	Have   string `json:"have"`           // as it stands there, without its indentation
	Want   string `json:"want,omitempty"` // one or more lines in its place; empty: none
	Why    string `json:"why"`
	// Must: a handover would lose requests or serve them wrongly. Else it is trials alone that need it.
	Must bool `json:"must,omitempty"`
}

// Answer is what was found.
type Answer struct {
	Servers []string `json:"servers,omitempty"` // nginx, apache: whose files pass requests to one of the pools
	Files   []string `json:"files,omitempty"`   // that were read
	Lines   []Line   `json:"lines,omitempty"`
	// Problems are what could not be read or is not there; a handover is not known to be safe then.
	Problems []string `json:"problems,omitempty"`
}

// Bounds on what is read.
const (
	maxFiles = 2000
	maxBytes = 16 << 20
	maxDepth = 16
)

// usual are the distribution's main files.
var usual = []string{"/etc/nginx/nginx.conf", "/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf"}

// Ask is Read as a service of an agent: question and answer in JSON.
func Ask(ctx context.Context, question json.RawMessage) (json.RawMessage, error) {
	var q Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("question about the web server: %w", err)
	}
	a, err := Read(ctx, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// Read reads the configuration.
func Read(ctx context.Context, q Question) (Answer, error) {
	if len(q.Pools) == 0 || q.Served == "" {
		return Answer{}, errors.New("question about the web server: no pool, or no served path")
	}
	files := q.Files
	if len(files) == 0 {
		files = slices.DeleteFunc(slices.Clone(usual), func(path string) bool { _, err := os.Stat(path); return err != nil })
	}
	r := &reader{q: q, reached: map[string]bool{}}
	if len(files) == 0 {
		r.problem("no configuration of nginx or Apache is at its usual place (%s): name it as targets.handover.web_config in scap.yaml", strings.Join(usual, ", "))
	}
	for _, file := range files {
		if ctx.Err() != nil {
			return Answer{}, context.Cause(ctx)
		}
		r.server(file)
	}
	for _, p := range q.Pools {
		if len(files) > 0 && !r.reached[p.Listen] {
			r.problem("nothing in %s passes requests to %s: users do not reach it, or the configuration is elsewhere (targets.handover.web_config in scap.yaml)",
				strings.Join(files, ", "), p.Listen)
		}
	}
	return r.a, nil
}

// reader is one Read under way.
type reader struct {
	q       Question
	a       Answer
	bytes   int64
	read    int             // files, each time
	reached map[string]bool // by Pool.Listen
}

func (r *reader) problem(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); len(r.a.Problems) < 20 && !slices.Contains(r.a.Problems, text) {
		r.a.Problems = append(r.a.Problems, text)
	}
}

// found notes a line once: a file may be included in several places.
func (r *reader) found(l Line) {
	same := func(o Line) bool { return o.File == l.File && o.Number == l.Number && o.Want == l.Want }
	if len(r.a.Lines) < 100 && !slices.ContainsFunc(r.a.Lines, same) {
		r.a.Lines = append(r.a.Lines, l)
	}
}

// serves notes that a server's configuration passes requests to a pool.
func (r *reader) serves(server string, p Pool) {
	r.reached[p.Listen] = true
	if !slices.Contains(r.a.Servers, server) {
		r.a.Servers = append(r.a.Servers, server)
	}
}

// text reads one file, within the bounds.
func (r *reader) text(path string) (string, bool) {
	if r.read++; r.read > maxFiles || r.bytes >= maxBytes {
		r.problem("%s: more than %d files or %d MB of configuration: not read", path, maxFiles, maxBytes>>20)
		return "", false
	}
	f, err := os.Open(path)
	if err != nil {
		r.problem("read the web server's configuration: %v", err)
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes-r.bytes+1))
	r.bytes += int64(len(b))
	if err != nil || r.bytes > maxBytes {
		r.problem("read %s: %v, or too large", path, err)
		return "", false
	}
	if !slices.Contains(r.a.Files, path) {
		r.a.Files = append(r.a.Files, path)
	}
	return string(b), true
}

// included lists what an include names: a file, or a pattern for any number of them.
func (r *reader) included(pattern, dir string) []string {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	if !strings.ContainsAny(pattern, "*?[") {
		if info, err := os.Stat(pattern); err != nil || !info.IsDir() {
			return []string{pattern}
		}
		pattern = filepath.Join(pattern, "*") // Apache takes a directory for all that is in it
	}
	all, err := filepath.Glob(pattern)
	if err != nil {
		r.problem("include %s: %v", pattern, err)
	}
	return slices.DeleteFunc(all, func(path string) bool {
		info, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir()
	})
}

// server reads one main file as what it is.
func (r *reader) server(file string) {
	if strings.Contains(filepath.Base(file), "nginx") {
		r.nginx(file)
		return
	}
	r.apache(file)
}

// pool finds the pool that listens on a path, or whose trial does.
func (r *reader) pool(path string) (p Pool, trial, ok bool) {
	for _, p := range r.q.Pools {
		if p.Listen == path {
			return p, false, true
		}
		if p.Trial != "" && p.Trial == path {
			return p, true, true
		}
	}
	return Pool{}, false, false
}

// weights are what the two upstreams of a trial should have: small round numbers near the share.
func weights(share float64) (main, trial int) {
	if share <= 0 || share >= 1 {
		share = 0.05
	}
	for _, total := range []int{2, 3, 4, 5, 10, 20, 25, 50, 100, 200, 500, 1000} {
		if t := int(math.Round(share * float64(total))); t > 0 && math.Abs(float64(t)/float64(total)-share) < share/1000 {
			return total - t, t
		}
	}
	t := max(int(math.Round(share*1000)), 1)
	return 1000 - t, t
}

// weighs reports whether two weights send the share that is wanted, to a tenth of it.
func (r *reader) weighs(main, trial int) bool {
	if r.q.Share <= 0 || main <= 0 || trial <= 0 {
		return main > 0 && trial > 0
	}
	return math.Abs(float64(trial)/float64(main+trial)-r.q.Share) <= r.q.Share/10
}

// Must reports whether a handover has to wait for something that was found.
func (a Answer) Must() bool {
	return len(a.Problems) > 0 || slices.ContainsFunc(a.Lines, func(l Line) bool { return l.Must })
}

// Diff shows the lines that should be others as a diff, each with its reason.
func (a Answer) Diff() string {
	var b strings.Builder
	for _, l := range a.Lines {
		need := "for trials"
		if l.Must {
			need = "needed"
		}
		fmt.Fprintf(&b, "%s:%d (%s): %s\n", l.File, l.Number, need, l.Why)
		if l.Want == l.Have { // it begins a block in which something is to change
			fmt.Fprintf(&b, "     %s\n", l.Have)
			continue
		}
		if l.Have != "" {
			fmt.Fprintf(&b, "-    %s\n", l.Have)
		}
		for want := range strings.Lines(l.Want) {
			fmt.Fprintf(&b, "+    %s\n", strings.TrimRight(want, "\n"))
		}
	}
	return b.String()
}
