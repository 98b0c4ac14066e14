package main

import (
	"context"
	"errors"
)

// The exit codes that scripts rely on; `scap help` prints the same table.
const (
	exitOK           = 0
	exitError        = 1
	exitUsage        = 2
	exitRolledBack   = 3
	exitInconsistent = 4
	exitDeclined     = 5
	exitLocked       = 6
	exitDrift        = 7
	exitCancelled    = 130
)

const exitTable = `Exit codes:
  0    deployed and proven everywhere; plan, --dry-run: no problem found
  1    error; nothing was changed
  2    usage or configuration; also a question without a terminal or --yes
  3    rolled back after a failed gate or a failure; the fleet is on one release
  4    not on one release, or left before it was: ` + "`scap resume`" + ` goes on
  5    declined by the deployer
  6    locked by somebody else
  7    drift found by ` + "`scap status`" + `
  130  cancelled; the previous release is proven everywhere, or nothing changed
`

// coded is an error that knows its exit code.
type coded struct {
	code int
	err  error
}

func (c coded) Error() string { return c.err.Error() }
func (c coded) Unwrap() error { return c.err }

// errQuiet marks an error that a view has already told the deployer.
var errQuiet = errors.New("told already")

// usage wraps a mistake in what was typed or configured.
func usage(err error) error { return coded{exitUsage, err} }

// exitCode is the only place where an error becomes a number.
func exitCode(err error) int {
	var c coded
	var stop cancelled
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &stop), errors.Is(err, context.Canceled):
		return exitCancelled
	}
	return exitError
}
