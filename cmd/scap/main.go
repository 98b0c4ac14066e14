// Command scap deploys MediaWiki: it snapshots a staged tree as a release, puts it on every target unseen, switches code
// and php-fpm as one, judges the result on canaries and goes back to one release whatever happens in between.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"scap/cmd/internal/ui"
	"scap/targets/fpm/namespace"
)

func main() {
	namespace.Entrance() // `scap run` starts this program again to enter a release
	os.Exit(process(&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

// process is what a process of scap is besides run.
func process(a *app, args []string) int {
	// A deploy outlives the terminal that started it: a hang-up, a closed pipe or a vanished screen must not end it
	// between two hosts. What cannot be printed is still in the journal.
	a.nohup = signal.Ignored(syscall.SIGHUP)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	a.stderr = &patient{w: a.stderr}
	a.background = behind
	return a.run(context.Background(), args)
}

// run hears signals while it executes args.
func (a *app) run(ctx context.Context, args []string) int {
	s := watchSignals(ctx, a.announce)
	defer s.stop()
	a.leave, a.deaf = s.leave, s.stop
	return a.execute(s.ctx, args)
}

// execute parses args, does what they ask and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err != nil && !errors.Is(err, errQuiet) {
		fmt.Fprintf(a.stderr, "scap: %s\n", harmless(err.Error()))
	}
	return code
}

// harmless keeps what hosts, logs and files put into a text from doing anything to a terminal. Its lines stay.
func harmless(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = ui.Clean(line)
	}
	return strings.Join(lines, "\n")
}
