package fpm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/effective"
	"scap/targets/fpm/proc"
)

// standing is how an instance stood right before a switch.
type standing struct {
	instance  Instance
	effective effective.Config
	crew      proc.Crew
	status    status // zero when it did not answer
}

func (s standing) pool() string { return s.effective.Pool }

// Switch makes php-fpm run s.To. Nothing is stopped before every configuration has passed php-fpm's own test; from the
// first signal on it ends what it began, whatever becomes of ctx. See agent.Runtime for the contract.
func (r *Runtime) Switch(ctx context.Context, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if ctx.Err() != nil {
		return release.Proof{}, fmt.Errorf("switch to %s: %w", s.To.Short(), context.Cause(ctx))
	}
	if s.To.IsZero() {
		return release.Proof{}, errors.New("switch to no release")
	}
	if err := r.writeProbe(); err != nil {
		return release.Proof{}, err
	}
	if r.conf.Strategy == Handover || s.Hand != "" {
		return r.switchHandover(ctx, s, link)
	}
	return r.plain(ctx, s, link)
}

// plain is the switch of the distribution's masters, by drain or by reload.
func (r *Runtime) plain(ctx context.Context, s release.Switch, link func(context.Context) error) (release.Proof, error) {
	if s.Serving {
		return release.Proof{}, fmt.Errorf("switch to %s: nothing was changed: %w", s.To.Short(), errServing)
	}
	before, err := r.survey(ctx, s.Emergency)
	if err != nil {
		return release.Proof{}, fmt.Errorf("switch to %s: nothing was changed: %w", s.To.Short(), err)
	}
	if ctx.Err() != nil {
		return release.Proof{}, fmt.Errorf("switch to %s: nothing was changed: %w", s.To.Short(), context.Cause(ctx))
	}
	ctx = context.WithoutCancel(ctx) // every step below has its own limit
	if r.conf.Strategy == Reload && !s.Emergency && running(before) {
		err = r.reload(ctx, before, link)
	} else {
		err = r.restart(ctx, before, s.Emergency, link)
	}
	if err != nil {
		return release.Proof{}, fmt.Errorf("switch to %s: %w", s.To.Short(), err)
	}
	proof, err := r.confirm(ctx, s.To, before)
	if r.conf.Strategy != Handover {
		proof.Road = release.Road{Strategy: string(r.conf.Strategy)}
	} else {
		proof.Road = r.road(r.lookAround(ctx), r.recall().Took)
	}
	return proof, err
}

// running reports whether every instance has exactly one master that could be reloaded, and no strays.
func running(all []standing) bool {
	for _, s := range all {
		if len(s.crew.Masters) != 1 || len(s.crew.Strays) > 0 || s.status.Pool == "" {
			return false
		}
	}
	return true
}

// survey records how every instance stands and refuses what could not be started again. It changes nothing.
func (r *Runtime) survey(ctx context.Context, emergency bool) ([]standing, error) {
	var all []standing
	for _, i := range r.conf.Instances {
		eff, err := r.effective(ctx, i)
		if err != nil {
			return nil, err
		}
		now, err := proc.All()
		if err != nil {
			return nil, err
		}
		s := standing{instance: i, effective: eff, crew: proc.CrewOf(now, i.ConfigFile, eff.Pool)}
		if len(s.crew.Masters) > 0 {
			s.status, _ = r.statusOf(ctx, i) // one that does not answer is stopped like any other
		}
		if eff.Timeout == 0 && !emergency && (r.conf.Strategy == Reload || r.busy(i, s.status) > 0) {
			return nil, fmt.Errorf("%s has process_control_timeout 0 and serves %d requests: a signal would kill them", i.Name, r.busy(i, s.status))
		}
		all = append(all, s)
	}
	return all, nil
}

// restart stops everything, swaps and starts. After an error before the swap php-fpm was started again as it was.
func (r *Runtime) restart(ctx context.Context, before []standing, kill bool, link func(context.Context) error) error {
	err := r.halt(ctx, before, kill)
	r.pending.Store(0) // those counted for masters that are gone
	if err == nil {
		err = r.swap(ctx, link)
	}
	if err != nil {
		return errors.Join(err, r.startAll(ctx))
	}
	return r.startAll(ctx)
}

