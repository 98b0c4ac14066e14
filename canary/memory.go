package canary

import "time"

// Memory is what a fleet's deploys remember of each other. It may be used by several gates at once.
type Memory interface {
	// Seen says when a fingerprint was last seen with a release that was good.
	Seen(print string) (time.Time, bool)
	// Largest is the largest dispersion of the last days.
	Largest() (phi float64, ok bool)
	// Note remembers fingerprints of the old release, and a dispersion (0: none).
	Note(prints []string, phi float64, at time.Time) error
}
