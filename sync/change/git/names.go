package git

import (
	"fmt"
	"strings"
)

// Bounds of names. Longer ones are nobody's.
const (
	maxProject = 200
	maxRef     = 400
	maxPath    = 4096
)

// EmptyTree is the tree without entries.
const EmptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

func refused(what, name, why string) error {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return fmt.Errorf("%s %q: %s: %w", what, name, why, ErrName)
}

// CheckProject refuses what is no repository's name: those would leave the mirrors' directory, or meet in it.
func CheckProject(name string) error {
	switch {
	case name == "":
		return refused("project", name, "it is empty")
	case len(name) > maxProject:
		return refused("project", name, "it is too long")
	}
	for _, part := range strings.Split(name, "/") {
		switch {
		case part == "":
			return refused("project", name, "a part of it is empty")
		case part[0] == '.' || part[0] == '-':
			return refused("project", name, `a part begins with "." or "-"`)
		case strings.HasSuffix(part, ".git") || strings.HasSuffix(part, ".lock"):
			return refused("project", name, `a part ends in ".git" or ".lock"`)
		}
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("/._-+", rune(c)) {
			return refused("project", name, "only letters, digits and / . _ - + may stand in it")
		}
	}
	return nil
}

// CheckBranch refuses what is no branch's name (without refs/heads/), by git's own rules and a little more.
func CheckBranch(name string) error { return checkRef("branch", name) }

// checkRef holds the rules of git-check-ref-format(1), and that a name begins with no dash.
func checkRef(what, name string) error {
	switch {
	case name == "" || name == "@":
		return refused(what, name, "it is empty")
	case len(name) > maxRef:
		return refused(what, name, "it is too long")
	case strings.HasPrefix(name, "-"):
		return refused(what, name, `it begins with "-"`)
	case strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, "."):
		return refused(what, name, `it holds ".." or "@{", or ends in "."`)
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return refused(what, name, `a part of it is empty, begins with "." or ends in ".lock"`)
		}
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return refused(what, name, "a character in it is none of a ref's")
		}
	}
	return nil
}

// IsID reports whether text is a whole object id: 40 lower-case hex digits.
func IsID(text string) bool {
	if len(text) != 40 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func checkID(ids ...string) error {
	for _, id := range ids {
		if !IsID(id) {
			return refused("object id", id, "it is not 40 hex digits")
		}
	}
	return nil
}

// checkPath refuses what is no clean relative path of a repository.
func checkPath(what, path string) error {
	switch {
	case path == "":
		return refused(what, path, "it is empty")
	case len(path) > maxPath:
		return refused(what, path, "it is too long")
	case strings.HasPrefix(path, "-"):
		return refused(what, path, `it begins with "-"`) // as git does with submodules
	}
	for _, part := range strings.Split(path, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return refused(what, path, `a part of it is empty, ".", ".." or ".git"`)
		}
	}
	for _, c := range []byte(path) {
		if c < ' ' || c == 0x7f || c == '\\' {
			return refused(what, path, "a control character or a backslash is in it")
		}
	}
	return nil
}
