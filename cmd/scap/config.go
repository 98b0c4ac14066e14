package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newConfigCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "check or show it, or print what root installs on targets",
		Long:  "Reads the configuration and changes nothing. scap.yaml in the source tree is a complete, commented example.",
		Args:  verbOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newKeeperCommand(a),
		&cobra.Command{
			Use: "check", Short: "report every mistake at once, with file, line and column", Args: argCount(0, 0),
			RunE: func(*cobra.Command, []string) error {
				c, err := a.load()
				if err != nil {
					return err
				}
				hosts := 0
				for _, ph := range c.Phases {
					hosts += len(ph.Hosts)
				}
				fmt.Fprintf(a.stdout, "%s: no mistake; %s in %s\n", c.File, some(hosts, "host"), some(len(c.Phases), "phase"))
				return nil
			},
		},
		&cobra.Command{
			Use: "show", Short: "print what is in force: defaults filled in, host ranges expanded", Args: argCount(0, 0),
			RunE: func(*cobra.Command, []string) error {
				c, err := a.load()
				if err != nil {
					return err
				}
				return c.Show(a.stdout)
			},
		},
		&cobra.Command{
			Use: "sudoers", Short: "print the lines that each group's targets need in sudoers", Args: argCount(0, 0),
			RunE: func(*cobra.Command, []string) error {
				c, err := a.load()
				if err != nil {
					return err
				}
				fmt.Fprint(a.stdout, c.Sudoers())
				return nil
			},
		},
	)
	return cmd
}
