package main

import (
	"errors"
	"strconv"
	"strings"
)

// share is a flag's value between 0 and 1: 0.05, 5%, 1e-4.
type share float64

func (s *share) String() string { return strconv.FormatFloat(float64(*s), 'g', -1, 64) }

// Set refuses what is not above 0 and below 1.
func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v < 1) {
		return errors.New("want more than 0 and less than 1, such as 0.05, 5% or 1e-4")
	}
	*s = share(v)
	return nil
}

// Type is for help.
func (s *share) Type() string { return "SHARE" }
