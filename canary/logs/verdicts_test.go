package logs_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scap/canary"
)

// scene is something that happens to a deploy, and what the gate must say of it.
type scene struct {
	canaries, controls int
	before             func(*trial)  // is so before the deploy already
	at                 time.Duration // after the canaries were proven,
	fault              func(*trial)  // this happens
	until              time.Duration // the gate is looked at for so long, or until its verdict
	want               canary.Verdict
	cause              canary.Cause
	words              string // of its reason, apart by |
	mend               func(*trial)
	passes             time.Duration // after it was mended, at most
	same               bool          // every request is counted as without the fault
}

func bad(h *host)   { h.extra = 0.06 }
func newly(h *host) { h.extra, h.class = 0.06, news }
func idle(h *host)  { h.serves = 0 }
func busy(h *host)  { h.serves = 8 }
func sound(h *host) { h.extra = 0 }
func refuse(h *host) {
	h.away = errors.New("dial tcp 10.0.0.7:22: connection refused")
}
func answer(h *host) { h.away = nil }
func late(lag time.Duration) func(h *host) {
	return func(h *host) { h.lag = lag }
}

// catchUp lets all lines arrive that are on their way.
func catchUp(h *host) {
	h.lag = 0
	for i := range h.onWay {
		h.onWay[i].arrives = time.Now()
	}
	h.arrive()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// rotate renames the logs, as logrotate does.
func rotate(h *host) {
	for _, log := range []string{"access", "wiki"} {
		must(os.Rename(h.path(log), h.path(log+".1")))
		must(os.Chtimes(h.path(log+".1"), time.Now(), time.Now()))
	}
}

// pack takes away what it has renamed.
func pack(h *host) {
	rotate(h)
	for _, log := range []string{"access", "wiki"} {
		must(os.WriteFile(h.path(log+".1.gz"), []byte{0x1f, 0x8b}, 0o600))
		must(os.Chtimes(h.path(log+".1.gz"), time.Now(), time.Now()))
		must(os.Remove(h.path(log + ".1")))
	}
}

// packed leaves what is rotated and compressed, so that the past begins with it.
func packed(ago time.Duration) func(h *host) {
	return func(h *host) {
		must(os.WriteFile(h.path("access.1.gz"), []byte{0x1f, 0x8b}, 0o600))
		must(os.Chtimes(h.path("access.1.gz"), time.Now().Add(-ago), time.Now().Add(-ago)))
	}
}

// away lets the host log to another directory than the agent is told.
func away(h *host) {
	must(os.Rename(h.dir, h.dir+".away"))
	h.dir += ".away"
}

func back(h *host) {
	was := strings.TrimSuffix(h.dir, ".away")
	must(os.Rename(h.dir, was))
	h.dir = was
}

// copytruncate copies the logs and cuts them off.
func copytruncate(h *host) {
	for _, log := range []string{"access", "wiki"} {
		b, err := os.ReadFile(h.path(log))
		must(err)
		must(os.WriteFile(h.path(log+".1"), b, 0o600))
		must(os.Truncate(h.path(log), 0))
	}
}

// empty throws away what nobody has read yet.
func empty(h *host) {
	h.write("access", "{\"msec\":\"1.000\"}\n")
	must(os.Truncate(h.path("access"), 0))
}

var scenes = map[string]scene{
	"no traffic": {
		fault: func(d *trial) { d.on(idle, d.canaries...) }, until: 40 * time.Second,
		want: canary.Hold, cause: canary.NoTraffic, words: "no request was served by the 5 canary hosts in 35s since |by the control: are they in the pool?",
		mend: func(d *trial) { d.on(busy, d.canaries...) }, passes: 60 * time.Second,
	},
	"no traffic anywhere": {
		before: func(d *trial) { d.on(idle, d.both()...) }, until: 40 * time.Second,
		want: canary.Hold, cause: canary.NoTraffic, words: "no request was served by the 5 canary hosts in 35s since |nor by the control: do users come",
		mend: func(d *trial) { d.on(busy, d.both()...) }, passes: 60 * time.Second,
	},
	"one canary is not reached": {
		fault: func(d *trial) { d.on(refuse, "mw1002") }, until: 40 * time.Second,
		want: canary.Hold, cause: canary.SourceDown, words: "mw1002: its logs could not be read: dial tcp 10.0.0.7:22: connection refused",
		mend: func(d *trial) { d.on(answer, "mw1002") }, passes: 10 * time.Second,
	},
	"no host is reached": {
		at: 15 * time.Second, fault: func(d *trial) { d.on(refuse, d.both()...) }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.SourceDown, words: "mw1001: its logs could not be read: dial tcp|and |more|so far canary ",
		mend: func(d *trial) { d.on(answer, d.both()...) }, passes: 10 * time.Second,
	},
	"60 s late": {
		before: func(d *trial) { d.on(late(time.Minute), "mw1002") }, until: 75 * time.Second,
		want: canary.Hold, cause: canary.Late, words: "mw1002: the last heartbeat read back from its access log is 1 min|old: http://127.0.0.1/scap-heartbeat answers; what holds its lines back?",
		mend: func(d *trial) { d.on(catchUp, "mw1002") }, passes: 10 * time.Second,
	},
	"20 s late is none": {
		before: func(d *trial) { d.on(late(20*time.Second), "mw1002") }, until: 65 * time.Second,
		want: canary.Pass, words: "canary |control ",
	},
	"10 min late": {
		before: func(d *trial) { d.on(late(10*time.Minute), "mw1002") }, until: 75 * time.Second,
		want: canary.Hold, cause: canary.Late, words: "mw1002: no heartbeat was ever read back from its access log, whose newest line is 10 min old: http://127.0.0.1/scap-heartbeat answers; is it logged there?",
		mend: func(d *trial) { d.on(catchUp, "mw1002") }, passes: 10 * time.Second,
	},
	"10 min late, but only to compare with": {
		before: func(d *trial) { d.on(late(10*time.Minute), "mw1009") }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |without control mw1009: no heartbeat was ever read back from its access log, whose newest line is 10 min old",
	},
	"late all over, and bad": {
		before: func(d *trial) { d.on(late(20*time.Second), d.both()...) }, fault: func(d *trial) { d.on(newly, d.canaries...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio |top new error: TypeError in src/TypeError.php:12",
	},
	"a clock is 3 min ahead": {
		before: func(d *trial) { d.on(func(h *host) { h.skew = 3 * time.Minute }, "mw1002") }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"a clock is 3 min behind": {
		before: func(d *trial) { d.on(func(h *host) { h.skew = -3 * time.Minute }, "mw1002") }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"a clock is 3 min ahead, and the release bad": {
		before: func(d *trial) { d.on(func(h *host) { h.skew = 3 * time.Minute }, "mw1002") },
		fault:  func(d *trial) { d.on(bad, d.canaries...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio |top error: DBQueryError in src/DBQueryError.php:12",
	},
	"a clock is 3 min ahead, and its host bad": {
		before: func(d *trial) { d.on(func(h *host) { h.skew = 3 * time.Minute }, "mw1002") },
		fault:  func(d *trial) { d.on(func(h *host) { h.extra = 0.2 }, "mw1002") }, until: 60 * time.Second,
		want: canary.Suspect, words: "without mw1002: that host, not the release",
		mend: func(d *trial) { d.out("mw1002") }, passes: 180 * time.Second,
	},
	"a clock is 20 min ahead": {
		before: func(d *trial) { d.on(func(h *host) { h.skew = 20 * time.Minute }, "mw1002") }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.Skewed, words: "clock of mw1002 is 20 min ahead: set it",
	},
	"a clock is 3 min ahead and is set right": {
		canaries: 3, controls: 6,
		before: func(d *trial) { d.on(func(h *host) { h.skew = 3 * time.Minute }, "mw1002") },
		at:     15 * time.Second, fault: func(d *trial) { d.on(func(h *host) { h.skew = 0 }, "mw1002") }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.Skewed, words: "mw1002: its clock was set at |what was logged before cannot be placed|are lost, so 30s of them must close again",
		mend: func(*trial) {}, passes: 5 * time.Minute,
	},
	"a clock is 20 min behind": {
		before: func(d *trial) { d.on(func(h *host) { h.skew = -20 * time.Minute }, "mw1002") }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.Skewed, words: "clock of mw1002 is 20 min behind: set it",
		mend: func(d *trial) { d.on(func(h *host) { h.skew = 0 }, "mw1002") }, passes: 80 * time.Second,
	},
	"logs rotated in the middle": {
		at: 15 * time.Second, fault: func(d *trial) { d.on(rotate, d.both()...) }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"logs copied and cut off in the middle": {
		at: 15 * time.Second, fault: func(d *trial) { d.on(copytruncate, d.both()...) }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"logs rotated in the middle of a bad release": {
		at: 5 * time.Second, fault: func(d *trial) { d.on(bad, d.canaries...); d.on(rotate, d.both()...) }, until: 60 * time.Second,
		want: canary.Fail, words: "canary |control |: ratio |top error: DBQueryError in src/DBQueryError.php:12",
	},
	"logs rotated and packed at once": {
		at: 15 * time.Second, fault: func(d *trial) { d.on(pack, d.both()...) }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"logs were rotated and packed before": {
		before: func(d *trial) { d.on(packed(5*time.Minute), d.both()...) }, until: 45 * time.Second,
		want: canary.Pass, words: "canary |control ", same: true,
	},
	"the logs are elsewhere": {
		before: func(d *trial) { d.on(away, "mw1002") }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.SourceDown, words: "mw1002: |no such access log, so nothing says what was served|there is no such directory",
		mend: func(d *trial) { d.on(back, "mw1002") }, passes: 10 * time.Second,
	},
	"unread lines cut off": {
		at: 15 * time.Second, fault: func(d *trial) { d.on(empty, "mw1002") }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.SourceDown, words: "of them must close again (mw1002: |access was cut off",
		mend: func(*trial) {}, passes: 60 * time.Second,
	},
	"one bad host of five": {
		fault: func(d *trial) { d.on(func(h *host) { h.extra = 0.2 }, "mw1003") }, until: 60 * time.Second,
		want: canary.Suspect, words: "without mw1003: that host, not the release",
		mend: func(d *trial) { d.out("mw1003") }, passes: 180 * time.Second,
	},
	"one bad worker of one host of one": {
		canaries: 1, controls: 20,
		fault: func(d *trial) { d.on(func(h *host) { h.extra, h.class, h.workers = 0.2, news, 1 }, "mw1001") }, until: 60 * time.Second,
		want: canary.Hold, cause: canary.OneHost, words: "too few to tell host from release",
	},
	"one bad host of one": {
		canaries: 1, controls: 20,
		fault: func(d *trial) { d.on(func(h *host) { h.extra = 0.2 }, "mw1001") }, until: 60 * time.Second,
		want: canary.Fail, words: "ratio |workers of mw1001, the only canary",
	},
	"errors on both arms": {
		at: 10 * time.Second, fault: func(d *trial) { d.on(bad, d.both()...) }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.BothRed, words: "not this release: control had |usual",
		mend: func(d *trial) { d.on(sound, d.both()...) }, passes: 10 * time.Minute,
	},
	"low traffic": {
		before: func(d *trial) { d.on(func(h *host) { h.serves = 1 }, d.both()...); d.gate.Rule.HarmRate = 0.001 }, until: 45 * time.Second,
		want: canary.Hold, cause: canary.LowTraffic, words: "clean requests; about |max_wait is 10m0s: raise it or harm_rate, or judge more canaries",
		mend: func(d *trial) { d.on(func(h *host) { h.serves = 64 }, d.both()...) }, passes: 120 * time.Second,
	},
}

// Every trouble through the agents that read the logs of the hosts.
func TestVerdicts(t *testing.T) {
	usual := map[[2]int]func() canary.Numbers{}
	for name, s := range scenes {
		if s.canaries == 0 {
			s.canaries, s.controls = 5, 20
		}
		shape := [2]int{s.canaries, s.controls}
		if usual[shape] == nil {
			usual[shape] = sync.OnceValue(func() (n canary.Numbers) {
				t.Run("nothing", func(t *testing.T) {
					n = play(t, scene{
						canaries: s.canaries, controls: s.controls, until: 75 * time.Second, want: canary.Pass, words: "canary |control ",
					})
				})
				return n
			})
		}
		good := usual[shape]()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if n := play(t, s); s.same && (n.Canary != good.Canary || n.Control != good.Control || n.Ticks.Sub(n.Opened) != good.Ticks.Sub(good.Opened)) {
				t.Errorf("canary %v, control %v after %v; without the fault %v, %v after %v",
					n.Canary, n.Control, n.Ticks.Sub(n.Opened), good.Canary, good.Control, good.Ticks.Sub(good.Opened))
			}
		})
	}
}

// play lets a scene happen. It returns the figures of the verdict that it was about.
func play(t *testing.T, s scene) (n canary.Numbers) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrial(t, s.canaries, s.controls, s.before)
		var r canary.Ruling
		for done := false; !done; done = r.Verdict != canary.Hold || d.after() >= s.until {
			if d.after() == s.at && s.fault != nil {
				s.fault(d)
			}
			r = d.look()
		}
		t.Logf("%v: %s %s: %s", d.after(), r.Verdict, r.Cause, r.Reason)
		if r.Verdict != s.want || r.Cause != s.cause {
			t.Errorf("%v: %s %s, want %s %s", d.after(), r.Verdict, r.Cause, s.want, s.cause)
		}
		for w := range strings.SplitSeq(s.words, "|") {
			if !strings.Contains(r.Reason, w) {
				t.Errorf("reason says nothing of %q: %s", w, r.Reason)
			}
		}
		if err := json.Unmarshal(r.Numbers, &n); err != nil {
			t.Errorf("numbers: %v", err)
		}
		if s.mend == nil {
			return
		}
		s.mend(d)
		mended := d.after()
		for done := false; !done; done = r.Verdict == canary.Pass || r.Verdict == canary.Fail || d.after() >= mended+s.passes {
			r = d.look()
		}
		t.Logf("%v, mended at %v: %s %s: %s", d.after(), mended, r.Verdict, r.Cause, r.Reason)
		if r.Verdict != canary.Pass {
			t.Errorf("%s %s at %v, %v after it was mended", r.Verdict, r.Cause, d.after(), d.after()-mended)
		}
	})
	return n
}
