package main

import (
	"context"
	"fmt"
	"time"

	"scap/cmd/internal/announce"
	"scap/cmd/internal/config"
)

// crewLimit is how long those who announce may take to tell the rest once a deploy is over.
const crewLimit = 10 * time.Second

// openCrew opens the configured announcers; nil when there are none.
func openCrew(conf *config.Config) (*announce.Crew, error) {
	if len(conf.Announcers) == 0 {
		return nil, nil
	}
	deps := announce.Deps{Site: hostName(), User: who(), Test: testPhases(conf)}
	list := make([]announce.Options, len(conf.Announcers))
	for i, a := range conf.Announcers {
		list[i] = announce.Options(a)
		if a.Kind != config.OnChanges {
			continue
		}
		client, err := openGerrit(conf.Gerrit, a.Timeout)
		if err != nil {
			return nil, err
		}
		deps.Comment = func(ctx context.Context, number int, text string) error {
			return client.Comment(ctx, number, text, voteTag)
		}
	}
	return announce.Open(list, deps)
}

// testPhases are the phases in which a change is looked at before it is merged.
func testPhases(conf *config.Config) (names []string) {
	for _, ph := range conf.Phases {
		if isTest(ph) {
			names = append(names, ph.Name)
		}
	}
	return names
}

// dismiss lets the announcers tell what they have not told yet. What went wrong is said, and changes nothing.
func (d *deploy) dismiss() {
	if d.crew == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), crewLimit)
	defer cancel()
	for _, err := range d.crew.Close(ctx) {
		fmt.Fprintf(d.stderr, "scap: %s\n", harmless(err.Error()))
	}
	d.crew = nil
}
