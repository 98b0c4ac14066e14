package fpm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
	"scap/targets/fpm/proc"
	"scap/targets/fpm/socket"
)

// sampleEvery is how often Quiet looks. Between two looks one worker should serve one request at most, so that the
// status page, which keeps only the last URI of each worker, names each of them.
const sampleEvery = 50 * time.Millisecond

// Quiet watches every instance for window, on an adopted host every master that lives, kept ones too. Requests of the agent
// itself and those to ignored paths do not count; a request whose path was not seen counts as one from outside. Active and
// Queued are as of the end of the window.
func (r *Runtime) Quiet(ctx context.Context, window time.Duration) (release.Quiet, error) {
	q := release.Quiet{Window: window}
	instances, err := r.watched(ctx)
	if err != nil {
		return q, err
	}
	last := make([]status, len(instances))
	for n, i := range instances {
		s, _, err := r.look(ctx, i)
		if err != nil {
			return q, err
		}
		last[n] = s
	}
	end := time.NewTimer(window)
	defer end.Stop()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return q, context.Cause(ctx)
		case <-end.C:
			over = true
		case <-tick.C:
		}
		q.Active = 0
		for n, i := range instances {
			s, active, err := r.look(ctx, i)
			if err != nil {
				return q, err
			}
			outside, uri := r.came(i, last[n], s)
			q.Outside += outside
			if uri != "" {
				q.Last = uri
			}
			q.Active += active
			last[n] = s
		}
	}
	for _, i := range instances {
		waiting, err := socket.Waiting(i.Listen)
		if err != nil {
			return q, err
		}
		q.Queued += waiting
	}
	return q, nil
}

// watched are the instances of which any could serve a user now.
func (r *Runtime) watched(ctx context.Context) ([]Instance, error) {
	if r.conf.Strategy != Handover {
		return r.conf.Instances, nil
	}
	g := r.stand(ctx)
	switch {
	case g.broken != nil:
		return nil, g.broken
	case g.adopted:
		return r.living(g.roster), nil
	}
	return r.conf.Instances, nil
}

// look takes one look at an instance. One that is down serves nobody, and one that does not answer has all its workers
// busy: neither is an error, since both must be able to be switched.
func (r *Runtime) look(ctx context.Context, i Instance) (s status, active int, err error) {
	s, err = r.statusOf(ctx, i)
	if err == nil {
		return s, r.busy(i, s), nil
	}
	now, trouble := proc.All()
	if ctx.Err() != nil || trouble != nil {
		return status{}, 0, fmt.Errorf("is %s quiet: %w", i.Name, err)
	}
	c := i.crew(now, "")
	left := len(c.Workers) + len(c.Strays)
	if left == 0 && i.gen == nil && !errors.Is(err, fcgi.ErrRefused) {
		return status{}, 0, fmt.Errorf("is %s quiet: %w", i.Name, err)
	}
	return status{}, left, nil
}

// busy counts the requests of others that are being served. A worker may still be ending its answer to an earlier look.
func (r *Runtime) busy(i Instance, s status) int {
	n := 0
	for _, p := range s.Processes {
		if !p.idle() && !s.isOwn(p) && !r.ignored(i, p) {
			n++
		}
	}
	return n
}

// came says how many requests from outside an instance took between two looks, and the URI of one of them.
func (r *Runtime) came(i Instance, before, after status) (outside int64, uri string) {
	if after.Pool == "" {
		return 0, "" // it did not answer
	}
	if after.Start != before.Start { // restarted in between: by its new count everything is new
		before = status{}
	}
	outside = after.Accepted - before.Accepted
	if i.StatusListen == "" {
		outside-- // the look itself
	}
	old := map[int]statusWorker{}
	for _, p := range before.Processes {
		old[p.PID] = p
	}
	for _, p := range after.Processes {
		// A worker counts a request when it begins it.
		if p.Requests == old[p.PID].Requests || after.isOwn(p) {
			continue
		}
		if r.ignored(i, p) {
			outside--
			continue
		}
		uri = p.URI
	}
	return max(outside, 0), uri
}

// ignored reports whether a worker's last request was one that no user makes: another agent's look, a probe, a ping.
func (r *Runtime) ignored(i Instance, p statusWorker) bool {
	return withoutQuery(p.URI) == i.StatusPath || withoutQuery(p.URI) == i.PingPath || withoutQuery(p.URI) == "/scap-probe" || p.Script == r.probe ||
		slices.Contains(r.conf.Quiet.Ignore, withoutQuery(p.URI))
}

// isOwn reports whether a worker answers, or has answered, this very status request.
func (s status) isOwn(p statusWorker) bool {
	return s.own != "" && len(p.URI) >= len(s.own) && p.URI[len(p.URI)-len(s.own):] == s.own
}
