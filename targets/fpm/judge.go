package fpm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"scap/sync/release"
)

// judge turns what the workers of an instance said into one release or a reason why there is none.
func (r *Runtime) judge(i Instance, e *evidence) error {
	var wrong []error
	for _, w := range e.crew.Workers {
		f, ok := e.workers[w.PID]
		if !ok {
			continue
		}
		id, err := r.link.place(f.Path)
		e.instance.Workers = append(e.instance.Workers, release.Worker{PID: w.PID, Release: id})
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case !e.release.IsZero() && id != e.release:
			wrong = append(wrong, fmt.Errorf("worker %d sees %s, others %s", w.PID, id.Short(), e.release.Short()))
		default:
			e.release = id
			for other := range f.Believed {
				if other != id.String() {
					wrong = append(wrong, fmt.Errorf("worker %d still reads files of %.12s through a path it remembers", w.PID, other))
				}
			}
		}
	}
	var busy []string
	for _, w := range e.crew.Workers {
		if e.vouched[w.PID] {
			busy = append(busy, strconv.Itoa(w.PID))
			e.instance.Workers = append(e.instance.Workers, release.Worker{PID: w.PID, Release: e.release})
		}
	}
	slices.SortFunc(e.instance.Workers, func(a, b release.Worker) int { return a.PID - b.PID })
	e.instance.Settings = e.opcache.Settings
	if e.instance.Settings != nil {
		if len(busy) > 0 {
			e.instance.Settings[i.vouchedBy()] = strings.Join(busy, " ")
		}
		e.instance.Settings["php"], e.instance.Settings["ini"] = e.opcache.Version, e.opcache.INI
	}
	if len(e.instance.Workers) == 0 {
		wrong = append(wrong, errors.New("it has no workers"))
	}
	if err := errors.Join(wrong...); err != nil {
		return firstLine(wrong)
	}
	return r.judgeCode(i, e)
}

// vouchedBy says why a worker that did not answer passes.
func (i Instance) vouchedBy() string {
	if i.gen != nil {
		return "busy, but in the release's namespace"
	}
	return "busy, but younger than the swap"
}

// judgeCode checks that the code which runs is the release's, and that only a restart can change it.
func (r *Runtime) judgeCode(i Instance, e *evidence) error {
	if err := checkSettings(i, e.opcache); err != nil {
		return err
	}
	started := time.Unix(e.opcache.Opcache.Start, 0)
	e.instance.Started = started
	for other, n := range e.opcache.Opcache.Scripts {
		if other != e.release.String() {
			return fmt.Errorf("mixed: the link leads to %s, but %d scripts of %.12s are in the opcode cache", e.release.Short(), n, other)
		}
	}
	if f := e.opcache.Opcache.Foreign; len(f) > 0 {
		return fmt.Errorf("code from outside of the releases is in the opcode cache: %s (name its directory as \"outside\" if that is right)", f[0])
	}
	if e.opcache.Opcache.Resets > 0 {
		return errors.New("the opcode cache was reset by hand: what APCu and workers hold may be older; restart php-fpm")
	}
	if i.gen != nil {
		return nil // where the link leads on the host is nothing to a generation
	}
	if last, ok := r.lastSwap(); ok {
		for _, w := range e.crew.Of(e.status.Pool) {
			if w.Tick < last.Tick {
				return fmt.Errorf("mixed: worker %d ran before the link was swapped", w.PID)
			}
		}
		return nil
	}
	if swapped := r.link.swapped(); swapped.After(started.Add(clockSlack)) {
		return fmt.Errorf("mixed: the link was swapped at %s, after it started at %s", swapped.UTC().Format(time.TimeOnly),
			started.UTC().Format(time.TimeOnly))
	}
	return nil
}

// clockSlack is how far the wall clock may have been set since, and what whole seconds of a start hide. Mixed code is found
// by the opcode cache itself; this finds an idle runtime that was linked behind its back.
const clockSlack = 3 * time.Second

func checkSettings(i Instance, f facts) error {
	s := f.Settings
	switch {
	case f.Opcache == nil || s["opcache.enable"] != "1":
		return fmt.Errorf("the opcode cache is off or hidden (opcache.enable=%q, opcache.restrict_api): what runs cannot be proven; php.ini is %q",
			s["opcache.enable"], f.INI)
	case s["opcache.validate_timestamps"] != "0":
		return fmt.Errorf("opcache.validate_timestamps=%q: code changes without a restart; is php.ini broken? %q was read",
			s["opcache.validate_timestamps"], f.INI)
	case s["opcache.file_cache"] != "":
		return fmt.Errorf("opcache.file_cache=%q: it outlives a restart", s["opcache.file_cache"])
	case i.INI != "" && f.INI != i.INI && resolve(f.INI) != resolve(i.INI):
		return fmt.Errorf("it has read %q instead of %q", f.INI, i.INI)
	}
	return nil
}

func firstLine(wrong []error) error {
	if len(wrong) > 1 {
		return fmt.Errorf("%w (and %d more)", wrong[0], len(wrong)-1)
	}
	return wrong[0]
}
