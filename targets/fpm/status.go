package fpm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"scap/targets/fpm/fcgi"
)

// status is php-fpm's own status page of one pool.
type status struct {
	Pool      string         `json:"pool"`
	Manager   string         `json:"process manager"`
	Start     int64          `json:"start time"` // of the scoreboard: a reload makes a new one
	Accepted  int64          `json:"accepted conn"`
	Processes []statusWorker `json:"-"`
	slots     int            // workers that php-fpm has or is starting
	own       string         // what marks this request among the URIs
}

type statusWorker struct {
	PID      int
	State    string
	Start    int64
	Requests int64
	Duration int64 // microseconds, of the current or the last request
	URI      string
	Script   string
}

// readingHeaders is the state of a worker that has accepted a connection and has no request of it yet.
const readingHeaders = "Reading headers"

func (w statusWorker) idle() bool { return w.State == "Idle" }

const maxWorkers = 16 << 10

// statusTries: php-fpm answers 500 when a worker has its scoreboard locked at that moment, about once in 600 questions to a
// host that is saturated.
const statusTries = 3

// ownQuery marks the agent's own status requests among the URIs that the page lists.
const ownQuery = "scap="

// statusOf asks an instance for its full status.
func (r *Runtime) statusOf(ctx context.Context, i Instance) (status, error) {
	own := ownQuery + random(8)
	listen := i.Listen
	if i.StatusListen != "" {
		listen = i.StatusListen
	}
	query := "json&full&" + own
	var a fcgi.Answer
	for range statusTries {
		var err error
		a, err = r.call(ctx, listen, map[string]string{
			"SCRIPT_NAME": i.StatusPath, "SCRIPT_FILENAME": i.StatusPath, "REQUEST_URI": i.StatusPath + "?" + query, "QUERY_STRING": query,
		})
		if err != nil {
			return status{}, err
		}
		if a.Status != http.StatusInternalServerError {
			break
		}
	}
	s, err := parseStatus(a)
	s.own = own
	return s, err
}

func parseStatus(a fcgi.Answer) (status, error) {
	if a.Status != 200 {
		return status{}, fmt.Errorf("the status page answers with status %d: is its path right?", a.Status)
	}
	s, err := readPage(a.Body)
	if err != nil {
		return status{}, fmt.Errorf("the status page answers %.200q: %w", a.Body, err)
	}
	if s.Pool == "" || len(s.Processes) == 0 || len(s.Processes) > maxWorkers {
		return status{}, fmt.Errorf("the status page names pool %q with %d processes", s.Pool, len(s.Processes))
	}
	s.slots = len(s.Processes)
	// A worker that was forked a moment ago has a line but no pid yet. /proc knows it.
	s.Processes = slices.DeleteFunc(s.Processes, func(p statusWorker) bool { return p.PID <= 0 })
	return s, nil
}

// ping asks whether the instance answers at all.
func (r *Runtime) ping(ctx context.Context, i Instance) error {
	a, err := r.call(ctx, i.Listen, map[string]string{"SCRIPT_NAME": i.PingPath, "SCRIPT_FILENAME": i.PingPath, "REQUEST_URI": i.PingPath})
	if err != nil {
		return err
	}
	if a.Status != 200 || len(a.Body) == 0 {
		return errors.New("the ping page answers with status " + fmt.Sprint(a.Status) + ": is its path right?")
	}
	return nil
}

// withoutQuery is a URI without its query.
func withoutQuery(uri string) string {
	p, _, _ := strings.Cut(uri, "?")
	return p
}
