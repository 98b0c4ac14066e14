package keeper_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"scap/fixtures/real"
	"scap/sync/release"
	"scap/targets/fpm/keeper"
)

// snapshot is everything that a keeper could have changed: its record, its files, the links, the processes.
func (r *rig) snapshot() string {
	r.t.Helper()
	var b strings.Builder
	for _, dir := range []string{"state", "run", "php", "etc"} {
		err := filepath.WalkDir(filepath.Join(r.dir, dir), func(path string, e os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fmt.Fprintln(&b, path, e.Type())
			if e.Type().IsRegular() {
				text, err := os.ReadFile(path)
				fmt.Fprintf(&b, "%s\n", text)
				return err
			}
			if e.Type()&os.ModeSymlink != 0 {
				target, err := os.Readlink(path)
				fmt.Fprintln(&b, target)
				return err
			}
			return nil
		})
		r.must(err)
	}
	for _, p := range r.processes() {
		fmt.Fprintln(&b, p.PID, p.Tick)
	}
	return b.String()
}

// raw gives the keeper bytes and returns what it answers.
func (r *rig) raw(in []byte) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), r.client.Command[0], r.client.Command[1:]...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	return string(out), err
}

// TestHostileDeployUser asks for all that a deploy user must not get. Nothing may change.
func TestHostileDeployUser(t *testing.T) {
	r := newRig(t, options{workers: 1})
	r.adopt()
	one := r.start(r.a)
	r.publish(one.Number, 0, time.Time{})
	releases := filepath.Join(r.conf.Root, "releases")
	id := func(b byte) release.ID { var id release.ID; id[0] = b; return id }
	// What he can lay among his releases: another's directory, a link out, a link to one of his own, a file.
	theirs := filepath.Join(releases, id(1).String())
	r.must(os.Mkdir(theirs, 0o755)) // root's own
	for b, target := range map[byte]string{2: "/root", 3: r.a.String(), 4: "../../../etc", 5: "/"} {
		r.must(os.Symlink(target, filepath.Join(releases, id(b).String())))
	}
	r.must(os.WriteFile(filepath.Join(releases, id(6).String()), nil, 0o644))
	was := r.snapshot()
	start := func(pool string, id release.ID, until time.Time) keeper.Request {
		return keeper.Request{Op: keeper.OpStart, Pool: pool, Release: id, Until: until}
	}
	for name, c := range map[string]struct {
		q    keeper.Request
		says string
	}{
		"a pool that is none":           {start("else", r.b, soon()), "none of that name"},
		"a pool by a path":              {start("../www", r.b, soon()), "none of that name"},
		"no such release":               {start("www", id(9), soon()), "no such file"},
		"another user's directory":      {start("www", id(1), soon()), "belongs to"},
		"a link to /root":               {start("www", id(2), soon()), "link"},
		"a link to a release":           {start("www", id(3), soon()), "link"},
		"a link out":                    {start("www", id(4), soon()), "link"},
		"a link to /":                   {start("www", id(5), soon()), "link"},
		"a file":                        {start("www", id(6), soon()), "not a directory"},
		"a deadline long past":          {start("www", r.b, time.Unix(1, 0)), "until"},
		"a deadline that never comes":   {start("www", r.b, time.Now().AddDate(90, 0, 0)), "until"},
		"no deadline":                   {start("www", r.b, time.Time{}), "until when"},
		"no release":                    {start("www", release.ID{}, soon()), "a release"},
		"no operation":                  {keeper.Request{}, "none of that name"},
		"an operation that is none":     {keeper.Request{Op: "exec"}, "none of that name"},
		"to end what is published":      {keeper.Request{Op: keeper.OpEnd, Generation: one.Number}, "published"},
		"to end one of the future":      {keeper.Request{Op: keeper.OpEnd, Generation: 99}, "the last one was"},
		"to try what is published":      {keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: one.Number, Until: soon()}, "published"},
		"to publish one of the future":  {keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: 99, From: one.Number}, "the last one was"},
		"to publish without a pool":     {keeper.Request{Op: keeper.OpPublish, Generation: one.Number}, "want a pool"},
		"a release where none is taken": {keeper.Request{Op: keeper.OpHalt, Release: r.b}, "takes no release"},
		"to kill by the way":            {keeper.Request{Op: keeper.OpEnd, Generation: one.Number, Kill: true}, "takes no kill"},
	} {
		r.denied(c.q, keeper.Refused, c.says)
		if now := r.snapshot(); now != was {
			t.Fatalf("%s changed something:\n%s\nbefore:\n%s", name, now, was)
		}
	}
	for name, line := range map[string]string{
		"not JSON":           "halt\n",
		"a list":             "[]\n",
		"an unknown member":  `{"op":"halt","binary":"/bin/sh"}` + "\n",
		"a member twice":     `{"op":"state","op":"halt"}` + "\n",
		"capital letters":    `{"op":"state","OP":"halt"}` + "\n",
		"two values":         `{"op":"state"}{"op":"halt"}` + "\n",
		"not UTF-8":          "{\"op\":\"halt\xff\"}\n",
		"a short release":    `{"op":"start","pool":"www","release":"../../etc","until":"2030-01-01T00:00:00Z"}` + "\n",
		"a negative number":  `{"op":"end","generation":-1}` + "\n",
		"deep":               strings.Repeat("[", 2000) + "\n",
		"a huge line":        `{"op":"halt","pool":"` + strings.Repeat("x", 1<<20) + "\"}\n",
		"a huge line, no LF": strings.Repeat(" ", 1<<20) + `{"op":"halt"}`,
		"NUL":                "{\"op\":\"halt\"}\x00\n",
	} {
		out, _ := r.raw([]byte(line))
		var reply keeper.Reply
		first, _, _ := strings.Cut(out, "\n")
		if err := json.Unmarshal([]byte(first), &reply); err != nil || reply.Error == "" || reply.Code != keeper.Refused {
			t.Errorf("%s: %q", name, out)
		}
		if now := r.snapshot(); now != was {
			t.Fatalf("%s changed something", name)
		}
	}
	// Many lines are many requests: each gets its answer, and none is more than one alone.
	out, err := r.raw(bytes.Repeat([]byte(`{"op":"exec"}`+"\n"), 2000))
	if n := strings.Count(out, "\n"); err != nil || n != 2000 || strings.Count(out, `"refused"`) != 2000 {
		t.Errorf("%d answers, %v", n, err)
	}
	if now := r.snapshot(); now != was {
		t.Error("many lines changed something")
	}
	r.serves(r.listen(), "A")
	r.must(os.Chown(r.conf.Root, 33, 33)) // releases that are not the configured user's
	r.denied(start("www", r.b, soon()), keeper.Refused, "belongs to user 33, not to 65534")
}

