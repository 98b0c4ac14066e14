package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"scap/canary"
)

// Report is what a Backtest found. It marshals to JSON and prints in at most 100 columns.
type Report struct {
	From        time.Time       `json:"from"`
	To          time.Time       `json:"to"`
	Hosts       int             `json:"hosts"`
	Windows     int             `json:"windows"`
	Gaps        int             `json:"gaps"`     // of the record, longer than telemetry may lag
	Canaries    int             `json:"canaries"` // in each trial
	Splits      int             `json:"splits"`   // trials a window
	MaxWait     time.Duration   `json:"max_wait"`
	Ratio       float64         `json:"ratio"` // of the harm put on
	PerSecond   float64         `json:"per_second"`
	BaseRate    float64         `json:"base_rate"`
	Settings    []SettingReport `json:"settings"`
	LargestPhi  []HourPhi       `json:"largest_phi"`
	PhiOverall  float64         `json:"phi_overall"` // the largest of all
	FixedCounts FixedReport     `json:"fixed_counts"`
}

// spelled is r with its times in words: what is read into it is read into r.
func (r *Report) spelled() any {
	type plain Report
	return &struct {
		*plain
		MaxWait *canary.Spell `json:"max_wait"`
	}{(*plain)(r), (*canary.Spell)(&r.MaxWait)}
}

// MarshalJSON writes times as the configuration has them: "10m0s".
func (r Report) MarshalJSON() ([]byte, error) { return json.Marshal(r.spelled()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Report) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, r.spelled()) }

// SettingReport is how the trials of one setting ended.
type SettingReport struct {
	Setting
	Trials      int                      `json:"trials"`
	FalseAlarms Interval                 `json:"false_alarms"` // Fail, though every release was good
	Suspects    Interval                 `json:"suspects"`     // one host blamed
	Pass        float64                  `json:"pass"`
	PassAfter   Times                    `json:"pass_after"`
	Hold        float64                  `json:"hold"`
	Causes      map[canary.Cause]float64 `json:"causes,omitempty"` // of what held, as shares of all trials
	Caught      float64                  `json:"caught"`           // of the trials with harm put on
	CaughtAfter Times                    `json:"caught_after"`
	Missed      float64                  `json:"missed"` // passed with harm put on
}

// HourPhi is the largest overdispersion that was found in one hour of the day, UTC.
type HourPhi struct {
	Hour int     `json:"hour"`
	Phi  float64 `json:"phi"`
}

// FixedReport is the same record by a fixed count of failures in 20 s, scap 4.283's rule.
type FixedReport struct {
	FalseAlarms Interval `json:"false_alarms"` // of its default, 10
	// Suggested is the threshold by mean and three deviations of all windows, and SuggestedSurvivors by those that had
	// a failure, which is what analyze-logstash sees; with the share of windows that each would have failed.
	Suggested               int     `json:"suggested"`
	SuggestedAlarms         float64 `json:"suggested_alarms"`
	SuggestedSurvivors      int     `json:"suggested_survivors"`
	SuggestedSurvivorAlarms float64 `json:"suggested_survivor_alarms"`
	Empty                   float64 `json:"empty"` // share of windows without a failure
}

