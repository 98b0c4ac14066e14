package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"scap/cmd/internal/ui"
	"scap/phases/journal"
	"scap/sync/change"
	"scap/sync/change/git"
	"scap/sync/change/pin"
)

// errDeclined is the deployer's no before anything was changed.
var errDeclined = coded{exitDeclined, errors.New("declined: nothing was changed")}

// people is where they read: stdout belongs to the records with --json.
func (a *app) people() io.Writer {
	if a.json {
		return a.stderr
	}
	return a.stdout
}

// agree shows what will ship and asks. What was confirmed goes into the journal, word by word.
func (b *backport) agree(ctx context.Context) error {
	if err := b.seal(); err != nil {
		return err
	}
	b.show(b.people())
	if b.nothing() {
		return nil
	}
	for _, doubt := range b.doubts {
		if err := b.confirm(ctx, doubt, "Go on all the same?"); err != nil {
			return err
		}
	}
	extra := b.unnamed()
	if n := count(extra); n > 0 && len(b.asked)+len(b.o.private) > 0 {
		if b.yes {
			return coded{exitError, fmt.Errorf("--yes does not confirm commits that nobody named: name the changes that they belong to (merged ones ship as they are), or answer in a terminal:\n%s", strings.TrimRight(extras(extra), "\n"))}
		}
		if err := b.confirm(ctx, fmt.Sprintf("%s that nobody named will ship too.", amount(extra)), "Ship them?"); err != nil {
			return err
		}
	}
	return b.confirm(ctx, "", b.ask())
}

// nothing says that there is nothing to ask about: the tree is the one that is served already. Private files are
// compared when it is composed.
func (b *backport) nothing() bool {
	return len(b.named)+len(b.undo)+len(b.o.private) == 0 && len(b.pinned.Extra)+len(b.pinned.Files) == 0 && b.base != nil
}

func (b *backport) ask() string {
	switch {
	case len(b.undo) > 0:
		return fmt.Sprintf("Revert %s?", some(len(b.undo), "change"))
	case len(b.named) == 0 && len(b.o.private) == 0:
		return "Deploy the branches as they are?"
	case len(b.named) == 0:
		return "Deploy the private change?"
	}
	return fmt.Sprintf("Backport %s?", some(len(b.named), "change"))
}

// confirm asks a question that only a yes answers.
func (b *backport) confirm(ctx context.Context, about, question string) error {
	text := strings.TrimPrefix(about+"\n", "\n") + question
	return b.put(ctx, text, text)
}

// put asks with text, and journals the answer under what everybody on this host may read.
func (b *backport) put(ctx context.Context, text, public string) error {
	if b.yes {
		b.confirmed(public, "--yes")
		return nil
	}
	letter, err := b.question(ctx, "\n"+harmless(text)+" [y/N] ", 'n')
	switch {
	case err != nil:
		return err
	case letter != 'y':
		return errDeclined
	}
	b.confirmed(public, "yes")
	return nil
}

func (b *backport) confirmed(text, word string) {
	b.before = append(b.before, journal.Record{Kind: journal.Note, At: time.Now(), Text: fmt.Sprintf("%s: %s (%s)", strings.ReplaceAll(text, "\n", " "), word, who())})
}

// show says exactly what will ship.
func (b *backport) show(w io.Writer) {
	var t strings.Builder
	served := "the fleet serves " + b.from.Short()
	if b.base == nil {
		served += ", of which no record is here: everything ships"
	}
	fmt.Fprintln(&t, served)
	if len(b.named) > 0 {
		fmt.Fprintf(&t, "\n%s, in this order:\n", strings.ToUpper(some(len(b.named), "change")[:1])+some(len(b.named), "change")[1:])
	}
	for _, c := range b.named {
		b.showChange(&t, c)
	}
	if len(b.undo) > 0 {
		fmt.Fprintln(&t, "\nTaken back, in this order:")
	}
	for _, c := range b.undo {
		b.showChange(&t, c)
	}
	for _, path := range b.o.private {
		fmt.Fprintf(&t, "\nPrivate: %s\n", path)
	}
	for _, c := range b.pinned.Carried {
		fmt.Fprintf(&t, "\nServed, on no branch, and stays: change %d, patch set %d of %s%s\n", c.Pick.Number, c.Pick.PatchSet, c.Project, map[bool]string{true: ", taken back"}[c.Pick.Revert])
	}
	if extra := b.unnamed(); len(extra) > 0 {
		fmt.Fprintf(&t, "\nOn the branches, not served, and not named here (%s):\n%s", amount(extra), b.histories(extra))
	}
	for _, r := range change.Risks(b.named, b.layout, change.RiskOptions{BetaOnly: b.conf.Staging.BetaOnly}) {
		fmt.Fprintf(&t, "\nNote: %s\n", r.Text)
	}
	for _, text := range b.warnings {
		fmt.Fprintf(&t, "\nWarning: %s\n", text)
	}
	fmt.Fprintln(w, harmless(strings.TrimRight(t.String(), "\n")))
}

