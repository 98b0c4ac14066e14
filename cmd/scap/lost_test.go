package main

import (
	"fmt"
	"testing"
	"time"

	embedded "scap/fixtures/fleet"
	"scap/fixtures/tree"
)

// The deploy host is lost with its journal when a host is out of the pool and nobody has been told to switch yet. The
// targets are enough to put it back, and what an earlier deploy did is not taken back for it.
func TestLostBeforeTheFirstSwitch(t *testing.T) {
	for _, earlier := range []bool{false, true} {
		t.Run(fmt.Sprintf("after an earlier deploy %v", earlier), func(t *testing.T) {
			s := newSite(t, []embedded.Group{{Name: "test", Hosts: 1, Unpooled: true}, {Name: "prod", Hosts: 2}},
				embedded.YAMLOptions{Width: "1", QuietWindow: time.Second}) // out for so long before it is told
			if earlier {
				s.stage(t, tree.GoodB())
				s.want(t, exitOK, "sync", "earlier")
			}
			c := &tally{}
			if err := s.kill(t.Context(), killing{run: death{n: 0, moment: "flagged"}, lost: true}, c); err != nil {
				t.Fatal(err)
			}
			if c.out != 1 || c.mixed != 0 || c.back != 1 {
				t.Errorf("found out %d, mixed %d, brought back %d", c.out, c.mixed, c.back)
			}
		})
	}
}
