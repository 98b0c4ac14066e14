package logs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"scap/canary"
)

// TestTicksAreTheSameToAnyReader lets one agent follow a log through everything that happens to logs, and asks a fresh one.
func TestTicksAreTheSameToAnyReader(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h, r := newTicking(t), rand.New(rand.NewPCG(seed, 1))
			old, rotations := 0, 0
			for now := 0.0; now < 600; now += 3 {
				h.now = sec(now + 3)
				var access, mw, php, nginx strings.Builder
				for range r.IntN(12) {
					s, id := now+3*r.Float64(), fmt.Sprint("r", int(now)+r.IntN(20)) // some ids are used again soon
					switch r.IntN(8) {
					case 0:
						access.WriteString(line(s, id, 500))
						mw.WriteString(wiki(max(0, s-4*r.Float64()), id, fmt.Sprint("Error", string('A'+rune(r.IntN(5))))))
					case 1:
						mw.WriteString(wiki(s, id, "TypeError"))
					case 2:
						fmt.Fprintf(&php, "[%s UTC] PHP Fatal error:  Uncaught Error: x in /srv/mediawiki/x.php:7\n", sec(s).Format("02-Jan-2006 15:04:05"))
						access.WriteString(line(s, "", 500))
					case 3:
						fmt.Fprintf(&nginx, "%s [error] 1#1: *%d upstream timed out (110: x) while reading, client: ::1, request: \"GET / HTTP/1.1\"\n", sec(s).Local().Format("2006/01/02 15:04:05"), r.IntN(5))
						access.WriteString(line(s, id, 504))
					default:
						access.WriteString(line(s, id, 200))
					}
				}
				for name, b := range map[string]*strings.Builder{"access": &access, "mw": &mw, "php": &php, "nginx": &nginx} {
					h.write(name, b.String())
				}
				h.beat(now + 3)
				if r.IntN(4) > 0 {
					from := max(0, int(now)/5*5-5*r.IntN(60))
					h.ask(h.f, from, from+5+5*r.IntN(30))
				}
				if r.IntN(8) == 0 {
					rotations++
					h.age([]string{"access", "mw"}[r.IntN(2)], rotations, r.IntN(2) == 0)
				}
			}
			h.beat(620)
			for range 10 {
				from := 5 * r.IntN(100)
				to := from + 5 + 5*r.IntN(20)
				a, b := h.ask(h.f, from, to), h.ask(h.agent(), from, to)
				if a.Through.Before(sec(600)) || len(a.Problems)+len(b.Problems) > 0 {
					t.Fatalf("through %s, problems %q %q", stamp(a.Through), a.Problems, b.Problems)
				}
				old += len(a.Ticks)
				if diff := cmp.Diff(a.Ticks, b.Ticks) + cmp.Diff(a.Prints, b.Prints); diff != "" {
					t.Fatalf("[%d, %d): the one that followed (-), a fresh one (+): %s", from, to, diff)
				}
			}
			if old == 0 || rotations == 0 {
				t.Errorf("%d ticks, %d rotations: nothing was shown", old, rotations)
			}
		})
	}
}

// age rotates a log: by another name, or by a copy.
func (h *ticking) age(name string, n int, copied bool) {
	h.t.Helper()
	to := fmt.Sprintf("%s.%d", name, n)
	defer func() { // the clock of a file system may be coarse
		if err := os.Chtimes(h.path(to), h.now, h.now.Add(time.Duration(n))); err != nil {
			h.t.Fatal(err)
		}
	}()
	if !copied {
		h.rotate(name, to)
		h.write(name, "")
		return
	}
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(to, string(b))
	if err := os.Truncate(h.path(name), 0); err != nil {
		h.t.Fatal(err)
	}
}

func TestTicksOfALogRotatedInTheMiddle(t *testing.T) {
	for name, rotate := range map[string]func(h *ticking){
		"by another name": func(h *ticking) { h.age("access", 1, false) },
		"by a copy":       func(h *ticking) { h.age("access", 1, true) },
		"by another name, and written on": func(h *ticking) {
			h.rotate("access", "access.1")
			h.write("access.1", line(11.5, "late", 500))
			h.write("access", "")
		},
		"twice": func(h *ticking) {
			h.age("access", 1, false)
			h.rotate("access.1", "access.2")
			h.age("access", 1, false)
		},
	} {
		for _, followed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, followed), func(t *testing.T) {
				h := newTicking(t)
				h.now = sec(12)
				h.write("access", line(9, "a", 200)+line(10, strings.Repeat("b", 64), 500)+line(11, strings.Repeat("c", 64), 200))
				if followed {
					h.ask(h.f, 0, 15)
				}
				h.write("access", line(11.2, "unread", 500))
				rotate(h)
				h.write("access", line(12, "d", 500)+line(14, "e", 200)+line(15, "f", 200))
				h.beat(30)
				want := "5: 0/1, 10: 3/5, 15: 0/1"
				if strings.HasSuffix(name, "written on") {
					want = "5: 0/1, 10: 4/6, 15: 0/1"
				}
				h.want(h.ask(h.f, 0, 20), want)
				h.want(h.ask(h.f, 0, 20), want)
			})
		}
	}
}

func TestTicksOfALogThatLostLines(t *testing.T) {
	h := newTicking(t)
	h.now = sec(12)
	h.write("access", line(3, "a", 200)+line(11, "b", 500))
	h.beat(12)
	h.ask(h.f, 0, 15)
	if err := os.Truncate(h.path("access"), 0); err != nil {
		t.Fatal(err)
	}
	h.write("access", line(31, "c", 200))
	h.beat(60)
	if p := h.ask(h.f, 10, 40); p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "was cut off") {
		t.Errorf("%+v", p)
	}
	h.want(h.ask(h.f, 0, 5), "0: 0/1")
	h.want(h.ask(h.f, 40, 55), "")
	// What was compressed before it was read is lost too, unless it is older than what is asked for.
	h.write("access.2.gz", "packed")
	if err := os.Chtimes(h.path("access.2.gz"), sec(20), sec(20)); err != nil {
		t.Fatal(err)
	}
	f := h.agent()
	if p := h.ask(f, 0, 40); p.Cause != canary.SourceDown || !strings.Contains(p.Problems[0], "access.2.gz was rotated and compressed") {
		t.Errorf("%+v", p)
	}
	h.want(h.ask(f, 20, 40), "30: 0/1")
}
