package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"scap/cmd/internal/config"
	"scap/phases/journal"
	"scap/sync/release"
)

// afterwards does what deploy.finish names, once a deploy has ended well. What goes wrong is told and journaled, and changes
// neither the release nor how the deploy ended.
func (d *deploy) afterwards(ctx context.Context, id release.ID) {
	for _, f := range d.conf.Deploy.Finish {
		argvs, err := d.filled(f, id)
		if err != nil {
			d.finishedOff(f, fmt.Sprintf("not done: %v", err), true)
		}
		for _, argv := range argvs {
			began := time.Now()
			if err := finishing(ctx, argv, f.Timeout); err != nil {
				d.finishedOff(f, fmt.Sprintf("%v; the release stays, and nothing else is changed by it", err), true)
				continue
			}
			d.finishedOff(f, fmt.Sprintf("done in %.1f s", time.Since(began).Seconds()), false)
		}
	}
}

// finishedOff journals how a step after the end went.
func (d *deploy) finishedOff(f config.Finish, how string, aloud bool) {
	text := fmt.Sprintf("finish %s: %s", f.Name, how)
	if aloud {
		fmt.Fprintf(d.stderr, "scap: %s\n", harmless(text))
	}
	if _, err := d.journal.Append(journal.Record{Kind: journal.Note, Text: text, At: time.Now()}); err != nil {
		fmt.Fprintf(d.stderr, "scap: %s\n", harmless(err.Error()))
	}
}

// filled is the command of f, or one for each live version.
func (d *deploy) filled(f config.Finish, id release.ID) (list [][]string, err error) {
	versions, record := []string{""}, ""
	if d.conf.Staging != nil {
		shop, err := openWorkshop(d.conf, d.store, "")
		if err != nil {
			return nil, err
		}
		record = shop.stager.RecordPath(id)
		if f.PerVersion() {
			if versions, err = shop.versions(d.conf.Staging.Core, id); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range versions {
		r := strings.NewReplacer("{release}", id.String(), "{record}", record, "{version}", v)
		argv := make([]string, len(f.Command))
		for i, a := range f.Command {
			argv[i] = r.Replace(a)
		}
		list = append(list, argv)
	}
	return list, nil
}

// versions are those of MediaWiki in a release that was composed here.
func (w *workshop) versions(core config.Core, id release.ID) (list []string, err error) {
	r, err := w.stager.Record(id)
	if err != nil {
		return nil, err
	}
	before, after, _ := strings.Cut(core.Path, "{version}")
	for _, p := range r.Parts {
		if p.Project == core.Project {
			list = append(list, strings.TrimSuffix(strings.TrimPrefix(p.Path, before), after))
		}
	}
	return list, nil
}

// finishing runs argv, its children with it, for at most limit.
func finishing(ctx context.Context, argv []string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("took longer than %s", config.FormatDuration(limit)))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out head
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", argv[0], context.Cause(ctx))
	}
	return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(string(out)))
}
