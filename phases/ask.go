package phases

import (
	"context"
	"errors"
	"fmt"

	"scap/canary"
)

// Topic is what a Question is about.
type Topic string

// The topics.
const (
	AskConfirm  Topic = "confirm"  // go on after this phase: Yes or No
	AskHold     Topic = "hold"     // the gate holds: Wait, Pass or RollBack
	AskCapacity Topic = "capacity" // going on would leave fewer serving than must be: Wait, Pass or RollBack (on the way back: Wait, Pass)
)

// Choice is a deployer's answer. The zero Choice is none and never lets a deploy go on.
type Choice string

// The choices.
const (
	Yes      Choice = "yes"
	No       Choice = "no"
	Wait     Choice = "wait"
	Pass     Choice = "pass"
	RollBack Choice = "rollback"
)

// Question is put to the deployer.
type Question struct {
	Topic   Topic
	Phase   string
	Text    string
	Ruling  canary.Ruling // the last, for AskHold
	Choices []Choice
}

// Answer is the deployer's word. It is journaled.
type Answer struct {
	Choice Choice
	Who    string
	Word   string // why, in the deployer's words
}

// ask puts q to the deployer. An error, a panic, an answer that was no choice, or none within HoldLimit is the zero Answer.
func (d *run) ask(ctx context.Context, q Question) (a Answer, err error) {
	if !d.p.Attended || d.Ask == nil {
		return Answer{}, errors.New("nobody is there to answer")
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.p.HoldLimit, fmt.Errorf("no answer within %v", d.p.HoldLimit))
	defer cancel()
	d.flush(limited)
	defer func() {
		if p := recover(); p != nil {
			a, err = Answer{}, fmt.Errorf("ask: panic: %v", p)
		}
	}()
	a, err = d.Ask(limited, q)
	switch {
	case limited.Err() != nil:
		return Answer{}, context.Cause(limited)
	case err != nil:
		return Answer{}, err
	}
	for _, c := range q.Choices {
		if a.Choice == c {
			return a, nil
		}
	}
	return Answer{}, fmt.Errorf("%q is no answer to this", a.Choice)
}
