package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Outline is the Data of a Begin record: the plan as people see it.
type Outline struct {
	Message string  `json:"message,omitempty"`
	User    string  `json:"user,omitempty"`
	Host    string  `json:"host,omitempty"` // the deploy host
	Back    bool    `json:"back,omitempty"` // a rollback to an older release
	Phases  []Group `json:"phases"`
	// DespiteRed is why it began although users were failing already; empty when they were not.
	DespiteRed string `json:"despite_red,omitempty"`
	// Watch is how long after its end the deploy is to be watched; 0: not at all.
	Watch time.Duration `json:"watch,omitempty"`
	// Verb is what the deployer asked for: backport, rollback, …; empty: sync.
	Verb    string   `json:"verb,omitempty"`
	Changes []Change `json:"changes,omitempty"` // that the deploy is about
}

// VerbRevert is what the Verb of a deploy that takes changes back begins with.
const VerbRevert = "backport --revert"

// Away says that the deploy was made to get away from what was served: by a rollback or a revert.
func (o Outline) Away() bool { return o.Back || strings.HasPrefix(o.Verb, VerbRevert) }

// Change is one change under review, as people know it. One without a Number is not public: no word of it leaves the
// deploy host.
type Change struct {
	Number   int    `json:"number,omitempty"`
	PatchSet int    `json:"patch_set,omitempty"`
	ChangeID string `json:"change_id,omitempty"`
	Revision string `json:"revision,omitempty"` // the commit that was confirmed
	Project  string `json:"project,omitempty"`
	Branch   string `json:"branch,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Owner    string `json:"owner,omitempty"`
	URL      string `json:"url,omitempty"`
}

// Group is one phase of an Outline.
type Group struct {
	Name    string   `json:"name"`
	Targets []string `json:"targets"`
	GateOff string   `json:"gate_off,omitempty"` // why the phase has no gate
	Share   float64  `json:"share,omitempty"`    // of each target's requests, that the release is tried on first; 0: it is not
}

// Deploy is one journal in short.
type Deploy struct {
	Name    string
	Path    string
	Outline Outline
	Began   time.Time
	Ended   time.Time // of the last End; zero while there is none
	From    string    // proven on every target before anything changed; empty when that was not reached
	To      string
	How     string // one of the words of an End, or empty: it runs, or died
	Text    string // of the last End
	Failed  bool   // a gate failed To, in the deploy or in the watch after it
	Changed bool   // an activation was intended, or a trial: users may have been served To
	Err     error  // why the journal could not be read to its end

	Watched    Watching  // the watch after the end
	WatchUntil time.Time // when it is to end, or was; zero with WatchNone
	WatchText  string    // of its last record
	WatchAt    time.Time // when that was written; before the first one, the deploy's end
	WatchLeft  bool      // it says that the watcher was told to stop
}

// Unfinished reports whether the deploy died or left targets behind that `resume` shall bring back to one release.
func (d Deploy) Unfinished() bool {
	return d.Err == nil && !d.Began.IsZero() && (d.How == "" || d.How == Inconsistent)
}

// Summary reads the journal at path. What could not be read is told by Err.
func Summary(path string) Deploy {
	d := Deploy{Name: strings.TrimSuffix(filepath.Base(path), suffix), Path: path}
	for r, err := range Read(path) {
		if err != nil {
			d.Err = err
			return d
		}
		d.take(r)
	}
	return d
}

func (d *Deploy) take(r Record) {
	switch {
	case r.Kind == Begin:
		d.Began, d.From, d.To = r.At, r.From, r.To
		d.Err = json.Unmarshal(r.Data, &d.Outline)
	case r.Kind == Done && r.Act == Preflight && r.From != "":
		d.From = r.From
	case r.Kind == Ruled && r.Verdict == "fail":
		d.Failed = true
	case r.Kind == Intent && (r.Act == Activate || r.Act == Try):
		d.Changed = true
	case r.Kind == End:
		d.How, d.Text, d.Ended = r.Verdict, r.Text, r.At
		if d.How == Deployed && d.Changed && d.Outline.Watch > 0 {
			d.Watched, d.WatchUntil, d.WatchAt = WatchOpen, r.At.Add(d.Outline.Watch), r.At
		}
	case r.Kind == Watched:
		d.watch(r)
	}
	if r.Kind != End && d.How != "" && !r.Kind.Idle() { // taken up again
		d.How, d.Text, d.Ended = "", "", time.Time{}
		d.Watched, d.WatchUntil, d.WatchText, d.WatchAt, d.WatchLeft = WatchNone, time.Time{}, "", time.Time{}, false
	}
}

// List returns the deploys whose journals are in dir, newest first. A directory that is not there has none.
func List(dir string) ([]Deploy, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list journals: %w", err)
	}
	var ds []Deploy
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if ok && e.Type().IsRegular() && checkDeploy(name) == nil {
			ds = append(ds, Summary(filepath.Join(dir, e.Name())))
		}
	}
	slices.SortFunc(ds, func(a, b Deploy) int {
		if c := b.Began.Compare(a.Began); c != 0 {
			return c
		}
		return strings.Compare(b.Name, a.Name)
	})
	return ds, nil
}

// Latest returns the newest deploy that began, and false when there is none.
func Latest(dir string) (Deploy, bool, error) {
	ds, err := List(dir)
	for _, d := range ds {
		if !d.Began.IsZero() {
			return d, true, err
		}
	}
	return Deploy{}, false, err
}

// Unfinished returns the newest deploy when `resume` has something to do for it. An older one that died is none: the
// newer began on a fleet that was on one release.
func Unfinished(dir string) (Deploy, bool, error) {
	ds, err := List(dir)
	for _, d := range ds {
		if !d.Unfinished() && d.Err == nil && !d.Changed && d.How != Deployed {
			continue // it never changed anything, so it does not stand before an older one
		}
		return d, d.Unfinished(), errors.Join(err, d.Err)
	}
	return Deploy{}, false, err
}

// LastGood returns the release to go back to from current: the newest that a deploy of ds (newest first) left proven on
// every target, or began on, and that is not current, was never failed by a gate, and was never itself left by a rollback
// or a revert.
func LastGood(ds []Deploy, current string) (release string, ok bool) {
	bad := map[string]bool{"": true, current: true}
	for _, d := range ds {
		if d.Failed {
			bad[d.To] = true
		}
		if d.Outline.Away() && d.Changed {
			bad[d.From] = true
		}
	}
	for _, d := range ds {
		if d.How == Deployed && !bad[d.To] {
			return d.To, true
		}
		if d.Changed && !bad[d.From] {
			return d.From, true
		}
	}
	return "", false
}
