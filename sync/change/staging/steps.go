package staging

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"scap/sync/release"
)

// Step is a command that makes a part of the tree out of other parts. It runs only when its inputs are others than they
// were in the release before; else what it made then is taken again. So it must look at nothing but its inputs.
//
// It gets no environment but a path, a locale and a place for temporary files, and may write there and to {out} only,
// where the kernel can hold it to that (Landlock); with it sudo does not work.
type Step struct {
	Name string
	// Command has {tree}, the whole tree, to be read only, {out}, an empty directory, and {version} replaced.
	Command    []string
	PerVersion bool
	// Inputs are patterns of paths in the tree: *, ? and [a-z] as in the shell within an element, ** for any number of
	// elements, {version}. A directory that is matched stands for all that is in it.
	Inputs []string
	// Outputs is the directory in the tree that {out} becomes, with {version}; nothing else may have files there. ""
	// for a step that only looks.
	Outputs string
	After   []string // steps whose outputs it reads: a step per version waits for that of its version
	Timeout time.Duration
}

// stepTime is a step's time limit where it has none.
const stepTime = 30 * time.Minute

const versionMark = "{version}"

// orderSteps checks the steps and sorts them into waves.
func orderSteps(steps []Step) ([][]int, error) {
	at := map[string]int{}
	for i, s := range steps {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("step %q: %w", s.Name, err)
		}
		if _, twice := at[s.Name]; twice {
			return nil, fmt.Errorf("step %q is there twice", s.Name)
		}
		at[s.Name] = i
		for _, o := range steps[:i] {
			if s.Outputs != "" && o.Outputs != "" && meet(s.Outputs, o.Outputs) {
				return nil, fmt.Errorf("steps %q and %q both make %s", o.Name, s.Name, s.Outputs)
			}
		}
	}
	wave := make([]int, len(steps)) // 0: not known
	var waves [][]int
	for left := len(steps); left > 0; {
		var now []int
		for i, s := range steps {
			ready := wave[i] == 0
			for _, name := range s.After {
				j, ok := at[name]
				if !ok {
					return nil, fmt.Errorf("step %q comes after %q, which is none", s.Name, name)
				}
				ready = ready && wave[j] != 0
			}
			if ready {
				now = append(now, i)
			}
		}
		if len(now) == 0 {
			return nil, fmt.Errorf("steps that wait for each other: %s", waiting(steps, wave))
		}
		waves = append(waves, now)
		for _, i := range now {
			wave[i] = len(waves)
		}
		left -= len(now)
	}
	return waves, nil
}

func waiting(steps []Step, wave []int) string {
	var names []string
	for i, s := range steps {
		if wave[i] == 0 {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}

func (s Step) check() error {
	switch {
	case s.Name == "":
		return errors.New("it has no name")
	case len(s.Command) == 0 || s.Command[0] == "":
		return errors.New("it has no command")
	case len(s.Inputs) == 0:
		return errors.New("it has no inputs, so nobody could know when to run it again")
	case s.PerVersion && s.Outputs != "" && !strings.Contains(s.Outputs, versionMark):
		return fmt.Errorf("it runs for each version, but %s is one place for all", s.Outputs)
	case !s.PerVersion && strings.Contains(s.Outputs+strings.Join(s.Inputs, "")+strings.Join(s.Command, ""), versionMark):
		return fmt.Errorf("%s stands in it, but it does not run for each version", versionMark)
	}
	for _, in := range s.Inputs {
		for part := range strings.SplitSeq(in, "/") {
			if _, err := path.Match(part, ""); err != nil || release.CheckName(part) != nil {
				return fmt.Errorf("input %q is no pattern of a path", in)
			}
		}
	}
	if s.Outputs == "" {
		return nil
	}
	for part := range strings.SplitSeq(s.Outputs, "/") {
		if err := release.CheckName(part); err != nil {
			return fmt.Errorf("outputs %q: %w", s.Outputs, err)
		}
	}
	return nil
}

// meet reports whether one of two places lies in the other. {version} may stand for anything.
func meet(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] && !mayMeet(x[i], y[i]) {
			return false
		}
	}
	return true
}

// mayMeet reports whether two elements of a path, one of them with {version}, could be the same.
func mayMeet(a, b string) bool {
	if !strings.Contains(a, versionMark) {
		a, b = b, a
	}
	head, end, ok := strings.Cut(a, versionMark)
	if !ok {
		return false
	}
	if strings.Contains(b, versionMark) {
		otherHead, otherEnd, _ := strings.Cut(b, versionMark)
		return (strings.HasPrefix(head, otherHead) || strings.HasPrefix(otherHead, head)) &&
			(strings.HasSuffix(end, otherEnd) || strings.HasSuffix(otherEnd, end))
	}
	return len(b) >= len(head)+len(end) && strings.HasPrefix(b, head) && strings.HasSuffix(b, end)
}

// job is one step for one version.
type job struct {
	step    Step
	version string
	rec     StepRecord
	out     string // what it made, on disk
}

// jobs are those of one wave.
func (b *build) jobs(wave []int) []*job {
	var out []*job
	for _, i := range wave {
		s := b.s.o.Steps[i]
		versions := []string{""}
		if s.PerVersion {
			versions = b.versions
		}
		for _, v := range versions {
			j := &job{step: s, version: v}
			j.rec = StepRecord{Name: s.Name, Version: v, Outputs: strings.ReplaceAll(s.Outputs, versionMark, v)}
			out = append(out, j)
		}
	}
	return out
}

// findVersions lists the versions in the tree.
func findVersions(prefix string, paths []string) []string {
	var out []string
	for _, p := range paths {
		if v, ok := strings.CutPrefix(p, prefix); ok && v != "" && !strings.Contains(v, "/") {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// title names the job for people.
func (j *job) title() string {
	if j.version == "" {
		return j.step.Name
	}
	return j.step.Name + " for " + j.version
}
