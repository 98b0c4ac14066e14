package main

import (
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
)

func killSite(t *testing.T) *site {
	t.Helper()
	return newSite(t, []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "canary", Hosts: 1}, {Name: "prod", Hosts: 3}},
		embedded.YAMLOptions{Width: "1", QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond})
}

func TestMeasure(t *testing.T) {
	s := killSite(t)
	s.users(t, 20)
	s.stage(t, tree.GoodB())
	at := time.Now()
	t.Log(s.want(t, 0, "sync", "B"), time.Since(at))
	at = time.Now()
	t.Log(s.want(t, 0, "sync", "B"), time.Since(at))
	s.stage(t, tree.GoodA())
	at = time.Now()
	t.Log(s.want(t, 0, "sync", "A"), time.Since(at))
	t.Log(s.one(t))
	t.Log(s.dying(t, death{n: 50}, "sync", "A"))
	s.stage(t, tree.GoodB())
	t.Log(s.dying(t, death{n: 50}, "sync", "A"))
	at = time.Now()
	t.Log(s.scap(t, "resume"), time.Since(at))
	at = time.Now()
	t.Log(s.scap(t, "status"), time.Since(at))
}
