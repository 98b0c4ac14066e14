package keeper

import (
	"errors"
	"fmt"
	"slices"
)

// takes says which members of a Request, besides the operation, each operation takes. Nothing else may be in it: what would
// be ignored was meant for something.
var takes = map[Op][]string{
	OpState: {}, OpStart: {"pool", "release", "until"}, OpPublish: {"pool", "generation", "from", "until"},
	OpTry: {"pool", "generation", "until"}, OpEnd: {"pool", "generation"}, OpHalt: {"kill"},
	OpAdopt: {}, OpGiveUp: {"kill"}, OpReopen: {},
}

// parseRequest reads one line. It says nothing of whether what is asked for can be done.
func parseRequest(line []byte) (Request, error) {
	if len(line) > maxRequest {
		return Request{}, fmt.Errorf("a request of more than %d bytes", maxRequest)
	}
	var q Request
	if err := strict(line, &q); err != nil {
		return Request{}, fmt.Errorf("a request that this keeper cannot read: %w; is another version of it than scap's installed?", err)
	}
	return q, q.check()
}

func (q Request) check() error {
	may, ok := takes[q.Op]
	if !ok {
		return fmt.Errorf("operation %.40q: this keeper knows none of that name: another version of it than scap's is installed", q.Op)
	}
	has := map[string]bool{
		"pool": q.Pool != "", "release": !q.Release.IsZero(), "generation": q.Generation != 0, "from": q.From != 0,
		"until": !q.Until.IsZero(), "kill": q.Kill,
	}
	for name, there := range has {
		if there && !slices.Contains(may, name) {
			return fmt.Errorf("operation %s takes no %s", q.Op, name)
		}
	}
	switch {
	case q.Op == OpStart && (!has["pool"] || !has["release"] || !has["until"]):
		return errors.New("operation start: want a pool, a release and until when it may run unpublished")
	case q.Op == OpPublish && (!has["pool"] || !has["generation"]):
		return errors.New("operation publish: want a pool and a generation")
	case q.Op == OpTry && !has["pool"]:
		return errors.New("operation try: want a pool")
	case q.Op == OpTry && has["generation"] != has["until"]:
		return errors.New("operation try: want a generation and until when, or neither")
	case q.Op == OpEnd && !has["generation"]:
		return errors.New("operation end: want a generation")
	}
	return nil
}
