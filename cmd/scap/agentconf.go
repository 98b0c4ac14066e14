package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"scap/canary/logs"
	"scap/cmd/internal/config"
	"scap/sync/agent"
	"scap/targets/fpm"
	"scap/targets/fpm/webserver"
)

// agentConfig is what the agent of a host in g is told in its first message: the target's part of scap.yaml.
func agentConfig(c *config.Config, g *config.Group, host string) (json.RawMessage, error) {
	conf := agent.Config{
		Root: g.Root, Served: g.Served, Flag: g.HealthFlag,
		Excludes:    c.Deploy.Excludes,
		SwitchLimit: switchLimit(g),
	}
	parts := []struct {
		into  *json.RawMessage
		value any
	}{
		{&conf.Runtime, runtimeConfig(c, g)},
		{&conf.Logs, logsConfig(c, g, host)},
	}
	for _, p := range parts {
		b, err := json.Marshal(p.value)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", g.Name, err)
		}
		*p.into = b
	}
	return json.Marshal(conf)
}

// acceptable asks the packages that read it on a target whether they would take what the configuration says there. The
// deploy host must hear that from the file, not from every host.
func acceptable(c *config.Config) error {
	var errs []error
	for i := range c.Groups {
		g := &c.Groups[i]
		var err error
		if conf, ok := runtimeConfig(c, g).(fpm.Config); ok {
			err = conf.Validate()
		}
		if conf, ok := logsConfig(c, g, "any").(logs.Config); ok {
			err = errors.Join(err, conf.Check())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: group %s: %w", c.File, g.Name, err))
		}
	}
	f := &fleet{conf: c}
	for _, s := range c.Sources {
		s.CAFile = "" // the deploy host has it, a machine that only checks the configuration need not
		if _, err := f.open(&s); err != nil {
			errs = append(errs, fmt.Errorf("%s: source %s: %w", c.File, s.Name, err))
		}
	}
	return errors.Join(errs...)
}

// switchLimit is the longest that one direction of a switch may take by its own limits.
func switchLimit(g *config.Group) time.Duration {
	d := time.Minute
	for _, f := range g.FPM {
		d += f.MaxRequest
	}
	pages := time.Duration(len(g.WarmUp.Requests) + g.WarmUp.Rounds)
	return d + g.Limits.Quit + g.Limits.Start + g.Limits.Prove + pages*g.Limits.WarmUp
}

// runtimeConfig is nil for a host without php-fpm: nothing runs there, so its disk is the proof.
func runtimeConfig(c *config.Config, g *config.Group) any {
	if len(g.FPM) == 0 {
		return nil
	}
	conf := fpm.Config{
		Served: g.Served, Releases: filepath.Join(g.Root, "releases"), Work: filepath.Join(c.SSH.AgentDir, "work"),
		Strategy: fpm.Strategy(g.Strategy),
		Warm:     fpm.Warm{Base: g.WarmUp.Web, Rounds: g.WarmUp.Rounds, Same: g.WarmUp.SameHeaders},
		Limits: fpm.Limits{
			Answer: fpm.Duration(g.Limits.Answer), Start: fpm.Duration(g.Limits.Start), Stop: fpm.Duration(g.Limits.Quit),
			Warm: fpm.Duration(g.Limits.WarmUp), Prove: fpm.Duration(g.Limits.Prove),
		},
		Quiet:   fpm.Watch{Ignore: ownPaths(g)},
		Outside: g.OutsideCode,
	}
	if g.Strategy == config.ByHandover {
		conf.Keeper = fpm.Keeper{
			Command: g.Handover.Keeper, Keep: fpm.Duration(g.Handover.KeepPrevious), DocumentRoot: g.Handover.DocumentRoot, Params: params(g),
		}
	}
	for _, r := range g.WarmUp.Requests {
		page := fpm.Page{Path: r.Path, Script: r.Script, Host: r.Host, Status: r.Status}
		if h := g.WarmUp.MarkerHeader; h != "" {
			page.Want = map[string]string{h: "{release}"}
		}
		conf.Warm.Pages = append(conf.Warm.Pages, page)
	}
	for _, f := range g.FPM {
		conf.Instances = append(conf.Instances, instance(f))
	}
	return conf
}

// params are what a page of the warm-up carries besides the usual FastCGI parameters.
func params(g *config.Group) map[string]string {
	all := map[string]string{}
	for _, p := range g.Handover.Params {
		all[p.Name] = p.Value
	}
	return all
}

// ownPaths are those that no user asks for.
func ownPaths(g *config.Group) []string {
	if g.Heartbeat == "" {
		return g.HealthPaths
	}
	return append(slices.Clone(g.HealthPaths), g.Heartbeat)
}

func instance(f config.FPM) fpm.Instance {
	i := fpm.Instance{
		Name: f.Name, Listen: f.Listen, Trial: f.Trial, StatusListen: f.StatusListen, StatusPath: f.StatusPath, PingPath: f.PingPath,
		Binary: f.Binary, ConfigFile: f.Config, INI: f.Ini, Longest: fpm.Duration(f.MaxRequest),
		Control: fpm.Control{Unit: f.Control.Systemd, PIDFile: f.Control.PidFile},
	}
	// A pid file's master is signalled directly; everything else goes by the same commands that `config sudoers` grants.
	commands := f.Commands()
	i.Control.Start, i.Control.Quit, i.Control.Reload, i.Control.Kill = commands.Start, commands.Quit, commands.Reload, commands.Kill
	i.Control.Test = commands.Test
	return i
}

func logsConfig(c *config.Config, g *config.Group, host string) any {
	if len(g.Logs) == 0 {
		return nil
	}
	conf := logs.Config{Delay: g.Limits.LogDelay, Own: ownPaths(g), Roots: []string{g.Served, filepath.Join(g.Root, "releases")}}
	if g.HeartbeatLog != "" {
		conf.Ship, conf.Name = g.HeartbeatLog, host
	}
	if g.Heartbeat != "" {
		conf.Heartbeat = g.WarmUp.Web + g.Heartbeat
	}
	for _, f := range g.FPM {
		if f.Trial != "" {
			conf.Trial = append(conf.Trial, f.Trial, webserver.TrialWorker)
			conf.Main = append(conf.Main, f.Listen, webserver.MainWorker)
		}
	}
	for _, l := range g.Logs {
		conf.Sources = append(conf.Sources, logs.Log{Path: l.Path, Kind: logs.Kind(l.Format)})
	}
	for _, s := range c.Signals {
		if s.From == config.HostLogs {
			conf.Signals = append(conf.Signals, logs.Signal{Name: s.Name, Method: s.Method, Path: s.Path, Statuses: []string{s.Status}, Query: s.Query})
		}
	}
	return conf
}
