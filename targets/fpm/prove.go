package fpm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/proc"
)

// evidence is what was found out about one instance.
type evidence struct {
	of       Instance
	instance release.Instance
	release  release.ID
	crew     proc.Crew
	status   status
	workers  map[int]facts
	vouched  map[int]bool // busy all the time, but younger than the swap: see vouch
	opcache  facts        // of the one worker that was asked for the opcode cache
}

// prove asks every instance of the distribution's and joins what they say: one release everywhere, or a reason.
func (r *Runtime) prove(ctx context.Context) release.Proof {
	proof, all := r.gather(ctx, r.conf.Instances)
	proof.Requests = r.countOthers(all)
	return proof
}

// gather asks instances and joins what they say. It counts no requests.
func (r *Runtime) gather(ctx context.Context, instances []Instance) (proof release.Proof, all []evidence) {
	for _, i := range instances {
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
	if proof.Reason != "" || len(all) == 0 {
		return proof, all
	}
	for _, e := range all[1:] {
		if e.release != all[0].release {
			proof.Reason = fmt.Sprintf("php-fpm %s runs %s, %s runs %s", all[0].instance.Name, all[0].release.Short(),
				e.instance.Name, e.release.Short())
			return proof, all
		}
	}
	proof.Release = all[0].release
	return proof, all
}

// proveInstance gathers an instance's evidence and judges it. What it found it returns besides an error too.
func (r *Runtime) proveInstance(ctx context.Context, i Instance) (evidence, error) {
	e := evidence{of: i, instance: release.Instance{Name: i.Name}, workers: map[int]facts{}, vouched: map[int]bool{}}
	s, asked := r.statusOf(ctx, i)
	pool := s.Pool
	if pool == "" && i.gen == nil {
		if eff, err := r.effective(ctx, i); err == nil {
			pool = eff.Pool
		}
	}
	all, err := proc.All()
	if err != nil {
		return e, err
	}
	e.crew, e.status = i.crew(all, pool), s
	e.instance.Strays = proc.PIDs(e.crew.Strays)
	if len(e.crew.Masters) > 0 {
		e.instance.Master, e.instance.Tick = e.crew.Masters[0].PID, e.crew.Masters[0].Tick
	}
	if err := r.present(i, e.crew, asked); err != nil {
		return e, err
	}
	if i.gen != nil && i.gen.Wrong != "" {
		return e, fmt.Errorf("generation %d: %s", i.gen.Number, i.gen.Wrong)
	}
	e.instance.Started = time.Unix(s.Start, 0)
	if err := r.askWorkers(ctx, i, &e); err != nil {
		return e, err
	}
	return e, r.judge(i, &e)
}

// present says what is wrong with who runs, before anybody is asked for a release.
func (r *Runtime) present(i Instance, c proc.Crew, asked error) error {
	stale := ""
	if pid, ok := pidFile(i); ok && !slices.Contains(proc.PIDs(c.Masters), pid) {
		stale = fmt.Sprintf("; the pid file %s is stale: it names %d", i.Control.PIDFile, pid)
	}
	switch {
	case len(c.Masters) > 1:
		return fmt.Errorf("%d masters run with %s: %v", len(c.Masters), i.ConfigFile, proc.PIDs(c.Masters))
	case len(c.Masters) == 0 && len(c.Strays) > 0:
		return fmt.Errorf("the master is dead and its workers %v serve on what they have%s", proc.PIDs(c.Strays), stale)
	case len(c.Strays) > 0:
		return fmt.Errorf("orphan workers %v of an earlier master are alive", proc.PIDs(c.Strays))
	case errors.Is(asked, fcgi.ErrRefused) && len(c.Masters) == 0:
		return fmt.Errorf("down: %w%s", asked, stale)
	case errors.Is(asked, errSilent):
		return fmt.Errorf("masters %v, workers %v: %w", proc.PIDs(c.Masters), proc.PIDs(c.Workers), asked)
	case asked != nil:
		return asked
	case len(c.Masters) == 0:
		return fmt.Errorf("somebody answers on %s, but no master runs with %s, or /proc hides it (hidepid)%s", i.Listen, i.ConfigFile, stale)
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
	patience := time.NewTimer(min(limit/4, 300*time.Millisecond))
	defer patience.Stop()
	var trouble error
	for {
		missing, err := r.missing(i, e)
		if err != nil {
			return err
		}
		select {
		case <-patience.C:
			patience.Reset(300 * time.Millisecond)
			missing = r.vouch(ctx, i, e, missing)
		default:
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

func (r *Runtime) unanswered(ctx context.Context, missing []proc.Process, e *evidence, trouble error) error {
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
	return fmt.Errorf("workers %v did not answer%s: %w", proc.PIDs(missing), doing, trouble)
}

// missing reads who works now and returns those who have not answered.
func (r *Runtime) missing(i Instance, e *evidence) ([]proc.Process, error) {
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	now := i.crew(all, e.status.Pool)
	if len(now.Masters) != 1 || now.Masters[0].PID != e.instance.Master || now.Masters[0].Tick != e.instance.Tick {
		return nil, errors.New("its master changed while it was asked")
	}
	e.crew = now
	var missing []proc.Process
	for _, w := range now.Of(e.status.Pool) {
		if _, ok := e.workers[w.PID]; !ok && !e.vouched[w.PID] {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// vouch lets those workers pass that are busy with a user's long request, when they are known to be younger than the last
// swap: such a worker has never seen another release, and the opcode cache, which is asked of another one, is its own too.
// Without this no host with a request of a minute could be proven while it serves. Of a generation the keeper's word, not the
// age, lets them pass. It returns who is still missing.
func (r *Runtime) vouch(ctx context.Context, i Instance, e *evidence, missing []proc.Process) []proc.Process {
	last, ok := r.lastSwap()
	if !ok && i.gen == nil || len(e.workers) == 0 || len(missing) == 0 {
		return missing
	}
	s, err := r.statusOf(ctx, i)
	if err != nil {
		return missing
	}
	busy := map[int]bool{}
	for _, p := range s.Processes {
		busy[p.PID] = !p.idle() && !s.isOwn(p)
	}
	return slices.DeleteFunc(missing, func(w proc.Process) bool {
		if i.gen != nil { // root has looked: this worker is in the namespace, and in that there is no other release
			e.vouched[w.PID] = busy[w.PID] && i.gen.Wrong == "" && slices.Contains(i.gen.Workers, w.PID)
		} else {
			e.vouched[w.PID] = busy[w.PID] && w.Tick > last.Tick
		}
		return e.vouched[w.PID]
	})
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
		if _, ok := e.workers[p.PID]; !ok && !e.vouched[p.PID] {
			return fmt.Errorf("worker %d appeared while the others were asked", p.PID)
		}
	}
	if n := len(e.crew.Of(e.status.Pool)); e.status.Manager == "static" && n != e.status.slots {
		return fmt.Errorf("%d workers answered, php-fpm counts %d", n, e.status.slots)
	}
	return nil
}
