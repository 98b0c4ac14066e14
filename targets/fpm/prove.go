package fpm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"scap/sync/release"
)

// evidence is what was found out about one instance.
type evidence struct {
	instance release.Instance
	release  release.ID
	crew     crew
	status   status
	workers  map[int]facts
	opcache  facts // of the one worker that was asked for the opcode cache
}

// prove asks every instance and joins what they say: one release everywhere, or a reason.
func (r *Runtime) prove(ctx context.Context) release.Proof {
	var proof release.Proof
	var all []evidence
	for _, i := range r.conf.Instances {
		e, err := r.proveInstance(ctx, i)
		proof.Instances = append(proof.Instances, e.instance)
		if err != nil && proof.Reason == "" {
			proof.Reason = fmt.Sprintf("php-fpm %s: %v", i.Name, err)
		}
		if e.instance.Started.After(proof.Started) {
			proof.Started = e.instance.Started
		}
		all = append(all, e)
	}
	proof.Requests = r.countOthers(all)
	if proof.Reason != "" {
		return proof
	}
	for _, e := range all[1:] {
		if e.release != all[0].release {
			proof.Reason = fmt.Sprintf("php-fpm %s runs %s, %s runs %s", all[0].instance.Name, all[0].release.Short(),
				e.instance.Name, e.release.Short())
			return proof
		}
	}
	proof.Release = all[0].release
	return proof
}

// proveInstance gathers an instance's evidence and judges it. What it found it returns besides an error too.
func (r *Runtime) proveInstance(ctx context.Context, i Instance) (evidence, error) {
	e := evidence{instance: release.Instance{Name: i.Name}, workers: map[int]facts{}}
	s, asked := r.statusOf(ctx, i)
	pool := s.Pool
	if pool == "" {
		if eff, err := r.effective(ctx, i); err == nil {
			pool = eff.Pool
		}
	}
	all, err := processes()
	if err != nil {
		return e, err
	}
	e.crew, e.status = crewOf(all, i.ConfigFile, pool), s
	e.instance.Strays = pids(e.crew.Strays)
	if len(e.crew.Masters) > 0 {
		e.instance.Master, e.instance.Tick = e.crew.Masters[0].PID, e.crew.Masters[0].Tick
	}
	if err := r.present(i, e.crew, asked); err != nil {
		return e, err
	}
	e.instance.Started = time.Unix(s.Start, 0)
	if err := r.askWorkers(ctx, i, &e); err != nil {
		return e, err
	}
	return e, r.judge(i, &e)
}

// present says what is wrong with who runs, before anybody is asked for a release.
func (r *Runtime) present(i Instance, c crew, asked error) error {
	stale := ""
	if pid, ok := pidFile(i); ok && !slices.Contains(pids(c.Masters), pid) {
		stale = fmt.Sprintf("; the pid file %s is stale: it names %d", i.Control.PIDFile, pid)
	}
	switch {
	case len(c.Masters) > 1:
		return fmt.Errorf("%d masters run with %s: %v", len(c.Masters), i.ConfigFile, pids(c.Masters))
	case len(c.Masters) == 0 && len(c.Strays) > 0:
		return fmt.Errorf("the master is dead and its workers %v serve on what they have%s", pids(c.Strays), stale)
	case len(c.Strays) > 0:
		return fmt.Errorf("orphan workers %v of an earlier master are alive", pids(c.Strays))
	case errors.Is(asked, errRefused) && len(c.Masters) == 0:
		return fmt.Errorf("down: %w%s", asked, stale)
	case errors.Is(asked, errSilent):
		return fmt.Errorf("masters %v, workers %v: %w", pids(c.Masters), pids(c.Workers), asked)
	case asked != nil:
		return asked
	case len(c.Masters) == 0:
		return fmt.Errorf("somebody answers on %s, but no master runs with %s%s", i.Listen, i.ConfigFile, stale)
	case stale != "":
		return errors.New(stale[2:])
	}
	return nil
}

// askWorkers asks until every worker of the instance has answered for itself: as many questions at once as there are
// workers, each holding its worker a little longer than the round before, so that no worker answers for another.
func (r *Runtime) askWorkers(ctx context.Context, i Instance, e *evidence) error {
	limit := r.conf.Limits.Prove.or(defaultProve)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSilent)
	defer cancel()
	hold := time.Millisecond
	var trouble error
	for {
		missing, err := r.missing(i, e)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			if trouble = r.complete(ctx, i, e); trouble == nil {
				return nil
			}
		}
		if ctx.Err() != nil {
			return r.unanswered(ctx, missing, e, trouble)
		}
		if err := r.round(ctx, i, e, max(len(e.crew.Workers), 1), hold); err != nil {
			trouble = err
		}
		hold = min(2*hold, 200*time.Millisecond)
	}
}

func (r *Runtime) unanswered(ctx context.Context, missing []process, e *evidence, trouble error) error {
	if len(missing) == 0 {
		return trouble
	}
	doing := ""
	for _, w := range e.status.Processes {
		if w.PID == missing[0].PID && !w.idle() {
			doing = fmt.Sprintf("; it was busy with %.200q", w.URI)
		}
	}
	if trouble == nil {
		trouble = context.Cause(ctx)
	}
	return fmt.Errorf("workers %v did not answer%s: %w", pids(missing), doing, trouble)
}

// missing reads who works now and returns those who have not answered.
func (r *Runtime) missing(i Instance, e *evidence) ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	now := crewOf(all, i.ConfigFile, e.status.Pool)
	if len(now.Masters) != 1 || now.Masters[0].PID != e.instance.Master || now.Masters[0].Tick != e.instance.Tick {
		return nil, errors.New("its master changed while it was asked")
	}
	e.crew = now
	var missing []process
	for _, w := range now.of(e.status.Pool) {
		if _, ok := e.workers[w.PID]; !ok {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// round asks n questions at once.
func (r *Runtime) round(ctx context.Context, i Instance, e *evidence, n int, hold time.Duration) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var trouble error
	for range n {
		wg.Go(func() {
			f, err := r.ask(ctx, i, question{hold: hold})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				trouble = err
				return
			}
			e.workers[f.PID] = f
		})
	}
	wg.Wait()
	return trouble
}

// complete lists what the workers' shared opcode cache holds, and reads the status once more: who is in it must be who
// has answered, no more and no fewer.
func (r *Runtime) complete(ctx context.Context, i Instance, e *evidence) (err error) {
	if e.opcache, err = r.ask(ctx, i, question{scripts: true}); err != nil {
		return fmt.Errorf("opcode cache: %w", err)
	}
	if e.status, err = r.statusOf(ctx, i); err != nil {
		return err
	}
	for _, p := range e.status.Processes {
		if _, ok := e.workers[p.PID]; !ok {
			return fmt.Errorf("worker %d appeared while the others were asked", p.PID)
		}
	}
	if n := len(e.crew.of(e.status.Pool)); e.status.Manager == "static" && n != e.status.slots {
		return fmt.Errorf("%d workers answered, php-fpm counts %d", n, e.status.slots)
	}
	return nil
}

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
	slices.SortFunc(e.instance.Workers, func(a, b release.Worker) int { return a.PID - b.PID })
	e.instance.Settings = e.opcache.Settings
	if e.instance.Settings != nil {
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
