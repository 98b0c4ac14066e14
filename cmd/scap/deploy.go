package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"scap/canary"
	"scap/canary/probe"
	"scap/cmd/internal/announce"
	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/sync/store"
	"scap/targets/lease"
)

// deploy is one run of a verb that changes the fleet: it holds the lock, the deploy host's store, the connections, the
// journal and what shows it.
type deploy struct {
	*app
	conf    *config.Config
	lock    *lease.Lease
	store   *store.Store
	fleet   *fleet
	to      way
	probes  map[string]*probe.Set // by host: those of its phase
	release release.ID            // that is deployed
	journal *journal.Writer
	view    ui.View
	crew    *announce.Crew   // tells those who do not look at this terminal; nil tells nobody
	before  []journal.Record // done before the Runner begins
	early   early            // what hosts do before that
}

// journalDir is where the journals of all deploys are.
func journalDir(c *config.Config) string { return filepath.Join(c.Deploy.DeployDir, "journal") }

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// openDeploy takes the lock and opens the deploy host's store. The context it returns ends when the lock is lost.
func (a *app) openDeploy(ctx context.Context, why string, t turn) (*deploy, context.Context, error) {
	conf, err := a.load()
	if err != nil {
		return nil, ctx, err
	}
	if err := makeDeployDir(conf.Deploy.DeployDir); err != nil {
		return nil, ctx, err
	}
	began := time.Now()
	lock, err := a.acquire(ctx, conf, why, t)
	if err != nil {
		return nil, ctx, err
	}
	ctx = lock.Context()
	d := &deploy{app: a, conf: conf, lock: lock}
	d.did(journal.Lock, began, "%s: %s", who(), why)
	if d.store, err = store.Open(filepath.Join(conf.Deploy.DeployDir, "store")); err != nil {
		d.close()
		return nil, ctx, err
	}
	return d, ctx, nil
}

// makeDeployDir makes the deploy host's directory where it is missing. All deployers work there as one user: what one
// account leaves half done another must be able to end.
func makeDeployDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usage(fmt.Errorf("deploy.deploy_dir: %w: make it for the user that scap runs as", err))
	}
	for _, path := range []string{dir, filepath.Join(dir, "journal"), filepath.Join(dir, "store")} {
		var st unix.Stat_t
		switch err := unix.Stat(path, &st); {
		case err != nil: // it is made later, and what keeps it from that is told then
			continue
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			return usage(fmt.Errorf("deploy.deploy_dir: %s is no directory: move it away", path))
		case unix.Access(path, unix.W_OK|unix.X_OK) == nil:
			continue
		}
		owner := strconv.Itoa(int(st.Uid))
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
		}
		return usage(fmt.Errorf("deploy.deploy_dir: %s belongs to %s and you may not write there: run scap as that user (sudo -u %s scap …)", path, owner, owner))
	}
	return nil
}

// did notes something that was done before the journal was begun.
func (d *deploy) did(act string, began time.Time, format string, args ...any) {
	d.before = append(d.before,
		journal.Record{Kind: journal.Intent, Act: act, At: began},
		journal.Record{Kind: journal.Done, Act: act, At: time.Now(), Text: fmt.Sprintf(format, args...)})
}

// finished refuses to begin anything new while an earlier deploy has not ended.
func (d *deploy) finished() error {
	last, open, err := journal.Unfinished(journalDir(d.conf))
	if err != nil {
		return fmt.Errorf("look at earlier deploys: %w", err)
	}
	if open && last.How == "" {
		return coded{exitInconsistent, fmt.Errorf("deploy %s by %s did not end: `scap resume` brings the fleet to one release first", last.Name, last.Outline.User)}
	}
	return nil
}

// way says where a verb takes the fleet.
type way bool

const (
	forward way = false // to a release that has to earn it
	back    way = true  // to one that was proven before
)

// connect opens the fleet. Every host must pass the probes of its phase before it is repooled. On the way back a probe
// that fails is told and not obeyed: whoever obeyed it would return the host to the release that it is to get away from.
func (d *deploy) connect(to way, emergency bool) (err error) {
	d.to = to
	if d.probes, err = readProbes(d.conf); err != nil {
		return err
	}
	d.fleet, err = openFleet(d.conf, d.store, fleetOptions{emergency: emergency, checks: d.check, fit: d.fit, note: d.noted})
	if err != nil || to == back {
		return err
	}
	m, err := canary.OpenMemory(memoryPath(d.conf))
	if err != nil {
		return err
	}
	d.fleet.memory = m
	if d.lock == nil {
		d.fleet.memory = recalled{m}
	}
	return nil
}

// noted tells the deployer at once what a host does otherwise than was said before, such as a drain in place of a handover.
func (d *deploy) noted(host, text string) { d.announce(host + ": " + harmless(text)) }

// recalled is the memory of whoever does not hold the lock: another process may write it.
type recalled struct{ canary.Memory }

// Note notes nothing.
func (recalled) Note([]string, float64, time.Time) error { return nil }

// create begins the journal of a new deploy.
func (d *deploy) create() (err error) {
	d.journal, err = journal.Create(journalDir(d.conf), journal.NewDeploy(time.Now(), who()))
	return err
}

