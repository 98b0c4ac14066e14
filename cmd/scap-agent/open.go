package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"scap/canary/logs"
	"scap/canary/probe"
	"scap/sync/agent"
	"scap/sync/store"
	"scap/targets/fpm"
	"scap/targets/fpm/webserver"
)

// open composes the host that the orchestrator describes: its store, what runs there, and what can be asked of it.
func open(_ context.Context, c agent.Config) (*agent.Host, error) {
	if !filepath.IsAbs(c.Root) {
		return nil, fmt.Errorf("settings of the host: root %q is not an absolute path", c.Root)
	}
	rt, err := runtime(c)
	if err != nil {
		return nil, err
	}
	answer := map[string]agent.Answerer{"probe": probe.Answer, "command": agent.RunCommand, "webserver": webserver.Ask}
	if given(c.Logs) {
		var lc logs.Config
		if err := strict("logs", c.Logs, &lc); err != nil {
			return nil, err
		}
		// What fails in a release is named relative to it, by whichever path it was reached.
		for _, root := range []string{c.Served, filepath.Join(c.Root, "current")} {
			if root != "" && !slices.Contains(lc.Roots, root) {
				lc.Roots = append(lc.Roots, root)
			}
		}
		files, err := logs.New(lc)
		if err != nil {
			return nil, err
		}
		answer["logs"] = files.Answer
	}
	st, err := store.Open(c.Root)
	if err != nil {
		return nil, err
	}
	return &agent.Host{
		Store: st, Runtime: rt, Served: c.Served, Flag: c.Flag, Excludes: c.Excludes,
		SwitchLimit: c.SwitchLimit, Answer: answer,
	}, nil
}

// runtime makes what runs the releases: php-fpm, or nothing on a host for maintenance.
func runtime(c agent.Config) (agent.Runtime, error) {
	served, releases := c.Served, filepath.Join(c.Root, "releases")
	if served == "" {
		served = filepath.Join(c.Root, "current")
	}
	if !given(c.Runtime) {
		return fpm.NewNone(served, releases), nil
	}
	var fc fpm.Config
	if err := strict("runtime", c.Runtime, &fc); err != nil {
		return nil, err
	}
	if fc.Served == "" {
		fc.Served = served
	}
	if fc.Releases == "" {
		fc.Releases = releases
	}
	return fpm.New(fc)
}

// given reports whether a part of the settings is there at all.
func given(raw json.RawMessage) bool {
	return len(raw) > 0 && !bytes.Equal(raw, []byte("null"))
}

// strict decodes a part of the settings. An unknown key is an error: it would be a setting that has no effect.
func strict(part string, raw json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	if err != nil {
		return fmt.Errorf("settings of the host, %s: %w", part, err)
	}
	return nil
}
