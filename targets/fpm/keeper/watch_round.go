package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/namespace"
)

// round looks at everything once and mends what it can. Only what hinders it as a whole is tried again by itself: the
// repairs of a pool are not hindered by another pool's.
func (w *watcher) round(ctx context.Context) {
	err := w.locked(ctx, func(r *record) error { return w.mend(ctx, r) })
	if err != nil && ctx.Err() == nil {
		w.failed(everything)
		w.say("round", fmt.Sprintf("the watch cannot work: %v", err))
		return
	}
	delete(w.repairs, everything)
	delete(w.remarks, "round")
}

func (w *watcher) mend(ctx context.Context, r *record) error {
	if !w.begun {
		w.begin(r)
		w.begun = true
	}
	if err := w.mourn(r); err != nil {
		return err
	}
	if err := w.tidy(ctx, r); err != nil {
		w.alarm(r, everything, "generations that are to end do not: %v", err)
	} else {
		w.well(everything)
	}
	well := true
	if r.Adopted && r.Hand == "" {
		for _, p := range w.conf.Pools {
			well = w.pool(ctx, r, p) && well
		}
	}
	if well && r.Booted != w.boot {
		r.Booted = w.boot
		return w.save(r)
	}
	return nil
}

// begin finds out whether the machine was started since a watch last saw it well. Then a pool without a published
// generation, on a host of ours, was halted when it went down: it is to have what `current` names.
func (w *watcher) begin(r *record) {
	if r.Booted != "" && r.Booted != w.boot && r.Adopted && r.Hand == "" {
		for _, p := range w.conf.Pools {
			if r.pool(p.Name).Published == 0 {
				w.started[p.Name] = release.ID{}
			}
		}
	}
}

