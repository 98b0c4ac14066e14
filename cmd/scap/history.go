package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"scap/cmd/internal/ui"
	"scap/phases/journal"
)

func newHistoryCommand(a *app) *cobra.Command {
	most := 20
	cmd := &cobra.Command{
		Use:   "history [DEPLOY]",
		Short: "tell past deploys: who, what, how it ended, what the gates said",
		Long: `Lists the deploys of this deploy host, newest first, from their journals: name (its time in UTC, and who), verb, changes,
release, how it ended and how long it took, and the last ruling of each gate: pass, hold, fail, word (it held and the
deployer said to go on) or off.

With a DEPLOY, or the beginning of its name, it tells that one: its changes, its phases, what the deployer was asked and
answered, and everything that happened. With --json: one line a deploy.`,
		Example: `  scap history
  scap history 20261001T1204
  scap history --json --most 0 | jq 'select(.how != "deployed")'`,
		Args: argCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.runHistory(strings.Join(args, ""), most) },
	}
	cmd.Flags().IntVar(&most, "most", most, "list so many: `N`; 0 is all")
	return cmd
}

// runHistory is scap history. It takes no lock: it changes nothing.
func (a *app) runHistory(name string, most int) error {
	if most < 0 {
		return usage(fmt.Errorf("--most %d: want a count, or 0 for all", most))
	}
	conf, err := a.load()
	if err != nil {
		return err
	}
	past, err := toTell(journalDir(conf), name, most)
	if err != nil {
		return err
	}
	list := make([]pastDeploy, len(past))
	for i, d := range past {
		list[i] = pastOf(d, journal.Read(d.Path))
	}
	switch {
	case a.json:
		return historyJSON(a.stdout, list)
	case name != "":
		return list[0].tell(a.stdout, past[0].Path)
	}
	return historyTable(a.stdout, list)
}

// toTell returns the one deploy with that name, or the newest ones.
func toTell(dir, name string, most int) ([]journal.Deploy, error) {
	if name != "" {
		d, err := deployNamed(dir, name)
		return []journal.Deploy{d}, err
	}
	past, err := journal.List(dir)
	if most > 0 {
		past = past[:min(most, len(past))]
	}
	return past, err
}

func historyJSON(w io.Writer, list []pastDeploy) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, p := range list {
		if err := e.Encode(p); err != nil {
			return err
		}
	}
	return nil
}

// historyTable writes one line a deploy, newest first.
func historyTable(w io.Writer, list []pastDeploy) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "no deploy was made from this deploy host")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEPLOY\tVERB\tCHANGES\tRELEASE\tENDED\tTOOK\tGATES\tMESSAGE")
	for _, p := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Deploy, ui.Clean(p.Verb), p.numbers(), orText(ui.Short(p.To), "-"), p.ending(), p.took(),
			ui.Clean(p.gates()), ui.Clean(p.Message))
	}
	return t.Flush()
}

// ending is how it ended, in a word or two.
func (p *pastDeploy) ending() string {
	switch {
	case p.Error != "":
		return "unreadable"
	case p.How == "":
		return "not ended"
	case p.Watched == journal.WatchFailed:
		return ui.Clean(p.How) + ", watch failed"
	}
	return ui.Clean(p.How)
}

func (p *pastDeploy) took() string {
	if p.Ended.IsZero() {
		return "-"
	}
	return ui.Took(took(p.Seconds))
}

func took(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// tell writes one deploy: what it was, and what happened.
func (p *pastDeploy) tell(w io.Writer, path string) error {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-9s%s\n", name, ui.Clean(fmt.Sprintf(format, args...)))
	}
	row("deploy", "%s", p.Deploy)
	row("verb", "%s by %s on %s: %s", p.Verb, orText(p.User, "somebody"), orText(p.Host, "this host"), p.Message)
	for _, c := range p.Changes {
		if c.Number == 0 {
			row("change", "a private one: %s", orText(c.Subject, "no subject"))
			continue
		}
		row("change", "%d/%d %s %s: %s (%s) %s", c.Number, c.PatchSet, c.Project, c.Branch, c.Subject, c.Owner, c.URL)
	}
	row("release", "%s -> %s", orText(ui.Short(p.From), "unknown"), orText(ui.Short(p.To), "unknown"))
	row("ended", "%s", joinedText(p.ending(), p.Text))
	if !p.Ended.IsZero() {
		row("took", "%s, until %s UTC", p.took(), p.Ended.UTC().Format(time.DateTime))
	}
	if p.DespiteRed != "" {
		row("began", "although users were failing: %s", p.DespiteRed)
	}
	if p.Watched != journal.WatchNone {
		row("watch", "%s", joinedText(string(p.Watched), p.WatchText))
	}
	for _, ph := range p.Phases {
		row("phase", "%s", ph.line())
	}
	for _, q := range p.Answers {
		row("asked", "%s UTC: %s", q.At.UTC().Format(time.TimeOnly), q.Asked)
		row("answer", "%s", joinedText(q.Answer, q.Text))
	}
	fmt.Fprintln(w)
	view := ui.Lines(w)
	defer view.Close()
	for r, err := range journal.Read(path) {
		if err != nil {
			return errors.Join(errors.New("the journal goes on, but cannot be read"), err)
		}
		view.Show(r)
	}
	return nil
}

func (ph pastPhase) line() string {
	text := fmt.Sprintf("%s, %d hosts: ", ph.Name, ph.Hosts)
	if ph.Hosts == 1 {
		text = ph.Name + ", 1 host: "
	}
	switch {
	case ph.Began.IsZero():
		return text + "not reached"
	case ph.How == "":
		text += "did not end"
	default:
		text += ph.How + ", " + ui.Took(took(ph.Seconds))
	}
	switch ph.Gate {
	case "":
		return text
	case "off":
		return text + joinedText("; gate off", ph.Reason)
	}
	return text + joinedText(fmt.Sprintf("; gate: %s after %d looks", ph.Gate, ph.Looks), ph.Reason)
}

// joinedText is what and why.
func joinedText(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}
