package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
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
		for _, argv := range d.filled(f, id) {
			began := time.Now()
			err := finishing(ctx, argv, f.Timeout)
			text := fmt.Sprintf("finish %s: done in %.1f s", f.Name, time.Since(began).Seconds())
			if err != nil {
				text = fmt.Sprintf("finish %s: %v; the release stays, and nothing else is changed by it", f.Name, err)
				fmt.Fprintf(d.stderr, "scap: %s\n", harmless(text))
			}
			if _, err := d.journal.Append(journal.Record{Kind: journal.Note, Text: text, At: time.Now()}); err != nil {
				fmt.Fprintf(d.stderr, "scap: %s\n", harmless(err.Error()))
			}
		}
	}
}

// filled is the command of f, or one for each live version.
func (d *deploy) filled(f config.Finish, id release.ID) (list [][]string) {
	versions := []string{""}
	record := ""
	if d.conf.Staging != nil {
		record = filepath.Join(stagingDir(d.conf), "records", id.String()+".json")
		if f.PerVersion() {
			versions = d.versions(id)
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
	return list
}

// versions are those of MediaWiki in a release that was composed here.
func (d *deploy) versions(id release.ID) (list []string) {
	shop, err := openWorkshop(d.conf, d.store, "")
	if err != nil {
		return nil
	}
	r, err := shop.stager.Record(id)
	if err != nil {
		return nil
	}
	before, after, _ := strings.Cut(d.conf.Staging.Core.Path, "{version}")
	for _, p := range r.Parts {
		if p.Project != d.conf.Staging.Core.Project {
			continue
		}
		list = append(list, strings.TrimSuffix(strings.TrimPrefix(p.Path, before), after))
	}
	return list
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
