package chart

import (
	"encoding/json"
	"math"
)

// numbers are the figures as canary writes them.
func (k *tale) numbers() json.RawMessage {
	n := map[string]any{
		"rule": "gathering", "from": "logs", "e": min(k.batch.harm, 1e100), "pass_by": math.Exp(k.batch.ratio), "pass_by_rate": math.Exp(k.batch.rate), "phi": 1.2,
		"canary": k.batch.canary, "control": k.batch.control, "limits": map[string]float64{"fail_at": 200, "pass_at": 40},
	}
	if k.batch.drop > 0 {
		n["signals"] = []map[string]any{{"name": "edits", "e": k.batch.drop, "minute": 212.5, "usual": 398}}
	}
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return b
}
