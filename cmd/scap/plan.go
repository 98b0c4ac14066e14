package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/sync/release"
	"scap/sync/store"
)

type planFlags struct {
	offline  bool
	against  string
	manifest string
	most     uint
}

func newPlanCommand(a *app) *cobra.Command {
	var o planFlags
	cmd := &cobra.Command{
		Use:     "plan [MESSAGE…]",
		Aliases: []string{"dry-run"},
		Short:   "say what `sync` would do, and what would stop it; change nothing",
		Long: `Snapshots the staged tree (deploy.stage_dir), asks every host and every gate whether a deploy could begin, and shows which
files would change and in which order hosts would get them. No lock is taken and nothing is changed on any host.

Where trees come from git (staging) it is the branches as they are that it looks at; ` + "`scap backport --dry-run`" + ` does the same
for changes, ` + "`scap lint`" + ` without asking a host. The flags below are for a staged tree.

--offline asks nobody, for CI: the staged tree is only read and hashed. --against RELEASE compares with a release of this
deploy host's store, --against FILE with a manifest that --manifest FILE wrote.

` + exitTable,
		Example: `  scap plan
  scap plan --offline --against deployed.manifest --manifest staged.manifest`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.against != "" && !o.offline {
				return usage(fmt.Errorf("--against goes with --offline: online the hosts say what is deployed"))
			}
			if o.offline {
				return a.planOffline(cmd.Context(), o)
			}
			return a.runPlan(cmd.Context(), strings.Join(args, " "), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.offline, "offline", false, "ask no host; only read the staged tree")
	f.StringVar(&o.against, "against", "", "with --offline: compare with this `RELEASE` or manifest file")
	f.StringVar(&o.manifest, "manifest", "", "write the staged tree's manifest to this `FILE`")
	f.UintVar(&o.most, "most", 20, "list at most `N` changed paths")
	return cmd
}

// runPlan is scap plan with the fleet.
func (a *app) runPlan(ctx context.Context, message string, o planFlags) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if conf.Staging != nil {
		if o.manifest != "" {
			return usage(errors.New("--manifest reads a staged tree: with the section staging there is none"))
		}
		return a.planBackport(ctx, nil, backportOptions{})
	}
	if err := makeDeployDir(conf.Deploy.DeployDir); err != nil {
		return err
	}
	st, err := store.Open(filepath.Join(conf.Deploy.DeployDir, "store"))
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // nothing was written that a close could lose
	r, err := takeSnapshot(ctx, st, conf, message)
	if err != nil {
		return err
	}
	if err := writeManifest(o.manifest, st, r.ID); err != nil {
		return err
	}
	d := &deploy{app: a, conf: conf, store: st}
	if err := d.connect(forward, false); err != nil {
		return err
	}
	defer d.fleet.close()
	p, err := d.fleet.plan("plan", r, planOptions{message: message})
	if err != nil {
		return err
	}
	report := (&phases.Runner{}).Examine(ctx, p)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fmt.Fprintf(a.stdout, "staged   %s  %d files, %d MB of %s\n", r.ID.Short(), r.Files, r.Bytes>>20, conf.Deploy.StageDir)
	fmt.Fprintf(a.stdout, "deployed %s\n", report.From.Short())
	if report.Nothing {
		fmt.Fprintln(a.stdout, "nothing to do: every host is proven on the staged release")
		return nil
	}
	switch {
	case report.From.IsZero():
	case st.Has(report.From):
		if err := showDelta(a.stdout, st, report.From, r.ID, o.most); err != nil {
			return err
		}
	default:
		fmt.Fprintf(a.stdout, "which paths change is not known: %s is not kept on this deploy host\n", report.From.Short())
	}
	return d.showPlan(ctx, p, report)
}

// showPlan says in which order hosts would get the release, how long the gates would need, and what keeps a deploy from
// beginning.
func (d *deploy) showPlan(ctx context.Context, p phases.Plan, report phases.Report) error {
	showPhases(d.stdout, d.conf, p)
	if !report.Nothing && len(report.Seen) > 0 {
		fmt.Fprintf(d.stdout, "switches: %s\n", ui.Clean(p.Way(report.Seen)))
	}
	for _, note := range report.Notes {
		fmt.Fprintf(d.stdout, "note: %s\n", ui.Clean(note))
	}
	if len(report.Problems) == 0 {
		d.fleet.outlook(ctx, d.stdout)
	}
	for _, name := range report.Repair {
		fmt.Fprintf(d.stdout, "%s is not proven on %s and would be repaired first\n", name, report.From.Short())
	}
	return report.Err()
}

