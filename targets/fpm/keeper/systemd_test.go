package keeper_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// bootScript makes this machine's own file system, with a layer over it, the root of a container, and systemd its first
// process. $1 is the layer's directory, $2 a directory to be seen at its own place.
const bootScript = `set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 $1/cgroup
mkdir $1/cgroup/$3
echo $$ > $1/cgroup/$3/cgroup.procs
unshare --pid --mount --cgroup --uts --ipc --fork sh -e -c '
	root=$1/root
	mount -t overlay overlay -o lowerdir=/,upperdir=$1/upper,workdir=$1/work $root
	mount -t proc proc $root/proc
	mount --bind $1/boot_id $root/proc/sys/kernel/random/boot_id
	mount -t sysfs -o ro sysfs $root/sys
	mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
	mount -t tmpfs -o mode=755 tmpfs $root/dev
	for d in null zero full random urandom tty; do touch $root/dev/$d; mount --bind /dev/$d $root/dev/$d; done
	mkdir $root/dev/pts $root/dev/shm
	mount -t tmpfs -o mode=755 tmpfs $root/run
	mount -t tmpfs -o mode=1777 tmpfs $root/tmp
	mkdir -p $root$2
	mount --bind $2 $root$2
	mkdir -p $root/outside
	cd $root
	pivot_root . outside
	umount -l /outside
	exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=scap-test.target --log-target=console --show-status=no
' sh "$@" || true
echo $$ > $1/cgroup/cgroup.procs
find $1/cgroup/$3 -depth -type d -exec rmdir {} +
`

// machine is a container with systemd as its first process.
type machine struct {
	t     testing.TB
	dir   string // its layer
	name  string
	inner string // of its cgroup
	init  int    // its first process
	cmd   *exec.Cmd
	log   string
}

// boot starts a machine in which a directory is where it is here.
func boot(t testing.TB, shared string, units map[string]string) *machine {
	t.Helper()
	real.Need(t, "systemctl", "unshare", "nsenter")
	dir, err := os.MkdirTemp("/dev/shm", "scap-systemd")
	if err != nil {
		t.Skipf("no room for a container: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, name: filepath.Base(dir), inner: shared, log: filepath.Join(dir, "log")}
	for _, d := range []string{"root", "upper/etc/systemd/system", "upper/usr/local/lib/systemd/system", "work", "cgroup"} {
		m.must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	m.must(os.Chmod(dir, 0o755))
	for path, text := range units {
		m.must(os.WriteFile(filepath.Join(dir, "upper", path), []byte(text), 0o644))
	}
	m.up(1)
	t.Cleanup(m.down)
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// up boots it for the nth time.
func (m *machine) up(n int) {
	m.t.Helper()
	m.must(os.WriteFile(filepath.Join(m.dir, "boot_id"), fmt.Appendf(nil, "00000000-0000-4000-8000-%012d\n", n), 0o644))
	log, err := os.Create(m.log)
	m.must(err)
	defer log.Close()
	m.cmd = exec.Command("sh", "-c", bootScript, "sh", m.dir, m.inner, m.name)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setsid: true}
	m.must(m.cmd.Start())
	err = real.Poll(30*time.Second, func() error {
		var err error
		if m.init, err = child(m.cmd.Process.Pid, "unshare", "systemd"); err != nil {
			return err
		}
		_, err = m.try("systemctl", "is-active", "basic.target")
		return err
	})
	if err != nil {
		text, _ := os.ReadFile(m.log)
		m.down()
		m.t.Skipf("systemd does not run in a container here, so its units are not proven: %v: %.2000s", err, text)
	}
}

// child goes down a line of processes by their names.
func child(pid int, names ...string) (int, error) {
	for _, name := range names {
		b, _ := proc.ReadSome(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid), 4096)
		next := 0
		for _, f := range strings.Fields(string(b)) {
			comm, _ := proc.ReadSome("/proc/"+f+"/comm", 64)
			if strings.TrimSpace(string(comm)) == name {
				next, _ = strconv.Atoi(f)
			}
		}
		if next == 0 {
			return 0, fmt.Errorf("no %s below %d", name, pid)
		}
		pid = next
	}
	return pid, nil
}

// down pulls the plug.
func (m *machine) down() {
	if m.init != 0 {
		_ = syscall.Kill(m.init, syscall.SIGKILL)
		m.init = 0
	}
	_ = m.cmd.Wait()
}

// inside is a command line in the machine.
func (m *machine) inside(argv ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(m.init), "-m", "-p", "-C", "-u", "-i", "-r", "-w", "--"}, argv...)
}

