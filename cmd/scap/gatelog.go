package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scap/canary"
	"scap/canary/sim"
)

// replayed is a deploy to be judged from a record.
type replayed struct {
	canaries []string
	at       string
	rule     *canary.Rule
}

func newReplayLogCommand(a *app) *cobra.Command {
	var o replayed
	cmd := &cobra.Command{
		Use:   "replay [LOG]",
		Short: "judge a LOG as if a deploy had been made",
		Long: `Reads a LOG of counts (` + "`scap gate record`" + ` writes one; - or nothing is stdin) and judges it tick by tick as a deploy that was proven
on the hosts of --canary at --at. All other hosts are the control. What was before is the history by which clustering is
measured. It prints each change of the ruling and the last one; with --json every ruling.`,
		Example: `  scap gate replay now.csv --canary mw1001.eqiad.wmnet,mw1002.eqiad.wmnet --at 18:31:00`,
		Args:    argCount(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, done, err := a.input(args)
			if err != nil {
				return err
			}
			defer done()
			if err := given(cmd.Flags()); err != nil {
				return usage(err)
			}
			return a.replayLog(cmd.Context(), sim.Read(in), o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.canaries, "canary", nil, "`HOST`s that got the release, separated by commas; required")
	f.StringVar(&o.at, "at", "", "`TIME` at which it was proven there: 2006-01-02T15:04:05Z, seconds since 1970, or 15:04:05 UTC of the record's first day; required")
	o.rule = ruleFlags(f)
	return cmd
}

// replayLog is scap gate replay.
func (a *app) replayLog(ctx context.Context, counts iter.Seq2[sim.Count, error], o replayed) error {
	if err := o.rule.Check(); err != nil {
		return usage(err)
	}
	if len(o.canaries) == 0 || o.at == "" {
		return usage(errors.New("--canary and --at are wanted: which hosts got the release, and when it was proven there"))
	}
	j := &judgement{app: a, rule: o.rule.Full(), canary: map[string]bool{}, missing: map[string]bool{}}
	for _, h := range o.canaries {
		j.canary[h], j.missing[h] = true, true
	}
	var cells []sim.Count
	for c, err := range counts {
		if err != nil {
			return usage(err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at := c.At.Truncate(j.rule.Tick)
		if j.at.IsZero() {
			if j.at, err = momentOf(o.at, at); err != nil {
				return usage(fmt.Errorf("--at: %w", err))
			}
			j.tick = at
		}
		if at.After(j.tick) {
			if err := j.close(cells, at); err != nil {
				return err
			}
			cells = cells[:0]
		}
		cells = append(cells, c)
		delete(j.missing, c.Host)
	}
	if j.tick.IsZero() {
		return usage(errors.New("the record has no counts"))
	}
	if err := j.close(cells, j.tick.Add(j.rule.Tick)); err != nil {
		return err
	}
	return j.end()
}

// momentOf reads a time; one of the day alone is of the day of first.
func momentOf(text string, first time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if sec, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(sec, 0), nil
	}
	at, err := time.Parse(time.TimeOnly, text)
	if err != nil {
		return at, fmt.Errorf("%q: want 2006-01-02T15:04:05Z, seconds since 1970, or 15:04:05", text)
	}
	y, m, d := first.UTC().Date()
	return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, time.UTC), nil
}

// judgement is a record being judged.
type judgement struct {
	*app
	rule    canary.Rule
	canary  map[string]bool
	missing map[string]bool // canaries of which there was no count yet
	at      time.Time       // proven
	book    canary.Book
	tick    time.Time // that is being gathered
	last    canary.Ruling
	looks   int
}

// close takes the cells of the tick that is gathered, and the empty ones up to next.
func (j *judgement) close(counts []sim.Count, next time.Time) error {
	sums := map[string]*canary.Cell{}
	c := canary.Counts{At: j.tick}
	for _, n := range counts { // a record may be finer than the rule's ticks
		cell := sums[n.Host]
		if cell == nil {
			cell = &canary.Cell{Host: n.Host}
			sums[n.Host] = cell
		}
		cell.N, cell.X = cell.N+n.Requests, cell.X+n.Failing
	}
	for _, host := range slices.Sorted(maps.Keys(sums)) {
		if j.canary[host] {
			c.Canary = append(c.Canary, *sums[host])
		} else {
			c.Control = append(c.Control, *sums[host])
		}
	}
	for j.tick.Before(next) {
		switch {
		case j.tick.Before(j.at):
			if j.at.Sub(j.tick) <= j.rule.History {
				j.book.Learn(c.Control)
			}
		default:
			if j.book.Opened.IsZero() {
				j.book.Open(j.at)
			}
			j.book.Add(j.rule, c)
			if err := j.look(); err != nil {
				return err
			}
		}
		j.tick = j.tick.Add(j.rule.Tick)
		c = canary.Counts{At: j.tick}
	}
	return nil
}

func (j *judgement) look() error {
	now := j.tick.Add(j.rule.Tick)
	r := j.book.Rule(j.rule, now)
	changed := j.looks == 0 || r.Verdict != j.last.Verdict || r.Cause != j.last.Cause
	j.last = r
	j.looks++
	if j.json {
		return json.NewEncoder(j.stdout).Encode(struct {
			At time.Time `json:"at"`
			canary.Ruling
		}{now, r})
	}
	if changed {
		j.tell(now)
	}
	return nil
}

func (j *judgement) tell(now time.Time) {
	word := strings.ToUpper(j.last.Verdict.String())
	if j.last.Cause != "" {
		word += " (" + string(j.last.Cause) + ")"
	}
	fmt.Fprintf(j.stdout, "%s  +%-8s %s\n    %s\n", now.UTC().Format(time.TimeOnly), now.Sub(j.at).Round(time.Second), word,
		strings.ReplaceAll(harmless(j.last.Reason), "\n", "\n    "))
}

func (j *judgement) end() error {
	if j.looks == 0 {
		return usage(fmt.Errorf("--at %s is after the end of the record (%s)", j.at.UTC().Format(time.RFC3339), j.tick.UTC().Format(time.RFC3339)))
	}
	if len(j.missing) > 0 {
		return usage(fmt.Errorf("the record has no count of %s: --canary wants hosts as the record names them", strings.Join(slices.Sorted(maps.Keys(j.missing)), ", ")))
	}
	if !j.json {
		fmt.Fprintf(j.stdout, "At the end of the record (looks: %d):\n", j.looks)
		j.tell(j.tick)
	}
	return nil
}
