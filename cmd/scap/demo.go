package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
	"scap/phases"
)

func newDemoCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "try it: 12 embedded hosts under load, the old way and scap's",
		Long: `Runs the incident of 2023-01-17 on an embedded fleet, without root and without any service: 12 hosts with real agents and
stores behind a model of php-fpm and a balancer, and users who ask all the time. About a minute.`,
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
	f, err := embedded.New(embedded.Options{Hosts: demoHosts, SSH: true, TCP: true})
	if err != nil {
		return err
	}
	defer f.Close()
	d := &demo{app: a, fleet: f}
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
	d.conf, err = d.fleet.WriteYAML(embedded.YAMLOptions{
		AgentBinary: agent, Probes: probes, Logs: true, MinRequests: demoMinRequests, Dwell: demoDwell, HarmRate: demoHarm, Bake: demoBake,
		Tick: time.Second, Width: "4",
	})
	return err
}

// story deploys the good pair, then two releases that must not get far.
func (d *demo) story(ctx context.Context) error {
	steps := []struct {
		title   string
		release tree.AppOptions
		want    int
	}{
		{"2. scap sync: the same pair.", tree.GoodB(), exitOK},
		{"3. scap sync: a broken release (new extension.json beside old PHP).", tree.Broken(), exitRolledBack},
		{"4. scap sync: a release that passes every probe and fails one page in five.", tree.Drifting(), exitRolledBack},
	}
	for _, s := range steps {
		d.say("%s", s.title)
		if _, err := d.fleet.Stage(s.release); err != nil {
			return err
		}
		began := time.Now()
		if err := d.scap(ctx, s.want, "sync", s.title[len("2. scap sync: "):]); err != nil {
			return err
		}
		d.report(began)
	}
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
