package namespace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scap/sync/release"
)

// runEnv makes the test program one that runs its arguments in the release that the variable describes.
const runEnv = "SCAP_NAMESPACE_TEST_RUN"

func TestMain(m *testing.M) {
	Entrance()
	if told := os.Getenv(runEnv); told != "" {
		os.Exit(host(told, os.Args[1:]))
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the many processes that the tests start
	os.Exit(m.Run())
}

// host is a program with Run in it.
func host(told string, argv []string) int {
	var s Spec
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		panic(err)
	}
	os.Unsetenv(runEnv)
	code, err := Run(context.Background(), s, argv, os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "NOT RUN:", err)
		return 99
	}
	return code
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	one = release.ID(release.SumOf([]byte("one")))
	two = release.ID(release.SumOf([]byte("two")))
)

// site is a store with two releases, the first of them current, and a served link.
type site struct{ dir, root, served string }

func newSite(t testing.TB) site {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)))
	s := site{dir, filepath.Join(dir, "root"), filepath.Join(dir, "served")}
	for _, id := range []release.ID{one, two} {
		must(t, os.MkdirAll(s.path(id), 0o755))
		must(t, os.WriteFile(filepath.Join(s.path(id), "RELEASE"), []byte(id.Short()+"\n"), 0o644))
	}
	s.point(t, one)
	must(t, os.Symlink(filepath.Join(s.root, "current"), s.served))
	return s
}

func (s site) path(id release.ID) string { return filepath.Join(s.root, "releases", id.String()) }

// point swaps `current` as the store does.
func (s site) point(t testing.TB, id release.ID) {
	t.Helper()
	temp := filepath.Join(s.root, "next")
	must(t, os.Symlink("releases/"+id.String(), temp))
	must(t, os.Rename(temp, filepath.Join(s.root, "current")))
}

func (s site) spec() Spec { return Spec{Root: s.root, Served: s.served, Owner: os.Geteuid()} }

// hosted is a process that runs argv in a release, as a user.
func hosted(s Spec, uid uint32, argv ...string) *exec.Cmd {
	told, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Env = append(os.Environ(), runEnv+"="+string(told))
	cmd.Dir = "/"
	if int(uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd
}

// users are who the tests run commands as: the caller, and when that is root somebody without any rights.
func users(t *testing.T, do func(t *testing.T, uid uint32)) {
	list := map[string]uint32{"self": uint32(os.Geteuid())}
	if os.Geteuid() == 0 {
		list["nobody"] = 65533
	}
	for name, uid := range list {
		t.Run(name, func(t *testing.T) {
			if uid != 0 {
				c := exec.Command("/proc/self/exe", "-test.run=^$")
				c.SysProcAttr = isolationOf(uid)
				if err := c.Run(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
					if os.Getenv("CI") == "true" {
						t.Fatalf("user namespaces are off here: %v", err)
					}
					t.Skipf("user namespaces are off here: %v", err)
				}
			}
			do(t, uid)
		})
	}
}

func isolationOf(uid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: int(uid), HostID: os.Geteuid(), Size: 1}},
	}
}

// say runs a shell script in a release.
func say(t testing.TB, s Spec, uid uint32, script string) string {
	t.Helper()
	cmd := hosted(s, uid, "sh", "-c", script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return string(out)
}

func TestSeesOneReleaseOnly(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		spec := s.spec()
		script := fmt.Sprintf(`cat %[1]s/RELEASE; ls %[2]s %[2]s/releases; realpath %[1]s
			cd %[1]s; pwd -P; id -u
			for f in %[1]s/new %[2]s/new %[2]s/releases/new; do touch $f 2>/dev/null && echo wrote $f; done
			grep CapEff /proc/self/status`, s.served, s.root)
		for _, id := range []release.ID{{}, two} {
			spec.Release = id
			want := one
			if !id.IsZero() {
				want = id
			}
			caps := "0000000000000000"
			if uid == 0 {
				own, err := os.ReadFile("/proc/self/status")
				must(t, err)
				_, rest, _ := strings.Cut(string(own), "CapEff:\t")
				caps, _, _ = strings.Cut(rest, "\n")
			}
			lines := []string{
				want.Short(), s.root + ":", "current", "releases", "", s.root + "/releases:", want.String(),
				s.path(want), s.path(want), fmt.Sprint(uid), "CapEff:\t" + caps, "",
			}
			if got := say(t, spec, uid, script); got != strings.Join(lines, "\n") {
				t.Errorf("it sees\n%s\nnot\n%s", got, strings.Join(lines, "\n"))
			}
		}
		if names, err := os.ReadDir(filepath.Join(s.root, "releases")); err != nil || len(names) != 2 {
			t.Errorf("on the host: %v, %v", names, err)
		}
	})
}

