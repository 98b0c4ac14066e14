package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
)

func newWatchCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch [DEPLOY]",
		Short: "go on judging the last deploy after its end; roll back on a fail",
		Long: `A deploy that ended well is watched for deploy.watch, in the background: ` + "`scap sync`" + ` starts this verb by itself, unless
--no-watch. It takes no lock. When the gate fails the release it says so (announcers) and rolls back, as a deploy of
its own; when another deploy has begun it ends. A watch that died is taken up again by this verb, with what it had seen.

What it says goes to stdout; of one in the background to the file beside the deploy's journal that ends in .watch.

` + exitTable,
		Example: `  scap watch            # take up the watch of the last deploy, in the foreground`,
		Args:    argCount(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runWatch(cmd.Context(), strings.Join(args, ""))
		},
	}
}

// runWatch is scap watch.
func (a *app) runWatch(ctx context.Context, name string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	last, err := watchable(journalDir(conf), name)
	if err != nil {
		return err
	}
	d := &deploy{app: a, conf: conf}
	failed, err := d.watch(ctx, last)
	d.close()
	if !failed {
		return err
	}
	return a.takeBack(ctx, conf, last, err)
}

// watchable finds the deploy to watch: the one named, or the last.
func watchable(dir, name string) (journal.Deploy, error) {
	past, err := journal.List(dir)
	if err != nil {
		return journal.Deploy{}, err
	}
	for _, d := range past {
		switch {
		case name == "" && !d.Changed, name != "" && d.Name != name:
			continue
		case d.How != journal.Deployed && d.How != journal.Inconsistent: // of the latter the Runner knows whether every gate passed
			return d, fmt.Errorf("deploy %s did not end well (%s): there is nothing to watch", d.Name, orText(d.How, "it has not ended"))
		case d.Outline.Back:
			return d, fmt.Errorf("deploy %s was a rollback: there is nothing to watch", d.Name)
		}
		return d, nil
	}
	if name != "" {
		return journal.Deploy{}, usage(fmt.Errorf("no deploy is called %q; their journals are in %s", name, dir))
	}
	return journal.Deploy{}, errors.New("no deploy was made from this deploy host: there is nothing to watch")
}

// watch looks until the time is over. It reports whether the gate failed the release; what it says then is why.
func (d *deploy) watch(ctx context.Context, last journal.Deploy) (failed bool, err error) {
	past, err := journal.Load(last.Path)
	if err != nil {
		return false, err
	}
	if err := d.connect(forward, false); err != nil {
		return false, err
	}
	to, err := release.ParseID(last.To)
	if err != nil {
		return false, err
	}
	p, err := d.fleet.plan(last.Name, release.Release{ID: to}, planOptions{message: last.Outline.Message, watch: true})
	if err != nil {
		return false, err
	}
	if p.From, err = release.ParseID(last.From); err != nil {
		return false, err
	}
	if p.Watch.Gate == nil {
		return false, usage(errors.New("nothing can be watched: no phase has a gate with sources, or deploy.watch is 0s"))
	}
	d.view = d.newView()
	r := &phases.Runner{Journal: journal.After(last.Path), Leave: d.leave.Done(), Observers: d.observers()}
	d.crew.Recall(slices.Values(past))
	err = r.Watch(ctx, p, slices.Values(past))
	switch {
	case errors.Is(err, phases.ErrSuperseded):
		fmt.Fprintf(d.stderr, "scap: %s\n", harmless(err.Error()))
		return false, nil
	case errors.Is(err, phases.ErrGate):
		return true, err
	}
	return false, err
}