// mourn says which generations died that users are not sent to, before they are forgotten.
func (w *watcher) mourn(r *record) error {
	s, err := look()
	if err != nil {
		return err
	}
	for _, e := range r.Generations {
		if e.Phase != running || e.Boot != w.boot || w.crew(s, e).alive || !e.Until.After(time.Now()) {
			continue
		}
		role, err := w.role(r, e)
		if err != nil {
			return err
		}
		p, _ := w.conf.pool(e.Pool)
		switch role {
		case "":
			w.alarm(r, e.Pool, "the master of generation %d (release %s, not published) has died; it is ended", e.Number, e.Release.Short())
		case "tried":
			w.alarm(r, e.Pool, "the master of generation %d (release %s) has died while it was tried: the trial is over", e.Number, e.Release.Short())
			e.Until = time.Now() // tidy takes the link away and ends who is left
			if err := errors.Join(w.unpoint(p.Trial), w.save(r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pool sees to it that users of a pool reach a living master of the release that was published. It reports whether they do.
func (w *watcher) pool(ctx context.Context, r *record, p Pool) bool {
	if w.resting(p.Name) || ctx.Err() != nil {
		return false
	}
	did, err := w.converge(ctx, r, p)
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		w.failed(p.Name)
		w.alarm(r, p.Name, "%v", err)
		return false
	}
	delete(w.repairs, p.Name)
	if did == "" {
		w.well(p.Name)
		return true
	}
	w.alarm(r, p.Name, "%s", did)
	return true
}

// converge makes a pool right and says what it did, or what is wrong that it must leave alone.
func (w *watcher) converge(ctx context.Context, r *record, p Pool) (did string, err error) {
	at, err := w.leads(r, p.Name, p.Listen)
	if err != nil {
		return "", err
	}
	last := r.pool(p.Name).Published // and where the link leads, if anywhere: tidy has seen to it
	e := r.find(last)
	if e == nil {
		return w.boots(ctx, r, p)
	}
	delete(w.started, p.Name)
	s, err := look()
	if err != nil {
		return "", err
	}
	c := w.crew(s, e)
	if !c.alive {
		did, err := w.replace(ctx, r, p, e, c)
		if err != nil {
			w.mourned[e.Number] = true
		}
		return did, err
	}
	if at == 0 {
		if err := w.publish(ctx, r, Request{Op: OpPublish, Pool: p.Name, Generation: e.Number}); err != nil {
			return "", fmt.Errorf("%s led no more to generation %d, and cannot be mended: %w", p.Listen, e.Number, err)
		}
		return fmt.Sprintf("%s led no more to generation %d: it was mended", p.Listen, e.Number), nil
	}
	if text := w.wrong(e, c); text != "" {
		return fmt.Sprintf("generation %d serves on, but %s", e.Number, text), nil
	}
	return "", nil
}

// replace puts a new generation of the same release in the place of one whose master is dead.
func (w *watcher) replace(ctx context.Context, r *record, p Pool, e *entry, c crew) (string, error) {
	what := fmt.Sprintf("the master of generation %d (release %s) has died", e.Number, e.Release.Short())
	switch n := len(c.members); {
	case e.Boot != w.boot:
		what = fmt.Sprintf("the machine was started anew; generation %d (release %s) ran before", e.Number, e.Release.Short())
	case n > 0:
		what += fmt.Sprintf(", %d of its workers go on without it", n)
	}
	next, err := w.another(ctx, r, p, e.Release)
	if err != nil {
		return "", fmt.Errorf("%s; another one cannot be started, and is tried again: %w", what, err)
	}
	if err := w.put(ctx, r, p, next); err != nil {
		return "", fmt.Errorf("%s; generation %d cannot take its place: %w", what, next, err)
	}
	return fmt.Sprintf("%s; generation %d took its place", what, next), nil
}

// another is a living generation of a release that users are not sent to, or else a new one.
func (w *watcher) another(ctx context.Context, r *record, p Pool, id release.ID) (uint64, error) {
	s, err := look()
	if err != nil {
		return 0, err
	}
	for _, e := range r.of(p.Name) {
		if role, err := w.role(r, e); err == nil && role == "" && e.Release == id && w.healthy(s, e) == nil {
			return e.Number, nil
		}
	}
	q := Request{Op: OpStart, Pool: p.Name, Release: id, Until: time.Now().Add(unproven)}
	if err := w.possible(r, q); err != nil {
		return 0, err
	}
	g, err := w.startOne(ctx, r, q)
	if err != nil {
		return 0, err
	}
	return g.Number, nil
}

// put publishes a generation and ends the one before, as far as it lives.
func (w *watcher) put(ctx context.Context, r *record, p Pool, number uint64) error {
	at, err := w.leads(r, p.Name, p.Listen)
	if err != nil {
		return err
	}
	return w.publish(ctx, r, Request{Op: OpPublish, Pool: p.Name, Generation: number, From: at})
}

// boots starts what `current` names, for a pool of which nothing was published when the machine went down.
func (w *watcher) boots(ctx context.Context, r *record, p Pool) (string, error) {
	id, is := w.started[p.Name]
	if !is {
		return "", nil // it is halted, and somebody works on it
	}
	if id.IsZero() {
		current, err := namespace.Open(namespace.Spec{Root: w.conf.Root, Served: w.conf.Served, Owner: w.owner})
		if errors.Is(err, unix.ENOENT) {
			return "", nil // nothing was ever deployed here
		}
		if err != nil {
			return "", fmt.Errorf("the machine was started anew; what is to run is not known: %w", err)
		}
		id = current.ID()
		current.Close()
	}
	number, err := w.another(ctx, r, p, id)
	if err == nil {
		err = w.put(ctx, r, p, number)
	}
	if err != nil {
		return "", fmt.Errorf("the machine was started anew; release %s, which is current, cannot be: %w", id.Short(), err)
	}
	return fmt.Sprintf("the machine was started anew, and nothing had been published: generation %d has release %s, which is current", number, id.Short()), nil
}
