package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"scap/canary"
	"scap/canary/sim"
	"scap/cmd/internal/config"
)

func newRecordCommand(a *app) *cobra.Command {
	source, span, tick := config.HostLogs, 45*time.Minute, 5*time.Second
	cmd := &cobra.Command{
		Use:   "record",
		Short: "write a source's counts by host: a LOG for replay and backtest",
		Long: `Reads a source as the gates do and writes one line for each host and tick: time,host,requests,failing. The logs of the hosts
themselves reach back 45 minutes; a Prometheus as far as it keeps samples. A host that the source knows nothing of is named on
stderr and left out.`,
		Example: `  scap gate record > now.csv
  scap gate record --source prom --for 168h --tick 30s > week.csv`,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.record(cmd.Context(), source, span, tick) },
	}
	f := cmd.Flags()
	f.StringVar(&source, "source", source, "`NAME` of a source, or logs")
	f.DurationVar(&span, "for", span, "so long back: `TIME`")
	f.DurationVar(&tick, "tick", tick, "`TIME` that is counted as one")
	return cmd
}

// record is scap gate record.
func (a *app) record(ctx context.Context, name string, span, tick time.Duration) error {
	if tick < time.Second || tick > time.Minute || span < tick || span > 366*24*time.Hour {
		return usage(fmt.Errorf("--tick %s and --for %s: want 1s to 1m, and at least a tick to a year", tick, span))
	}
	conf, err := a.load()
	if err != nil {
		return err
	}
	f, err := openFleet(conf, nil, fleetOptions{})
	if err != nil {
		return err
	}
	defer f.close()
	source, err := f.source(name)
	if err != nil {
		return usage(fmt.Errorf("source %s: %w", name, err))
	}
	q := canary.Query{Step: tick}
	for _, host := range slices.Sorted(maps.Keys(f.judgedBy(name))) {
		q.Hosts = append(q.Hosts, canary.Host{Name: host})
	}
	if len(q.Hosts) == 0 {
		return usage(fmt.Errorf("no phase's gate names the source %s: nothing says which hosts it counts", name))
	}
	out := bufio.NewWriter(a.stdout)
	fmt.Fprintln(out, "time,host,requests,failing")
	now := time.Now()
	const part = 10 * time.Minute // what is asked for at once
	for q.From = now.Add(-span).Truncate(tick); q.From.Before(now); q.From = q.To {
		q.To, q.Now = q.From.Add(part).Truncate(tick), time.Now()
		if q.To.After(now) {
			q.To = now.Truncate(tick)
		}
		if !q.To.After(q.From) {
			break
		}
		if err := a.recordPart(ctx, out, source, q); err != nil {
			return fmt.Errorf("read %s from %s: %w", name, q.From.UTC().Format(time.RFC3339), err)
		}
	}
	return out.Flush()
}

func (a *app) recordPart(ctx context.Context, out io.Writer, source canary.Source, q canary.Query) error {
	got, err := source.Read(ctx, q)
	if err != nil {
		return err
	}
	var all []sim.Count
	for _, h := range got.Hosts {
		if h.Problem != "" {
			fmt.Fprintf(a.stderr, "scap: %s, %s to %s: %s\n", h.Host, q.From.UTC().Format(time.TimeOnly), q.To.UTC().Format(time.TimeOnly), harmless(h.Problem))
			continue
		}
		for _, t := range h.Ticks {
			if t.At.Add(got.Step).After(h.Through) {
				break // not closed
			}
			all = append(all, sim.Count{At: t.At, Host: h.Host, Requests: t.Requests, Failing: min(t.Failing, t.Requests)})
		}
	}
	slices.SortStableFunc(all, func(x, y sim.Count) int { return x.At.Compare(y.At) })
	for _, c := range all {
		fmt.Fprintf(out, "%s,%s,%d,%d\n", c.At.UTC().Format(time.RFC3339Nano), c.Host, c.Requests, c.Failing)
	}
	return nil
}