// takeBack rolls a release back that its watch has failed, and tells everybody. It leaves alone what another deploy has
// done to the fleet meanwhile.
func (a *app) takeBack(ctx context.Context, conf *config.Config, last journal.Deploy, why error) error {
	a.broadcast(ctx, conf, fmt.Sprintf("deploy %s by %s (%s) is rolled back, %s after its end: %s",
		last.Name, last.Outline.User, last.Outline.Message, time.Since(last.Ended).Round(time.Second), why))
	past, err := journal.Load(last.Path)
	if err == nil {
		o := syncOptions{because: "the watch of " + last.Name + " failed", still: func(seen []phases.Seen) error {
			return phases.Superseded(seen, slices.Values(past))
		}}
		err = a.unlocked(ctx, conf, func() error { return a.runRollback(ctx, last.From, o) })
	}
	switch {
	case err == nil:
		a.broadcast(ctx, conf, fmt.Sprintf("every host is back on %.12s, proven", last.From))
		return coded{exitRolledBack, why}
	case errors.Is(err, phases.ErrSuperseded):
		a.broadcast(ctx, conf, fmt.Sprintf("it is NOT rolled back: %v", err))
		return nil
	case exitCode(err) == exitLocked:
		a.broadcast(ctx, conf, fmt.Sprintf("it could NOT be rolled back: %v. `scap rollback` does it once the lock is free", err))
	default:
		a.broadcast(ctx, conf, fmt.Sprintf("the rollback went wrong: %s. `scap status` shows the fleet, `scap resume` goes on", ending(conf, err)))
	}
	return err
}

// How long whoever rolls back without being asked waits for the lock, and how often it tries.
const (
	lockLimit = 30 * time.Minute
	lockPause = time.Second
)

// unlocked does what takes the lock, as soon as nobody else holds it.
func (a *app) unlocked(ctx context.Context, conf *config.Config, do func() error) error {
	limit, told := time.Now().Add(lockLimit), false
	for {
		err := do()
		if exitCode(err) != exitLocked || time.Now().After(limit) {
			return err
		}
		if !told {
			a.broadcast(ctx, conf, fmt.Sprintf("the rollback waits: %v", err))
			told = true
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(lockPause):
		}
	}
}

// ending is err in words, also when a view has told them already: then they stand in the journal.
func ending(conf *config.Config, err error) string {
	if !errors.Is(err, errQuiet) {
		return err.Error()
	}
	last, _, _ := journal.Latest(journalDir(conf)) // without it there is nothing more to say
	return orText(last.Text, orText(last.How, "see its journal"))
}

// watchPath is where a watch in the background says what it says.
func watchPath(journalPath string) string {
	return strings.TrimSuffix(journalPath, filepath.Ext(journalPath)) + ".watch"
}

// watchBehind starts the watch of the deploy that has just ended, in a session of its own: it outlives this process and
// its terminal. A watch that cannot be started is told; the deploy is over and stays.
func (d *deploy) watchBehind(p phases.Plan) {
	if p.Watch.For == 0 || d.background == nil {
		return
	}
	args := []string{"-c", d.configPath}
	for _, o := range d.overrides {
		args = append(args, "-D", o)
	}
	path := watchPath(d.journal.Path())
	if err := d.background(path, append(args, "watch", d.journal.Deploy())); err != nil {
		fmt.Fprintf(d.stderr, "scap: the deploy is not watched: %s; `scap watch` does it here\n", harmless(err.Error()))
		return
	}
	if !d.json {
		fmt.Fprintf(d.stdout, "Watched for %s more in the background: %s\n", config.FormatDuration(p.Watch.For), path)
	}
}

// behind starts this program with args in the background, its words in the file at path.
func behind(path string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(self, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// broadcast tells those who do not look at this terminal. It is told once, and whatever becomes of it holds up nothing.
func (a *app) broadcast(ctx context.Context, conf *config.Config, text string) {
	text = "scap: " + harmless(text)
	fmt.Fprintln(a.stderr, text)
	crew, err := openCrew(conf)
	if err == nil && crew == nil {
		return
	}
	errs := []error{err}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), crewLimit)
		defer cancel()
		errs = append(crew.Say(ctx, text), crew.Close(ctx)...)
	}
	for _, err := range errs {
		if err != nil {
			fmt.Fprintf(a.stderr, "scap: %s\n", harmless(err.Error()))
		}
	}
}

// head keeps the beginning of what is written to it.
type head []byte

// Write never fails.
func (h *head) Write(p []byte) (int, error) {
	const most = 300
	*h = append(*h, p[:min(len(p), most-len(*h))]...)
	return len(p), nil
}
