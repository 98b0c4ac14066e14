package canary

import (
	"fmt"
	"time"
)

// Rule is what a Book is judged by. The zero value of each field stands for the default named at it.
type Rule struct {
	Tick        time.Duration `json:"tick,omitempty"`         // what counts are kept by; 5 s
	HarmRatio   float64       `json:"harm_ratio,omitempty"`   // harm is to fail at least this many times as often; 3
	HarmRate    float64       `json:"harm_rate,omitempty"`    // and in at least this share of requests; 0.0003
	MinRequests int64         `json:"min_requests,omitempty"` // of the batch, for a Pass; 1000
	Dwell       time.Duration `json:"dwell,omitempty"`        // closed ticks since the batch was proven, for a Pass; 60 s
	MinFailing  int64         `json:"min_failing,omitempty"`  // below it nothing is failed; 3
	FailAt      float64       `json:"fail_at,omitempty"`      // e-value of a Fail; 200
	PassAt      float64       `json:"pass_at,omitempty"`      // evidence against harm of a Pass; 40
	LeaveOut    float64       `json:"leave_out,omitempty"`    // e-value that a Fail keeps without any one host; 10, by which half of all tenfold harm of a large fleet is found within 15 s
	PhiMax      float64       `json:"phi_max,omitempty"`      // no clustering is believed to be worse; 20
	PhiUnknown  float64       `json:"phi_unknown,omitempty"`  // while there is too little history to tell; 3
	History     time.Duration `json:"history,omitempty"`      // of the control hosts, read once a deploy; 45 min
	LateStop    time.Duration `json:"late_stop,omitempty"`    // telemetry that lags more than this stops the clock; 60 s
	LateHold    time.Duration `json:"late_hold,omitempty"`    // and more than this is down; 180 s
	Share       float64       `json:"share,omitempty"`        // traffic of a canary host, as a multiple of a control host's; 1
	RedBelow    float64       `json:"red_below,omitempty"`    // a signal below this share of its usual rate is red; 0.5
}

// Full returns r with its defaults filled in.
func (r Rule) Full() Rule {
	def(&r.Tick, 5*time.Second)
	def(&r.HarmRatio, 3)
	def(&r.HarmRate, 3e-4)
	def(&r.MinRequests, 1000)
	def(&r.Dwell, time.Minute)
	def(&r.MinFailing, 3)
	def(&r.FailAt, 200)
	def(&r.PassAt, 40)
	def(&r.LeaveOut, 10)
	def(&r.PhiMax, 20)
	def(&r.PhiUnknown, 3)
	def(&r.History, 45*time.Minute)
	def(&r.LateStop, time.Minute)
	def(&r.LateHold, 3*time.Minute)
	def(&r.Share, 1)
	def(&r.RedBelow, 0.5)
	return r
}

func def[T int | int64 | float64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Check says what of r makes no sense, by the setting's name. NaN makes none either.
func (r Rule) Check() error {
	f := r.Full()
	switch {
	case f.Tick < time.Second || f.Tick > time.Minute || f.Tick%time.Second != 0:
		return fmt.Errorf("tick %v: want whole seconds from 1s to 1m", f.Tick)
	case !(f.HarmRatio > maxUnharmed && f.HarmRatio <= 100):
		return fmt.Errorf("harm_ratio %g: want more than %g, at most 100", f.HarmRatio, maxUnharmed)
	case !(f.HarmRate > 0 && f.HarmRate < 1):
		return fmt.Errorf("harm_rate %g: want more than 0, less than 1", f.HarmRate)
	case f.MinRequests < 1:
		return fmt.Errorf("min_requests %d: want at least 1", f.MinRequests)
	case f.Dwell < f.Tick:
		return fmt.Errorf("dwell %v: want at least a tick of %v", f.Dwell, f.Tick)
	case f.MinFailing < 1:
		return fmt.Errorf("min_failing %d: want at least 1", f.MinFailing)
	case !(f.LeaveOut > 1 && f.LeaveOut <= f.FailAt && f.FailAt <= 1e9):
		return fmt.Errorf("leave_out %g and fail_at %g: want 1 < leave_out <= fail_at <= 1e9", f.LeaveOut, f.FailAt)
	case !(f.PassAt > 1 && f.PassAt <= 1e9):
		return fmt.Errorf("pass_at %g: want more than 1, at most 1e9", f.PassAt)
	case !(f.PhiMax >= 1 && f.PhiUnknown >= 1 && f.PhiUnknown <= f.PhiMax && f.PhiMax <= 1e3):
		return fmt.Errorf("phi_unknown %g and phi_max %g: want 1 <= phi_unknown <= phi_max <= 1000", f.PhiUnknown, f.PhiMax)
	case f.History < f.Tick || f.History > 24*time.Hour:
		return fmt.Errorf("history %v: want a tick to 24h", f.History)
	case f.LateStop < f.Tick || f.LateHold < f.LateStop:
		return fmt.Errorf("late_stop %v and late_hold %v: want a tick <= late_stop <= late_hold", f.LateStop, f.LateHold)
	case !(f.Share > 0 && f.Share <= 1e3):
		return fmt.Errorf("share %g: want more than 0, at most 1000", f.Share)
	case !(f.RedBelow > 0 && f.RedBelow < 1):
		return fmt.Errorf("red_below %g: want more than 0, less than 1", f.RedBelow)
	}
	return nil
}

// cleanRate is the rate of failing that the absolute refutation tests HarmRate against: a tenth.
func (r Rule) cleanRate() float64 { return r.HarmRate / 10 }

// Cell is one host in one tick. N counts requests and X distinct failing ones; Good counts successes by signal.
type Cell struct {
	Host string
	On   string // the machine, where the host is one of two releases that it serves; the other arm has a cell of it too
	N, X int64
	// Stray are failing requests of the machine On of which it cannot be told to which of its releases they belong.
	Stray int64
	Good  map[string]int64
	// Workers of the host whose requests failed since it was proven; 0: not known.
	Workers int
	// Earlier says of a canary host that it was proven in a batch before the last: it is evidence, but no sample of
	// this batch.
	Earlier bool
}

// Counts are both arms in one closed tick.
type Counts struct {
	At              time.Time // the tick's beginning
	Canary, Control []Cell
}

// Arm is a side of the comparison.
type Arm int

// The arms.
const (
	OnCanary Arm = iota
	OnControl
)

// maxCell bounds what one host can serve in one tick. More is a broken or hostile source; it also keeps sums from
// overflowing.
const maxCell = 1e9

// sum adds up the cells' requests and failures. A request that killed its worker may be in no access log, so N is never
// below X. Cells that make no sense count as nothing: Traffic refuses them before, with a reason.
func sum(cells []Cell) (n, x int64) {
	for i := range cells {
		cn, cx := cells[i].counts()
		n += cn
		x += cx
	}
	return n, x
}

func (c *Cell) counts() (n, x int64) {
	x = min(max(c.X, 0), maxCell)
	return min(max(c.N, x), maxCell), x
}
