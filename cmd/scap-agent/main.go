// Command scap-agent runs on a target, started by scap over SSH. It serves one session on stdin and stdout and works on
// the host's store and php-fpm. A switch that has begun it ends, also when the connection, the terminal or the deploy
// host is gone; everything else it gives up then.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"scap/sync/agent"
	"scap/targets/fpm/namespace"
)

func main() {
	namespace.Entrance()
	if len(os.Args) > 1 && os.Args[1] == "run" {
		os.Exit(runCommand(context.Background(), os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == "keeper" {
		os.Exit(keeperCommand(context.Background(), os.Args[2:], pollable(os.Stdin), os.Stdout, os.Stderr))
	}
	os.Exit(run(context.Background(), os.Args[1:], pollable(os.Stdin), pollable(os.Stdout), os.Stderr, open))
}

const usage = `usage: scap-agent

Serves one session of scap on standard input and output, as the deploy user of a target. scap copies it there and starts it.

scap-agent run -- COMMAND    runs a command that sees one release from its beginning to its end
scap-agent keeper            root's part of a handover

Each has its own --help. Exit code 0: the session ended; 1: it broke; 2: wrong arguments.
`

// opener makes the host that an orchestrator describes.
type opener func(context.Context, agent.Config) (*agent.Host, error)

// run is main without the process: it returns the exit code. 0: the session ended as it should; 1: it broke; 2: usage.
func run(ctx context.Context, args []string, stdin io.ReadCloser, stdout io.WriteCloser, stderr io.Writer, open opener) int {
	flags := flag.NewFlagSet("scap-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	version := flags.Bool("version", false, "print the SHA-256 of this program and exit")
	allowRoot := flags.Bool("allow-root", false, "run although the user is root")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "scap-agent: %q is no argument of mine: I am started by scap and speak its protocol; see scap-agent --help\n", flags.Arg(0))
		return 2
	}
	if *version {
		return printVersion(stdout, stderr)
	}
	if os.Geteuid() == 0 && !*allowRoot {
		fmt.Fprintln(stderr, "scap-agent: refusing to run as root: whoever can write this file would be root")
		return 2
	}
	ctx, stop := withSignals(ctx)
	defer stop()
	if err := agent.ServeWith(ctx, open, &stdio{stdin, stdout}); err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "scap-agent: %v\n", err)
		return 1
	}
	return 0
}

// withSignals returns a context that ends with the first SIGTERM or SIGINT. SIGHUP and SIGPIPE only say that the connection
// is gone, which the session notices by itself. All are caught, not ignored: what this process starts would inherit that.
func withSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	gone := make(chan os.Signal, 1)
	signal.Notify(gone, syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	return ctx, func() { stop(); signal.Stop(gone) }
}

func printVersion(stdout, stderr io.Writer) int {
	sum, err := ownSum()
	if err != nil {
		fmt.Fprintf(stderr, "scap-agent: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, sum)
	return 0
}

// ownSum returns the SHA-256 of the running program.
func ownSum() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// pollable makes a read or write on a pipe end when the file is closed. Files that cannot be polled stay as they are.
func pollable(f *os.File) *os.File {
	fd := f.Fd() // once: it makes the file blocking
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return f
	}
	return os.NewFile(fd, f.Name())
}

// stdio joins the two streams of a session.
type stdio struct {
	io.ReadCloser
	w io.WriteCloser
}

// Write writes to stdout.
func (s *stdio) Write(p []byte) (int, error) { return s.w.Write(p) }

// Close closes both streams.
func (s *stdio) Close() error { return errors.Join(s.ReadCloser.Close(), s.w.Close()) }
