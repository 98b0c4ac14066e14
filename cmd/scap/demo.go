package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/gerrit"
	"scap/fixtures/tree"
	"scap/phases"
)

func newDemoCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "try it: 12 embedded hosts under load, the old way and scap's",
		Long: `Runs the incident of 2023-01-17 on an embedded fleet, without root and without any service: 12 hosts with real agents and
stores behind a model of php-fpm and a balancer, users who ask all the time, and a Gerrit with the repositories of a
wiki. Then backports: a good one, two that must not get far, and a revert. About a minute.`,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDemo(cmd.Context()) },
	}
}

// The demonstration's own figures: short, so that it ends in about a minute. A real fleet has longer ones.
const (
	demoHosts       = 12
	demoRate        = 120 // requests a second of all users
	demoBake        = 2 * time.Second
	demoMinRequests = 20
	demoDwell       = 3 * time.Second
	demoHarm        = "10%"
	demoReloadAfter = 5 * time.Second
	demoBefore      = 6 * time.Second // a gate that has seen no users refuses to begin
)

// demo is one run: the fleet, its users, and where scap's configuration for it is.
type demo struct {
	*app
	fleet *embedded.Fleet
	wiki  *gerrit.Wiki
	load  *embedded.Load
	conf  string
}

// runDemo is scap demo.
func (a *app) runDemo(ctx context.Context) error {
	a.say("An embedded fleet of %d hosts under %d requests/s, half of them logged in.", demoHosts, demoRate)
	a.say("The gates are impatient for the demonstration: %d requests in %s are enough,\nand harm is what fails in %s of requests.\n", demoMinRequests, demoDwell, demoHarm)
	if err := a.demoInPlace(ctx); err != nil {
		return err
	}
	g, err := gerrit.New(gerrit.Options{CI: gerrit.CIOptions{Auto: true, Delay: time.Second}})
	if err != nil {
		return err
	}
	defer g.Close() //nolint:errcheck // a temporary directory is all that could stay
	d := &demo{app: a, wiki: g.Wiki(gerrit.WikiSpec{})}
	d.fleet, err = embedded.New(embedded.Options{Hosts: demoHosts, SSH: true, TCP: true, First: d.wiki.Write})
	if err != nil {
		return err
	}
	defer d.fleet.Close()
	if err := d.configure(); err != nil {
		return err
	}
	if err := d.users(ctx, func(ctx context.Context) error {
		if err := (phases.System{}).Wait(ctx, demoBefore); err != nil {
			return err
		}
		return d.story(ctx)
	}); err != nil {
		return err
	}
	a.say("\nThe same fleet, asked afresh: scap status")
	return d.scap(ctx, exitOK, "status")
}

func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stdout, format+"\n", args...) }

// demoInPlace is the old way: files first, php-fpm a little later.
func (a *app) demoInPlace(ctx context.Context) error {
	f, err := embedded.New(embedded.Options{Hosts: demoHosts, Plain: true})
	if err != nil {
		return err
	}
	defer f.Close()
	a.say("1. The old way: the pair of 2023-01-17 (extension.json and the class it builds)\n   synced in place, php-fpm reloaded %s later.", demoReloadAfter)
	staged, err := f.Stage(tree.GoodB())
	if err != nil {
		return err
	}
	d := &demo{app: a, fleet: f}
	return d.users(ctx, func(ctx context.Context) error {
		began := time.Now()
		if err := f.InPlace(ctx, staged, demoReloadAfter, 20*time.Millisecond); err != nil {
			return err
		}
		d.report(began)
		return nil
	})
}

// users asks for pages while do runs.
func (d *demo) users(ctx context.Context, do func(context.Context) error) error {
	d.load = &embedded.Load{Do: d.fleet.Balancer.Serve, Rate: demoRate, LongFor: time.Second, Rare: "Drift"}
	asking, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.load.Run(asking) })
	err := do(ctx)
	stop()
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// report says what users saw since began.
func (d *demo) report(began time.Time) {
	d.say("   users: %s\n", d.load.Since(began))
}

