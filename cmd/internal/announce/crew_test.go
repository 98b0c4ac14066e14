package announce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/phases/journal"
)

func texts(errs []error) (list []string) {
	for _, err := range errs {
		list = append(list, err.Error())
	}
	return list
}

// TestSlow hangs one announcer: the deploy takes no longer, the others are told, and what was not told is counted.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &ear{tell: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		well := &ear{}
		c, s := crewOf(hangs, well), newScene()
		began := time.Now()
		if err := s.runner(c).Run(t.Context(), s.plan); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 48*time.Second {
			t.Errorf("the deploy took %s", took)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("the deploy is over"))
		defer cancel()
		closing := time.Now()
		errs := texts(c.Close(ctx))
		if took := time.Since(closing); took > 4*time.Second {
			t.Errorf("closing took %s", took)
		}
		if want := []string{"announcer ear1: no end within 10s (2 times)", "announcer ear1: not told in time: the deploy is over"}; !slices.Equal(errs, want) {
			t.Errorf("the crew says %q, want %q", errs, want)
		}
		if n := len(well.heard()); n != 3 {
			t.Errorf("the other was told %d events, want 3", n)
		}
		if !hangs.closed || !well.closed {
			t.Error("an announcer was not closed")
		}
	})
}

// TestDeaf never lets an announcer return: Close goes on without it.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := crewOf(&ear{tell: func(context.Context, int) error {
			<-let
			return nil
		}})
		c.Observe(journal.Record{Seq: 1, Kind: journal.Begin, Deploy: "d1"})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if errs := c.Close(ctx); len(errs) != 1 || errs[0].Error() != "an announcer does not end" {
			t.Errorf("the crew says %q", texts(errs))
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("closing took %s, want 4s", took)
		}
		close(let)
	})
}

// TestPanic loses one announcer's event, and nothing else.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &ear{tell: func(_ context.Context, n int) error {
			if n == 1 {
				panic("boom")
			}
			return nil
		}}
		c, s := crewOf(a), newScene()
		_ = s.runner(c).Run(t.Context(), s.plan)
		if errs := texts(c.Close(t.Context())); !slices.Equal(errs, []string{"announcer ear1: panic: boom"}) {
			t.Errorf("the crew says %q", errs)
		}
		if n := len(a.heard()); n != 3 {
			t.Errorf("told %d events, want 3", n)
		}
	})
}

// TestFloods puts more events than may wait: how deploys ended stays, and the rest is counted.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		a := &ear{tell: func(context.Context, int) error {
			<-let
			return nil
		}}
		c := crewOf(a)
		for i := range 100 {
			deploy := fmt.Sprint("d", i)
			c.Observe(journal.Record{Seq: 1, Kind: journal.Begin, Deploy: deploy, Data: []byte(`{}`)})
			if synctest.Wait(); i < 50 {
				c.Observe(journal.Record{Seq: 2, Kind: journal.End, Verdict: journal.Deployed, Deploy: deploy})
			}
		}
		close(let)
		errs := texts(c.Close(t.Context()))
		ends := 0
		for _, e := range a.heard() {
			if e.ended() {
				ends++
			}
		}
		if ends != 50 || len(a.heard()) != 1+queueMost {
			t.Errorf("told %d events, %d of them ends; want %d and 50", len(a.heard()), ends, 1+queueMost)
		}
		if want := fmt.Sprintf("announcer ear1: %d events were not told: too many waited, or it was closed", 150-1-queueMost); !slices.Equal(errs, []string{want}) {
			t.Errorf("the crew says %q, want %q", errs, want)
		}
		c.Observe(journal.Record{Seq: 1, Kind: journal.Begin, Deploy: "late"})
		if n := len(a.heard()); n != 1+queueMost {
			t.Error("told after it was closed")
		}
	})
}

