package sim

import (
	"context"
	"fmt"
	"strings"

	"scap/canary"
)

// Row is one kind of fleet in a Grid, with a Result for each of the Grid's columns.
type Row struct {
	Name    string   `json:"name"`
	Results []Result `json:"results"`
}

// Column is what a deploy is like: how much worse the new release is, and whether failures come in bursts, in which case our
// rule estimates how much so from the 45 minutes before.
type Column struct {
	Name       string  `json:"name"`
	Ratio      float64 `json:"ratio"`
	Clustering float64 `json:"clustering"`
}

// Grid is our rule and its peers over fleets of four sizes and releases of six kinds. It marshals to JSON with all its
// figures and prints as a table of at most 100 columns.
type Grid struct {
	Runs    int      `json:"runs"` // of each cell
	Seed    uint64   `json:"seed"`
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Fleets are the rows of Table: fleets from large to small, as scenarios of a release that does no harm.
func Fleets() []Scenario {
	return []Scenario{
		{Rate: 8000, Share: .05, Base: 1e-4, Shock: .3, Canaries: 10, Controls: 40},
		{Rate: 2000, Share: .10, Base: 1e-4, Shock: .3, Canaries: 10, Controls: 40},
		{Rate: 8000, Share: .05, Base: 1e-3, Shock: .3, Canaries: 10, Controls: 40},
		{Rate: 200, Share: .20, Base: 1e-4, Shock: .3, Canaries: 10, Controls: 40},
	}
}

// Columns are those of Table.
func Columns() []Column {
	return []Column{
		{Name: "r=1", Ratio: 1},
		{Name: "r=1 bursts", Ratio: 1, Clustering: 5},
		{Name: "r=3", Ratio: 3},
		{Name: "r=5", Ratio: 5},
		{Name: "r=10", Ratio: 10},
		{Name: "r=100", Ratio: 100},
	}
}

// Table tries rule and its peers on every fleet with every column, runs times each. It ends early with ctx.
func Table(ctx context.Context, rule canary.Rule, runs int, seed uint64) (Grid, error) {
	g := Grid{Runs: runs, Seed: seed, Columns: Columns()}
	for i, s := range Fleets() {
		row := Row{Name: fmt.Sprintf("%g/s, canaries %g %%, errors %g", s.Rate, s.Share*100, s.Base)}
		for j, c := range g.Columns {
			s := c.of(s)
			s.Runs, s.Seed = runs, mix(seed)+uint64(i*len(g.Columns)+j)
			r, err := Run(ctx, s, rule)
			if err != nil {
				return Grid{}, fmt.Errorf("%s, %s: %w", row.Name, c.Name, err)
			}
			row.Results = append(row.Results, r)
		}
		g.Rows = append(g.Rows, row)
	}
	return g, nil
}

// of is the scenario with the column's release.
func (c Column) of(s Scenario) Scenario {
	s.Ratio, s.Clustering, s.Phi = c.Ratio, c.Clustering, 1
	if c.Clustering > 1 {
		s.Phi = 0
	}
	return s
}

// String is the table for people. Each cell says how often the rule ended as the column names and, in seconds, when
// (median-95 %).
func (g Grid) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs a cell, seed %d. r: the new release's error rate over the old one's. A cell is a share of\n", g.Runs, g.Seed)
	b.WriteString("the runs, then seconds (median-95 %). r=1: false alarms, time to pass. r=3: let through, time to\n")
	b.WriteString("pass. Above: caught, time to fail. bursts: failures in clusters (variance/mean 5).\n")
	for _, row := range g.Rows {
		line := fmt.Sprintf("%14s", "")
		for _, c := range g.Columns {
			line += fmt.Sprintf("  %-12s", c.Name)
		}
		fmt.Fprintf(&b, "\n%s\n%s\n", row.Name, strings.TrimRight(line, " "))
		if len(row.Results) == 0 {
			continue
		}
		for i, o := range row.Results[0].Outcomes {
			line := fmt.Sprintf("%-14s", o.Rule)
			for _, r := range row.Results {
				line += cell(r.Scenario.Ratio, r.Outcomes[i])
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		row.rest(&b)
	}
	return b.String()
}

// rest says how many runs of our rule had no verdict, or blamed a host.
func (row Row) rest(b *strings.Builder) {
	for _, what := range []struct {
		name string
		of   func(Outcome) float64
	}{
		{"  no verdict", func(o Outcome) float64 { return o.Hold }},
		{"  one host", func(o Outcome) float64 { return o.Suspect }},
	} {
		var line strings.Builder
		some := false
		for _, r := range row.Results {
			v := what.of(r.Of(Ours))
			some = some || v > 0
			fmt.Fprintf(&line, "%5s%9s", percent(v), "")
		}
		if some {
			fmt.Fprintf(b, "%-14s%s\n", what.name, strings.TrimRight(line.String(), " "))
		}
	}
}

func cell(ratio float64, o Outcome) string {
	share, times := o.Fail, o.FailAfter
	switch {
	case ratio <= 1:
		share, times = o.FalseAlarm, o.PassAfter
	case ratio < 5:
		share, times = o.Miss, o.PassAfter
	}
	return fmt.Sprintf("%5s %-8s", percent(share), times)
}

// percent is at most five characters: 0, <.01%, .05%, 3.2%, 41%, 99.9%, 100%. Only what never was is 0, and only what always
// was is 100%.
func percent(p float64) string {
	switch p *= 100; {
	case p == 0:
		return "0"
	case p < .005:
		return "<.01%"
	case p < .995:
		return strings.TrimPrefix(fmt.Sprintf("%.2f%%", p), "0")
	case p < 9.95:
		return fmt.Sprintf("%.1f%%", p)
	case p < 100 && p >= 99.5:
		return fmt.Sprintf("%.1f%%", min(p, 99.9))
	}
	return fmt.Sprintf("%.0f%%", p)
}

// String is median-95 %, "-" when there is none.
func (t Times) String() string {
	switch {
	case t.T95 == 0:
		return "-"
	case t.T50 == t.T95:
		return fmt.Sprintf("%.0f", t.T50)
	}
	return fmt.Sprintf("%.0f-%.0f", t.T50, t.T95)
}
