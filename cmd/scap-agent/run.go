package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"scap/sync/release"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/namespace"
)

const runUsage = `usage: scap-agent run [--root DIR --served PATH] [--release ID] -- COMMAND [ARGUMENT...]

Runs a command as the calling user in a view of this host that has one release in it: the one that is current when it
starts, however often that changes meanwhile. The release is kept as long as the command runs.

The exit code is the command's, 128 and the signal's number when a signal ended it, 125 when it was not started, 2 for
wrong arguments.
`

// runCommand is `scap-agent run`. The files are passed on as they are.
func runCommand(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("scap-agent run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, runUsage); flags.PrintDefaults() }
	conf := flags.String("conf", keeper.DefaultFile, "`file` that says root and served path when they are not given")
	spec := namespace.Spec{Owner: namespace.AnyOwner}
	flags.StringVar(&spec.Root, "root", "", "`directory` of the store")
	flags.StringVar(&spec.Served, "served", "", "`path` that leads to the current release (default: DIR/current)")
	flags.TextVar(&spec.Release, "release", release.ID{}, "the release's `ID`, in full (default: the current one)")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() == 0:
		flags.Usage()
		return 2
	}
	if spec.Root == "" {
		if err := known(*conf, &spec); err != nil {
			fmt.Fprintf(stderr, "scap-agent run: where are the releases? Give --root and --served, or let root install keeper.json: %v\n", err)
			return 2
		}
	}
	code, err := namespace.Run(ctx, spec, flags.Args(), stdin, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "scap-agent run: %v\n", err)
		return namespace.NotStarted
	}
	return code
}

// known fills in what root has written down for the keeper.
func known(file string, spec *namespace.Spec) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c struct{ Root, Served string } // the rest is the keeper's
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	spec.Root = c.Root
	if spec.Served == "" {
		spec.Served = c.Served
	}
	return nil
}