// showPhases lists the phases with their hosts, widths and gates.
func showPhases(w io.Writer, conf *config.Config, p phases.Plan) {
	for _, ph := range p.Phases {
		gate := "gate"
		if ph.GateOff != "" {
			gate = "no gate: " + ph.GateOff
		}
		hosts := "hosts"
		if len(ph.Targets) == 1 {
			hosts = "host"
		}
		first := ""
		if ph.Share > 0 {
			first = fmt.Sprintf(", first on %.3g%% of their requests where they can hand over", 100*ph.Share)
		}
		fmt.Fprintf(w, "phase %s: %d %s%s, %d at a time%s, %s\n", ph.Name, len(ph.Targets), hosts, places(conf, ph.Name), ph.Fanout.Width, first, gate)
	}
}

// places says how many hosts of a phase are in which data center, where the configuration says so.
func places(conf *config.Config, phase string) string {
	count := map[string]int{}
	for _, ph := range conf.Phases {
		if ph.Name != phase {
			continue
		}
		for _, h := range ph.Hosts {
			if dc := conf.Group(h.Group).DataCenter; dc != "" {
				count[dc]++
			}
		}
	}
	var parts []string
	for _, dc := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d %s", count[dc], dc))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// planOffline is scap plan without the fleet.
func (a *app) planOffline(ctx context.Context, o planFlags) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if conf.Staging != nil {
		return usage(errors.New("--offline reads a staged tree: with the section staging `scap lint` checks what would be deployed without asking a host"))
	}
	staged, err := store.Scan(ctx, conf.Deploy.StageDir, conf.Deploy.Excludes)
	if err != nil {
		return err
	}
	if err := writeManifest(o.manifest, staged, staged.ID); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "staged %s  %s\n", staged.ID.Short(), conf.Deploy.StageDir)
	if o.against == "" {
		return nil
	}
	base, id, err := openBase(conf, o.against)
	if err != nil {
		return err
	}
	return showDelta(a.stdout, either{base, staged}, id, staged.ID, o.most)
}

// openBase opens what --against names: a manifest file, or a release of the deploy host's store.
func openBase(conf *config.Config, name string) (release.Dirs, release.ID, error) {
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
		m, err := release.ReadManifest(f)
		if err != nil {
			return nil, release.ID{}, usage(fmt.Errorf("--against %s: it is no manifest that --manifest wrote: %w", name, err))
		}
		return m, m.ID, nil
	}
	st, serr := openKept(conf)
	if serr != nil {
		return nil, release.ID{}, usage(fmt.Errorf("--against: %w; no release begins with %q either: %w", err, name, serr))
	}
	r, serr := (&deploy{conf: conf, store: st}).lookup(name)
	if serr == nil && !st.Has(r.ID) {
		serr = usage(fmt.Errorf("%s is not kept on this deploy host", r.ID.Short()))
	}
	if serr != nil {
		return nil, release.ID{}, usage(fmt.Errorf("--against: %w; %w", err, serr))
	}
	return st, r.ID, nil
}

// openKept opens the deploy host's store for a look, and never makes one.
func openKept(conf *config.Config) (*store.Store, error) {
	path := filepath.Join(conf.Deploy.DeployDir, "store")
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return store.Open(path)
}

// either finds directories in one place or the other.
type either [2]release.Dirs

func (e either) Dir(sum release.Sum) (release.Dir, error) {
	if d, err := e[0].Dir(sum); err == nil {
		return d, nil
	}
	return e[1].Dir(sum)
}

// showDelta lists what changes, at most most paths.
func showDelta(w io.Writer, src release.Dirs, base, next release.ID, most uint) error {
	d, err := release.Diff(src, base, next)
	if err != nil {
		return err
	}
	lines := make([]string, 0, len(d.Put)+len(d.Remove))
	for _, c := range d.Put {
		if c.Entry.Kind == release.Directory && c.Old.Kind == release.Directory {
			continue
		}
		sign := "M"
		if c.Old.Kind == 0 {
			sign = "A"
		}
		lines = append(lines, fmt.Sprintf("  %s %q", sign, c.Path))
	}
	for _, c := range d.Remove {
		lines = append(lines, fmt.Sprintf("  D %q", c.Path))
	}
	fmt.Fprintf(w, "%d paths change from %s to %s\n", len(lines), base.Short(), next.Short())
	for i, line := range lines {
		if uint(i) >= most {
			fmt.Fprintf(w, "  … and %d more (--most N)\n", len(lines)-i)
			break
		}
		fmt.Fprintln(w, line)
	}
	return nil
}

// writeManifest writes a manifest to path, if one is wanted.
func writeManifest(path string, src release.Dirs, id release.ID) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return usage(fmt.Errorf("--manifest: %w", err))
	}
	if err := release.WriteManifest(f, src, id); err != nil {
		_ = f.Close() // the write has failed already
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}