func (r *Runtime) swap(ctx context.Context, link func(context.Context) error) error {
	if err := link(ctx); err != nil {
		return err
	}
	r.noteSwap()
	return nil
}

func (r *Runtime) startAll(ctx context.Context) error {
	var wrong []error
	for _, i := range r.conf.Instances {
		if r.ping(ctx, i) == nil {
			continue // it was never stopped
		}
		if err := r.start(ctx, i); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// reload swaps and reloads every master at once, then waits until all workers that ran before the swap are gone.
func (r *Runtime) reload(ctx context.Context, before []standing, link func(context.Context) error) error {
	if err := r.swap(ctx, link); err != nil {
		return err
	}
	var wrong []error
	for _, s := range before {
		if err := s.instance.order(ctx, s.crew.Masters[0], unix.SIGUSR2); err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	for _, s := range before {
		limit := s.effective.Timeout + r.conf.Limits.Stop.or(defaultStop)
		if rest := proc.AwaitGone(ctx, s.crew.Workers, limit); len(rest) > 0 {
			return fmt.Errorf("workers %v of %s outlive the reload", proc.PIDs(rest), s.instance.Name)
		}
	}
	r.pending.Store(0)
	for _, s := range before {
		if err := proc.Poll(ctx, r.conf.Limits.Start.or(defaultStart), func() error { return r.ping(ctx, s.instance) }); err != nil {
			return fmt.Errorf("reload %s: %w", s.instance.Name, err)
		}
	}
	return nil
}

// confirm warms the new runtime, proves it, and has it write a nonce into its own log.
func (r *Runtime) confirm(ctx context.Context, to release.ID, before []standing) (release.Proof, error) {
	if err := r.warm(ctx, to); err != nil {
		return release.Proof{}, fmt.Errorf("warm %s: %w", to.Short(), err)
	}
	proof := r.prove(ctx)
	if proof.Release != to {
		reason := proof.Reason
		if reason == "" {
			reason = "it runs " + proof.Release.Short()
		}
		return proof, fmt.Errorf("prove %s: %s", to.Short(), reason)
	}
	if err := r.newer(before, proof); err != nil {
		return proof, fmt.Errorf("prove %s: %w", to.Short(), err)
	}
	nonce := random(16)
	proof.Nonce = nonce
	for _, i := range r.conf.Instances {
		f, err := r.ask(ctx, i, question{nonce: nonce, release: to})
		if err != nil {
			return proof, fmt.Errorf("write a nonce into the log of %s: %w", i.Name, err)
		}
		if f.loud { // error_log is not set: what PHP complains of goes to whoever asks, and nobody can read it back
			proof.Nonce = ""
		}
	}
	r.noteNonce(proof.Nonce, proof.Started)
	return proof, nil
}

// newer checks by the kernel's own ticks that no master or worker of the proof ran before the switch.
func (r *Runtime) newer(before []standing, proof release.Proof) error {
	old := map[int]uint64{}
	var oldest time.Time
	for _, s := range before {
		for _, p := range s.crew.All() {
			old[p.PID] = p.Tick
		}
		if at := time.Unix(s.status.Start, 0); s.status.Start > 0 && at.After(oldest) {
			oldest = at
		}
	}
	for n, i := range proof.Instances {
		if i.Started.Before(oldest.Truncate(time.Second)) {
			return fmt.Errorf("%s started at %v, before the one it replaces", i.Name, i.Started)
		}
		for _, w := range i.Workers {
			p, err := proc.Read(w.PID)
			if err != nil {
				continue // it served its number of requests and was replaced by a younger one
			}
			if tick, ok := old[w.PID]; ok && tick == p.Tick {
				return fmt.Errorf("worker %d of %s ran before the switch", w.PID, i.Name)
			}
		}
		if tick, ok := old[i.Master]; ok && tick == i.Tick && r.conf.Strategy != Reload {
			return fmt.Errorf("master %d of %s ran before the switch", i.Master, r.conf.Instances[n].Name)
		}
	}
	return nil
}
