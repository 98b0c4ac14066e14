package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"scap/targets/fpm/namespace"
	"scap/targets/fpm/proc"
)

// Bounds of the steps that no configuration sets.
const (
	startTime   = 20 * time.Second // until a new master answers its ping
	killTime    = 5 * time.Second  // until a killed process is gone
	commandTime = 60 * time.Second // systemctl, php-fpm -tt, and a start command
	maxUntil    = 7 * 24 * time.Hour
)

// keeper does what a configuration allows on this host.
type keeper struct {
	conf  Config
	owner int    // the deploy user
	exe   string // this program, which a generation's process is at first
	boot  string // of the running kernel: process ids mean nothing in another one
	start starter
	step  func(name string) // after each step that leaves a trace; tests end the process there
}

// starter starts the processes that become masters: this program itself, or systemd.
type starter interface {
	// launch starts "keeper enter" for a generation, in a mount and process session of its own, and returns its pid. Until
	// proceed is called, it waits, and it ends if this process does. Where that cannot be had, proceed does nothing and the
	// master is found by its title after a crash.
	launch(ctx context.Context, number uint64, log string) (pid int, proceed func() error, err error)
	// ended is told that nobody of a generation is left.
	ended(ctx context.Context, number uint64) error
}

// open makes a keeper of a configuration that Load has accepted.
func open(conf Config) (*keeper, error) {
	exe, err := ownProgram()
	if err != nil {
		return nil, err
	}
	return openAs(conf, exe)
}

func openAs(conf Config, exe string) (*keeper, error) {
	owner, err := conf.uid()
	if err != nil {
		return nil, err
	}
	boot, err := proc.ReadSome("/proc/sys/kernel/random/boot_id", 64)
	if err != nil {
		return nil, err
	}
	k := &keeper{conf: conf, owner: owner, exe: exe, boot: strings.TrimSpace(string(boot)), step: func(string) {}}
	k.start = plain{k}
	if conf.Systemd {
		k.start = newSystemd(k)
	}
	for dir, mode := range map[string]fs.FileMode{conf.State: 0o700, conf.Run: 0o755} {
		if err := ownDirectory(dir, mode); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// ownDirectory makes a directory of root's, if need be, and refuses one that others could change.
func ownDirectory(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := trusted(dir); err != nil {
		return err
	}
	if err == nil {
		return os.Chmod(dir, mode) // whatever the umask
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: want a directory in which root alone writes", dir)
	}
	return nil
}

// spec says where a release is and whose it must be.
func (k *keeper) spec(e *entry) namespace.Spec {
	return namespace.Spec{Root: k.conf.Root, Served: k.conf.Served, Release: e.Release, Owner: k.owner}
}

// tick is called after each step of an operation.
func (k *keeper) tick(format string, args ...any) { k.step(fmt.Sprintf(format, args...)) }

// refusal is an error that stands for: nothing was changed.
type refusal struct {
	code Code
	text string
}

// Error is the text for people.
func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return &refusal{Refused, fmt.Sprintf(format, args...)} }

// refused makes an error of a question into a refusal.
func refused(err error) error {
	var r *refusal
	if err == nil || errors.As(err, &r) {
		return err
	}
	return &refusal{Refused, err.Error()}
}
