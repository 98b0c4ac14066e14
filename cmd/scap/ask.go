package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoTerminal is the answer to a question that nobody can be asked.
var errNoTerminal = errors.New("nobody can be asked: stdin is not a terminal; --yes answers yes")

// question puts text to the deployer and returns the first letter of the answer in lower case, or otherwise for an empty
// line. It ends with ctx, and a closed terminal is an error, never an answer.
func (a *app) question(ctx context.Context, text string, otherwise rune) (rune, error) {
	if _, interactive := a.terminal(); !interactive {
		return 0, errNoTerminal
	}
	fmt.Fprint(a.stderr, text)
	line, err := readLine(ctx, a.stdin)
	if err != nil {
		return 0, err
	}
	line = strings.ToLower(strings.TrimSpace(line))
	if line == "" {
		return otherwise, nil
	}
	return []rune(line)[0], nil
}

// readLine reads one line and gives up when ctx ends: a blocked read of a terminal cannot be cancelled, so it is waited
// for with poll(2) in short turns.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	f, ok := r.(*os.File)
	if !ok {
		return bufio.NewReader(r).ReadString('\n')
	}
	var line strings.Builder
	one := make([]byte, 1)
	for line.Len() < 4096 {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}, 100)
		if errors.Is(err, unix.EINTR) || (err == nil && ready == 0) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("wait for an answer: %w", err)
		}
		n, err := f.Read(one)
		if n == 1 && one[0] == '\n' {
			return line.String(), nil
		}
		if n == 1 {
			line.WriteByte(one[0])
		}
		if err != nil {
			return "", fmt.Errorf("the terminal closed before an answer came: %w", err)
		}
	}
	return "", errors.New("the answer is longer than 4096 bytes")
}
