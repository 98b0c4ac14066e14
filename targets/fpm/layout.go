package fpm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// checkLayout proves that a request stays in the release it began in while the link is swapped. It asks for every warm
// page through the web server and reads two things back from php-fpm: which file the web server named (the status page
// keeps it), and whether any worker remembers a path that led through the link (its realpath cache, which fills at every
// include and open). The second covers the code that was asked for since the workers started, no other.
func (r *Runtime) checkLayout(ctx context.Context) error {
	client := r.client()
	proof := r.prove(ctx)
	if proof.Release.IsZero() {
		return fmt.Errorf("the layout cannot be proven: %s", proof.Reason)
	}
	seen := false
	for _, p := range r.conf.Warm.Pages {
		script, err := r.scriptOf(ctx, client, p)
		if err != nil {
			return err
		}
		if script == "" {
			continue // answered without PHP
		}
		seen = true
		if id, err := r.placeOf(script); err != nil || id != proof.Release.String() {
			return fmt.Errorf("the web server names %s for page %s: it must name real paths ($realpath_root), or use strategy drain", script, p.Path)
		}
	}
	if !seen {
		return errors.New("no warm page reaches php-fpm: the layout cannot be proven")
	}
	for _, i := range r.conf.Instances {
		e, err := r.proveInstance(ctx, i)
		if err != nil {
			return err
		}
		for pid, f := range e.workers {
			if f.Through > 0 {
				return fmt.Errorf("worker %d of %s has opened files through %s: the code uses the absolute path; use strategy drain", pid, i.Name, r.conf.Served)
			}
		}
	}
	return nil
}

// scriptOf asks for a page and finds, by a word in its query, the worker that served it and the script it was given.
func (r *Runtime) scriptOf(ctx context.Context, client *http.Client, p Page) (string, error) {
	for range 5 { // another request may have taken that worker's line in the status page meanwhile
		word := "scap-layout=" + random(8)
		if _, err := r.get(ctx, client, p, word); err != nil {
			return "", fmt.Errorf("page %s: %w", p.Path, err)
		}
		for _, i := range r.conf.Instances {
			s, err := r.statusOf(ctx, i)
			if err != nil {
				return "", err
			}
			for _, w := range s.Processes {
				if strings.Contains(w.URI, word) {
					return w.Script, nil
				}
			}
		}
	}
	return "", nil
}

// placeOf is the name of the release in whose directory a file lies, by name alone.
func (r *Runtime) placeOf(file string) (string, error) {
	rest, ok := strings.CutPrefix(file, r.link.releases+"/")
	if !ok {
		return "", fmt.Errorf("%s is not in %s", file, r.link.releases)
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, nil
}
