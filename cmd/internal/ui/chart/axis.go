package chart

import (
	"slices"
	"time"
)

// axis maps time to 0…1. Where nothing happened for long (a deploy that was left and taken up again) it is shortened.
type axis struct {
	real  []time.Time     // breakpoints
	drawn []time.Duration // what each is from the beginning, on the axis
	gaps  []gap
}

// gap is a time that was left out.
type gap struct {
	at   time.Time
	long time.Duration
}

// quietGap is how long nothing must happen for that time to be left out; it is drawn as shownGap.
const (
	quietGap = 20 * time.Minute
	shownGap = 30 * time.Second
)

// newAxis makes the axis of all moments.
func newAxis(moments []time.Time) *axis {
	at := slices.Clone(moments)
	slices.SortFunc(at, time.Time.Compare)
	a := &axis{}
	for i, t := range at {
		switch {
		case i == 0:
			a.real, a.drawn = append(a.real, t), append(a.drawn, 0)
		case t.Sub(at[i-1]) > quietGap:
			end := a.at(at[i-1])
			a.real, a.drawn = append(a.real, at[i-1], t), append(a.drawn, end, end+shownGap)
			a.gaps = append(a.gaps, gap{t, t.Sub(at[i-1])})
		}
	}
	if n := len(at); n > 0 {
		a.real, a.drawn = append(a.real, at[n-1]), append(a.drawn, a.at(at[n-1]))
	}
	return a
}

// at is where t is drawn, from the beginning on.
func (a *axis) at(t time.Time) time.Duration {
	i, _ := slices.BinarySearchFunc(a.real, t, time.Time.Compare)
	switch {
	case len(a.real) == 0:
		return 0
	case i == 0:
		return a.drawn[0]
	case i == len(a.real):
		return a.drawn[i-1] + t.Sub(a.real[i-1])
	}
	// Between two breakpoints: at one speed, or in a gap.
	span, shown := a.real[i].Sub(a.real[i-1]), a.drawn[i]-a.drawn[i-1]
	if span <= 0 {
		return a.drawn[i]
	}
	return a.drawn[i-1] + time.Duration(float64(shown)*float64(t.Sub(a.real[i-1]))/float64(span))
}

// length is the whole axis, at least a second, with a little room behind the last moment.
func (a *axis) length() time.Duration {
	if n := len(a.drawn); n > 0 {
		return max(a.drawn[n-1]+a.drawn[n-1]/25, time.Second)
	}
	return time.Second
}

// share is where t lies between 0 and 1.
func (a *axis) share(t time.Time) float64 {
	return clamp(float64(a.at(t))/float64(a.length()), 0, 1)
}

// column is where t lies among n columns.
func (a *axis) column(t time.Time, n int) int {
	return min(int(a.share(t)*float64(n)), n-1)
}

// tick is a time to write below the axis.
type tick struct {
	at   time.Time
	text string
}

// ticks returns round times, at most most.
func (a *axis) ticks(most int) []tick {
	if len(a.real) == 0 || most < 1 {
		return nil
	}
	steps := []time.Duration{
		time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if a.length()/s < time.Duration(most) {
			step = s
			break
		}
	}
	format := "15:04"
	if step < time.Minute {
		format = "15:04:05"
	}
	var list []tick
	for i := 0; i+1 < len(a.real); i++ {
		if a.real[i+1].Sub(a.real[i]) > quietGap && a.drawn[i+1]-a.drawn[i] == shownGap {
			continue
		}
		for t := a.real[i].Truncate(step); !t.After(a.real[i+1]) && len(list) < 4*most; t = t.Add(step) {
			if !t.Before(a.real[i]) && (len(list) == 0 || list[len(list)-1].at.Before(t)) {
				list = append(list, tick{t, t.UTC().Format(format)})
			}
		}
	}
	return list
}
