package canary

import (
	"encoding/json"
	"fmt"
	"time"
)

// Spell is a time as JSON has it, here as in the configuration: "1m0s". A negative one does not come: "never".
type Spell time.Duration

const never = "never"

// IsZero leaves it out.
func (s *Spell) IsZero() bool { return *s == 0 }

// MarshalText never fails.
func (s *Spell) MarshalText() ([]byte, error) {
	if *s < 0 {
		return []byte(never), nil
	}
	return []byte(time.Duration(*s).String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Spell) UnmarshalText(text []byte) error {
	if string(text) == never {
		*s = -1
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: want a time such as 1m0s, or %s", text, never)
	}
	*s = Spell(d)
	return nil
}

// spelled is r with its times in words: what is read into it is read into r.
func (r *Rule) spelled() any {
	type plain Rule
	return &struct {
		*plain
		Tick     *Spell `json:"tick,omitzero"`
		Dwell    *Spell `json:"dwell,omitzero"`
		History  *Spell `json:"history,omitzero"`
		LateStop *Spell `json:"late_stop,omitzero"`
		LateHold *Spell `json:"late_hold,omitzero"`
	}{(*plain)(r), (*Spell)(&r.Tick), (*Spell)(&r.Dwell), (*Spell)(&r.History), (*Spell)(&r.LateStop), (*Spell)(&r.LateHold)}
}

// MarshalJSON writes times as the configuration has them: "5s".
func (r Rule) MarshalJSON() ([]byte, error) { return json.Marshal(r.spelled()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Rule) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, r.spelled()) }

// spelled is n with its times in words: what is read into it is read into n.
func (n *Numbers) spelled() any {
	type plain Numbers
	return &struct {
		*plain
		Dwelt *Spell `json:"dwelt"`
		More  *Spell `json:"more,omitzero"`
		Lag   *Spell `json:"lag,omitzero"`
	}{(*plain)(n), (*Spell)(&n.Dwelt), (*Spell)(&n.More), (*Spell)(&n.Lag)}
}

// MarshalJSON writes times as people do: "1m0s"; more is "never" when a Pass does not come.
func (n Numbers) MarshalJSON() ([]byte, error) { return json.Marshal(n.spelled()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Numbers) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, n.spelled()) }