// TestOn tells each announcer what it asked for.
func TestOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, quiet := &ear{}, &ear{}, &ear{}
		c, s := crewOf(a, b, quiet), newScene()
		c.posts[0].on = []What{RolledBack}
		c.posts[1].on = []What{Started, Said}
		c.posts[2].says = false
		s.plan.Phases[1].Gate = fails
		_ = s.runner(c).Run(t.Context(), s.plan)
		if errs := c.Say(t.Context(), "hello\r\nPRIVMSG #x :all"); len(errs) > 0 {
			t.Errorf("said with %q", texts(errs))
		}
		_ = c.Close(t.Context())
		whats := func(a *ear) (list []What) {
			for _, e := range a.heard() {
				list = append(list, e.What)
			}
			return list
		}
		if got := whats(a); !slices.Equal(got, []What{Returning, RolledBack}) {
			t.Errorf("who asked for rolled-back was told %v", got)
		}
		if got := whats(b); !slices.Equal(got, []What{Started, Said}) {
			t.Errorf("who asked for two was told %v", got)
		}
		if got := whats(quiet); slices.Contains(got, Said) || len(got) != 4 {
			t.Errorf("who talks to nobody was told %v", got)
		}
		if got := b.lines()[1]; got != "jd@deploy1 hello PRIVMSG #x :all" {
			t.Errorf("said %q", got)
		}
	})
}

// TestSayFails returns each announcer's error.
func TestSayFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crewOf(&ear{tell: func(context.Context, int) error { return errors.New("no such channel\x1b[2J") }}, &ear{})
		if errs := texts(c.Say(t.Context(), "x")); !slices.Equal(errs, []string{"announcer ear1: no such channel [2J"}) {
			t.Errorf("said with %q", errs)
		}
		if errs := c.Close(t.Context()); len(errs) > 0 {
			t.Errorf("told twice: %q", texts(errs))
		}
		if errs := c.Say(t.Context(), "x"); len(errs) != 2 {
			t.Errorf("a closed crew says %q", texts(errs))
		}
	})
}

func TestNobody(t *testing.T) {
	var c *Crew
	c.Recall(nil)
	c.Observe(journal.Record{})
	if c.Say(t.Context(), "x") != nil || c.Close(t.Context()) != nil {
		t.Error("nobody says something")
	}
}

// TestOpen finds every mistake.
func TestOpen(t *testing.T) {
	good := map[string]Options{
		"irc": {Kind: IRC, Address: "irc:6697", Channel: "#x"}, "bot": {Kind: TCPIRCBot, Address: "bot:9200"},
		"chat": {Kind: Webhook, URL: "https://chat/x"}, "status": {Kind: Statuspage, Page: "p", TokenFile: "/x"}, "gerrit": {Kind: OnChanges},
		"node": {Kind: Textfile, Path: "/x.prom"}, "push": {Kind: Pushgateway, URL: "http://push:9091"}, "otlp": {Kind: OTLP, URL: "http://otel:4318"},
		"command": {Kind: Told, Command: []string{"/bin/true"}, On: Words()},
	}
	bad := []Options{
		{},
		{Kind: "pigeon"},
		{Kind: IRC, Address: "irc", Channel: "#x"},
		{Kind: IRC, Address: "irc:6697"},
		{Kind: IRC, Address: "irc:6697", Channel: "x"},
		{Kind: IRC, Address: "irc:6697", Channel: "#x,#y"},
		{Kind: IRC, Address: "irc:6697", Channel: "#x", Nick: "a b"},
		{Kind: IRC, Address: "irc:6667", Channel: "#x", Plain: true, PasswordFile: "/x"},
		{Kind: TCPIRCBot},
		{Kind: Webhook},
		{Kind: Webhook, URL: "https://x", URLFile: "/x"},
		{Kind: Webhook, URL: "file:///x"},
		{Kind: Statuspage, Page: "p"},
		{Kind: Statuspage, Page: "p", TokenFile: "/x", URL: "http://status"},
		{Kind: Textfile, Path: "x.prom"},
		{Kind: Pushgateway},
		{Kind: Pushgateway, URL: "http://push", PasswordFile: "/x"},
		{Kind: OTLP, URL: "http://otel", TokenFile: "/x"},
		{Kind: Told},
		{Kind: Told, Command: []string{"true"}},
		{Kind: Webhook, URL: "https://x", On: []string{"everything"}},
	}
	deps := Deps{Comment: func(context.Context, int, string) error { return nil }}
	var list []Options
	for name, o := range good {
		o.Name = name
		list = append(list, o)
	}
	c, err := Open(list, deps)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close(t.Context())
	for i := range bad {
		bad[i].Name = fmt.Sprint("bad", i, ".")
	}
	if _, err = Open(append(list, bad...), deps); err == nil {
		t.Fatal("no mistake is found")
	}
	for _, o := range bad {
		if !strings.Contains(err.Error(), "announcer "+o.Name) {
			t.Errorf("accepted: %+v", o)
		}
	}
	if _, err = Open([]Options{good["gerrit"]}, Deps{}); err == nil {
		t.Error("comments are opened without a way to comment")
	}
}
