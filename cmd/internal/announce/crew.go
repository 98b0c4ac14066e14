package announce

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"scap/phases/journal"
)

// Deps is what announcers need of the program.
type Deps struct {
	// Comment puts a comment on a change; it is needed for announcers of kind gerrit.
	Comment func(ctx context.Context, number int, text string) error
	Site    string   // the deploy host's name
	User    string   // who speaks with Say
	Test    []string // the phases of test servers
}

// Crew is all announcers. Its methods may be called from several goroutines. A nil Crew tells nobody.
type Crew struct {
	deps  Deps
	posts []*post
	wg    sync.WaitGroup
	stop  context.CancelCauseFunc

	mu      sync.Mutex
	stories map[string]*story
	last    *story
	closed  bool
}

// Open makes the announcers that list asks for; Close must be called. All mistakes of list are in its error. It neither opens
// a file nor asks the network: what is wrong there is told by Close, for no deploy is to wait for an announcer.
func Open(list []Options, deps Deps) (*Crew, error) {
	c := &Crew{deps: deps, stories: map[string]*story{}}
	var errs []error
	for _, o := range list {
		to, err := o.open(deps)
		if err != nil {
			errs = append(errs, fmt.Errorf("announcer %s: %w", o.Name, err))
			continue
		}
		p := newPost(o.Name, to, o.Timeout)
		p.says = o.talks()
		for _, w := range o.On {
			p.on = append(p.on, What(w))
		}
		c.posts = append(c.posts, p)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c.start()
	return c, nil
}

func (c *Crew) start() {
	ctx, stop := context.WithCancelCause(context.Background())
	c.stop = stop
	for _, p := range c.posts {
		c.wg.Go(func() { p.run(ctx) })
	}
}

// Recall takes the records of a deploy that is taken up again, or watched, without telling them.
func (c *Crew) Recall(past iter.Seq[journal.Record]) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range past {
		c.story(r).recall(r)
	}
}

// Observe takes a record; it is for phases.Runner.Observers. It returns at once, whatever the announcers do.
func (c *Crew) Observe(r journal.Record) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for _, e := range c.story(r).tell(r) {
		for _, p := range c.posts {
			if e.wanted(p.on) && (e.What != watched || !p.says) {
				p.put(parcel{Event: e})
			}
		}
	}
}

// story is the one that r belongs to. A record that could not be journaled may have no name: it is of the last.
func (c *Crew) story(r journal.Record) *story {
	s := c.stories[r.Deploy]
	if r.Deploy == "" && c.last != nil {
		s = c.last
	}
	if s == nil {
		s = &story{facts: newFacts(r.Deploy), test: func(phase string) bool { return slices.Contains(c.deps.Test, phase) }}
		c.stories[r.Deploy] = s
	}
	c.last = s
	return s
}

// Say tells a deployer's own words to the announcers that talk to people, and waits until they are told or ctx ends. It
// returns what went wrong.
func (c *Crew) Say(ctx context.Context, text string) []error {
	if c == nil {
		return nil
	}
	e := Event{What: Said, At: time.Now(), Did: who(c.deps.User, c.deps.Site) + " " + clean(text)}
	type said struct {
		p    *post
		done chan error
	}
	var waits []said
	var errs []error
	for _, p := range c.posts {
		if !p.says || !e.wanted(p.on) {
			continue
		}
		done := make(chan error, 1)
		if p.put(parcel{Event: e, done: done}) {
			waits = append(waits, said{p, done})
		} else {
			errs = append(errs, fmt.Errorf("announcer %s: not told: too much waits to be told, or it is closed", p.name))
		}
	}
	for _, w := range waits {
		var err error
		select {
		case err = <-w.done:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("announcer %s: %s", w.p.name, clean(err.Error())))
		}
	}
	return errs
}

// grace is how long an announcer may take to end once it was told to.
const grace = time.Second

// Close lets the announcers tell what waits, until ctx ends, and then ends them. It returns what went wrong since Open, each
// once. An announcer that does not end when it is told to (a Deps.Comment that ignores its context) is left behind and named.
func (c *Crew) Close(ctx context.Context) []error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, p := range c.posts {
		p.finish()
	}
	over := make(chan struct{})
	go func() { // ends with the announcers
		c.wg.Wait()
		close(over)
	}()
	var errs []error
	select {
	case <-over:
	case <-ctx.Done():
		c.stop(fmt.Errorf("not told in time: %w", context.Cause(ctx)))
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			errs = append(errs, errors.New("an announcer does not end"))
		}
	}
	c.stop(nil)
	for _, p := range c.posts {
		errs = append(errs, p.report()...)
	}
	return errs
}
