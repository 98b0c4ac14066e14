package namespace

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarder passes signals on to a command.
type forwarder struct {
	caught chan os.Signal
	done   chan struct{}
	wg     sync.WaitGroup
}

// catchSignals begins to collect what is to be passed on. What this process was started to ignore, as by nohup, the command
// ignores too.
func catchSignals() *forwarder {
	f := &forwarder{caught: make(chan os.Signal, 16), done: make(chan struct{})}
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(f.caught, s)
		}
	}
	return f
}

// to begins to pass on, also what was caught before.
func (f *forwarder) to(p *os.Process) {
	f.wg.Go(func() {
		for {
			select {
			case s := <-f.caught:
				if (s == syscall.SIGINT || s == syscall.SIGQUIT) && foreground() {
					continue // the terminal has sent it to the command as well
				}
				_ = p.Signal(s) // it may have ended
			case <-f.done:
				return
			}
		}
	})
}

func (f *forwarder) stop() {
	signal.Stop(f.caught)
	close(f.done)
	f.wg.Wait()
}

// foreground reports whether this process's group is the one that its terminal sends signals to.
func foreground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