func (m *machine) try(argv ...string) (string, error) {
	argv = m.inside(argv...)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (m *machine) run(argv ...string) string {
	m.t.Helper()
	out, err := m.try(argv...)
	m.must(err)
	return out
}

// TestSystemd has a real systemd start and end the generations: from adoption to giving back, with users about.
func TestSystemd(t *testing.T) {
	const theirs = "scap-test-fpm.service"
	r := newRig(t, options{edit: func(c *keeper.Config) {
		c.Systemd = true
		c.Pools[0].Unit, c.Pools[0].Start = theirs, nil
	}})
	agent, p := r.client.Command[0], r.conf.Pools[0]
	out, err := exec.Command(agent, "keeper", "--conf", r.file, "units").Output()
	r.must(err)
	watch, masters, _ := strings.Cut(string(out), "\n# /etc/systemd/system/scap-fpm@.service")
	m := boot(t, r.dir, map[string]string{
		"etc/systemd/system/scap-test.target":    "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=" + theirs + "\n",
		"etc/systemd/system/scap-keeper.service": strings.Replace(watch, "multi-user.target", "scap-test.target", 1),
		"etc/systemd/system/scap-fpm@.service":   "#" + masters,
		"usr/local/lib/systemd/system/" + theirs: fmt.Sprintf("[Service]\nType=notify\nExecStart=%s --nodaemonize -y %s -c %s\n[Install]\nWantedBy=scap-test.target\n", p.Binary, p.ConfigFile, p.INI),
	})
	t.Log(m.run("systemctl", "--version"))
	t.Log(m.run("systemd-analyze", "verify", "scap-keeper.service", "scap-fpm@7.service"))
	r.client.Command = m.inside(r.client.Command...)
	r.await("php-fpm of the distribution's", func() bool { got, err := r.ask(t.Context(), r.listen(), ""); return err == nil && got == "AA2" })

	r.adopt()
	if got, _ := m.try("systemctl", "is-enabled", theirs); got != "masked" {
		t.Errorf("%s is %s", theirs, got)
	}
	m.run("systemctl", "enable", "--now", "scap-keeper.service")
	r.await("a watch", func() bool { return r.state().Watched })
	one := r.start(r.a)
	r.publish(one.Number, 0, time.Time{})
	r.serves(r.listen(), "A")
	if got := m.run("systemctl", "show", "--value", "-p", "MainPID", "scap-fpm@1.service"); got != strconv.Itoa(one.PID) {
		t.Errorf("systemd knows %s, the keeper %d", got, one.PID)
	}
	if got := m.run("cat", fmt.Sprintf("/proc/%d/cgroup", one.Workers[0])); !strings.Contains(got, "scap-fpm@1.service") {
		t.Errorf("a worker's group: %s", got)
	}

	// A switch there and back, and a master that is killed, and one that is stopped by hand.
	stop := r.users(4, "AA1", "BB1")
	two := r.start(r.b)
	r.publish(two.Number, one.Number, soon())
	r.publish(one.Number, two.Number, time.Time{})
	r.published(two.Number)
	began := time.Now()
	m.run("kill", "-9", strconv.Itoa(one.PID))
	three := r.published(one.Number)
	t.Logf("a killed master was replaced within %v", time.Since(began))
	answers, failures, longest := stop()
	t.Logf("%d answers, nobody was answered for %v at most", answers, longest)
	if len(failures) > 0 || answers == 0 {
		t.Errorf("%d of %d requests were lost: %s", len(failures), answers+len(failures), failures[0])
	}
	m.run("systemctl", "stop", fmt.Sprintf("scap-fpm@%d.service", three.Number))
	four := r.published(three.Number)
	if four.Release != r.a {
		t.Errorf("%+v", four)
	}
	left := m.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "scap-fpm@*")
	if strings.Count(left, ".service") != 1 || !strings.Contains(left, fmt.Sprintf("scap-fpm@%d.service", four.Number)) {
		t.Errorf("units: %s", left)
	}
	r.serves(r.listen(), "A")

	// The plug is pulled: the watch, which is enabled, starts what was published.
	m.down()
	m.up(2)
	r.client.Command = m.inside(agent, "keeper", "--conf", r.file)
	five := r.published(four.Number)
	if five.Release != r.a {
		t.Errorf("%+v", five)
	}
	r.serves(r.listen(), "A")
	r.alarmed("started anew")
	r.do(keeper.Request{Op: keeper.OpGiveUp})
	if got, err := r.ask(t.Context(), r.listen(), ""); err != nil || got != "AA2" {
		t.Errorf("given back: %q %v", got, err)
	}
	if left := m.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "scap-fpm@*"); left != "" {
		t.Errorf("units: %s", left)
	}
}
