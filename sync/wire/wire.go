// Package wire is the agent protocol: frames, and the messages that an orchestrator and the agent of a host exchange in
// them. Everything that both sides must agree on is here; change Version with any of it.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"scap/sync/release"
)

// Version of the protocol. An agent is uploaded by the orchestrator that talks to it, so there is no negotiation.
const Version = 3

// Op names what is asked of an agent.
type Op string

// The operations. Their bodies are the types named behind them; an operation without a type has no body.
const (
	OpHello  Op = "hello"  // Hello -> Welcome; first on every connection
	OpState  Op = "state"  // StateAsk -> State
	OpClaim  Op = "claim"  // Claim
	OpStage  Op = "stage"  // release.Release, then Blocks of directory objects, End -> Staged, then Sums, Wants, End
	OpFiles  Op = "files"  // then Blocks of files, End -> Committed
	OpVerify Op = "verify" // Named
	OpSwitch Op = "switch" // release.Switch -> release.Proof
	OpRepair Op = "repair" // release.Switch -> release.Proof
	OpOut    Op = "out"    // Out
	OpTry    Op = "try"    // Try -> release.Proof
	OpEndTry Op = "endtry" // Token -> release.Proof; without a trial nothing is changed
	OpQuiet  Op = "quiet"  // Quiet -> release.Quiet
	OpPrune  Op = "prune"  // Prune -> Pruned
	OpAdopt  Op = "adopt"  // Token -> release.Release
	OpAsk    Op = "ask"    // Ask -> whatever the service answers
)

// Request is the payload of a Question frame.
type Request struct {
	Op    Op              `json:"op"`
	Limit time.Duration   `json:"limit,omitempty"` // what the asker still waits for the answer; 0: the agent's own limit
	Body  json.RawMessage `json:"body,omitempty"`
}

// Response is the payload of a Reply frame: an Error or a Body.
type Response struct {
	Error *Error          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// Hello opens a session.
type Hello struct {
	Token  uint64          `json:"token,omitempty"` // the fencing token that this session works under
	Owner  string          `json:"owner,omitempty"` // the deploy that works
	Config json.RawMessage `json:"config,omitempty"`
}

// Welcome answers Hello.
type Welcome struct {
	Hostname string       `json:"hostname"`
	UID      int          `json:"uid"`
	Clock    time.Time    `json:"clock"`
	Releases []release.ID `json:"releases,omitempty"` // complete ones, newest first: what a push can build on
}

// StateAsk says how thoroughly a host is asked.
type StateAsk struct {
	// Check also asks the runtime for what would make a switch fail.
	Check bool `json:"check,omitempty"`
}

// State is what a host says of itself.
type State struct {
	Disk     release.ID     `json:"disk"`
	Proof    release.Proof  `json:"proof"`
	Intent   release.Intent `json:"intent"`
	Releases []release.ID   `json:"releases,omitempty"`
	Free     uint64         `json:"free"`
	Plain    bool           `json:"plain,omitempty"`
	Served   string         `json:"served,omitempty"`
	// Busy says who works on the host; the runtime was not asked then.
	Busy     string   `json:"busy,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// Claim raises the fencing token of a host and of the session.
type Claim struct {
	Token uint64 `json:"token"`
	Owner string `json:"owner"`
}

// Named asks about one release.
type Named struct {
	ID release.ID `json:"id"`
}

// Token is the body of an operation that needs nothing but the right to change the host.
type Token struct {
	Token uint64 `json:"token"`
}

// Out takes a host out, or puts it back.
type Out struct {
	Token uint64 `json:"token"`
	Out   bool   `json:"out"`
	Owner string `json:"owner"`
}

// MaxTrial is how long a trial may last: nobody is to forget one.
const MaxTrial = 24 * time.Hour

// Try asks a host to try Switch.To on a share of its requests for that long from now. It is no point in time: a trial that
// outlives its deploy must end soon, and by the host's clock alone, whatever that clock says.
type Try struct {
	Switch release.Switch `json:"switch"`
	For    time.Duration  `json:"for"`
}

// Quiet asks for a view of what still reaches a host.
type Quiet struct {
	Window time.Duration `json:"window"`
}

// Prune removes all releases but those in Keep and those in use.
type Prune struct {
	Token uint64       `json:"token"`
	Keep  []release.ID `json:"keep"`
}

// Pruned names what is gone.
type Pruned struct {
	Gone []release.ID `json:"gone,omitempty"`
}

// Ask puts a question to one of the host's services.
type Ask struct {
	Service  string          `json:"service"`
	Question json.RawMessage `json:"question,omitempty"`
}

// Staged answers OpStage. Sums frames with directory objects that the host still lacks follow it, then Wants frames with
// the files that it lacks (none while directory objects are missing), then End.
type Staged struct {
	Missing int `json:"missing"`
	Wants   int `json:"wants"`
}

// Committed answers OpFiles with the hash of the tree that is now on the host's disk.
type Committed struct {
	ID release.ID `json:"id"`
}

// Want is a file that a host lacks.
type Want struct {
	Path string // any bytes
	Sum  release.Sum
	Size int64
}

// maxPath bounds a path inside a release: PATH_MAX of Linux.
const maxPath = 4096

// Append appends the encoded w to b.
func (w Want) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(w.Path)))
	b = append(b, w.Path...)
	b = append(b, w.Sum[:]...)
	return binary.AppendUvarint(b, uint64(w.Size))
}

// ParseWants reads the payload of a Wants frame.
func ParseWants(b []byte) ([]Want, error) {
	var ws []Want
	for len(b) > 0 {
		n, k := binary.Uvarint(b)
		if k <= 0 || n == 0 || n > maxPath || uint64(len(b)-k) < n+uint64(len(release.Sum{})) {
			return nil, errors.New("list of wanted files: bad path")
		}
		w := Want{Path: string(b[k : k+int(n)])}
		b = b[k+int(n):]
		b = b[copy(w.Sum[:], b):]
		size, k := binary.Uvarint(b)
		if k <= 0 || size > math.MaxInt64 {
			return nil, errors.New("list of wanted files: bad size")
		}
		w.Size, b = int64(size), b[k:]
		ws = append(ws, w)
	}
	return ws, nil
}

// ParseSums reads the payload of a Sums frame.
func ParseSums(b []byte) ([]release.Sum, error) {
	const size = len(release.Sum{})
	if len(b)%size != 0 {
		return nil, fmt.Errorf("list of digests: %d bytes are not a whole number of them", len(b))
	}
	sums := make([]release.Sum, len(b)/size)
	for i := range sums {
		copy(sums[i][:], b[i*size:])
	}
	return sums, nil
}