func (d *demo) configure() error {
	// The embedded hosts run the agent in this process, so what is copied to them is only looked at.
	agent := filepath.Join(d.fleet.Dir(), "scap-agent")
	if err := os.WriteFile(agent, []byte("#!/bin/false\n"), 0o755); err != nil {
		return err
	}
	probes, err := d.fleet.WriteProbes()
	if err != nil {
		return err
	}
	secret := filepath.Join(d.fleet.Dir(), "gerrit.secret")
	if err := os.WriteFile(secret, []byte("deployer:secret\n"), 0o600); err != nil {
		return err
	}
	d.conf, err = d.fleet.WriteYAML(embedded.YAMLOptions{
		AgentBinary: agent, Probes: probes, Logs: true, MinRequests: demoMinRequests, Dwell: demoDwell, HarmRate: demoHarm, Bake: demoBake,
		Tick: time.Second, Width: "4", Git: fmt.Sprintf(demoGit, d.wiki.Server.URL(), secret),
	})
	return err
}

// demoGit says where trees come from. The check of extension.json is off: it would stop the broken change before any host
// has it, and this is about what happens then.
const demoGit = `gerrit: {url: %q, credentials_file: %q, poll: 500ms}
staging: {registration: off, lint: off, php: none}
`

// story deploys two changes, then two that must not get far, and takes the last out of its branch.
func (d *demo) story(ctx context.Context) error {
	if err := d.first(ctx); err != nil {
		return err
	}
	pair, setting := d.wiki.Backport()
	if err := d.step(ctx, exitOK, "2. scap backport: the same pair, and a setting that depends on it.", "backport", fmt.Sprint(pair), fmt.Sprint(setting)); err != nil {
		return err
	}
	broken := d.wiki.Server.Change(d.wiki.Pair(d.wiki.Newest(), tree.Broken()))
	if err := d.step(ctx, exitRolledBack, "3. A broken change (new extension.json beside old PHP): the test servers see it, so nobody approves it.", "backport", fmt.Sprint(broken)); err != nil {
		return err
	}
	drifting := d.wiki.Server.Change(d.wiki.Pair(d.wiki.Newest(), tree.Drifting()))
	if err := d.step(ctx, exitRolledBack, "4. A change that passes every probe and fails one page in five: the canaries' users see it.", "backport", fmt.Sprint(drifting)); err != nil {
		return err
	}
	return d.step(ctx, exitOK, "5. It is merged, though: its revert, so that the next deploy does not ship it.",
		"backport", "--revert", "--now", "--reason", "one page in five fails", fmt.Sprint(drifting))
}

// first deploys the branches as they are, which is what the fleet serves: from now on scap knows of which commits.
func (d *demo) first(ctx context.Context) error {
	var said bytes.Buffer
	inner := &app{stdin: d.stdin, stdout: &said, stderr: &said, leave: d.leave}
	if code := inner.execute(ctx, []string{"-c", d.conf, "--yes", "sync", "the branches as they are"}); code != exitOK && ctx.Err() == nil {
		return fmt.Errorf("the demonstration went wrong: the branches could not be deployed:\n%s", &said)
	}
	return context.Cause(ctx)
}

// step runs scap under a title, and says what users saw of it.
func (d *demo) step(ctx context.Context, want int, title string, args ...string) error {
	d.say("%s\n   $ scap --yes %s", title, strings.Join(args, " "))
	began := time.Now()
	if err := d.scap(ctx, want, args...); err != nil {
		return err
	}
	d.report(began)
	return nil
}

// scap runs the real command line, and is an error when it does not end with want.
func (d *demo) scap(ctx context.Context, want int, args ...string) error {
	args = append([]string{"-c", d.conf, "--yes"}, args...)
	// Its own app, for its own flags; the demonstration's signals are its signals: one Ctrl-C takes the deploy back.
	inner := &app{stdin: d.stdin, stdout: d.stdout, stderr: d.stderr, leave: d.leave}
	got := inner.execute(ctx, args)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.say("   exit code %d", got)
	if got != want {
		return coded{exitError, errors.New("the demonstration went wrong: another exit code was expected")}
	}
	return nil
}
