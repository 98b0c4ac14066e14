package proc

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func crewFixture(ps ...Process) map[int]Process {
	all := map[int]Process{}
	for _, p := range ps {
		all[p.PID] = p
	}
	return all
}

func TestCrewIsKnownByTitleAndParent(t *testing.T) {
	const conf = "/etc/php/8.2/fpm/php-fpm.conf"
	master, worker := MasterTitle+conf+")", WorkerTitle+"www"
	for _, c := range []struct {
		name                     string
		all                      map[int]Process
		masters, workers, strays []int
	}{
		{"nobody", nil, nil, nil, nil},
		{
			"a master and its workers",
			crewFixture(Process{PID: 10, Parent: 1, Title: master}, Process{PID: 11, Parent: 10, Title: worker}, Process{PID: 12, Parent: 10, Title: worker}),
			[]int{10},
			[]int{11, 12},
			nil,
		},
		{
			"a worker that was forked a moment ago carries its master's title",
			crewFixture(Process{PID: 10, Parent: 1, Title: master}, Process{PID: 11, Parent: 10, Title: master}),
			[]int{10},
			[]int{11},
			nil,
		},
		{
			"another master's workers in a pool of the same name are its own",
			crewFixture(Process{PID: 10, Parent: 1, Title: MasterTitle + "/etc/other.conf)"}, Process{PID: 11, Parent: 10, Title: worker}),
			nil, nil, nil,
		},
		{
			"orphans of a dead master, beside a new one",
			crewFixture(Process{PID: 10, Parent: 1, Title: master}, Process{PID: 11, Parent: 10, Title: worker}, Process{PID: 5, Parent: 1, Title: worker}),
			[]int{10},
			[]int{11},
			[]int{5},
		},
		{
			"two masters of one file",
			crewFixture(Process{PID: 10, Parent: 1, Title: master}, Process{PID: 20, Parent: 1, Title: master}),
			[]int{10, 20},
			nil, nil,
		},
		{
			"a title that php-fpm had to cut",
			crewFixture(Process{PID: 10, Parent: 1, Title: MasterTitle + "/etc/php/8.2/fp"}),
			[]int{10},
			nil, nil,
		},
		{
			"a path that only begins alike",
			crewFixture(Process{PID: 10, Parent: 1, Title: MasterTitle + conf + ".old)"}, Process{PID: 20, Parent: 1, Title: MasterTitle + "/etc/php)"}),
			nil, nil, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := CrewOf(c.all, conf, "www")
			for what, pair := range map[string][2][]int{
				"masters": {PIDs(got.Masters), c.masters}, "workers": {PIDs(got.Workers), c.workers}, "strays": {PIDs(got.Strays), c.strays},
			} {
				slices.Sort(pair[0])
				if !slices.Equal(pair[0], pair[1]) {
					t.Errorf("%s %v, want %v", what, pair[0], pair[1])
				}
			}
			if len(CrewOf(c.all, conf, "").Strays) > 0 {
				t.Error("strays of an unknown pool")
			}
		})
	}
}

func TestSignalReachesOnlyTheProcessThatWasMeant(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Read(cmd.Process.Pid)
	if err != nil || p.Parent != os.Getpid() || p.Tick == 0 {
		t.Fatalf("process %+v, %v", p, err)
	}
	elder := p
	elder.Tick-- // an earlier process of the same pid
	if err := Signal(elder, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if len(Left([]Process{elder})) != 0 || len(Left([]Process{p})) != 1 {
		t.Error("an earlier process of the same pid counts as alive, or was hit")
	}
	if rest := AwaitGone(t.Context(), []Process{p}, 20*time.Millisecond); len(rest) != 1 {
		t.Error("a living process is gone")
	}
	if err := Signal(p, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it: it is a zombie now, which runs no code.
	if rest := AwaitGone(t.Context(), []Process{p}, 10*time.Second); len(rest) != 0 {
		t.Error("a zombie counts as alive")
	}
	if err := Signal(p, unix.SIGKILL); err != nil {
		t.Errorf("signal to one who is gone: %v", err)
	}
	_ = in.Close()
	_ = cmd.Wait()
	if _, err := Read(p.PID); !errors.Is(err, ErrGone) {
		t.Errorf("reading one who is gone: %v", err)
	}
}

func FuzzParseStat(f *testing.F) {
	const good = "4242 (php-fpm8.2) S 1 4242 4242 0 -1 4194624 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10"
	if p, err := parseStat([]byte(good)); err != nil || p != (Process{PID: 4242, Parent: 1, Tick: 987654, State: 'S'}) {
		f.Fatalf("seed: %+v %v", p, err)
	}
	const evil = "7 (a) S 1 (b) Z) R 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22"
	if p, err := parseStat([]byte(evil)); err != nil || p.Parent != 3 || p.State != 'R' || p.Tick != 21 {
		f.Fatalf("a name with parentheses: %+v %v", p, err)
	}
	const executing = "9 (scap-agent) Z 3 9 9 0 -1 4228108 598 0 0 0 0 0 0 0 20 0 3 0 3639824 0 0"
	if p, err := parseStat([]byte(executing)); err != nil || p.State == 'Z' {
		f.Fatalf("a process whose second thread executes another program is no zombie: %+v %v", p, err)
	}
	if p, err := parseStat([]byte(strings.Replace(executing, " 3 0 3639824", " 1 0 3639824", 1))); err != nil || p.State != 'Z' {
		f.Fatalf("a zombie: %+v %v", p, err)
	}
	f.Add([]byte(good))
	f.Add([]byte(evil))
	f.Add([]byte("1 (x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseStat(b); err == nil && (p.PID <= 0 || p.Parent < 0) {
			t.Errorf("%q became %+v", b, p)
		}
	})
}