// showChange is one change: what it is, and where its files land.
func (b *backport) showChange(w io.Writer, c change.Change) {
	state := fmt.Sprintf("patch set %d", c.PatchSet)
	if c.Status == change.Merged {
		state = "merged"
	}
	fmt.Fprintf(w, "\n  %d  %s\n      %s %s, %s %.12s, %s\n", c.Number, ui.Clean(c.Subject), ui.Clean(c.Project), ui.Clean(c.Branch), state, c.Revision, ui.Clean(c.Owner))
	paths := b.pinned.Paths[c.Number]
	if len(paths) == 0 { // merged: nothing was picked
		for _, root := range b.layout.Paths(c.Project, c.Branch) {
			for _, f := range c.Files {
				paths = append(paths, strings.TrimPrefix(root+"/"+f.Path, "/"))
			}
		}
	}
	for i, path := range paths {
		if i == mostFiles {
			fmt.Fprintf(w, "      … and %d more\n", len(paths)-i)
			break
		}
		fmt.Fprintf(w, "      %s\n", ui.Clean(touched(path, c.Files)))
	}
}

// touched is a path of the tree with what the change does to it.
func touched(path string, files []change.File) string {
	for _, f := range files {
		if f.Path != path && !strings.HasSuffix(path, "/"+f.Path) {
			continue
		}
		letter := "M"
		if f.Status != 0 {
			letter = string(rune(f.Status))
		}
		if f.Binary {
			return fmt.Sprintf("%s %s (binary)", letter, path)
		}
		return fmt.Sprintf("%s %s (+%d -%d)", letter, path, f.Inserted, f.Deleted)
	}
	return "D " + path // what a rename leaves
}

// mostFiles of a change are listed.
const mostFiles = 15

// unnamed are the commits that would ship although they belong to no change that was named, and what differs without a
// commit that could be listed. A merge belongs to what it merges.
func (b *backport) unnamed() (list []pin.Extra) {
	for _, e := range b.pinned.Extra {
		named := map[string]bool{}
		for _, c := range slices.Concat(b.named, b.undo, b.undone) {
			if c.Status == change.Merged && c.Project == e.Project && (c.Branch == e.Branch || e.Branch == "") {
				named[c.Revision] = true
			}
		}
		rest := e
		rest.Commits = slices.DeleteFunc(slices.Clone(e.Commits), func(c git.Commit) bool {
			return named[c.ID] || len(c.Parents) > 1 && named[c.Parents[1]]
		})
		if b.moves(e) {
			rest.New, rest.Removed = false, false
		}
		if count([]pin.Extra{rest}) > 0 {
			list = append(list, rest)
		}
	}
	return list
}

// moves says that a repository comes or goes because a named change says so: it is a submodule of that change's repository,
// or the change moves wikis from one version to another.
func (b *backport) moves(e pin.Extra) bool {
	for _, paths := range b.pinned.Paths {
		if slices.Contains(paths, e.Path) || e.Project == b.conf.Staging.Core.Project && slices.Contains(paths, b.conf.Staging.Wikiversions) {
			return true
		}
	}
	return false
}

// count is how many differences are in list: commits, and what has none to show.
func count(list []pin.Extra) (n int) {
	for _, e := range list {
		n += len(e.Commits) + len(e.Gone)
		if e.New || e.Removed || e.Unknown {
			n++
		}
	}
	return n
}

// amount is count in words.
func amount(list []pin.Extra) string {
	n, more := 0, ""
	for _, e := range list {
		n += len(e.Commits)
		if e.More {
			more = " or more"
		}
	}
	if others := count(list) - n; others > 0 {
		if n == 0 {
			return some(others, "difference")
		}
		return some(n, "commit") + more + " and " + some(others, "other difference")
	}
	return some(n, "commit") + more
}

// extras lists commits by repository.
func extras(list []pin.Extra) string {
	return commits(list, func(git.Commit) string { return "" })
}

func commits(list []pin.Extra, more func(git.Commit) string) string {
	var t strings.Builder
	for _, e := range list {
		fmt.Fprintf(&t, "  %s %s\n", e.Project, e.Branch)
		for _, row := range []struct {
			is   bool
			text string
		}{
			{e.New, "the whole repository comes, at %s"},
			{e.Removed, "the whole repository goes, from %s"},
			{e.Unknown, "what changes at %s cannot be listed: what is served now is not on the server any more"},
		} {
			if row.is {
				fmt.Fprintf(&t, "      "+row.text+"\n", orText(e.Path, "the root"))
			}
		}
		for i, c := range e.Gone {
			if i == mostFiles {
				fmt.Fprintf(&t, "      … and %d more that are served now and go\n", len(e.Gone)-i)
				break
			}
			fmt.Fprintf(&t, "      %.12s  %s (%s): served now, not on the branch any more: it goes\n", c.ID, ui.Clean(c.Subject), ui.Clean(c.Author))
		}
		for i, c := range e.Commits {
			if i == mostFiles {
				fmt.Fprintf(&t, "      … and %d more\n", len(e.Commits)-i)
				break
			}
			fmt.Fprintf(&t, "      %.12s  %s (%s)%s\n", c.ID, ui.Clean(c.Subject), ui.Clean(c.Author), more(c))
		}
	}
	return t.String()
}

// histories is extras with what became of those that were deployed before.
func (b *backport) histories(list []pin.Extra) string {
	past, err := journal.List(journalDir(b.conf))
	if err != nil {
		return extras(list)
	}
	return commits(list, func(c git.Commit) string {
		for _, d := range past {
			for _, x := range d.Outline.Changes {
				if x.ChangeID != "" && x.ChangeID == c.ChangeID && d.How != journal.Deployed {
					return fmt.Sprintf("\n      deployed before: %s on %s by %s", orText(d.How, "not ended"), d.Began.Format("2006-01-02 15:04"), d.Outline.User)
				}
			}
		}
		return ""
	})
}

// some is a number of things in words.
func some(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if strings.HasSuffix(thing, "ch") {
		return fmt.Sprintf("%d %ses", n, thing)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
