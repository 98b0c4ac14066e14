package keeper

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"scap/targets/fpm/proc"
)

// Bounds of what a configuration of php-fpm includes.
const (
	maxIncluded  = 1 << 20 // bytes of one file
	includeDepth = 5       // as deep as php-fpm goes
)

// trustedIncludes checks what php-fpm, which starts as root, reads besides a configuration that is trusted: the files that it
// includes, the directories in which it looks for them, and what these include. A relative path is php-fpm's own prefix' and is
// not followed.
func trustedIncludes(file string, depth int) error {
	if depth == 0 {
		return nil
	}
	b, err := proc.ReadSome(file, maxIncluded+1)
	if err != nil {
		return err
	}
	if len(b) > maxIncluded {
		return fmt.Errorf("%s: longer than %d bytes", file, maxIncluded)
	}
	var wrong []error
	for line := range strings.Lines(string(b)) {
		name, pattern, ok := strings.Cut(line, "=")
		pattern, _, _ = strings.Cut(pattern, ";")
		pattern = strings.Trim(strings.TrimSpace(pattern), `"'`)
		if !ok || strings.TrimSpace(name) != "include" || !filepath.IsAbs(pattern) {
			continue
		}
		wrong = append(wrong, trustedPattern(pattern, depth))
	}
	return errors.Join(wrong...)
}

// trustedPattern checks the directories in which a pattern finds files, where there are any, and the files.
func trustedPattern(pattern string, depth int) error {
	dirs, err1 := filepath.Glob(filepath.Dir(pattern))
	names, err2 := filepath.Glob(pattern)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%s: %w", pattern, err)
	}
	var wrong []error
	for _, dir := range dirs {
		wrong = append(wrong, trusted(dir))
	}
	for _, name := range names {
		err := trusted(name)
		if err == nil {
			err = trustedIncludes(name, depth-1)
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// trustedScan checks the directory beside php.ini from which a distribution's php-fpm reads further files: what an extension
// named there does, root does.
func trustedScan(ini string) error {
	if ini == "" {
		return nil
	}
	return trustedPattern(filepath.Join(filepath.Dir(ini), "conf.d", "*.ini"), 1)
}
