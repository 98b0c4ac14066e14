package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/sync/release"
	"scap/targets"
	"scap/targets/fpm/webserver"
)

func newFPMCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fpm",
		Short: "handovers: take hosts over from their distribution, or back",
		Long: `With strategy handover each release has a php-fpm of its own, on its own socket, in a mount namespace in which the served
path leads to that release and to no other. The next one is started, warmed and proven where no user is; then its socket is
renamed to where the web server connects. Nothing waits, no host leaves its pool, and the previous php-fpm stays warm for
keep_previous: the way back is the same rename.

Root's part of it is the keeper: a copy of scap-agent that root owns, which starts and ends php-fpm for the pools that
/etc/scap/keeper.json names, and nothing else. Its watch runs all the time: it replaces a php-fpm that dies, ends those that
were kept long enough, and starts the right one after a reboot. ` + "`scap fpm adopt --dry-run HOST`" + ` prints all that root installs,
once, and which lines of the web server's configuration lose requests in a handover. A host that is not adopted, or has no
memory for a second php-fpm, is drained as with strategy drain; ` + "`scap plan` and `scap status`" + ` say so and why.

A command that must see one release from its beginning to its end, such as a maintenance script, is run by ` + "`scap run -- php …`" + `
on the host, or by ` + "`scap-agent run`" + ` where there is no scap.`,
		Args: verbOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFPMAdoptCommand(a), newFPMReleaseCommand(a))
	return cmd
}

func newFPMAdoptCommand(a *app) *cobra.Command {
	var dry, again bool
	cmd := &cobra.Command{
		Use:   "adopt [--dry-run] [--again] HOST…",
		Short: "take a host's php-fpm over from its distribution's unit",
		Long: `One host after the other: out of the pool, the distribution's php-fpm ends and is kept from starting again, the keeper starts
one for the release that is served, it is warmed and proven, and the host goes back into the pool. It ends at the first host
that does not come back. A host that is adopted already is left alone; with --again its php-fpm is started anew, out of the
pool: so it takes in changed settings of PHP, a new extension or a new version, which a handover refuses while users are served.

It begins only where root's part is installed, the keeper's watch runs, and no line of the web server's configuration loses
requests in a handover: upstream keepalive, scripts named by $realpath_root. Such lines are shown as a diff. --dry-run shows
it, and what root installs, and changes nothing.

` + exitTable,
		Args: argCount(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dry {
				return a.rehearseAdoption(cmd.Context(), args)
			}
			return a.changeHands(cmd.Context(), release.Adopt, again, args)
		},
	}
	cmd.Flags().BoolVar(&again, "again", false, "also hosts that are adopted already: start their php-fpm anew, outside the pool")
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "say what root installs and which lines to change; change nothing")
	return cmd
}

func newFPMReleaseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "release HOST…",
		Short: "give a host's php-fpm back to its distribution's unit",
		Long: `The way back from ` + "`scap fpm adopt`" + `: one host after the other leaves the pool, the keeper ends every php-fpm of its own, the
distribution's is started, proven on the release that was served, and the host goes back into the pool. Until it is adopted
again it is drained in a deploy.

` + exitTable,
		Args: argCount(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeHands(cmd.Context(), release.GiveUp, false, args)
		},
	}
}

// changeHands is scap fpm adopt and release.
func (a *app) changeHands(ctx context.Context, hand release.Hand, again bool, names []string) error {
	verb := map[release.Hand]string{release.Adopt: "fpm adopt", release.GiveUp: "fpm release"}[hand]
	d, ctx, err := a.openDeploy(ctx, verb+" "+strings.Join(names, " "), inTurn)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.finished(); err != nil {
		return err
	}
	asked, err := handedOver(d.conf, names)
	if err != nil {
		return err
	}
	if err := d.connect(forward, false); err != nil {
		return err
	}
	seen := phases.Survey(ctx, d.fleet.all(), surveyLimit)
	token := nextToken(seen)
	var errs []error
	lost := "" // what one host did not survive is likely wrong on all
	for _, s := range seen {
		if !asked[s.Name()] {
			continue
		}
		if lost != "" {
			errs = append(errs, notTried(s.Name(), lost))
			continue
		}
		err := d.changeHand(ctx, s, hand, again, token)
		if errors.Is(err, targets.ErrOut) {
			lost = s.Name()
		}
		errs = append(errs, err)
	}
	if err = errors.Join(errs...); lost != "" {
		return coded{exitInconsistent, err}
	}
	return err
}

