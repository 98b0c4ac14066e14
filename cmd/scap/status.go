package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/phases"
	"scap/phases/journal"
	"scap/sync/release"
	"scap/targets"
)

func newStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "ask every host: what is on disk, what runs, is it in the pool",
		Long: `Asks every host afresh. A host is in line when disk, running and desired release are one, it is in the pool (unless
somebody else than a deploy took it out), and no problem is found. With --json: one line a host.

Where trees come from git it also says what the branches have, as of the last fetch, that the fleet does not serve: a
change that was merged and then rolled back stays there until it is reverted.

` + exitTable,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runStatus(cmd.Context()) },
	}
}

// runStatus is scap status. It takes no lock: it changes nothing.
func (a *app) runStatus(ctx context.Context) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	f, err := openFleet(conf, nil, fleetOptions{})
	if err != nil {
		return err
	}
	defer f.close()
	seen := phases.Survey(ctx, f.all(), surveyLimit)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	rows := inspect(seen)
	if a.json {
		err = rows.json(a.stdout)
	} else {
		err = rows.table(a.stdout, conf)
	}
	if err != nil {
		return err
	}
	for _, note := range phases.Remarks(seen, release.ID{}) {
		if !a.json {
			fmt.Fprintf(a.stdout, "note: %s\n", ui.Clean(note))
		}
	}
	if fleet, err := phases.Served(seen); err == nil && !a.json {
		a.ahead(ctx, a.stdout, conf, fleet)
	}
	return rows.drift()
}

// hostRow is one host as status shows it.
type hostRow struct {
	Host  string        `json:"host"`
	State targets.State `json:"state"`
	Error string        `json:"error,omitempty"`
	Wrong []string      `json:"wrong,omitempty"` // why it is not in line
}

type hostRows []hostRow

// inspect judges each host alone and against the fleet: the release that most hosts prove is the one to be on.
func inspect(seen []phases.Seen) hostRows {
	votes := map[release.ID]int{}
	for _, s := range seen {
		if id, ok := s.State.Consistent(); s.Err == nil && ok {
			votes[id]++
		}
	}
	var fleet release.ID
	for id, n := range votes {
		if n > votes[fleet] || n == votes[fleet] && id.String() < fleet.String() {
			fleet = id
		}
	}
	rows := make(hostRows, len(seen))
	for i, s := range seen {
		rows[i] = hostRow{Host: s.Name(), State: s.State}
		if s.Err != nil {
			rows[i].Error = s.Err.Error()
			rows[i].Wrong = []string{s.Err.Error()}
			continue
		}
		rows[i].Wrong = faults(s.State, fleet)
	}
	return rows
}

// faults says why a host is not in line with the fleet's release.
func faults(s targets.State, fleet release.ID) []string {
	var wrong []string
	if s.Plain {
		return []string{s.Served + " is a plain directory: scap adopt"}
	}
	id, ok := s.Consistent()
	switch {
	case !ok && s.Reason != "":
		wrong = append(wrong, s.Reason)
	case !ok:
		wrong = append(wrong, fmt.Sprintf("disk %s, running %s, desired %s", s.Disk.Short(), s.Running.Short(), s.Desired.Short()))
	case id != fleet:
		wrong = append(wrong, "not on the fleet's release "+fleet.Short())
	}
	if s.Intent.Out {
		wrong = append(wrong, "taken out of the pool by "+orText(s.Intent.Owner, "an unnamed deploy"))
	}
	if s.Pooled == targets.PoolMixed {
		wrong = append(wrong, "its balancers disagree")
	}
	return append(wrong, s.Problems...)
}

