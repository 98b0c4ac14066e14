package staging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxLint bounds how many PHP files are given to php: it takes one at a time, some 20 ms each.
	maxLint = 2000
	// lintTime bounds php's look at one file.
	lintTime = 30 * time.Second
	maxSaid  = 8 << 10
)

// lint looks at the PHP and JSON files that came or changed.
func (b *build) lint(ctx context.Context) error {
	level := b.s.o.Lint
	if level == Off {
		return nil
	}
	var php, texts []string
	for _, p := range b.came() {
		switch path.Ext(p) {
		case ".php", ".inc":
			php = append(php, p)
		case ".json":
			texts = append(texts, p)
		}
	}
	for _, p := range texts {
		text, err := b.bytes(ctx, p)
		if err == nil {
			err = checkJSON(text)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			b.find(Finding{Check: "json", Path: p, Text: err.Error(), Level: level})
		}
	}
	if b.prior == nil && b.tree.files > 0 {
		b.warn("php", ".", fmt.Sprintf("no release was before: %d files were not looked at", b.tree.files))
	}
	switch {
	case len(php) == 0:
		return nil
	case len(b.s.o.PHP) == 0:
		b.warn("php", php[0], fmt.Sprintf("no php is here: %d changed PHP files were not looked at", len(php)))
		return nil
	case len(php) > maxLint:
		b.warn("php", php[0], fmt.Sprintf("%d PHP files changed, more than %d: they were not looked at", len(php), maxLint))
		return nil
	}
	return b.lintPHP(ctx, php, level)
}

func (b *build) warn(check, path, text string) {
	b.findings = append(b.findings, Finding{Check: check, Path: path, Text: text, Level: Warn})
}

func (b *build) lintPHP(ctx context.Context, files []string, level Level) error {
	wrong := make([]string, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.s.o.Parallel)
	for i, p := range files {
		g.Go(func() error {
			text, err := b.bytes(ctx, p)
			if err != nil {
				return err
			}
			wrong[i], err = phpLint(ctx, b.s.o.PHP, text)
			if err != nil {
				return fmt.Errorf("look at %q: %w", p, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, text := range wrong {
		if text != "" {
			b.find(Finding{Check: "php", Path: files[i], Text: text, Level: level})
		}
	}
	return nil
}

var (
	phpNoise = regexp.MustCompile(`(?m)^(PHP )?(Parse|Fatal) error:\s*`)
	phpPlace = regexp.MustCompile(` in (Standard input code|-|php://stdin) on line (\d+)`)
)

// phpLint asks php -l about a text and returns what it complains of, "" when it does not. An error means that php could
// not be asked.
func phpLint(ctx context.Context, php []string, text []byte) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lintTime, fmt.Errorf("php took longer than %v", lintTime))
	defer cancel()
	args := slices.Concat(php[1:], []string{"-d", "display_errors=1", "-d", "log_errors=0", "-d", "html_errors=0", "-l"})
	cmd := exec.CommandContext(ctx, php[0], args...)
	out := &tail{max: maxSaid}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), out, out
	cmd.Env = plainEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	exit := (*exec.ExitError)(nil)
	if err == nil || !errors.As(err, &exit) {
		return "", err
	}
	if exit.ExitCode() != 255 && exit.ExitCode() != 254 {
		return "", fmt.Errorf("%s: %w (it said %q)", php[0], err, out.String())
	}
	return phpSaid(out.String()), nil
}

// phpSaid takes the complaint out of what php -l prints.
func phpSaid(out string) string {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if phpNoise.MatchString(line) {
			return phpPlace.ReplaceAllString(phpNoise.ReplaceAllString(line, ""), " on line $2")
		}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if line == "" {
		return "php refuses it without a word"
	}
	return line
}

// tail keeps the end of what is written to it.
type tail struct {
	b   []byte
	max int
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b, t.cut = append(t.b[:0], t.b[over:]...), true
	}
	return len(p), nil
}

// String returns what was kept, as whole lines where it can.
func (t *tail) String() string {
	text := string(t.b)
	if t.cut {
		if _, rest, ok := strings.Cut(text, "\n"); ok && rest != "" {
			text = rest
		}
	}
	return strings.ToValidUTF8(strings.TrimSpace(text), "?")
}
