package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"scap/canary"
	"scap/canary/logs"
	"scap/canary/opensearch"
	"scap/canary/prom"
	"scap/cmd/internal/config"
	"scap/sync/release"
)

// traffic is the gate over one source of what users saw, as ph judges it; later are the phases that still run the old
// release then.
func (f *fleet) traffic(name string, ph config.Phase, later []config.Phase) (*canary.Traffic, error) {
	source, err := f.source(name)
	if err != nil {
		return nil, usage(fmt.Errorf("source %s: %w", name, err))
	}
	g := &canary.Traffic{
		From: name, Source: source, Canaries: hostNames([]config.Phase{ph}),
		Rule: rule(ph.Gate), Signals: f.signals(name, ph.Gate), Changed: f.changed,
		MaxWait: ph.Gate.MaxWait, Controls: ph.Gate.Controls, AskLimit: askLimit,
	}
	if f.memory != nil {
		g.Memory = f.memory
	}
	for _, l := range later {
		if l.Gate.Judges(name) {
			g.Others = append(g.Others, hostNames([]config.Phase{l})...)
		}
	}
	return g, nil
}

// askLimit is how long one host may take to read its logs.
const askLimit = 20 * time.Second

// rule is a gate's own, with ticks as fine as a rule may have.
func rule(g *config.Gate) canary.Rule {
	return canary.Rule{
		Tick:      min(max(g.Tick.Truncate(time.Second), time.Second), 5*time.Second),
		HarmRatio: g.HarmRatio, HarmRate: float64(g.HarmRate), MinRequests: int64(g.MinRequests), Dwell: g.Dwell,
	}
}

// signals are those of g that a source counts.
func (f *fleet) signals(source string, g *config.Gate) []canary.Signal {
	var list []canary.Signal
	for _, name := range g.Signals {
		if s := f.conf.Signal(name); s != nil && s.From == source {
			list = append(list, canary.Signal{Name: name, AtLeast: s.AtLeast, RedBelow: float64(s.RedBelow) / 100})
		}
	}
	return list
}

// source opens a source by its name.
func (f *fleet) source(name string) (canary.Source, error) {
	if name == config.HostLogs {
		return f.hostLogs(), nil
	}
	if c := f.conf.Source(name); c != nil {
		return f.open(c)
	}
	return nil, errors.New("it is not in the configuration")
}

// hostLogs are the logs that hosts keep themselves.
func (f *fleet) hostLogs() canary.Source {
	return &logs.Source{Reader: logs.ReaderFunc(f.readLogs), AskLimit: askLimit}
}

// open opens a source that is none of the hosts themselves.
func (f *fleet) open(c *config.Source) (canary.Source, error) {
	good := map[string]string{}
	for _, s := range f.conf.Signals {
		if s.From == c.Name {
			good[s.Name] = s.Query
		}
	}
	if c.Kind == config.Prometheus {
		return prom.New(prom.Config{
			URL: c.URL, Requests: c.Requests, Failing: c.Failing, Good: good, HostLabel: c.HostLabel, Host: c.Host, ReleaseLabel: c.ReleaseLabel,
			Heartbeat: c.Heartbeat, Nonce: c.Nonce, Step: c.Step, Settle: c.Settle, CredentialsFile: c.CredentialsFile, CAFile: c.CAFile, Timeout: c.Timeout,
		})
	}
	s, err := opensearch.New(opensearch.Config{
		URL: c.URL, Index: c.Index, Failing: c.Failing, Requests: c.Requests, Good: good, Heartbeat: c.Heartbeat, Host: c.Host,
		Fields: opensearch.Fields{
			Time: c.Fields.Time, Host: c.Fields.Host, Release: c.Fields.Release, Request: c.Fields.Request, Class: c.Fields.Class,
			Message: c.Fields.Message, File: c.Fields.File, Level: c.Fields.Level, Nonce: c.Fields.Nonce,
		},
		Roots: f.roots(), Step: c.Step, Settle: c.Settle,
		CredentialsFile: c.CredentialsFile, CAFile: c.CAFile, Timeout: c.Timeout,
	})
	if err != nil || c.Requests != "" {
		return s, err
	}
	return canary.Joined{Exposure: f.hostLogs(), Failures: s.Failures()}, nil // it knows what failed and not of how many
}