// TestNoWayOut tries the ways by which inherited descriptors and directories lead back to the host's releases.
func TestNoWayOut(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		spec := s.spec()
		spec.Release = one
		cmd := hosted(spec, uid, "sh", "-c", `for d in . /proc/self/fd/*; do ls $d/../`+two.String()+` $d/../../releases/`+two.String()+` 2>/dev/null; done; cat RELEASE`)
		cmd.Dir = s.served // the host's
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != one.Short()+"\n" {
			t.Errorf("%v: %s", err, out)
		}
		cmd = hosted(spec, uid, "true")
		cmd.Dir = s.path(two)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "is not in this release") {
			t.Errorf("from a directory of another release: %v: %s", err, out)
		}
	})
}

// TestWaysToARoot finds a root behind links, on a file system of its own, and one that has another below it.
func TestWaysToARoot(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		link := filepath.Join(s.dir, "link")
		must(t, os.Symlink("x/../a", link))
		must(t, os.Mkdir(filepath.Join(s.dir, "x"), 0o755))
		must(t, os.Symlink(s.dir, filepath.Join(s.dir, "a")))
		spec := s.spec()
		spec.Root = filepath.Join(link, "root")
		if got := say(t, spec, uid, "ls "+s.root+"/releases; cat "+s.served+"/RELEASE"); got != one.String()+"\n"+one.Short()+"\n" {
			t.Errorf("behind links: %s", got)
		}
		if os.Geteuid() != 0 {
			return
		}
		must(t, unix.Mount("x", s.root, "tmpfs", unix.MS_NOATIME|unix.MS_NOEXEC, ""))
		t.Cleanup(func() { must(t, unix.Unmount(s.root, unix.MNT_DETACH)) })
		must(t, os.Mkdir(filepath.Join(s.root, "releases"), 0o755))
		must(t, unix.Mount("x", filepath.Join(s.root, "releases"), "tmpfs", unix.MS_NOSUID, ""))
		must(t, os.Mkdir(s.path(two), 0o755))
		must(t, os.WriteFile(filepath.Join(s.path(two), "RELEASE"), []byte("mounted\n"), 0o644))
		s.point(t, two)
		if got := say(t, s.spec(), uid, "ls "+s.root+"/releases; cat "+s.served+"/RELEASE"); got != two.String()+"\nmounted\n" {
			t.Errorf("on file systems of their own: %s", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		with func(t *testing.T, s site, spec *Spec)
		want string
	}{
		"a link for a release": {func(t *testing.T, s site, spec *Spec) {
			must(t, os.Rename(s.path(two), s.path(two)+".x"))
			must(t, os.Symlink("/root", s.path(two)))
		}, "a link stands in the way"},
		"a link to another release": {func(t *testing.T, s site, _ *Spec) {
			must(t, os.Rename(s.path(two), s.path(two)+".x"))
			must(t, os.Symlink(one.String(), s.path(two)))
		}, "a link stands in the way"},
		"a link for releases/": {func(t *testing.T, s site, _ *Spec) {
			must(t, os.Rename(filepath.Join(s.root, "releases"), filepath.Join(s.dir, "elsewhere")))
			must(t, os.Symlink("../elsewhere", filepath.Join(s.root, "releases")))
		}, "a link stands in the way"},
		"another owner":    {func(_ *testing.T, _ site, spec *Spec) { spec.Owner = 4242 }, "belongs to user"},
		"a relative root":  {func(_ *testing.T, _ site, spec *Spec) { spec.Root = "x" }, "absolute"},
		"the root of all":  {func(_ *testing.T, _ site, spec *Spec) { spec.Root = "/" }, "below /"},
		"no such release":  {func(_ *testing.T, _ site, spec *Spec) { spec.Release = release.ID{1} }, "no such file"},
		"a strange served": {func(_ *testing.T, s site, spec *Spec) { spec.Served = s.dir }, "not to the release"},
		"no served":        {func(_ *testing.T, s site, spec *Spec) { spec.Served = s.dir + "/x" }, "must lead to"},
		"a foreign link for current": {func(t *testing.T, s site, spec *Spec) {
			spec.Release = release.ID{}
			must(t, os.Remove(filepath.Join(s.root, "current")))
			must(t, os.Symlink("/root", filepath.Join(s.root, "current")))
		}, "no release"},
		"a root that others replace": {func(t *testing.T, s site, _ *Spec) { must(t, os.Chmod(s.dir, 0o775)) }, "others than root can change"},
		"a root in others' hands":    {func(t *testing.T, s site, _ *Spec) { must(t, os.Chown(s.dir, 4242, 0)) }, "others than root can change"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 && strings.Contains(name, "others") {
				t.Skip("only root has something to lose")
			}
			s := newSite(t)
			spec := s.spec()
			spec.Release = two
			c.with(t, s, &spec)
			out, err := hosted(spec, uint32(os.Geteuid()), "echo", "ran").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "NOT RUN:") || !strings.Contains(string(out), c.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestAnothersRelease has a release of root's moved by a deploy user to where his are.
func TestAnothersRelease(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs files of two users")
	}
	s := newSite(t)
	for _, p := range []string{s.root, s.root + "/releases", s.path(one)} {
		must(t, os.Chown(p, 4242, 4242))
	}
	spec := Spec{Root: s.root, Served: s.served, Release: two, Owner: 4242}
	if _, err := Open(spec); err == nil || !strings.Contains(err.Error(), "belongs to user 0") {
		t.Errorf("root's directory: %v", err)
	}
	for _, owner := range []int{4242, AnyOwner} {
		spec.Release, spec.Owner = one, owner
		r, err := Open(spec)
		must(t, err)
		must(t, r.Close())
	}
}

// TestEnterRefusesTheHost is in the namespace of everybody else: to enter there would be an outage.
func TestEnterRefusesTheHost(t *testing.T) {
	s := newSite(t)
	r, err := Open(s.spec())
	must(t, err)
	defer r.Close()
	if err := r.Enter(); err == nil || !strings.Contains(err.Error(), "mount namespace") {
		t.Errorf("it entered: %v", err)
	}
	if _, err := os.Stat(s.path(two)); err != nil {
		t.Error(err)
	}
}

// TestPinned holds the lock that says so, until the last process that inherited it is gone.
func TestPinned(t *testing.T) {
	users(t, func(t *testing.T, uid uint32) {
		s := newSite(t)
		in, hold, err := os.Pipe()
		must(t, err)
		defer hold.Close()
		cmd := hosted(s.spec(), uid, "sh", "-c", "exec 3<&0; sh -c 'read x <&3' >/dev/null 2>&1 & exit 3")
		cmd.Stdin = in
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
			t.Fatalf("the command: %v", err)
		}
		must(t, in.Close())
		dir, err := os.Open(s.path(one))
		must(t, err)
		defer dir.Close()
		alone := func() error { return unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
		if err := alone(); !errors.Is(err, unix.EWOULDBLOCK) {
			t.Fatalf("while a child of the command runs: %v", err)
		}
		must(t, hold.Close())
		within(t, alone)
	})
}

// within asks until try answers nil.
func within(t testing.TB, try func() error) {
	t.Helper()
	limit, tick := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal(err)
		}
	}
}

func TestGone(t *testing.T) {
	if _, err := Inside(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no process: %v", err)
	}
}
