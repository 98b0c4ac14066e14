package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"scap/targets/remote"
)

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print which build this is, and which agent it copies to targets",
		Long:  "Prints the build, and the hash of the agent beside this binary. ssh.agent_binary of a configuration may name another one.",
		Args:  argCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			build := "unknown build"
			if info, ok := debug.ReadBuildInfo(); ok {
				build = info.Main.Version + " " + info.GoVersion
			}
			fmt.Fprintf(a.stdout, "scap %s\n", build)
			agent, err := remote.ReadBinary(agentBeside())
			if err != nil {
				fmt.Fprintf(a.stdout, "no agent beside it: %v\n", err)
				return nil
			}
			fmt.Fprintf(a.stdout, "agent %s %s\n", agent.Sum()[:12], agentBeside())
			return nil
		},
	}
}
