package keeper_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/keeper"
)

// TestAskerIsGone: an agent dies while its question waits for another operation. Its host's lock is free then, and the next
// agent may have found that the old release is published, and said so: nothing may be published behind its back.
func TestAskerIsGone(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	two := r.start(r.b)
	line, err := json.Marshal(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: two.Number, From: one.Number, Until: soon()})
	r.must(err)
	for _, c := range []struct {
		name string
		gone bool
		mark string
	}{{"gone", true, "A"}, {"waiting", false, "B"}} {
		lock, err := os.OpenFile(filepath.Join(r.conf.State, "lock"), os.O_RDWR, 0)
		r.must(err)
		r.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
		read, write, err := os.Pipe()
		r.must(err)
		argv := r.client.Command
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Dir = strings.NewReader(string(line)+"\n"), write, "/"
		r.must(cmd.Start())
		r.must(write.Close())
		if c.gone {
			r.must(read.Close())
		}
		r.must(lock.Close()) // the other operation is over
		if err := cmd.Wait(); (err != nil) != c.gone {
			t.Errorf("%s: the keeper ended with %v", c.name, err)
		}
		read.Close()
		r.serves(r.listen(), c.mark)
		r.consistent(c.name)
	}
}

// TestAskerIsGoneMeanwhile: the agent dies while the operation ends, before its own part, what is past its time.
func TestAskerIsGoneMeanwhile(t *testing.T) {
	r, one := serving(t, options{workers: 1})
	two, three := r.start(r.b), r.start(r.b)
	until := time.Now().Add(time.Second)
	r.do(keeper.Request{Op: keeper.OpTry, Pool: "www", Generation: three.Number, Until: until})
	r.await("end of the trial's time", func() bool { return time.Now().After(until) })

	steps := filepath.Join(r.dir, "steps") // a pipe that is full: the keeper waits at its first step
	r.must(unix.Mkfifo(steps, 0o600))
	full, err := unix.Open(steps, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	r.must(err)
	defer unix.Close(full)
	block := make([]byte, 4096)
	for err == nil {
		_, err = unix.Write(full, block)
	}
	line, err := json.Marshal(keeper.Request{Op: keeper.OpPublish, Pool: "www", Generation: two.Number, From: one.Number, Until: soon()})
	r.must(err)
	read, write, err := os.Pipe()
	r.must(err)
	argv := r.client.Command
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Dir, cmd.Env = strings.NewReader(string(line)+"\n"), write, "/", append(os.Environ(), stepsEnv+"="+steps)
	r.must(cmd.Start())
	r.must(write.Close())
	r.await("trial that has ended", func() bool {
		_, err := os.Lstat(r.conf.Pools[0].Trial)
		return errors.Is(err, os.ErrNotExist)
	})
	r.must(read.Close())
	for err = nil; err == nil; {
		_, err = unix.Read(full, block)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the keeper could say what it did")
	}
	r.serves(r.listen(), "A")
	r.consistent("gone meanwhile")
}
