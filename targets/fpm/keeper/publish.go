package keeper

import (
	"context"
	"errors"
	"time"

	"scap/targets/fpm/socket"
)

// publish makes a generation what the web server reaches.
func (k *keeper) publish(ctx context.Context, r *record, q Request) error {
	pool, _ := k.conf.pool(q.Pool)
	e := r.find(q.Generation)
	if e == nil {
		return refuse("generation %d has ended", q.Generation)
	}
	at, err := k.leads(r, pool.Name, pool.Listen)
	if err != nil {
		return err
	}
	if at != q.From && at != e.Number {
		return refuse("generation %d is published, not %d", at, q.From)
	}
	s, err := look()
	if err != nil {
		return err
	}
	if err := k.healthy(s, e); err != nil {
		return refused(err)
	}
	switch _, there, err := socket.Listening(pool.Listen); {
	case err != nil:
		return err
	case there:
		return refuse("somebody else listens on %s: is the distribution's php-fpm started again? adopt the host again, or give it up", pool.Listen)
	}
	if at == e.Number {
		return nil // the reply was lost
	}
	before := r.find(at)
	if at == 0 {
		before = r.find(r.pool(pool.Name).Published) // its link was lost
	}
	if before != nil && before != e {
		before.Until, before.Served = q.Until, true
		if !q.Until.After(time.Now()) || !k.crew(s, before).alive {
			before.Until = time.Now()
		}
	}
	if err := k.save(r); err != nil {
		return err
	}
	k.tick("publish: the record has when generation %d ends", at)
	if err := point(pool.Listen, k.conf.files(e.Number).socket); err != nil {
		return err
	}
	k.tick("publish: %s leads to generation %d", pool.Listen, e.Number)
	return k.published(context.WithoutCancel(ctx), r, pool, e, before)
}

// published writes down that users reach e, and ends those that are kept no longer.
func (k *keeper) published(ctx context.Context, r *record, pool Pool, e, before *entry) error {
	tried, err := k.leads(r, pool.Name, pool.Trial)
	if err == nil && tried == e.Number {
		err = k.unpoint(pool.Trial)
	}
	e.Until, e.Served = time.Time{}, true
	r.pool(pool.Name).Published = e.Number
	for _, old := range r.of(pool.Name) {
		if old.Served && old != e && old != before && old.Number != tried {
			old.Until = time.Now()
		}
	}
	if err := errors.Join(err, k.save(r)); err != nil {
		return err
	}
	k.tick("publish: the record has generation %d published", e.Number)
	return k.tidy(ctx, r)
}

// try makes a generation the one that a share of the requests goes to, or none.
func (k *keeper) try(r *record, q Request) error {
	pool, _ := k.conf.pool(q.Pool)
	if q.Generation == 0 {
		err := k.unpoint(pool.Trial)
		k.tick("try: %s is gone", pool.Trial)
		return err
	}
	e := r.find(q.Generation)
	if e == nil {
		return refuse("generation %d has ended", q.Generation)
	}
	switch role, err := k.role(r, e); {
	case err != nil:
		return err
	case role == "published":
		return refuse("generation %d is published: all requests go to it", e.Number)
	}
	s, err := look()
	if err != nil {
		return err
	}
	if err := k.healthy(s, e); err != nil {
		return refused(err)
	}
	e.Until, e.Served = q.Until, true
	if err := k.save(r); err != nil {
		return err
	}
	k.tick("try: the record has until when generation %d is tried", e.Number)
	err = point(pool.Trial, k.conf.files(e.Number).socket)
	k.tick("try: %s leads to generation %d", pool.Trial, e.Number)
	return err
}
