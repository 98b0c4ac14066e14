package logs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scap/canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pages is a Reader of what is written in it.
type pages map[string]Page

func (p pages) Read(_ context.Context, host string, _ Query) (Page, error) {
	if page, ok := p[host]; ok {
		return page, nil
	}
	return Page{}, errors.New("no route to host")
}

func page(requests, failing int64) Page {
	p := Page{Requests: requests, Vouched: requests, Lines: requests + 1, Failing: failing, Nonce: true}
	if failing > 0 {
		p.Top = []Fingerprint{{Text: "TypeError in Hook.php:12", Count: failing}}
	}
	return p
}

func window(open time.Duration, control ...string) canary.Window {
	w := canary.Window{
		Release: "b", Opened: at, Now: at.Add(open),
		Canary: []canary.Host{{Name: "mw1", Release: "b", Since: at, Nonce: "n"}, {Name: "mw2", Release: "b", Since: at, Nonce: "n"}},
	}
	for _, c := range control {
		w.Control = append(w.Control, canary.Host{Name: c, Release: "a"})
	}
	return w
}

func with(p Page, change func(*Page)) Page { change(&p); return p }

func TestGate(t *testing.T) {
	tests := map[string]struct {
		g     Gate
		pages pages
		w     canary.Window
		want  canary.Verdict
		says  []string
	}{
		"clean": {
			pages: pages{"mw1": page(60, 0), "mw2": page(60, 0)}, w: window(time.Minute),
			want: canary.Pass, says: []string{"canary mw1, mw2: 0 of 120 requests failing (0 %)"},
		},
		"failing": {
			pages: pages{"mw1": page(155, 10), "mw2": page(155, 4)}, w: window(10 * time.Second),
			want: canary.Fail, says: []string{"canary mw1, mw2: 14 of 310 requests failing (4.5 %), threshold 1 %; top: TypeError in Hook.php:12 (14)"},
		},
		"failing, and its nonce is not there yet": {
			pages: pages{"mw1": with(page(155, 14), func(p *Page) { p.Nonce = false }), "mw2": page(155, 0)}, w: window(time.Second),
			want: canary.Fail,
		},
		"failing on one, the other unreachable": {
			pages: pages{"mw1": page(155, 14)}, w: window(time.Second), want: canary.Fail,
		},
		"three of a few": {
			pages: pages{"mw1": page(5, 3), "mw2": page(0, 0)}, w: window(time.Second),
			want: canary.Fail, says: []string{"3 of 5 requests failing (60 %)"},
		},
		"more fatal errors than requests": {
			pages: pages{"mw1": page(0, 5), "mw2": page(0, 0)}, w: window(time.Second),
			want: canary.Fail, says: []string{"5 of 5"},
		},
		"two of a few": {
			pages: pages{"mw1": page(60, 2), "mw2": page(60, 0)}, w: window(time.Hour),
			want: canary.Hold, says: []string{"2 of 120 requests failing (1.7 %): too few to tell", "TypeError"},
		},
		"two of many": {
			pages: pages{"mw1": page(300, 2), "mw2": page(60, 0)}, w: window(time.Minute),
			want: canary.Pass, says: []string{"2 of 360 requests failing (0.6 %)"},
		},
		"a large site's background": {
			pages: pages{"mw1": page(60_000, 40), "mw2": page(60_000, 50)}, w: window(time.Minute),
			want: canary.Pass,
		},
		"above a large site's background": {
			pages: pages{"mw1": page(6_000, 40), "mw2": page(6_000, 0)}, w: window(time.Minute),
			want: canary.Fail, says: []string{"40 of 12000 requests failing (0.3 %), threshold 1 % or more than 10 above 0.1 %"},
		},
		"too early": {
			pages: pages{"mw1": page(600, 0), "mw2": page(60, 0)}, w: window(12 * time.Second),
			want: canary.Hold, says: []string{"12s of 30s"},
		},
		"too few": {
			pages: pages{"mw1": page(40, 0), "mw2": page(2, 0)}, w: window(time.Hour),
			want: canary.Hold, says: []string{"42 of 100 requests"},
		},
		"no traffic": {
			pages: pages{"mw1": {Nonce: true}, "mw2": {Nonce: true}}, w: window(time.Hour),
			want: canary.Hold, says: []string{"0 of 100 requests", "no line in the access log of mw1"},
		},
		"no nonce": {
			pages: pages{"mw1": with(page(600, 0), func(p *Page) { p.Nonce = false }), "mw2": page(60, 0)}, w: window(30 * time.Second),
			want: canary.Hold, says: []string{"nonce not read back on mw1 after 30s: is its log shipped?"},
		},
		"the runtime wrote no nonce": {
			pages: pages{"mw1": page(600, 0)},
			w:     canary.Window{Canary: []canary.Host{{Name: "mw1", Since: at}}, Opened: at, Now: at.Add(time.Hour)},
			want:  canary.Hold, says: []string{"mw1 has no nonce"},
		},
		"unreachable": {
			pages: pages{"mw1": page(600, 0)}, w: window(time.Hour),
			want: canary.Hold, says: []string{"could not read the logs of mw2: no route to host"},
		},
		"behind": {
			pages: pages{"mw1": with(page(600, 0), func(p *Page) { p.Behind = 9 }), "mw2": page(60, 0)}, w: window(time.Hour),
			want: canary.Hold, says: []string{"9 bytes of the logs of mw1"},
		},
		"a problem": {
			pages: pages{"mw1": with(page(600, 0), func(p *Page) { p.Problems = []string{"permission denied"} }), "mw2": page(60, 0)},
			w:     window(time.Hour), want: canary.Hold, says: []string{"mw1: permission denied"},
		},
		"cut off": {
			pages: pages{"mw1": with(page(600, 0), func(p *Page) { p.Vouched = 3 }), "mw2": page(60, 0)}, w: window(time.Hour),
			want: canary.Hold, says: []string{"63 of 100 requests"},
		},
		"no canary": {w: canary.Window{Opened: at, Now: at.Add(time.Hour)}, want: canary.Hold, says: []string{"no canary"}},
		"no window": {
			pages: pages{"mw1": page(600, 0)}, w: canary.Window{Canary: []canary.Host{{Name: "mw1", Nonce: "n"}}, Now: at},
			want: canary.Hold,
		},
		"the control fails alike": {
			pages: pages{"mw1": page(155, 10), "mw2": page(155, 4), "mw9": page(500, 20)}, w: window(time.Hour, "mw9"),
			want: canary.Hold, says: []string{"not this release", "20 of 500 (4 %)"},
		},
		"the control fails a little": {
			pages: pages{"mw1": page(155, 10), "mw2": page(155, 4), "mw9": page(500, 2)}, w: window(time.Hour, "mw9"),
			want: canary.Fail,
		},
		"the control is not asked": {
			g:     Gate{Controls: -1},
			pages: pages{"mw1": page(155, 10), "mw2": page(155, 4), "mw9": page(500, 20)}, w: window(time.Hour, "mw9"),
			want: canary.Fail,
		},
		"own limits": {
			g:     Gate{MinRequests: 5, Dwell: time.Second, Rate: 0.5, MinFailing: 20},
			pages: pages{"mw1": page(5, 1), "mw2": page(5, 0)}, w: window(2 * time.Second), want: canary.Pass,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.g.Reader = tt.pages
			r, err := tt.g.Judge(t.Context(), tt.w, nil)
			if err != nil || r.Verdict != tt.want {
				t.Fatalf("%s %q %v, want %s", r.Verdict, r.Reason, err, tt.want)
			}
			for _, s := range tt.says {
				if !strings.Contains(r.Reason, s) {
					t.Errorf("%q does not say %q", r.Reason, s)
				}
			}
			if r.Reason == "" || !json.Valid(r.Numbers) || len(r.Evidence) > 300 {
				t.Errorf("reason %q, numbers %s, evidence %s", r.Reason, r.Numbers, r.Evidence)
			}
		})
	}
}

