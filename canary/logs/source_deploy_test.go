package logs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scap/canary"
)

// pages is a Reader of what is written in it.
type pages map[string]Page

func (p pages) Read(_ context.Context, host string, _ Query) (Page, error) {
	if page, ok := p[host]; ok {
		return page, nil
	}
	return Page{}, errors.New("no route to host")
}

func reading(t *testing.T, s *Source, hosts ...string) canary.Reading {
	t.Helper()
	q := canary.Query{From: sec(0), To: sec(10), Step: 5 * time.Second, Now: sec(20), Prints: true}
	for _, h := range hosts {
		q.Hosts = append(q.Hosts, canary.Host{Name: h})
	}
	r, err := s.Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSourceOfAHostThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Source{Width: 2, Reader: ReaderFunc(func(ctx context.Context, host string, q Query) (Page, error) {
			if host == "mw2" {
				<-ctx.Done()
				return Page{}, ctx.Err()
			}
			if late := q.Now.Sub(sec(20)); host == "mw4" && late != 20*time.Second {
				t.Errorf("a host that waited for its turn is told the clock of %s later", late)
			}
			if host != "mw1" {
				time.Sleep(20 * time.Second)
			}
			return Page{Through: sec(10), Ticks: []canary.Tick{{At: sec(5), Requests: 3}}}, nil
		})}
		s.AskLimit = 40 * time.Second
		r := reading(t, s, "mw1", "mw2", "mw3", "mw4")
		for i, h := range r.Hosts {
			switch {
			case i == 1 && (h.Cause != canary.SourceDown || !strings.Contains(h.Problem, "no answer within 40s")):
				t.Errorf("the one that hangs: %+v", h)
			case i != 1 && (h.Problem != "" || len(h.Ticks) != 1 || !h.Through.Equal(sec(10))):
				t.Errorf("beside one that hangs: %+v", h)
			}
		}
	})
}

func TestSourceDoesNotTrustAnAgent(t *testing.T) {
	tick := func(s float64, n int64) canary.Tick { return canary.Tick{At: sec(s), Requests: n} }
	for name, tt := range map[string]struct {
		page Page
		says string
	}{
		"another time":     {Page{Ticks: []canary.Tick{tick(10, 1)}}, "not asked for"},
		"out of order":     {Page{Ticks: []canary.Tick{tick(5, 1), tick(0, 1)}}, "not asked for"},
		"not a tick":       {Page{Ticks: []canary.Tick{tick(1, 1)}}, "not asked for"},
		"less than none":   {Page{Ticks: []canary.Tick{tick(0, -1)}}, "not asked for"},
		"a clock":          {Page{Skew: 62 * time.Minute, Problems: []string{"x"}, Cause: canary.Skewed}, "clock of mw1 is 1 h 2 min ahead: set it"},
		"a clock, behind":  {Page{Skew: -26 * time.Hour}, "clock of mw1 is 26 h behind: set it"},
		"escapes":          {Page{Problems: []string{"\x1b]0;owned\x07" + strings.Repeat("x", 5000)}}, "]0;owned"},
		"prints that lie":  {Page{Prints: []canary.Print{{Text: "\x1b[31m"}, {Text: "", Count: 1}, {Text: "a\u009b2J\u202eb", Count: 1, ID: "\x1b"}}}, ""},
		"too many of them": {Page{Prints: make([]canary.Print, 100_000)}, ""},
	} {
		h := reading(t, &Source{Reader: pages{"mw1": tt.page}}, "mw1").Hosts[0]
		if !strings.Contains(h.Problem, tt.says) || tt.says == "" && h.Problem != "" || len(h.Problem) > 1000 || (h.Problem != "") != (h.Cause != "") {
			t.Errorf("%s: problem %q, cause %q", name, h.Problem, h.Cause)
		}
		said := h.Problem
		for _, p := range h.Prints {
			said += p.Text + p.File + p.ID
		}
		if strings.ContainsAny(said, "\x1b\x07\u009b\u202e") || len(h.Prints) > 1 {
			t.Errorf("%s: %q", name, said)
		}
	}
}

func TestSourceCannotBeAsked(t *testing.T) {
	q := canary.Query{Hosts: []canary.Host{{Name: "mw1"}}, From: sec(0), To: sec(10), Step: 5 * time.Second}
	if _, err := (&Source{}).Read(t.Context(), q); err == nil {
		t.Error("without a reader: answered")
	}
	s := &Source{Reader: pages{}}
	for _, change := range []func(*canary.Query){
		func(q *canary.Query) { q.Step = 0 },
		func(q *canary.Query) { q.To = q.From },
		func(q *canary.Query) { q.To = q.From.Add(24 * time.Hour) },
	} {
		q := q
		change(&q)
		if _, err := s.Read(t.Context(), q); err == nil {
			t.Errorf("%+v: answered", q)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := s.Read(ctx, q); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}
