package keeper

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// tidy ends what must not live: what an operation that was killed left behind, generations that are dead or past their time,
// files of none. It never touches what users are sent to, except a trial that is past its time.
//
// What cannot be ended hinders nothing else, a way back least of all: it becomes an alarm.
func (k *keeper) tidy(ctx context.Context, r *record) error {
	if err := k.follow(r); err != nil {
		return err
	}
	for _, e := range slices.Clone(r.Generations) {
		if err := k.adoptByTitle(e); err != nil {
			return err
		}
		role, err := k.role(r, e)
		if err != nil {
			return err
		}
		late := !e.Until.After(time.Now())
		if role == "tried" && (late || e.Phase != running) {
			pool, _ := k.conf.pool(e.Pool)
			if err := k.unpoint(pool.Trial); err != nil {
				return err
			}
			role = ""
		}
		c, err := k.crewNow(e)
		if err != nil {
			return err
		}
		if role == "" && (late || e.Phase != running || !c.alive) {
			err := k.end(ctx, r, e, e.Phase == starting)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				r.raise(Alarm{At: time.Now(), Pool: e.Pool, Text: err.Error()})
				if err := k.save(r); err != nil {
					return err
				}
			}
		}
	}
	return k.sweep(r)
}

// follow writes down what the links say: a publication whose keeper was killed right after the rename.
func (k *keeper) follow(r *record) error {
	changed := false
	for _, p := range k.conf.Pools {
		at, err := k.leads(r, p.Name, p.Listen)
		if err != nil {
			return err
		}
		if e := r.find(at); e != nil && (r.pool(p.Name).Published != at || !e.Until.IsZero() || !e.Served) {
			r.pool(p.Name).Published, e.Until, e.Served, changed = at, time.Time{}, true, true
		}
	}
	if !changed {
		return nil
	}
	return k.save(r)
}

// adoptByTitle finds the master of a generation whose process the record does not have, by the configuration it names.
func (k *keeper) adoptByTitle(e *entry) error {
	if e.Phase == running || e.PID != 0 || e.Boot != k.boot {
		return nil
	}
	all, err := proc.All()
	if err != nil {
		return err
	}
	for _, m := range proc.CrewOf(all, k.conf.files(e.Number).config, "").Masters {
		e.PID, e.Tick, e.Namespace = m.PID, m.Tick, spaceOf(m.PID)
	}
	return nil
}

// sweep removes files in Run that are of no generation.
func (k *keeper) sweep(r *record) error {
	names, err := filepath.Glob(filepath.Join(k.conf.Run, "*-*.*"))
	if err != nil {
		return err
	}
	for _, path := range names {
		_, rest, _ := strings.Cut(filepath.Base(path), "-")
		digits, _, _ := strings.Cut(rest, ".")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || !slices.Contains(k.conf.files(n).all(), path) || r.find(n) != nil {
			continue
		}
		if _, there, err := socket.Listening(path); err != nil || there {
			continue // somebody's whom the record does not know: the state says so
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