func TestGateRemembersFailures(t *testing.T) {
	p := pages{"mw1": page(200, 9), "mw2": page(200, 0)}
	g := Gate{Reader: p, MinFailing: 12, Threshold: 12}
	first, err := g.Judge(t.Context(), window(time.Second), nil)
	if err != nil || first.Verdict != canary.Hold {
		t.Fatalf("%s %q %v", first.Verdict, first.Reason, err)
	}
	p["mw1"] = page(900, 0) // the log was removed
	r, err := g.Judge(t.Context(), window(time.Hour), first.Evidence)
	if err != nil || r.Verdict != canary.Hold || !strings.Contains(r.Reason, "9 failing requests were seen before, 0 now") {
		t.Errorf("%s %q %v", r.Verdict, r.Reason, err)
	}
	other := window(time.Hour)
	other.Opened = other.Opened.Add(time.Second)
	if r, err = g.Judge(t.Context(), other, first.Evidence); err != nil || r.Verdict != canary.Pass {
		t.Errorf("evidence of another window was used: %s %q %v", r.Verdict, r.Reason, err)
	}
}

func TestGateReady(t *testing.T) {
	g := Gate{Reader: pages{"mw1": {}, "mw2": {Problems: []string{"permission denied"}}}, Hosts: []string{"mw1"}}
	if err := g.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	g.Hosts = []string{"mw1", "mw2", "mw3"}
	err := g.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "mw2: permission denied") || !strings.Contains(err.Error(), "mw3: no route") {
		t.Errorf("ready: %v", err)
	}
	if (&Gate{}).Ready(t.Context()) == nil {
		t.Error("a gate without a reader is ready")
	}
}

func TestGateCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := Gate{Reader: pages{"mw1": page(600, 0), "mw2": page(60, 0)}}
	if r, err := g.Judge(ctx, window(time.Hour), nil); !errors.Is(err, context.Canceled) || r.Verdict == canary.Pass {
		t.Errorf("%s %v", r.Verdict, err)
	}
}

// A release can make a host hang. What another canary's logs say of it may not become a hold, which can be overruled.
func TestGateFailsBesideAHostThatHangs(t *testing.T) {
	for _, failing := range []int64{30, 0} {
		ctx, cancel := context.WithCancel(t.Context())
		g := Gate{Reader: ReaderFunc(func(ctx context.Context, host string, q Query) (Page, error) {
			if host == "mw2" {
				cancel()
				<-ctx.Done()
				return Page{}, ctx.Err()
			}
			return pages{"mw1": page(600, failing)}.Read(ctx, host, q)
		})}
		r, err := g.Judge(ctx, window(time.Hour), nil)
		if (r.Verdict == canary.Fail) != (failing > 0) || r.Verdict == canary.Pass {
			t.Errorf("%d failing: %s %q %v", failing, r.Verdict, r.Reason, err)
		}
	}
}
