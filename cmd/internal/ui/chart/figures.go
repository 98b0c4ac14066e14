package chart

// numbers are the figures of a gate as canary writes them, those that are drawn. A gate without statistics, such as one of
// probes, has none of them.
type numbers struct {
	From    string   `json:"from"`
	Probes  *float64 `json:"probes"`
	E       *float64 `json:"e"`
	PassBy  float64  `json:"pass_by"`      // as an e-value, by the ratio
	PassBy0 float64  `json:"pass_by_rate"` // and by the rate
	Phi     float64  `json:"phi"`
	Canary  counted  `json:"canary"`
	Control counted  `json:"control"`
	Lone    counted  `json:"lone"` // the canary while there was no control
	Limits  struct {
		FailAt float64 `json:"fail_at"`
		PassAt float64 `json:"pass_at"`
	} `json:"limits"`
	Signals []struct {
		Name   string  `json:"name"`
		E      float64 `json:"e"`
		Minute float64 `json:"minute"`
		Usual  float64 `json:"usual"`
	} `json:"signals"`
}

// counted is one arm's requests and failures.
type counted struct {
	N int64 `json:"n"`
	X int64 `json:"x"`
}

func (c counted) arm() arm { return arm{max(c.N, 0), max(c.X, 0)} }

// name is what the gate calls itself, or what can be told from its numbers.
func (n numbers) name() string {
	if n.From == "" && n.Probes != nil {
		return "probes"
	}
	return n.From
}

// maxSignals bounds how many signals of a gate are spoken of.
const maxSignals = 8

// figures returns what is drawn; ok is false when there is nothing of it.
func (n numbers) figures() (f figures, ok bool) {
	if n.E == nil {
		return f, false
	}
	c, l := n.Canary.arm(), n.Lone.arm()
	f = figures{
		harm: *n.E, failAt: n.Limits.FailAt, passAt: n.Limits.PassAt, phi: n.Phi,
		canary: arm{addUp(c.n, l.n), addUp(c.x, l.x)}, control: n.Control.arm(), safe: max(n.PassBy, n.PassBy0, 0),
	}
	for _, s := range n.Signals[:min(len(n.Signals), maxSignals)] {
		f.drop = max(f.drop, s.E)
		f.signals = append(f.signals, signal{s.Name, s.E, s.Minute, s.Usual})
	}
	return f, true
}