func (rows hostRows) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func (rows hostRows) table(w io.Writer, conf *config.Config) error {
	byName := map[string]hostRow{}
	for _, r := range rows {
		byName[r.Host] = r
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tHOST\tDISK\tRUNNING\tDESIRED\tPOOL\tSINCE UTC\t")
	for _, ph := range conf.Phases {
		for _, h := range ph.Hosts {
			r := byName[h.Name]
			if r.Error != "" {
				fmt.Fprintf(t, "%s\t%s\t?\t?\t?\t?\t\tNO ANSWER\n", ph.Name, h.Name)
				continue
			}
			s, mark := r.State, ""
			if len(r.Wrong) > 0 {
				mark = "WRONG"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", ph.Name, h.Name,
				s.Disk.Short(), like(s.Running, s.Disk), like(s.Desired, s.Disk), s.Pooled, since(s.Proof.Started, time.Now()), mark)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return rows.summary(w, conf)
}

// like is "=" for what is as on the disk: a table of equal numbers hides the one that is not.
func like(id, disk release.ID) string {
	if id == disk && !id.IsZero() {
		return "="
	}
	return id.Short()
}

// since is the time of a start today, the day of an earlier one.
func since(at, now time.Time) string {
	at, now = at.UTC(), now.UTC()
	switch {
	case at.IsZero():
		return ""
	case at.Format(time.DateOnly) == now.Format(time.DateOnly):
		return at.Format(time.TimeOnly)
	}
	return at.Format(time.DateOnly)
}

// summary says in words what is wrong, and what the deploy host knows of the last deploy and of kept releases.
func (rows hostRows) summary(w io.Writer, conf *config.Config) error {
	wrong := 0
	for _, r := range rows {
		if len(r.Wrong) > 0 {
			wrong++
			fmt.Fprintf(w, "%s: %s\n", r.Host, ui.Clean(strings.Join(r.Wrong, "; ")))
		}
	}
	if wrong == 0 {
		fmt.Fprintf(w, "all %d hosts are in line\n", len(rows))
	} else {
		fmt.Fprintf(w, "%d of %d hosts are not in line\n", wrong, len(rows))
	}
	if text := rows.warm(); text != "" {
		fmt.Fprintf(w, "kept warm, a rename away: %s\n", text)
	}
	if last, ok, _ := journal.Latest(journalDir(conf)); ok { // what the journal cannot say is not worth an error here
		fmt.Fprintf(w, "last deploy: %s by %s: %s, %q\n", last.Name, ui.Clean(last.Outline.User), orText(last.How, "has not ended"), last.Outline.Message)
		if why := last.Outline.DespiteRed; why != "" {
			fmt.Fprintf(w, "it began although users were failing: %s\n", ui.Clean(why))
		}
		if text := watchText(last, time.Now()); text != "" {
			fmt.Fprintln(w, text)
		}
	}
	return kept(w, conf)
}

// warm says on how many hosts which release has a php-fpm beside the one that serves, besides what is tried: "" for none.
func (rows hostRows) warm() string {
	count := map[release.ID]int{}
	for _, r := range rows {
		for _, id := range r.State.Proof.Road.Warm {
			if t := r.State.Proof.Trial; t == nil || t.Release != id {
				count[id]++
			}
		}
	}
	var parts []string
	for id, n := range count {
		parts = append(parts, fmt.Sprintf("%s on %d of %d hosts", id.Short(), n, len(rows)))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// unheard is how long a watch that goes on may say nothing: it writes once a minute, after a look.
const unheard = 5 * time.Minute

// watchText says how the watch after a deploy goes; "" when there is none.
func watchText(d journal.Deploy, now time.Time) string {
	said := ""
	if d.WatchText != "" {
		said = ": " + ui.Clean(d.WatchText)
	}
	switch d.Watched {
	case journal.WatchNone:
		return ""
	case journal.WatchFailed: // what takes it back is a deploy of its own, which would be the last one
		return fmt.Sprintf("its watch failed it%s; it is not taken back yet: `scap rollback` does it", said)
	case journal.WatchOpen:
		switch last := d.WatchAt.UTC().Format(time.TimeOnly); {
		case d.WatchLeft:
			return fmt.Sprintf("its watch was stopped at %s UTC: `scap watch` takes it up%s", last, said)
		case now.After(d.WatchUntil.Add(time.Minute)):
			return fmt.Sprintf("its watch was to end at %s UTC and did not: `scap watch` takes it up%s", d.WatchUntil.UTC().Format(time.TimeOnly), said)
		case now.After(d.WatchAt.Add(unheard)):
			return fmt.Sprintf("nothing was heard of its watch since %s UTC: `scap watch` takes it up%s", last, said)
		}
		return fmt.Sprintf("watched until %s UTC%s", d.WatchUntil.UTC().Format(time.TimeOnly), said)
	}
	return fmt.Sprintf("its watch: %s%s", d.Watched, said)
}

// kept lists the releases that a rollback can name.
func kept(w io.Writer, conf *config.Config) error {
	st, err := openKept(conf)
	if err != nil {
		return nil //nolint:nilerr // the deploy host's store is no part of the fleet's state
	}
	defer st.Close() //nolint:errcheck // only read
	all, err := st.Releases()
	if err != nil {
		return err
	}
	for _, r := range all {
		fmt.Fprintf(w, "release %s  %s  %s\n", r.ID.Short(), r.Created.UTC().Format("2006-01-02 15:04:05"), ui.Clean(r.Message))
	}
	return nil
}

// drift is the error of a fleet that is not in line.
func (rows hostRows) drift() error {
	for _, r := range rows {
		if len(r.Wrong) > 0 {
			return coded{exitDrift, errQuiet}
		}
	}
	return nil
}