// runner runs plans with this deploy's journal, view and terminal.
func (d *deploy) runner() *phases.Runner {
	d.view = d.newView()
	var to phases.Appender = d.journal
	if d.through != nil {
		to = d.through(d.journal)
	}
	return &phases.Runner{
		Journal: to, Ask: d.ask, Leave: d.leave.Done(),
		Observers: d.observers(),
	}
}

// observers are told every record: the view, and those who announce it.
func (d *deploy) observers() []func(journal.Record) {
	list := []func(journal.Record){d.view.Show}
	if d.crew == nil {
		var err error
		if d.crew, err = openCrew(d.conf); err != nil { // a deploy needs nobody to tell of it
			fmt.Fprintf(d.stderr, "scap: nothing is announced: %s\n", harmless(err.Error()))
		}
	}
	if d.crew != nil {
		list = append(list, d.crew.Observe)
	}
	return list
}

// ask lets the view step aside while the deployer is asked.
func (d *deploy) ask(ctx context.Context, q phases.Question) (phases.Answer, error) {
	if s, ok := d.view.(*ui.Screen); ok {
		s.Break()
	}
	return d.answer(ctx, q)
}

func (a *app) newView() ui.View {
	if a.json {
		return ui.JSON(a.stdout)
	}
	out, _ := a.terminal()
	if out == nil || os.Getenv("TERM") == "dumb" {
		return ui.Lines(a.stdout)
	}
	size := func() (columns, rows int) {
		columns, rows, err := term.GetSize(int(out.Fd()))
		if err != nil {
			return 80, 24
		}
		return columns, rows
	}
	tick := time.NewTicker(time.Second) // the garbage collector ends it, Close what it drives
	screen := ui.Live(a.stdout, size, ui.LiveOptions{Colour: ui.Colour(os.Getenv), Tick: tick.C})
	a.stepAside(screen.Break)
	return screen
}

// close lets go of everything, the lock last. It may be called on a deploy that was opened half.
func (d *deploy) close() {
	if d.view != nil {
		d.view.Close()
	}
	d.early.end()
	if d.fleet != nil {
		d.fleet.close()
	}
	d.dismiss()
	if d.journal != nil {
		_ = d.journal.Close() // every record was fsynced when it was written
	}
	if d.store != nil {
		_ = d.store.Close()
	}
	if d.lock != nil { // a watch has none
		_ = d.lock.Release() // the kernel frees it with the process at the latest
	}
}

// finish prunes the deploy host's own store and turns how the deploy ended into an exit code.
func (d *deploy) finish(ctx context.Context, p phases.Plan, err error) error {
	good := slices.Clone(p.Keep)
	written := journal.Summary(d.journal.Path())
	if from, err := release.ParseID(written.From); err == nil { // what the preflight found
		good = append(good, from)
	}
	if err == nil {
		if to, err := release.ParseID(written.To); err == nil { // a resume's plan does not name it
			good = append(good, to)
		}
		d.pruneStore(ctx, good)
		return nil
	}
	var ended *phases.Ended
	if !errors.As(err, &ended) {
		return err
	}
	if ended.How != journal.Inconsistent { // the refused release is no good to anybody
		d.pruneStore(context.WithoutCancel(ctx), good)
	}
	d.view.Close() // it tells how the deploy ended
	if !d.told() {
		return coded{endCode(ended), err}
	}
	return coded{endCode(ended), errQuiet}
}

// keep returns the releases that pruning leaves, by the journals of this deploy host.
func (d *deploy) keep() ([]release.ID, error) {
	past, err := journal.List(journalDir(d.conf))
	if err != nil {
		return nil, err
	}
	return keep(past, d.conf.Deploy.KeepReleases, d.conf.Deploy.KeepFor, time.Now()), nil
}

// told reports whether the view has said how the deploy ended, and why.
func (d *deploy) told() bool { return !d.json && d.journal != nil && d.journal.Seq() > 0 }

// endCode is the exit code for how a deploy ended.
func endCode(e *phases.Ended) int {
	switch e.How {
	case journal.RolledBack:
		return exitRolledBack
	case journal.Cancelled:
		return exitCancelled
	case journal.Inconsistent:
		return exitInconsistent
	case journal.Declined:
		return exitDeclined
	}
	var stop cancelled
	if errors.As(e.Cause, &stop) {
		return exitCancelled
	}
	return exitError
}

// pruneStore keeps on the deploy host what the targets keep, and makes its next snapshot cheap. What goes wrong here
// costs disk space and nothing else, so it is only said.
func (d *deploy) pruneStore(ctx context.Context, keep []release.ID) {
	if _, err := d.store.Prune(ctx, keep); err != nil {
		fmt.Fprintf(d.stderr, "scap: prune %s: %s\n", d.store.Root(), harmless(err.Error()))
	}
}

// columns is how wide the terminal is; 100 where there is none.
func (a *app) columns() int {
	if out, _ := a.terminal(); out != nil {
		if columns, _, err := term.GetSize(int(out.Fd())); err == nil {
			return columns
		}
	}
	return 100
}
