package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/targets/lease"
)

type lockOptions struct {
	all bool
	dur time.Duration
}

func newLockCommand(a *app) *cobra.Command {
	var o lockOptions
	cmd := &cobra.Command{
		Use:   "lock [REASON…]",
		Short: "keep others from deploying here; show who holds the lock",
		Long: `With a REASON, of one word or several, it takes the lock that every deploy takes, in its turn, and holds it until Ctrl-C,
until --for is over, or until its terminal is gone. Who wants to deploy meanwhile is told who holds it, since when and why, and waits for deploy.wait in the
order of coming; who waits is shown here. A rollback goes before the others who wait.

Without a REASON it says who holds the lock and who waits for it.

Exit codes:
  0    held for as long as it was to be, or shown
  2    usage or configuration
  6    locked by somebody else for longer than deploy.wait
  130  cancelled before it was had
`,
		Example: `  scap lock row B is being recabled --for 2h
  scap lock`,
		Args: argCount(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && (o.dur != 0 || o.all) {
				return usage(errors.New("lock wants a REASON: those who wait are told"))
			}
			return a.runLock(cmd.Context(), strings.Join(args, " "), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "for habit: there is one lock, and it is for every kind of deploy")
	f.DurationVar(&o.dur, "for", 0, "let go of it after this `TIME`, such as 90m")
	return cmd
}

// lockPath is the lock file of the deploy host.
func lockPath(c *config.Config) string { return filepath.Join(c.Deploy.DeployDir, "lock") }

// runLock is scap lock.
func (a *app) runLock(ctx context.Context, why string, o lockOptions) error {
	conf, err := a.load()
	switch {
	case err != nil:
		return err
	case why == "":
		return showLock(a.stdout, lockPath(conf), running)
	case strings.TrimSpace(why) == "":
		return usage(errors.New("say why: those who wait are told"))
	case o.dur < 0:
		return usage(fmt.Errorf("--for %s: want a time that is not over", o.dur))
	}
	if err := makeDeployDir(conf.Deploy.DeployDir); err != nil {
		return err
	}
	lock, err := a.acquire(ctx, conf, why, inTurn)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the kernel frees it with the process at the latest
	return a.holdLock(ctx, lock, lockPath(conf), o)
}

// holdLock holds the lock, and shows who waits for it.
func (a *app) holdLock(ctx context.Context, lock *lease.Lease, path string, o lockOptions) error {
	hung := make(chan os.Signal, 1) // a lock whose terminal is gone is nobody's
	signal.Notify(hung, syscall.SIGHUP)
	defer signal.Stop(hung)
	until := "until Ctrl-C"
	var over <-chan time.Time
	if o.dur > 0 {
		over = time.After(o.dur)
		until = "until " + time.Now().Add(o.dur).UTC().Format(time.TimeOnly) + " UTC or Ctrl-C"
	}
	fmt.Fprintf(a.stdout, "locked by %s, %s\n", ui.Clean(who()), until)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var shown []lease.Holder
	for {
		if list, err := lease.Waiting(path); err == nil && !slices.EqualFunc(list, shown, sameHolder) { // else it is looked at again
			shown = list
			fmt.Fprintf(a.stdout, "%d waiting\n", len(list))
			writeWaiting(a.stdout, list)
		}
		select {
		case <-tick.C:
			continue
		case <-over:
		case <-hung:
		case <-lock.Context().Done():
			if ctx.Err() == nil {
				return context.Cause(lock.Context()) // lost: others may be at work
			}
		}
		fmt.Fprintln(a.stdout, "unlocked")
		return nil
	}
}

// showLock says who holds the lock and who waits for it. alive says whether a process is there.
func showLock(w io.Writer, path string, alive func(pid int) bool) error {
	h, err := lease.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintln(w, "nobody holds the lock")
	case err != nil:
		return fmt.Errorf("who holds the lock: %w", err)
	case !alive(h.PID):
		fmt.Fprintf(w, "nobody holds the lock; the last one ended without letting go: %s\n", holderText(h))
	default:
		fmt.Fprintf(w, "held by %s\n", holderText(h))
	}
	list, err := lease.Waiting(path)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		fmt.Fprintf(w, "%d waiting\n", len(list))
		writeWaiting(w, list)
	}
	return nil
}

func writeWaiting(w io.Writer, list []lease.Holder) {
	for i, h := range list {
		fmt.Fprintf(w, "  %d. %s\n", i+1, holderText(h))
	}
}

// holderText is one line about who holds the lock or waits for it.
func holderText(h lease.Holder) string {
	if h.Who == "" {
		return "somebody whose name could not be read"
	}
	return ui.Clean(fmt.Sprintf("%s since %s UTC (pid %d): %s", h.Who, h.Since.UTC().Format(time.DateTime), h.PID, h.Why))
}

func sameHolder(a, b lease.Holder) bool {
	return a.PID == b.PID && a.Who == b.Who && a.Since.Equal(b.Since)
}

// running reports whether a process of this host is there, or was when nobody may say.
func running(pid int) bool { return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
