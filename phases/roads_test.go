package phases

import (
	"errors"
	"slices"
	"testing"
	"time"

	"scap/sync/release"
	"scap/targets"
)

// sight is a host as it was seen on A.
func sight(name string, road release.Road) Seen {
	return Seen{Target: &host{name: name}, State: targets.State{
		Disk: relA, Running: relA, Desired: relA, Pooled: targets.PoolIn, Serving: true, Proof: release.Proof{Release: relA, Road: road},
	}}
}

func warm(took time.Duration) release.Road {
	return release.Road{Strategy: release.ByHandover, Warm: []release.ID{relC, relB}, TookRename: took, TookStart: 4 * time.Second}
}

func cold(took time.Duration) release.Road {
	return release.Road{Strategy: release.ByHandover, Warm: []release.ID{relC}, TookStart: took}
}

func drained(why string) release.Road {
	return release.Road{Strategy: release.ByDrain, Wanted: release.ByHandover, Why: why}
}

func TestRoads(t *testing.T) {
	var many []Seen
	for _, name := range []string{"mw1", "mw2", "mw3", "mw4"} {
		many = append(many, sight(name, warm(300*time.Millisecond)))
	}
	there := sight("mw9", release.Road{})
	there.State.Disk, there.State.Running, there.State.Desired = relB, relB, relB
	out := there
	out.State.Intent.Out, out.State.Serving = true, false
	second := 12 * time.Second
	for name, tt := range map[string]struct {
		seen  []Seen
		known map[string]time.Duration
		says  string
		back  time.Duration // the whole fleet, two drained ones to be spared at most
		least bool
		on    time.Duration // the same forward, by a width of 3
	}{
		"all warm": {seen: many, says: "4 hosts by rename to a warm php-fpm, about 0.3 s", back: 300 * time.Millisecond, on: 600 * time.Millisecond},
		"the issue's": {
			seen:  append(slices.Clone(many), sight("mw5", cold(4*time.Second)), sight("mw6", cold(0)), sight("mw7", drained("no memory: 1 GB of 2"))),
			known: map[string]time.Duration{release.ByDrain: second},
			says:  "4 hosts by rename to a warm php-fpm, about 0.3 s; 2 start one first, about 4.0 s: mw5, mw6; 1 is drained, about 12 s: mw7 (no memory: 1 GB of 2)",
			back:  second, on: 300*time.Millisecond + 4*time.Second + second,
		},
		"drained, as configured": {
			seen:  []Seen{sight("mw1", release.Road{Strategy: release.ByDrain}), sight("mw2", release.Road{}), sight("mw3", release.Road{}), sight("mw4", release.Road{}), sight("mw5", release.Road{})},
			known: map[string]time.Duration{release.ByDrain: second}, says: "5 hosts are drained, about 12 s", back: 36 * time.Second, on: 36 * time.Second,
		},
		"not known": {seen: []Seen{sight("mw1", release.Road{}), sight("mw2", release.Road{})}, says: "2 hosts are drained, how long is not known", least: true},
		"all fall back": {
			seen:  []Seen{sight("mw1", drained("no memory")), sight("mw2", drained("no memory")), sight("mw3", drained("no keeper"))},
			known: map[string]time.Duration{release.ByDrain: second}, says: "3 hosts are drained, about 12 s: mw1, mw2 (no memory), mw3 (no keeper)", back: 2 * second, on: 2 * second,
		},
		"no reason": {seen: []Seen{sight("mw1", drained(""))}, says: "1 host is drained, how long is not known: mw1 (it does not say why)", least: true},
		"cold":      {seen: []Seen{sight("mw1", cold(4*time.Second))}, says: "1 host starts a new php-fpm beside the old one first, about 4.0 s", back: 4 * time.Second, on: 4 * time.Second},
		"reload":    {seen: []Seen{sight("mw1", release.Road{Strategy: release.ByReload})}, known: map[string]time.Duration{release.ByReload: time.Second}, says: "1 host reloads php-fpm, about 1.0 s", back: time.Second, on: time.Second},
		"there, and silent": {
			seen: []Seen{there, sight("mw1", warm(time.Second)), {Target: &host{name: "mw2"}, Err: errors.New("no route to host")}},
			says: "1 host by rename to a warm php-fpm, about 1.0 s: mw1; 1 serves it already: mw9; 1 does not answer: mw2 (no route to host)", back: time.Second, least: true, on: time.Second,
		},
		"on it, and out":        {seen: []Seen{out}, says: "1 host is drained, how long is not known", least: true},
		"a word of a newer one": {seen: []Seen{sight("mw1", release.Road{Strategy: "teleport"})}, says: "1 host is drained, how long is not known", least: true},
		"nobody":                {},
	} {
		t.Run(name, func(t *testing.T) {
			m := Roads(tt.seen, relB, tt.known)
			if got := m.String(); got != tt.says {
				t.Errorf("says %q\nwant %q", got, tt.says)
			}
			p := Plan{Release: release.Release{ID: relB}, Back: true, Phases: []Phase{{Name: "all", Fanout: targets.Fanout{Width: 3}}}}
			pool := Pool{Name: "web"}
			for _, s := range tt.seen {
				p.Phases[0].Targets = append(p.Phases[0].Targets, s.Target)
				pool.Targets = append(pool.Targets, s.Name())
			}
			pool.Min = len(pool.Targets) - 2
			p.Pools = []Pool{pool}
			if d, least := m.Lasts(p); d != tt.back || least != tt.least {
				t.Errorf("back lasts %v, at least %t; want %v, %t", d, least, tt.back, tt.least)
			}
			p.Back = false
			if d, _ := m.Lasts(p); d != tt.on {
				t.Errorf("forward lasts %v, want %v", d, tt.on)
			}
		})
	}
}

func TestAbout(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "about 0.1 s", 340 * time.Millisecond: "about 0.3 s", 12 * time.Second: "about 12 s", 5 * time.Minute: "about 5 min"} {
		if got := About(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