// TestRequestChoosesNothing holds what a Request is made of: two words that are looked up among fixed ones, a release's
// digest, numbers, a time and a flag. None of them can name a path, a program, an argument or a signal.
func TestRequestChoosesNothing(t *testing.T) {
	want := map[string]reflect.Type{
		"Op": reflect.TypeFor[keeper.Op](), "Pool": reflect.TypeFor[string](), "Release": reflect.TypeFor[release.ID](),
		"Generation": reflect.TypeFor[uint64](), "From": reflect.TypeFor[uint64](), "Until": reflect.TypeFor[time.Time](), "Kill": reflect.TypeFor[bool](),
	}
	q := reflect.TypeFor[keeper.Request]()
	for i := range q.NumField() {
		f := q.Field(i)
		if want[f.Name] != f.Type {
			t.Errorf("Request.%s is a %v: hold what it may choose, then name it here", f.Name, f.Type)
		}
	}
	// And what is executed for the longest of them holds nothing but the configuration's words and the number.
	r := newRig(t, options{workers: 1})
	r.adopt()
	g := r.start(r.a)
	b, err := os.ReadFile(g.ConfigFile)
	r.must(err)
	conf := r.conf.Run + fmt.Sprintf("/fpm-%d", g.Number)
	text := fmt.Sprintf("; generation 1, release %s\ninclude=%s\n[global]\npid = %s.pid\ndaemonize = no\n[%s]\nlisten = %s.sock\n",
		r.a, r.conf.Pools[0].ConfigFile, conf, r.pool, conf)
	if !real.PHP7() {
		text += "pm.status_listen = " + r.conf.Run + "/stat-1.sock\n"
	}
	if string(b) != text {
		t.Errorf("the configuration is %q, want %q", b, text)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", g.PID))
	if err != nil || exe != r.conf.Pools[0].Binary {
		t.Errorf("the master is %s, %v", exe, err)
	}
}

// TestUntrusted is what root's keeper must not run by: a program, a configuration, or anything that they name, that others
// than root could have written.
func TestUntrusted(t *testing.T) {
	r := newRig(t, options{workers: 1})
	r.state()
	agent := r.client.Command[0]
	for name, spoil := range map[string]func() (mend func()){
		"a program that others can write":     r.chmod(agent, 0o777),
		"a program of the deploy user's":      r.chown(agent),
		"a directory of his":                  r.chown(r.dir),
		"a directory that others can write":   r.chmod(r.dir, 0o777),
		"a configuration that a group can":    r.chmod(r.file, 0o664),
		"a configuration of his":              r.chown(r.file),
		"the distribution's, of his":          r.chown(r.conf.Pools[0].ConfigFile),
		"php.ini, of his":                     r.chown(r.conf.Pools[0].INI),
		"php.ini in a directory of his":       r.chown(filepath.Dir(r.conf.Pools[0].INI)),
		"the record's directory, others' too": r.chmod(r.conf.State, 0o777),
		"the sockets' directory, others' too": r.chmod(r.conf.Run, 0o775),
		"the releases' parent, of his":        r.chown(filepath.Dir(r.conf.Root)),
	} {
		mend := spoil()
		_, err := r.client.Do(t.Context(), keeper.Request{Op: keeper.OpAdopt})
		if name == "the releases' parent, of his" {
			if err == nil { // adoption does not look at releases; a start does
				_, err = r.client.Do(t.Context(), keeper.Request{Op: keeper.OpStart, Pool: "www", Release: r.a, Until: soon()})
			}
			var e *keeper.Error
			if !errors.As(err, &e) || e.Code != keeper.Refused {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, keeper.ErrUnusable) || !strings.Contains(err.Error(), "root") && !strings.Contains(err.Error(), "trust") {
			t.Errorf("%s: %v", name, err)
		}
		mend()
	}
	r.state()
	// A sticky directory lets nobody replace what is root's in it, and that alone is trusted.
	loose := filepath.Join(r.dir, "loose")
	r.must(os.Mkdir(loose, 0o755))
	r.must(os.Chmod(loose, 0o777|os.ModeSticky))
	text, err := os.ReadFile(r.file)
	r.must(err)
	r.must(os.WriteFile(filepath.Join(loose, "keeper.json"), text, 0o644))
	if _, err := keeper.Load(filepath.Join(loose, "keeper.json")); err != nil {
		t.Error(err)
	}
	link := filepath.Join(loose, "link.json")
	r.must(os.Symlink(r.file, link))
	if _, err := keeper.Load(link); err != nil {
		t.Error(err)
	}
	r.must(os.Lchown(link, 65534, 65534))
	if _, err := keeper.Load(link); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("a link of his: %v", err)
	}
}

func (r *rig) chmod(path string, mode os.FileMode) func() func() {
	return func() func() {
		info, err := os.Stat(path)
		r.must(err)
		r.must(os.Chmod(path, mode))
		return func() { r.must(os.Chmod(path, info.Mode().Perm())) }
	}
}

func (r *rig) chown(path string) func() func() {
	return func() func() {
		r.must(os.Chown(path, 65534, 65534))
		return func() { r.must(os.Chown(path, 0, 0)) }
	}
}