// report sums up.
func (p *replay) report() Report {
	r := Report{
		From: p.first, To: p.at.Add(p.tick), Hosts: len(p.hosts), Windows: p.windows, Gaps: p.gaps,
		Canaries: p.o.Canaries, Splits: p.o.Splits, MaxWait: p.o.MaxWait, Ratio: p.o.Ratio,
		PerSecond: float64(p.sum.n) / max(1, p.at.Add(p.tick).Sub(p.first).Seconds()), BaseRate: rate(p.sum),
	}
	for i := range p.tallies {
		y := &p.tallies[i]
		all := float64(max(1, y.trials))
		s := SettingReport{
			Setting: p.o.Settings[i], Trials: y.trials,
			FalseAlarms: y.fails.interval(), Suspects: y.suspects.interval(),
			Pass: float64(y.verdicts[canary.Pass]) / all, PassAfter: atTick(y.passAt, p.tick),
			Hold:   float64(y.verdicts[canary.Hold]) / all,
			Caught: float64(y.caught) / float64(max(1, y.harmed)), CaughtAfter: atTick(y.caughtAt, p.tick),
			Missed: float64(y.missed) / float64(max(1, y.harmed)),
		}
		for cause, n := range y.causes {
			if s.Causes == nil {
				s.Causes = map[canary.Cause]float64{}
			}
			s.Causes[or(cause, canary.Gathering)] += float64(n) / all
		}
		r.Settings = append(r.Settings, s)
	}
	for hour, phi := range p.phis {
		if phi > 0 {
			r.LargestPhi = append(r.LargestPhi, HourPhi{Hour: hour, Phi: phi})
			r.PhiOverall = max(r.PhiOverall, phi)
		}
	}
	all, survivors := p.scap.suggest(true), p.scap.suggest(false)
	r.FixedCounts = FixedReport{
		FalseAlarms: p.scap.alarms.interval(), Empty: 1 - p.scap.over(1),
		Suggested: all, SuggestedAlarms: p.scap.over(all),
		SuggestedSurvivors: survivors, SuggestedSurvivorAlarms: p.scap.over(survivors),
	}
	return r
}

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s: %d hosts, %.0f requests/s, %.3g of them failing, %d holes\n",
		r.From.UTC().Format("2006-01-02 15:04"), r.To.UTC().Format("2006-01-02 15:04"), r.Hosts, r.PerSecond, r.BaseRate, r.Gaps)
	fmt.Fprintf(&b, "%d windows of %s, %d random splits each: %d hosts play canary with the release that all run\n\n", r.Windows, minutes(r.MaxWait), r.Splits, r.Canaries)
	fmt.Fprintf(&b, "%-16s %-22s %-8s %-15s %-8s %s\n", "", "false alarms", "one host", "pass", "no", "caught when")
	fmt.Fprintf(&b, "%-16s %-22s %-8s %-15s %-8s %s\n", "setting", "(95 % interval)", "blamed", "after s", "verdict", fmt.Sprintf("%g times as bad", r.Ratio))
	for _, s := range r.Settings {
		line := fmt.Sprintf("%-16s %-22s %-8s %5s %-9s %-8s %5s %s", clip(s.Name, 16), s.FalseAlarms, percent(s.Suspects.Share),
			percent(s.Pass), s.PassAfter, percent(s.Hold), percent(s.Caught), s.CaughtAfter)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("\n")
	if len(r.Settings) > 0 && len(r.Settings[0].Causes) > 0 {
		b.WriteString("no verdict as configured, because of:")
		for _, c := range sortedCauses(r.Settings[0].Causes) {
			fmt.Fprintf(&b, " %s %s", c, percent(r.Settings[0].Causes[c]))
		}
		b.WriteString("\n")
	}
	b.WriteString("largest clustering by hour (UTC):")
	for i, h := range r.LargestPhi {
		if i%10 == 0 && i > 0 {
			fmt.Fprintf(&b, "\n%33s", "")
		}
		fmt.Fprintf(&b, " %02d:%.1f", h.Hour, h.Phi)
	}
	f := r.FixedCounts
	fmt.Fprintf(&b, "\n10 failing in 20 s, looked at once: false alarms %s; %s of windows have no failure\n", f.FalseAlarms, percent(f.Empty))
	fmt.Fprintf(&b, "mean + 3 deviations: %d of all windows (false alarms %s); %d of those with a failure (%s)\n",
		f.Suggested, percent(f.SuggestedAlarms), f.SuggestedSurvivors, percent(f.SuggestedSurvivorAlarms))
	return b.String()
}

// String is the share and its bounds, at most 21 characters.
func (i Interval) String() string {
	return fmt.Sprintf("%s (%s to %s)", percent(i.Share), percent(i.Low), percent(i.High))
}

func minutes(d time.Duration) string {
	if d%time.Minute != 0 {
		return d.String()
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
