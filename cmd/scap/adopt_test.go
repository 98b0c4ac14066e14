package main

import (
	"strings"
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
)

// What is wrong on the first host is likely wrong on all: one host is lost to an adoption or a repair, never the pool.
func TestOneHostAtMostIsLost(t *testing.T) {
	groups := []embedded.Group{{Name: "prod", Hosts: 4}}
	yaml := embedded.YAMLOptions{QuietWindow: 100 * time.Millisecond, Tick: 100 * time.Millisecond}
	lost := func(t *testing.T, s *site, r result) {
		t.Helper()
		for _, name := range []string{"prod02", "prod03", "prod04"} {
			if h := s.Host(name); !h.Model.Up() {
				t.Errorf("%s was stopped as well\n%s", name, r)
			}
			if !strings.Contains(r.output, name+": not tried") {
				t.Errorf("%s is not named\n%s", name, r)
			}
		}
	}
	t.Run("adopt", func(t *testing.T) {
		s := newSiteWith(t, embedded.Options{Groups: groups, Plain: true}, yaml)
		s.users(t, 20)
		for _, name := range []string{"prod01", "prod02", "prod03", "prod04"} {
			s.Host(name).Model.Order(embedded.Order{At: embedded.StartFailure, Always: true})
		}
		lost(t, s, s.want(t, exitInconsistent, "adopt"))
		for _, name := range []string{"prod01", "prod02", "prod03", "prod04"} {
			s.Host(name).Model.Clear()
		}
		s.want(t, exitOK, "adopt")
		s.one(t)
	})
	t.Run("repair", func(t *testing.T) {
		s := newSite(t, groups, yaml)
		s.fresh(t)
		s.want(t, exitOK, "sync", "--yes", "b")
		s.fresh(t)
		s.want(t, exitOK, "sync", "--yes", "a")
		id, _ := s.one(t)
		for _, name := range []string{"prod01", "prod02", "prod03", "prod04"} { // what runs is not what is on the disk
			h := s.Host(name)
			all, err := h.Store.Releases()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all {
				if r.ID != id {
					if err := h.Store.Swap(t.Context(), id, r.ID); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			h.Model.Order(embedded.Order{At: embedded.StartFailure, Always: true})
		}
		lost(t, s, s.want(t, exitInconsistent, "repair", "prod01", "prod02", "prod03", "prod04"))
	})
}
