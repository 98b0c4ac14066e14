package release

import (
	"testing"
	"time"
)

func TestRoad(t *testing.T) {
	a, b := ID{1}, ID{2}
	for name, x := range map[string]struct {
		road   Road
		kind   string
		took   time.Duration
		beside bool
	}{
		"says nothing":              {Road{}, ByDrain, 0, false},
		"drain":                     {Road{Strategy: ByDrain, TookStart: 1}, ByDrain, 0, false},
		"drain, and a stray warm":   {Road{Strategy: ByDrain, Warm: []ID{a}, TookRename: 1}, ByDrain, 0, false},
		"reload":                    {Road{Strategy: ByReload}, ByReload, 0, false},
		"handover, cold":            {Road{Strategy: ByHandover, Warm: []ID{b}, TookRename: 1, TookStart: 2}, ByStart, 2, true},
		"handover, warm":            {Road{Strategy: ByHandover, Warm: []ID{b, a}, TookRename: 1, TookStart: 2}, ByRename, 1, true},
		"no room for two, cold":     {Road{Strategy: ByDrain, Wanted: ByHandover, Warm: []ID{b}}, ByDrain, 0, false},
		"no room for two, but kept": {Road{Strategy: ByDrain, Wanted: ByHandover, Warm: []ID{a}, TookRename: 1}, ByRename, 1, true},
	} {
		kind, took := x.road.To(a)
		if kind != x.kind || took != x.took || x.road.Beside(a) != x.beside {
			t.Errorf("%s: %s in %v, beside %t; want %s in %v, %t", name, kind, took, x.road.Beside(a), x.kind, x.took, x.beside)
		}
	}
}

func TestHandIsUndone(t *testing.T) {
	for _, h := range []Hand{"", Adopt, GiveUp} {
		if h.Back().Back() != h || h != "" && h.Back() == h {
			t.Errorf("%q is undone by %q", h, h.Back())
		}
	}
}
