package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/proc"
)

// Names in Config.State.
const (
	recordName = "record.json"
	lockName   = "lock"
)

const (
	maxRecord     = 4 << 20
	recordVersion = 1
	// lockWait is how long an operation waits for another one to end: longer than most take, shorter than a deploy's patience.
	lockWait = 5 * time.Minute
)

// phase is how far a generation is.
type phase string

const (
	starting phase = "starting" // its master may run: with a PID once that is known
	running  phase = "running"  // it has listened
	ending   phase = "ending"   // whoever is left of it is to go
)

// entry is what the record knows of a generation. What it does not know, whether it lives and what the links lead to, is
// asked of the kernel.
type entry struct {
	Number    uint64     `json:"number"`
	Pool      string     `json:"pool"`
	Section   string     `json:"section"` // the pool's name in php-fpm's configuration
	Release   release.ID `json:"release"`
	Phase     phase      `json:"phase"`
	Boot      string     `json:"boot"` // of the kernel that PID, Tick and Namespace are of
	PID       int        `json:"pid,omitempty"`
	Tick      uint64     `json:"tick,omitempty"`
	Namespace uint64     `json:"namespace,omitempty"`
	Inode     uint64     `json:"inode,omitempty"` // of the release's directory when it was mounted
	Status    bool       `json:"status,omitempty"`
	Started   time.Time  `json:"started,omitzero"`
	Until     time.Time  `json:"until,omitzero"`
	// Served: users have reached it. Such a one is kept for a way back, and may have requests to end.
	Served bool `json:"served,omitempty"`
}

// hand is a change between the distribution's php-fpm and the keeper's that has begun and not ended.
type hand string

const (
	adopting hand = "adopting"
	givingUp hand = "giving up"
)

// standing is what the record knows of a pool.
type standing struct {
	// Published is the last generation that was, after a reboot too; 0: none since the pool was adopted or halted.
	Published uint64 `json:"published,omitempty"`
	// Enabled: the distribution's unit was, before it was adopted.
	Enabled bool `json:"enabled,omitempty"`
}

// record is all that outlives a keeper.
type record struct {
	Version     int                  `json:"version"`
	Last        uint64               `json:"last"` // the last number given: only ever counted up
	Adopted     bool                 `json:"adopted,omitempty"`
	Hand        hand                 `json:"hand,omitempty"`
	Pools       map[string]*standing `json:"pools,omitempty"`
	Generations []*entry             `json:"generations,omitempty"` // oldest first
	Alarms      []Alarm              `json:"alarms,omitempty"`
	// Booted is the boot in which a watch has last seen every pool well.
	Booted string `json:"booted,omitempty"`
}

func (r *record) find(number uint64) *entry {
	for _, e := range r.Generations {
		if e.Number == number && number > 0 {
			return e
		}
	}
	return nil
}

// of returns a pool's generations, oldest first.
func (r *record) of(pool string) []*entry {
	var out []*entry
	for _, e := range r.Generations {
		if e.Pool == pool {
			out = append(out, e)
		}
	}
	return out
}

func (r *record) pool(name string) *standing {
	if r.Pools == nil {
		r.Pools = map[string]*standing{}
	}
	if r.Pools[name] == nil {
		r.Pools[name] = &standing{}
	}
	return r.Pools[name]
}

func (r *record) forget(number uint64) {
	r.Generations = slices.DeleteFunc(r.Generations, func(e *entry) bool { return e.Number == number })
}

// check says what cannot be true.
func (r *record) check() error {
	if r.Version != recordVersion {
		return fmt.Errorf("version %d: this program knows %d", r.Version, recordVersion)
	}
	before := uint64(0)
	for _, e := range r.Generations {
		switch {
		case e == nil:
			return errors.New("a generation that is none")
		case e.Number <= before || e.Number > r.Last:
			return fmt.Errorf("generation %d after %d, of %d", e.Number, before, r.Last)
		case e.Phase != starting && e.Phase != running && e.Phase != ending:
			return fmt.Errorf("generation %d: phase %q", e.Number, e.Phase)
		case e.Release.IsZero() || e.Pool == "":
			return fmt.Errorf("generation %d: no release or no pool", e.Number)
		}
		before = e.Number
	}
	for name, s := range r.Pools {
		if s == nil || s.Published > r.Last {
			return fmt.Errorf("pool %q: what is published cannot be", name)
		}
	}
	return nil
}

// load reads the record. A host without one has never had a generation; one that cannot be read is never taken for that.
func (k *keeper) load() (*record, error) {
	path := filepath.Join(k.conf.State, recordName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k.first(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := proc.ReadSome(path, maxRecord+1)
	r := &record{}
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("longer than %d bytes", maxRecord)
	}
	if err == nil {
		err = strict(b, r)
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fmt.Errorf("the keeper's record %s cannot be read: %w; which masters it started is not known: take the host out of the pool, end every "+
			"php-fpm master whose configuration lies in %s with SIGQUIT, empty that directory, write {\"version\":%d,\"last\":N} into the record with an N above "+
			"every number seen there, and adopt the host again", path, err, k.conf.Run, recordVersion)
	}
	return r, nil
}

// first makes the record of a host that never had one: it must look like that.
func (k *keeper) first(path string) (*record, error) {
	left, err := filepath.Glob(filepath.Join(k.conf.Run, "fpm-*"))
	if err != nil {
		return nil, err
	}
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if strings.HasPrefix(p.Title, proc.MasterTitle+filepath.Join(k.conf.Run, "fpm-")) {
			left = append(left, p.Title)
		}
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("the keeper's record %s is not there, but generations are or were: %s; put the record back, or end these masters with SIGQUIT, "+
			"empty %s and write {\"version\":%d,\"last\":N} into the record with an N above every number seen there", path, strings.Join(left, ", "), k.conf.Run, recordVersion)
	}
	return &record{Version: recordVersion}, nil
}

// save replaces the record: whole, and on disk, before it returns.
func (k *keeper) save(r *record) error {
	if err := k.write(r); err != nil {
		return fmt.Errorf("write the keeper's record in %s: %w", k.conf.State, err)
	}
	return nil
}

func (k *keeper) write(r *record) error {
	if err := r.check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(k.conf.State, recordName)
	f, err := os.OpenFile(path+".next", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".next", path); err != nil {
		return err
	}
	dir, err := os.Open(k.conf.State)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// locked does one thing with the record while nobody else does anything: keepers of other agents and the watch wait.
func (k *keeper) locked(ctx context.Context, do func(*record) error) error {
	lock, err := os.OpenFile(filepath.Join(k.conf.State, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	err = proc.Poll(ctx, lockWait, func() error {
		for {
			if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("another operation of the keeper goes on: %w", errors.Join(err, context.Cause(ctx)))
	}
	r, err := k.load()
	if err != nil {
		return err
	}
	return do(r)
}
