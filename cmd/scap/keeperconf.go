package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/targets/fpm/keeper"
)

// keeperConfig is what root lets the keeper do on the hosts of a group: /etc/scap/keeper.json there. A pool that listens on
// TCP is left out: it cannot be handed over.
func keeperConfig(c *config.Config, g *config.Group) keeper.Config {
	k := keeper.Config{
		User: c.SSH.User, Root: g.Root, Served: g.Served,
		State: g.Handover.StateDir, Run: g.Handover.RunDir, Reserve: uint64(g.Handover.Reserve), Pools: []keeper.Pool{},
	}
	for _, f := range g.FPM {
		if !strings.HasPrefix(f.Listen, "/") {
			continue
		}
		k.Systemd = k.Systemd || f.Control.Systemd != ""
		k.Pools = append(k.Pools, keeper.Pool{
			Name: f.Name, Listen: f.Listen, Trial: f.Trial, Binary: f.Binary, ConfigFile: f.Config, INI: f.Ini, PingPath: f.PingPath,
			Stop: f.MaxRequest + g.Limits.Quit, Unit: f.Control.Systemd, PIDFile: f.Control.PidFile, Start: slices.Clone(f.Control.Start),
		})
	}
	return k
}

// keeperFile is keeperConfig as the file that root installs.
func keeperFile(c *config.Config, g *config.Group) (string, error) {
	b, err := json.MarshalIndent(keeperConfig(c, g), "", "  ")
	return string(b) + "\n", err
}

func newKeeperCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "keeper HOST|GROUP",
		Short: "print a target's /etc/scap/keeper.json, for strategy handover",
		Long: `Prints what root's part of a handover may do on the hosts of one group: install it there as /etc/scap/keeper.json, owned by
root, mode 0644. ` + "`scap fpm adopt --dry-run HOST`" + ` prints all that root installs on a host.`,
		Args: argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			g, err := groupOf(c, args[0])
			if err != nil {
				return err
			}
			if g.Strategy != config.ByHandover {
				return usage(fmt.Errorf("group %s has strategy %s: only handover has a keeper", g.Name, g.Strategy))
			}
			text, err := keeperFile(c, g)
			if err != nil {
				return err
			}
			fmt.Fprint(a.stdout, text)
			return nil
		},
	}
}

// groupOf finds the group of that name, or the one whose settings a host of that name has.
func groupOf(c *config.Config, name string) (*config.Group, error) {
	if g := c.Group(name); g != nil {
		return g, nil
	}
	for _, ph := range c.Phases {
		for _, h := range ph.Hosts {
			if h.Name == name {
				return c.Group(h.Group), nil
			}
		}
	}
	return nil, usage(fmt.Errorf("%q is neither a group nor a host of %s; `scap config show` lists them", name, c.File))
}
