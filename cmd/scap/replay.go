package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"scap/fixtures/incidents"
)

func newReplayCommand(a *app) *cobra.Command {
	method := string(incidents.Tool)
	names := make([]string, 0, len(incidents.Methods()))
	for _, m := range incidents.Methods() {
		names = append(names, string(m))
	}
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "replay an incident on an embedded fleet, beside its report",
		Long: `Plays a scenario file (fixtures/incidents in the source) with the real pipeline and the real gate against an embedded fleet on a
virtual clock, and prints what happened beside the timeline of the report. It needs no configuration, no root and no network.

--method plays it in another way: as it was done then, or against a gate that is broken on purpose. Exit code 0: all that the
file expects of that method has come true.`,
		Example: `  scap replay fixtures/incidents/2023-01-17.yaml
  scap replay fixtures/incidents/2023-01-17.yaml --method old`,
		Args: argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.replay(cmd.Context(), args[0], method) },
	}
	cmd.Flags().StringVar(&method, "method", method, "`WAY`: "+strings.Join(names, ", "))
	return cmd
}

// replay is scap replay.
func (a *app) replay(ctx context.Context, path, method string) error {
	m, err := incidents.ParseMethod(method)
	if err != nil {
		return usage(fmt.Errorf("--method: %w", err))
	}
	s, err := incidents.Load(path)
	if err != nil {
		return usage(err)
	}
	story, err := s.Play(ctx, m)
	if err != nil {
		return err
	}
	const widest = 120
	if err := story.Render(a.stdout, min(max(a.columns(), 80), widest)); err != nil {
		return err
	}
	if err := story.Check(); err != nil {
		return errors.Join(errors.New("it did not go as the file expects"), err)
	}
	return nil
}
