package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"scap/targets/fpm/keeper"
)

const keeperUsage = `usage: scap-agent keeper [--conf FILE]

Root's part of a handover: answers requests, one line of JSON each, until standard input ends. One rule of sudoers allows it to
the deploy user, with exactly these words; scap config sudoers prints it with the user and the path of scap.yaml:
    mwdeploy ALL=(root) NOPASSWD: /usr/local/sbin/scap-agent keeper

scap-agent keeper [--conf FILE] watch    keeps masters alive and deadlines kept, for as long as it runs; started by init
scap-agent keeper [--conf FILE] units    prints the units for a host with systemd
scap-agent keeper [--conf FILE] enter N  becomes the master of generation N; started by the keeper

Exit code 0: the session ended; 1: it broke; 2: wrong arguments, not root, or a configuration that cannot be trusted.
`

// keeperCommand is `scap-agent keeper`.
func keeperCommand(ctx context.Context, args []string, stdin io.ReadCloser, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("scap-agent keeper", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, keeperUsage); flags.PrintDefaults() }
	file := flags.String("conf", keeper.DefaultFile, "the configuration `file`, which only root may be able to write")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	say := func(err error) { fmt.Fprintf(stderr, "scap-agent keeper: %v\n", err) }
	if os.Geteuid() != 0 {
		say(errors.New("only root can start masters in namespaces of their own: run it through sudo -n"))
		return 2
	}
	conf, err := keeper.Load(*file)
	if err != nil {
		say(err)
		return 2
	}
	// What hangs up must not end an operation that has begun; SIGTERM ends it where nothing is half done.
	ctx, stop := withSignals(ctx)
	defer stop()
	switch {
	case flags.NArg() == 0:
		unread := context.AfterFunc(ctx, func() { _ = stdin.Close() })
		defer unread()
		err = keeper.Serve(ctx, conf, stdin, stdout)
	case flags.Arg(0) == "watch" && flags.NArg() == 1:
		err = keeper.Watch(ctx, conf, stderr)
	case flags.Arg(0) == "units" && flags.NArg() == 1:
		var text string
		if text, err = keeper.Units(conf); err == nil {
			_, err = io.WriteString(stdout, text)
		}
	case flags.Arg(0) == "enter":
		err = keeper.Enter(conf, flags.Args()[1:])
	default:
		flags.Usage()
		return 2
	}
	if err != nil && ctx.Err() == nil {
		say(err)
		return 1
	}
	return 0
}