// roots are the paths at which releases are found on hosts.
func (f *fleet) roots() []string {
	var list []string
	for _, g := range f.conf.Groups {
		list = append(list, g.Served, filepath.Join(g.Root, "releases"))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (f *fleet) readLogs(ctx context.Context, host string, q logs.Query) (logs.Page, error) {
	var p logs.Page
	h, ok := f.hosts[host]
	if !ok {
		return p, fmt.Errorf("%s: %w", host, errNoHost)
	}
	return p, h.Ask(ctx, "logs", q, &p)
}

// changed lists the files that differ between two releases of the deploy host's store.
func (f *fleet) changed(from, to string) ([]string, error) {
	base, err := release.ParseID(from)
	if err != nil {
		return nil, err
	}
	next, err := release.ParseID(to)
	if err != nil {
		return nil, err
	}
	d, err := release.Diff(f.dirs, base, next)
	if err != nil {
		return nil, err
	}
	paths := make([]string, 0, len(d.Put)+len(d.Remove))
	for _, c := range d.Put {
		if c.Entry.Kind != release.Directory {
			paths = append(paths, c.Path)
		}
	}
	for _, c := range d.Remove {
		paths = append(paths, c.Path)
	}
	return paths, nil
}

// memoryPath is what the deploy host remembers of its fleet between deploys: kinds of failure, and how they cluster.
func memoryPath(c *config.Config) string { return filepath.Join(c.Deploy.DeployDir, "gate.json") }

// among is a gate that sees some of a window's hosts: those whose traffic it can judge. A test server that no user asks,
// or a host without php-fpm, is neither a canary nor a control of what users see.
type among struct {
	*canary.Traffic
	hosts map[string]bool
}

// Judge looks at the hosts that it knows.
func (a among) Judge(ctx context.Context, w canary.Window, prior canary.Evidence) (canary.Ruling, error) {
	w.Canary, w.Earlier, w.Control = a.of(w.Canary), a.of(w.Earlier), a.of(w.Control)
	return a.Traffic.Judge(ctx, w, prior)
}

func (a among) of(hosts []canary.Host) []canary.Host {
	var list []canary.Host
	for _, h := range hosts {
		if a.hosts[h.Machine()] {
			list = append(list, h)
		}
	}
	return list
}

// judgedBy are the hosts of all phases that a source judges.
func (f *fleet) judgedBy(source string) map[string]bool {
	hosts := map[string]bool{}
	for _, ph := range f.conf.Phases {
		if ph.Gate.Judges(source) {
			for _, h := range ph.Hosts {
				hosts[h.Name] = true
			}
		}
	}
	return hosts
}

// judge is what judges the traffic of a phase.
type judge struct {
	phase string
	gate  *canary.Traffic
	alone bool // there are hosts that could be compared with, and the source is not asked of them
}

// alone reports whether users ask hosts of later phases, and none of these is judged by the source.
func alone(source string, later []config.Phase) bool {
	asked := false
	for _, l := range later {
		if l.Gate == nil || len(l.Hosts) == 0 {
			continue
		}
		if l.Gate.Judges(source) {
			return false
		}
		asked = asked || len(l.Gate.Sources) > 0
	}
	return asked
}

// outlook says for each gate how long it will need at the traffic of now.
func (f *fleet) outlook(ctx context.Context, w io.Writer) {
	for _, j := range f.judges {
		if j.alone {
			fmt.Fprintf(w, "phase %s, %s: no gate of a later phase names %[2]s, so it compares with the time before only, not with hosts that run the old release\n", j.phase, j.gate.From)
		}
		o, err := j.gate.Outlook(ctx)
		if err != nil {
			fmt.Fprintf(w, "phase %s, %s: %s\n", j.phase, j.gate.From, harmless(err.Error()))
			continue
		}
		fmt.Fprintf(w, "phase %s, %s: %s\n", j.phase, j.gate.From, o)
	}
}
