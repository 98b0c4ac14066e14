// Package proc reads php-fpm processes as the kernel shows them, and signals exactly the one that was meant.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one process at one moment: a pid alone may be somebody else's later, pid and start tick together may not.
type Process struct {
	PID    int
	Parent int
	Tick   uint64 // clock ticks after boot at which it started
	State  byte
	Title  string // its command line, which php-fpm overwrites with what it is
}

// The titles that php-fpm gives its processes: what follows is the configuration file and ")", or the pool's name.
const (
	MasterTitle = "php-fpm: master process ("
	WorkerTitle = "php-fpm: pool "
	maxTitle    = 4096
)

// ErrGone says that a process is no more.
var ErrGone = errors.New("the process is gone")

// Read reads one process. A zombie is gone: it runs no code.
func Read(pid int) (Process, error) {
	stat, err := ReadSome(fmt.Sprintf("/proc/%d/stat", pid), maxTitle)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Process{}, fmt.Errorf("pid %d: %w", pid, ErrGone)
	}
	if err != nil {
		return Process{}, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return Process{}, err
	}
	if p.State == 'Z' || p.State == 'X' {
		if p.Parent == os.Getpid() { // a master in the foreground that this agent started: nobody else collects it
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		return Process{}, fmt.Errorf("pid %d: %w", pid, ErrGone)
	}
	line, err := ReadSome(fmt.Sprintf("/proc/%d/cmdline", pid), maxTitle)
	if err != nil {
		return Process{}, fmt.Errorf("pid %d: %w", pid, ErrGone)
	}
	title, _, _ := bytes.Cut(line, []byte{0})
	p.Title = strings.TrimRight(string(title), " ")
	return p, nil
}

// parseStat reads /proc/PID/stat. The name in parentheses may itself hold spaces and parentheses.
func parseStat(b []byte) (Process, error) {
	head, _, _ := bytes.Cut(b, []byte(" "))
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return Process{}, fmt.Errorf("stat %.80q: no name", b)
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 || len(f[0]) != 1 {
		return Process{}, fmt.Errorf("stat %.80q: too few fields", b)
	}
	pid, err1 := strconv.Atoi(string(head))
	parent, err2 := strconv.Atoi(f[1])
	tick, err3 := strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Process{}, fmt.Errorf("stat: %w", err)
	}
	if pid <= 0 || parent < 0 {
		return Process{}, fmt.Errorf("stat: pid %d, parent %d", pid, parent)
	}
	state := f[0][0]
	if state == 'Z' && f[17] != "1" && f[17] != "0" {
		state = 'R' // its first thread is over and others live: for a moment so in every execve of another thread
	}
	return Process{PID: pid, Parent: parent, Tick: tick, State: state}, nil
}

// ReadSome reads at most limit bytes: files in /proc have no size to ask for first.
func ReadSome(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// All lists all php-fpm processes of this machine by pid.
func All() (map[int]Process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	found := map[int]Process{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// The title first: it is cheaper than the rest and nearly always another program's.
		line, err := ReadSome("/proc/"+name+"/cmdline", int64(len(MasterTitle)))
		if err != nil || !bytes.HasPrefix(line, []byte("php-fpm: ")) {
			continue
		}
		if p, err := Read(pid); err == nil {
			found[pid] = p
		}
	}
	return found, nil
}

// Crew is who runs for one instance.
type Crew struct {
	Masters []Process
	Workers []Process // children of one of Masters
	Strays  []Process // workers of a pool of that name without any living master
}

// All returns everybody.
func (c Crew) All() []Process {
	return append(append(append([]Process(nil), c.Masters...), c.Workers...), c.Strays...)
}

// Of returns the workers of one pool, those that were forked a moment ago among them. A master with a status socket of its
// own has another pool for it.
func (c Crew) Of(pool string) []Process {
	return slices.DeleteFunc(slices.Clone(c.Workers), func(p Process) bool {
		return strings.HasPrefix(p.Title, WorkerTitle) && p.Title != WorkerTitle+pool
	})
}

// CrewOf picks an instance's processes by the title that php-fpm gives them: masters by the configuration file, workers by
// their parent, strays by the pool's name (unknown: "", then none are found).
func CrewOf(all map[int]Process, configFile, pool string) Crew {
	var c Crew
	masters := map[int]bool{}
	for _, p := range all {
		if isMaster(p, configFile) {
			masters[p.PID] = true
		}
	}
	for _, p := range all {
		parent, known := all[p.Parent]
		switch {
		case masters[p.PID] && !masters[p.Parent]:
			c.Masters = append(c.Masters, p)
		case masters[p.Parent]: // a worker, or one that was forked a moment ago and still carries its master's title
			c.Workers = append(c.Workers, p)
		case pool != "" && p.Title == WorkerTitle+pool && (!known || !strings.HasPrefix(parent.Title, MasterTitle)):
			c.Strays = append(c.Strays, p)
		}
	}
	return c
}

// isMaster compares titles. php-fpm writes its title over its arguments and environment and cuts it where those end.
func isMaster(p Process, configFile string) bool {
	want := MasterTitle + configFile + ")"
	return p.Title == want || (len(p.Title) > len(MasterTitle) && len(p.Title) < len(want) && strings.HasPrefix(want, p.Title) &&
		!strings.HasSuffix(p.Title, ")"))
}

// Signal sends s to p if p is still that process. A process that is gone needs no signal.
func Signal(p Process, s unix.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal pid %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	// The descriptor holds on to one process; if that is p now, the signal reaches p and nobody else.
	now, err := Read(p.PID)
	if errors.Is(err, ErrGone) || (err == nil && now.Tick != p.Tick) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal pid %d: %w", p.PID, err)
	}
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %v to pid %d (%s): %w", s, p.PID, p.Title, err)
	}
	return nil
}

// Left returns those of ps that still run.
func Left(ps []Process) []Process {
	var rest []Process
	for _, p := range ps {
		if now, err := Read(p.PID); err == nil && now.Tick == p.Tick {
			rest = append(rest, p)
		}
	}
	return rest
}

// AwaitGone waits until none of ps runs, for at most limit, and returns who is left.
func AwaitGone(ctx context.Context, ps []Process, limit time.Duration) []Process {
	rest := Left(ps)
	_ = Poll(ctx, limit, func() error {
		if rest = Left(rest); len(rest) > 0 {
			return errors.New("still there")
		}
		return nil
	})
	return rest
}

// Poll asks until try answers nil, for at most limit; then it returns try's last error.
func Poll(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// PIDs returns their pids.
func PIDs(ps []Process) []int {
	var out []int
	for _, p := range ps {
		out = append(out, p.PID)
	}
	return out
}
