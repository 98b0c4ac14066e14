package keeper

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/proc"
)

// pss sums what processes take of the machine's memory: pages that several share are counted once, in parts. A process that
// ended meanwhile takes none.
func pss(ps []proc.Process) (uint64, error) {
	total := uint64(0)
	for _, p := range ps {
		b, err := proc.ReadSome(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID), 64<<10)
		if err == nil && len(b) == 0 || errors.Is(err, unix.ESRCH) { // it is ending: its memory is gone before its number
			continue
		}
		if err != nil {
			if len(proc.Left([]proc.Process{p})) == 0 {
				continue
			}
			return 0, fmt.Errorf("memory of pid %d: %w", p.PID, err)
		}
		n, err := kilobytes(b, "Pss:")
		if err != nil {
			return 0, fmt.Errorf("memory of pid %d: %w", p.PID, err)
		}
		total += n
	}
	return total, nil
}

// kilobytes finds "name  123 kB" and returns bytes.
func kilobytes(b []byte, name string) (uint64, error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 3 && f[0] == name && f[2] == "kB" {
			n, err := strconv.ParseUint(f[1], 10, 50)
			return n << 10, err
		}
	}
	return 0, errors.Join(fmt.Errorf("no line %q", name), lines.Err())
}

// memory is where the kernel says how much of it there is.
type memory struct{ proc, cgroup string }

var theMemory = memory{proc: "/proc", cgroup: "/sys/fs/cgroup"}

// free is what a process of the given memory cgroup (a line of /proc/PID/cgroup each) can still take: of the machine, and of
// every group above it. What is only cached from files is free.
func (m memory) free(groups []byte) (uint64, error) {
	b, err := proc.ReadSome(filepath.Join(m.proc, "meminfo"), 64<<10)
	if err != nil {
		return 0, err
	}
	free, err := kilobytes(b, "MemAvailable:")
	if err != nil {
		return 0, fmt.Errorf("meminfo: %w", err)
	}
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok || !filepath.IsAbs(path) {
			continue
		}
		if controllers == "" {
			free, err = lowest(free, m.cgroup, path, "memory.max", "memory.current", "inactive_file")
		} else if controllers == "memory" || strings.HasPrefix(controllers, "memory,") || strings.HasSuffix(controllers, ",memory") {
			free, err = lowest(free, filepath.Join(m.cgroup, "memory"), path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
		}
		if err != nil {
			return 0, err
		}
	}
	return free, nil
}

// lowest goes from a group up to the first one and returns the least that any of them leaves. A group without a limit, or
// whose files are not there (the controller is off, or the group lies outside of a container's view), leaves what there is.
func lowest(free uint64, base, path, limit, usage, cached string) (uint64, error) {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		dir := filepath.Join(base, path)
		most, err := number(filepath.Join(dir, limit))
		if err != nil {
			return 0, err
		}
		if most > 0 {
			used, err := number(filepath.Join(dir, usage))
			if err != nil {
				return 0, err
			}
			b, err := proc.ReadSome(filepath.Join(dir, "memory.stat"), 64<<10)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == cached {
					n, _ := strconv.ParseUint(f[1], 10, 63)
					used -= min(used, n)
				}
			}
			free = min(free, most-min(most, used))
		}
		if path == "/" {
			return free, nil
		}
	}
}

// number reads a file of one number: 0 for none, for "max" and for a file that is not there.
func number(path string) (uint64, error) {
	b, err := proc.ReadSome(path, 64)
	text := strings.TrimSpace(string(b))
	if errors.Is(err, fs.ErrNotExist) || err == nil && text == "max" {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// room says what a second master of a pool takes and what is left for it beyond the reserve, which may be less than nothing.
// The measure is the generation that users reach, else the largest that lives.
func (k *keeper) room(r *record, s *sight, pool Pool) (need, left int64, err error) {
	published, err := k.leads(r, pool.Name, pool.Listen)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range r.of(pool.Name) {
		c := k.crew(s, e)
		if len(c.members) == 0 || published != 0 && published != e.Number {
			continue
		}
		n, err := pss(c.members)
		if err != nil {
			return 0, 0, err
		}
		need = max(need, int64(n))
	}
	groups, err := proc.ReadSome(k.group(s, r, pool), 64<<10)
	if err != nil {
		return 0, 0, err
	}
	free, err := theMemory.free(groups)
	return need, int64(free) - int64(k.conf.Reserve), err
}

// group is the list of groups that a new generation would run in: those of the keeper that starts it, or under systemd those
// of its unit's siblings.
func (k *keeper) group(s *sight, r *record, pool Pool) string {
	if k.conf.Systemd {
		for _, e := range r.of(pool.Name) {
			if c := k.crew(s, e); c.alive {
				return fmt.Sprintf("/proc/%d/cgroup", e.PID)
			}
		}
	}
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/cgroup"
}

// makeRoom refuses a second master that does not fit, after ending an old one of the pool that is only kept for a way back,
// if that helps: going back would be slower then, going on would not be possible otherwise.
// The first one is none that the reserve is for, nor is one in the place of a generation that is all dead: without it nobody
// would be served.
func (k *keeper) makeRoom(r *record, s *sight, pool Pool, keep func(*entry) bool) (victims []*entry, err error) {
	need, left, err := k.room(r, s, pool)
	if err != nil || need == 0 {
		return nil, err
	}
	published, err := k.leads(r, pool.Name, pool.Listen)
	if err != nil {
		return nil, err
	}
	tried, err := k.leads(r, pool.Name, pool.Trial)
	if err != nil {
		return nil, err
	}
	for _, e := range r.of(pool.Name) {
		if left >= need {
			return victims, nil
		}
		if !e.Served || e.Number == published || e.Number == tried || e.Number == r.pool(pool.Name).Published || keep(e) {
			continue
		}
		n, err := pss(k.crew(s, e).members)
		if err != nil {
			return nil, err
		}
		left, victims = left+int64(n), append(victims, e)
	}
	if left < need {
		return nil, &refusal{NoMemory, fmt.Sprintf("a second master of pool %s takes %d MB, and there are %d MB for it beyond the reserve, old ones that are only kept included",
			pool.Name, need>>20, max(0, left)>>20)}
	}
	return victims, nil
}
