package keeper

import (
	"os"
	"path/filepath"
	"testing"

	"scap/targets/fpm/proc"
)

func TestFreeIsTheLeastOfAllLimits(t *testing.T) {
	const mb = 1 << 20
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/meminfo", "MemTotal:  4096000 kB\nMemAvailable:    1024000 kB\nHugePages_Total:       0\n")
	write("two/a/memory.max", "max\n")
	write("two/a/b/memory.max", "524288000\n") // 500 MB
	write("two/a/b/memory.current", "419430400\n")
	write("two/a/b/memory.stat", "anon 1\ninactive_file 104857600\nactive_file 5\n")
	write("two/a/b/c/memory.max", "max\n")
	write("two/tight/memory.max", "1048576\n")
	write("two/tight/memory.current", "2097152\n")
	write("one/memory/x/memory.limit_in_bytes", "314572800\n")
	write("one/memory/x/memory.usage_in_bytes", "209715200\n")
	write("one/memory/x/memory.stat", "total_inactive_file 52428800\n")
	write("one/memory/memory.limit_in_bytes", "9223372036854771712\n")
	write("one/memory/memory.usage_in_bytes", "1\n")
	write("bad/y/memory.max", "much\n")
	for _, c := range []struct {
		name, base, groups string
		want               uint64
		fails              bool
	}{
		{"no groups", "two", "", 1000 * mb, false},
		{"a group above has the limit, caches are free", "two", "0::/a/b/c\n", 200 * mb, false},
		{"no limit", "two", "0::/a\n", 1000 * mb, false},
		{"above its limit", "two", "0::/tight\n", 0, false},
		{"a group that is not seen here", "two", "0::/../outside\n", 1000 * mb, false},
		{"version 1", "one", "9:name=systemd:/\n4:memory:/x\n0::/\n", 150 * mb, false},
		{"version 1, two controllers", "one", "4:hugetlb,memory:/x\n", 150 * mb, false},
		{"a limit that is no number", "bad", "0::/y\n", 0, true},
	} {
		m := memory{proc: filepath.Join(dir, "proc"), cgroup: filepath.Join(dir, c.base)}
		got, err := m.free([]byte(c.groups))
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %d MB, %v; want %d MB", c.name, got/mb, err, c.want/mb)
		}
	}
}

func TestMeasuresItself(t *testing.T) {
	self, err := proc.Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	n, err := pss([]proc.Process{self, {PID: 1 << 30, Tick: 1}}) // one that is gone takes nothing
	if err != nil || n < 1<<20 || n > 4<<30 {
		t.Errorf("%d, %v", n, err)
	}
}
