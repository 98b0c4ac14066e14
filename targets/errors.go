package targets

import "errors"

// Sentinels. None of them is worth a retry as it stands.
var (
	// ErrReturned: the target refused or failed the new release and serves the old one again, proven.
	ErrReturned = errors.New("the host went back to its previous release, proven")
	// ErrFenced: the target has seen a larger fencing token; this orchestrator has lost its lease.
	ErrFenced = errors.New("another deploy has claimed this host since")
	// ErrOut: the target could be proven neither new nor old and stays out of the pool.
	ErrOut = errors.New("the host stays out of the pool")
	// ErrSkipped: nothing was tried on the target, because the failure budget was spent or the deploy was cancelled.
	ErrSkipped = errors.New("not tried")
)
