package main

import (
	"slices"
	"time"

	"scap/cmd/internal/config"
	"scap/phases/journal"
	"scap/sync/release"
)

// lately is how long hosts took to switch in the last deploys, by the kind of their road, for estimates: the median. Hosts that
// hand over say it themselves.
func lately(conf *config.Config) map[string]time.Duration {
	past, err := journal.List(journalDir(conf))
	if err != nil {
		return nil // an estimate is all that is lost
	}
	strategy := map[string]config.Strategy{}
	for _, ph := range conf.Phases {
		for _, h := range ph.Hosts {
			strategy[h.Name] = conf.Group(h.Group).Strategy
		}
	}
	const enough = 200
	times := map[string][]time.Duration{}
	for _, d := range past[:min(len(past), 5)] {
		began := map[string]time.Time{}
		for r, err := range journal.Read(d.Path) {
			if err != nil || r.Act != journal.Activate && r.Act != journal.Rollback || r.Target == "" {
				continue
			}
			kind := map[config.Strategy]string{config.Drain: release.ByDrain, config.Reload: release.ByReload}[strategy[r.Target]]
			at, known := began[r.Target]
			switch {
			case kind == "":
			case r.Kind == journal.Intent:
				began[r.Target] = r.At
			case known && (r.Kind == journal.Done || r.Kind == journal.Undone) && len(times[kind]) < enough:
				times[kind] = append(times[kind], r.At.Sub(at))
				delete(began, r.Target)
			}
		}
	}
	middle := map[string]time.Duration{}
	for kind, list := range times {
		slices.Sort(list)
		middle[kind] = list[len(list)/2]
	}
	return middle
}
