package phases

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"scap/phases/journal"
	"scap/sync/release"
)

// Somebody repaired a host of a deploy that died elsewhere: his repair came from the release that the deploy was to.
func TestARepairIsNoDeploy(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for i, h := range w.hosts[:2] {
			h.intent = release.Intent{Token: 6, Claimer: "d1", Outcome: release.ProvenNew}
			h.intent.Switch = release.Switch{From: relA, To: relB, Token: 6, Owner: "d1"}
			if h.disk, h.running, h.desired = relB, relB, relB; i == 0 {
				h.disk, h.running, h.desired, h.intent.Token, h.intent.Claimer = relA, relA, relA, 7, RepairOwner("bob")
				h.intent.Switch = release.Switch{From: relB, To: relA, Token: 7, Owner: RepairOwner("bob")}
			}
		}
		o, err := FromTargets(Survey(t.Context(), w.plan(2).Targets(), time.Second))
		if err != nil || o.Deploy != "d1" || o.From != relA || o.To != relB || o.Token != 7 {
			t.Errorf("%+v, %v; want deploy d1 from A to B", o, err)
		}
	})
}

// A deploy that repairs a host first, and dies, came from what it repairs the host to, not from what the host had.
func TestADeployThatDiedWhileItRepaired(t *testing.T) {
	for after := range 12 { // events after the repair's begin
		in(t, func(t *testing.T, w *world) {
			h := w.host("prod3")
			h.disk, h.running, h.desired, h.releases = relC, release.ID{}, relC, []release.ID{relC}
			p := w.plan(2)
			p.Repair = true
			h.fail["repair"] = func(int) error { w.killAt = w.notes + 1 + after; return errBreaks }
			err := (&Runner{Journal: w}).Run(t.Context(), p)
			if !w.dead {
				t.Fatalf("did not die: %v", err)
			}
			<-time.After(time.Second)
			w.dead, w.killAt = false, 0
			o, err := FromTargets(Survey(t.Context(), p.Targets(), time.Second))
			if errors.Is(err, ErrFinished) {
				w.on(t, relA)
				return
			}
			if err != nil || o.From != relA || !slices.Contains([]release.ID{relB, relC, {}}, o.To) {
				t.Errorf("died %d after: %+v, %v", after, o, err)
			}
		})
	}
}

// A rollback that died is gone on with, not taken back to the release that does not work.
func TestARollbackThatDiedGoesOnWithoutItsJournal(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		p := w.back()
		w.host("canary1").fail["activate"] = func(int) error { w.dead = true; return errDead }
		_ = (&Runner{Journal: w}).Run(t.Context(), p)
		<-time.After(time.Second)
		w.dead, w.records = false, nil
		clear(w.host("canary1").fail)
		o, err := FromTargets(Survey(t.Context(), p.Targets(), time.Second))
		if err != nil || o.From != relB {
			t.Fatalf("%+v, %v; want on to B", o, err)
		}
		ended(t, (&Runner{Journal: w}).Undo(t.Context(), Plan{Deploy: o.Deploy, From: o.From, Release: release.Release{ID: o.To}, Phases: p.Phases, Pools: p.Pools}, nil), journal.RolledBack)
		w.on(t, relB)
	})
}

// A deploy that ended with a suspect out has nothing left to do; one that died on its way back has, for the suspect too.
func TestASuspectOfADeployThatEnded(t *testing.T) {
	five(t, func(t *testing.T, w *world) {
		p := w.plan(2)
		w.gate(p, "canary").suspect = "canary2"
		ended(t, (&Runner{Journal: w}).Run(t.Context(), p), journal.Inconsistent)
		if o, err := FromTargets(Survey(t.Context(), p.Targets(), time.Second)); !errors.Is(err, ErrFinished) || !strings.Contains(err.Error(), "canary2") {
			t.Errorf("%+v, %v", o, err)
		}
		for _, h := range w.hosts {
			if h.name != "canary2" {
				h.disk, h.running, h.desired, h.intent.Token, h.intent.Claimer = relA, relA, relA, 7, backOwner("d1", relA)
			}
		}
		o, err := FromTargets(Survey(t.Context(), p.Targets(), time.Second))
		if err != nil || o.From != relA || o.Deploy != "d1" {
			t.Fatalf("%+v, %v; want back to A", o, err)
		}
		w.records = nil
		ended(t, (&Runner{Journal: w}).Undo(t.Context(), Plan{Deploy: o.Deploy, From: o.From, Release: release.Release{ID: o.To}, Phases: p.Phases, Pools: p.Pools}, nil), journal.RolledBack)
		w.on(t, relA)
	})
}
