package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"scap/canary"
	"scap/canary/probe"
	"scap/cmd/internal/config"
	"scap/sync/agent"
	"scap/sync/push"
	"scap/sync/release"
	"scap/targets"
	"scap/targets/pool"
	"scap/targets/remote"
)

// fleet is every host of the configuration, each behind its balancers. Nothing is connected before the first question.
type fleet struct {
	conf    *config.Config
	hosts   map[string]*remote.Host
	targets map[string]*pool.Target
	closers []io.Closer            // newest last
	dirs    release.Dirs           // of the releases that this deploy host keeps
	memory  canary.Memory          // what gates know of earlier deploys; nil: nothing
	probed  map[string]*probe.Gate // by host: what judges it by probes in the plan that was made
	judges  []judge                // of the phases that were planned
}

// fleetOptions change how hosts are switched in this run.
type fleetOptions struct {
	emergency bool
	checks    func(ctx context.Context, host string) error // before a host is repooled; nil: none
	fit       func(ctx context.Context, host string) error // and when it did not pass them and was taken back; nil: none
	note      func(host, text string)                      // told what goes otherwise than was said before; nil: nobody
}

// openFleet builds the targets; src is where releases are sent from.
func openFleet(c *config.Config, src push.Source, o fleetOptions) (_ *fleet, err error) {
	f := &fleet{conf: c, hosts: map[string]*remote.Host{}, targets: map[string]*pool.Target{}, probed: map[string]*probe.Gate{}, dirs: src}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	binary, err := readAgent(c)
	if err != nil {
		return nil, err
	}
	d := &dialler{conf: c, agent: binary, turns: make(chan struct{}, c.SSH.MaxConnects)}
	if err := d.openJump(); err != nil {
		return nil, err
	}
	if d.jump != nil {
		f.closers = append(f.closers, d.jump)
	}
	balancers, err := f.balancers(d)
	if err != nil {
		return nil, err
	}
	shared := push.Share(src)
	for _, ph := range c.Phases {
		for _, h := range ph.Hosts {
			if err := f.add(h, d, shared, balancers, o); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func (f *fleet) add(h config.Host, d *dialler, src push.Source, balancers map[string][]pool.Balancer, o fleetOptions) error {
	g := f.conf.Group(h.Group)
	conf, err := agentConfig(f.conf, g, h.Name)
	if err != nil {
		return err
	}
	opener, err := d.host(h.Name)
	if err != nil {
		return err
	}
	host := remote.New(h.Name, opener, src, conf)
	host.SwitchWait = 3 * switchLimit(g) // both directions, and the lock before them
	f.closers = append(f.closers, host)
	f.hosts[h.Name] = host
	var behind []pool.Balancer
	for _, name := range g.Balancers {
		behind = append(behind, balancers[name]...)
	}
	opt := pool.Options{
		Reload: g.Strategy == config.Reload, Handover: g.Strategy == config.ByHandover, Emergency: o.emergency,
		Window: g.Limits.QuietWindow, QuietLimit: g.Limits.QuietTimeout, HealthLimit: g.Limits.Healthy,
		SwitchLimit: host.SwitchWait, Checks: o.checks, Fit: o.fit, Note: o.note,
	}
	f.targets[h.Name] = pool.New(host, behind, opt)
	return nil
}

// all returns the targets in the order in which they are deployed.
func (f *fleet) all() []targets.Target {
	var ts []targets.Target
	for _, ph := range f.conf.Phases {
		ts = append(ts, f.of(ph)...)
	}
	return ts
}

// of returns the targets of one phase.
func (f *fleet) of(ph config.Phase) []targets.Target {
	ts := make([]targets.Target, len(ph.Hosts))
	for i, h := range ph.Hosts {
		ts[i] = f.targets[h.Name]
	}
	return ts
}

// close ends every connection. A switch that runs on a host goes on and ends there.
func (f *fleet) close() {
	for i := len(f.closers) - 1; i >= 0; i-- {
		_ = f.closers[i].Close() // nothing is lost with it
	}
}

// balancers makes one pool.Balancer for each process: all of them must be told.
func (f *fleet) balancers(d *dialler) (map[string][]pool.Balancer, error) {
	all := map[string][]pool.Balancer{}
	for _, b := range f.conf.Balancers {
		var err error
		switch b.Kind {
		case config.HAProxy:
			all[b.Name], err = f.haproxies(b, d)
		case config.Command:
			all[b.Name], err = f.commandBalancer(b)
		}
		if err != nil {
			return nil, usage(fmt.Errorf("balancer %s: %w", b.Name, err))
		}
	}
	return all, nil
}

func (f *fleet) haproxies(b config.Balancer, d *dialler) ([]pool.Balancer, error) {
	var via *remote.SSH
	if b.Via != "" {
		var err error
		if via, err = d.ssh(b.Via, d.jump); err != nil {
			return nil, err
		}
		f.closers = append(f.closers, via)
	}
	var out []pool.Balancer
	for _, socket := range b.Sockets {
		network := "tcp"
		if strings.HasPrefix(socket, "/") {
			network = "unix"
		}
		dial := func(ctx context.Context) (net.Conn, error) {
			if via != nil {
				return via.Dial(ctx, network, socket)
			}
			var nd net.Dialer
			return nd.DialContext(ctx, network, socket)
		}
		name := b.Name
		if len(b.Sockets) > 1 {
			name += " (" + socket + ")"
		}
		h, err := pool.NewHAProxy(name, dial, b.Backend+"/"+b.Server)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

func (f *fleet) commandBalancer(b config.Balancer) ([]pool.Balancer, error) {
	commands := pool.Commands{Drain: b.Drain, Ready: b.Ready, State: b.State, Idle: b.Idle}
	if b.Where == config.OnTarget {
		commands.Run = f.runOnTarget
	}
	c, err := pool.NewCommand(b.Name, commands)
	if err != nil {
		return nil, err
	}
	return []pool.Balancer{c}, nil
}

// runOnTarget runs a balancer's command on the host that it is about.
func (f *fleet) runOnTarget(ctx context.Context, host string, argv []string) (stdout, stderr string, status int, err error) {
	h, ok := f.hosts[host]
	if !ok {
		return "", "", 0, fmt.Errorf("%s: %w", host, errNoHost)
	}
	var d agent.Done
	err = h.Ask(ctx, "command", agent.Command{Argv: argv}, &d)
	return d.Stdout, d.Stderr, d.Status, err
}

// errNoHost names what a verb was asked for and the configuration does not have.
var errNoHost = errors.New("no such host in the configuration")

// named is the set of hosts that a verb was asked for; each must be in the configuration.
func named(c *config.Config, names []string) (map[string]bool, error) {
	known := map[string]bool{}
	for _, ph := range c.Phases {
		for _, h := range ph.Hosts {
			known[h.Name] = true
		}
	}
	asked := map[string]bool{}
	for _, name := range names {
		if !known[name] {
			return nil, usage(fmt.Errorf("%q: %w (%s); `scap config show` lists the hosts, by full name", name, errNoHost, c.File))
		}
		asked[name] = true
	}
	return asked, nil
}
