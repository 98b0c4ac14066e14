package release

import (
	"errors"
	"fmt"
	"strings"
)

// CheckLink refuses a symbolic link at path (slash separated, relative to the release's root) whose target leaves the
// tree. Only leading ".." elements may climb: one behind a name could leave the tree through another link, and what
// it means could change with that link.
func CheckLink(path, target string) error {
	return checkLink(target, strings.Count(path, "/"))
}

// checkLink judges a target from the depth of the directory that holds the link.
func checkLink(target string, depth int) error {
	n, err := climb(target)
	if err == nil && n > depth {
		err = fmt.Errorf("link target %q leads out of the tree", target)
	}
	return err
}

// climb counts how far a target goes up, and refuses one that no tree may hold.
func climb(target string) (up int, err error) {
	switch {
	case target == "":
		return 0, errors.New("link without a target")
	case len(target) > MaxTarget:
		return 0, fmt.Errorf("link target of %d bytes, more than %d", len(target), MaxTarget)
	case strings.HasPrefix(target, "/"):
		return 0, fmt.Errorf("link target %q is absolute", target)
	case strings.Contains(target, "\x00"):
		return 0, fmt.Errorf("link target %q has a NUL", target)
	}
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if down {
				return 0, fmt.Errorf("link target %q has .. behind a name: name the place from the top of the link's directory", target)
			}
			up++
		default:
			down = true
		}
	}
	return up, nil
}
