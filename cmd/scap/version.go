package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print which build this is and which agent it would copy to targets",
		Args:  argCheck(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			build := "unknown build"
			if info, ok := debug.ReadBuildInfo(); ok {
				build = info.Main.Version + " " + info.GoVersion
			}
			fmt.Fprintf(a.stdout, "scap %s\n", build)
			return nil
		},
	}
}
