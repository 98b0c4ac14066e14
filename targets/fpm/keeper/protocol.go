// Package keeper is root's part of a handover: it starts and ends generations of php-fpm, each a stock master on a socket of
// its own in a mount namespace in which the served path leads to one release and to no other, and says by rename(2) which of
// them the web server reaches. What it may do is fixed in a file that root owns; a deploy user can do nothing else through it.
package keeper

import (
	"time"

	"scap/sync/release"
)

// Op is what a keeper is asked for.
type Op string

// The operations. Each is whole by itself: after a crash in the middle of one the keeper's record says what may have
// happened, and the next operation, or the watch, ends it.
const (
	// OpState asks how everything stands, afresh. It changes nothing.
	OpState Op = "state"
	// OpStart starts a generation of Pool with Release, unseen by users, until Until. The Reply's Generation listens.
	OpStart Op = "start"
	// OpPublish makes Generation what the web server reaches, if From is that now (0: nobody is). The one that was published
	// before is then kept until Until, in place of any that was kept before; a zero Until ends it once nothing waits in its
	// socket.
	OpPublish Op = "publish"
	// OpTry makes Generation, or with 0 none, the one that a share of the requests goes to, until Until.
	OpTry Op = "try"
	// OpEnd ends a Generation that is neither published nor tried: SIGQUIT, then whoever is left of its namespace.
	OpEnd Op = "end"
	// OpHalt ends all generations of all pools, published ones too: the host is out of the pool, and its php-fpm changes
	// without a second one beside it. With Kill it does not wait for requests.
	OpHalt Op = "halt"
	// OpAdopt ends the distribution's php-fpm of every pool and keeps it from being started again; OpGiveUp is OpHalt, then
	// the distribution's php-fpm is started as before. Either may be repeated.
	OpAdopt  Op = "adopt"
	OpGiveUp Op = "giveup"
	// OpReopen tells every master to open its logs anew (SIGUSR1), after a rotation.
	OpReopen Op = "reopen"
)

// Request is one line of JSON on the keeper's standard input.
type Request struct {
	Op         Op         `json:"op"`
	Pool       string     `json:"pool,omitempty"`
	Release    release.ID `json:"release,omitzero"`
	Generation uint64     `json:"generation,omitempty"`
	From       uint64     `json:"from,omitempty"`
	Until      time.Time  `json:"until,omitzero"`
	Kill       bool       `json:"kill,omitempty"`
}

// Code is what kind of refusal a Reply is.
type Code string

// The codes. A Reply with an Error and no Code failed on the way: OpState tells how far it came.
const (
	Refused  Code = "refused"   // not as asked: unknown pool, wrong From, a generation that is published. Nothing was changed
	NoMemory Code = "no-memory" // a second master does not fit. Nothing was changed
	NotOurs  Code = "not-ours"  // the host is not adopted. Nothing was changed
)

// Reply is one line of JSON on its standard output.
type Reply struct {
	Error      string      `json:"error,omitempty"`
	Code       Code        `json:"code,omitempty"`
	State      *State      `json:"state,omitempty"`      // of OpState
	Generation *Generation `json:"generation,omitempty"` // of OpStart
}

// State is how a host's generations stand.
type State struct {
	Adopted bool        `json:"adopted"` // the pools are the keeper's, not the distribution's
	Watched bool        `json:"watched"` // a watch runs: dead masters are replaced, deadlines are kept
	Pools   []PoolState `json:"pools"`
	Alarms  []Alarm     `json:"alarms,omitempty"` // of the last seven days, newest last, sixteen at most
}

// PoolState is one pool's generations.
type PoolState struct {
	Name      string `json:"name"`
	Listen    string `json:"listen"`              // the link that the web server connects to
	Published uint64 `json:"published,omitempty"` // whose socket Listen leads to by the kernel's word; 0: to none of ours
	Tried     uint64 `json:"tried,omitempty"`     // and the trial's link
	// Trial is the link for trials; empty: this pool has none, and nothing can be tried on it.
	Trial string `json:"trial,omitempty"`
	// Need is what a second master of this pool takes by the measure of the published one, and Free what there is for it
	// beyond the reserve: of the machine, or of the memory cgroup that it would run in. Bytes.
	Need        uint64       `json:"need,omitempty"`
	Free        uint64       `json:"free,omitempty"`
	Generations []Generation `json:"generations,omitempty"` // oldest first
	Problem     string       `json:"problem,omitempty"`     // what is wrong with the pool, for people
}

// Generation is one master and what belongs to it.
type Generation struct {
	Number     uint64     `json:"number"` // counted up for ever, over all pools of the host
	Release    release.ID `json:"release"`
	Socket     string     `json:"socket"`
	Status     string     `json:"status,omitempty"` // pm.status_listen; empty: the status is asked on Socket
	ConfigFile string     `json:"config_file"`
	PID        int        `json:"pid,omitempty"`
	Tick       uint64     `json:"tick,omitempty"`      // kernel start tick of the master
	Namespace  uint64     `json:"namespace,omitempty"` // inode of its mount namespace
	Started    time.Time  `json:"started,omitzero"`
	// Until is when it ends by itself; zero for the published one only.
	Until time.Time `json:"until,omitzero"`
	// Alive: the master runs, by pid and tick. Orphans are workers of its namespace without it.
	Alive   bool  `json:"alive"`
	Workers []int `json:"workers,omitempty"`
	Orphans []int `json:"orphans,omitempty"`
	// Wrong says what does not hold of it that must: a process of it outside of the namespace, a release that is not where
	// it was mounted from. Such a one is never published.
	Wrong string `json:"wrong,omitempty"`
}

// Alarm is something that the watch found and mended, or could not.
type Alarm struct {
	At   time.Time `json:"at"`
	Pool string    `json:"pool,omitempty"`
	Text string    `json:"text"`
}

// Bounds of the protocol.
const (
	maxRequest = 4 << 10 // bytes of one line
	maxReply   = 1 << 20
)