// handedOver is named, for hosts whose strategy is handover.
func handedOver(c *config.Config, names []string) (map[string]bool, error) {
	asked, err := named(c, names)
	if err != nil {
		return nil, err
	}
	for _, ph := range c.Phases {
		for _, h := range ph.Hosts {
			if g := c.Group(h.Group); asked[h.Name] && g.Strategy != config.ByHandover {
				return nil, usage(fmt.Errorf("%s is of group %s, which has strategy %s: say strategy: handover there first (`scap help fpm`)", h.Name, g.Name, g.Strategy))
			}
		}
	}
	return asked, nil
}

// changeHand takes one host over, or gives it back.
func (d *deploy) changeHand(ctx context.Context, s phases.Seen, hand release.Hand, again bool, token uint64) error {
	id, proven := s.State.Consistent()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", s.Name(), context.Cause(ctx))
	case s.Err != nil:
		return s.Err
	case s.State.Plain:
		return fmt.Errorf("%s: %s is a plain directory: `scap adopt %s` makes it a release first", s.Name(), ui.Clean(s.State.Served), s.Name())
	case !proven:
		return fmt.Errorf("%s: it is not proven on one release (%s): `scap repair %s` first", s.Name(), ui.Clean(orText(s.State.Reason, "disk, running and desired differ")), s.Name())
	case s.State.Proof.Road.Adopted == (hand == release.Adopt) && !again:
		fmt.Fprintf(d.stdout, "%s: its php-fpm is %s already\n", s.Name(), owner(hand))
		return nil
	}
	if hand == release.Adopt {
		if err := d.safe(ctx, s.Name()); err != nil {
			return err
		}
	}
	by := phases.RepairOwner(who())
	if err := d.fleet.hosts[s.Name()].Claim(ctx, token, by); err != nil {
		return err
	}
	if err := d.fleet.targets[s.Name()].Repair(ctx, targets.Switch{From: id, To: id, Token: token, Owner: by, Hand: hand}); err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "%s: its php-fpm is %s; serves %s, proven\n", s.Name(), owner(hand), id.Short())
	return nil
}

// owner says whose php-fpm a host has after hand.
func owner(hand release.Hand) string {
	if hand == release.Adopt {
		return "the keeper's"
	}
	return "its distribution's"
}

// safe refuses a host whose web server would lose requests in a handover.
func (d *deploy) safe(ctx context.Context, host string) error {
	a, err := d.fleet.webServer(ctx, host)
	if err != nil {
		return err
	}
	if !a.Must() {
		return nil
	}
	text := strings.Join(a.Problems, "\n")
	if diff := a.Diff(); diff != "" {
		text = strings.TrimPrefix(text+"\n", "\n") + diff
	}
	return fmt.Errorf("%s: its web server is not ready for a handover; nothing was changed:\n%s", host, harmless(text))
}

// webServer asks a host what its web server's configuration says of its pools.
func (f *fleet) webServer(ctx context.Context, host string) (webserver.Answer, error) {
	var a webserver.Answer
	for _, ph := range f.conf.Phases {
		for _, h := range ph.Hosts {
			if h.Name != host {
				continue
			}
			g := f.conf.Group(h.Group)
			q := webserver.Question{Files: g.Handover.WebConfig, Served: g.Served, Share: float64(ph.Share)}
			for _, p := range g.FPM {
				if strings.HasPrefix(p.Listen, "/") {
					q.Pools = append(q.Pools, webserver.Pool{Listen: p.Listen, Trial: p.Trial})
				}
			}
			if len(q.Pools) == 0 {
				return a, fmt.Errorf("%s: every php-fpm of it listens on TCP: two cannot, so nothing can be handed over; it is drained", host)
			}
			if err := f.hosts[host].Ask(ctx, "webserver", q, &a); err != nil {
				return a, fmt.Errorf("%s: read its web server's configuration: %w", host, err)
			}
		}
	}
	return a, nil
}
