package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHosts bounds one group.
const maxHosts = 10000

// DshDir is where a dsh file named without a slash is looked for.
const DshDir = "/etc/dsh/group"

var (
	hostName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$`)
	hostRange = regexp.MustCompile(`^([^\[\]]*)\[([0-9]+|[a-z]):([0-9]+|[a-z])\](.*)$`)
)

// isHost says what is wrong with a host's name, or "". No name can be taken for an option, a path or a shell word.
func isHost(name string) string {
	switch {
	case len(name) > 253:
		return fmt.Sprintf("%q is longer than 253 letters", clip(name))
	case !hostName.MatchString(strings.ToLower(name)) || strings.Contains(name, ".."):
		return fmt.Sprintf("%q is no host name (letters, digits, dots and dashes; ranges as in mw[1001:1020].example.org)", clip(name))
	case strings.ToLower(name) != name:
		return fmt.Sprintf("%q has capital letters: write it in lower case", clip(name))
	}
	return ""
}

// Expand returns the hosts of a pattern: one name, or names with ranges of numbers or letters such as
// mw[1001:1020].eqiad.wmnet or db[a:c]. Zeros before the first number are kept: web[08:10] is web08, web09, web10.
func Expand(pattern string) ([]string, error) {
	if len(pattern) > 512 {
		return nil, fmt.Errorf("%q is longer than 512 letters", clip(pattern))
	}
	hosts, err := expand(pattern, maxHosts)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if what := isHost(h); what != "" {
			return nil, fmt.Errorf("%s", what)
		}
	}
	return hosts, nil
}

func expand(pattern string, most int) ([]string, error) {
	m := hostRange.FindStringSubmatch(pattern)
	if m == nil {
		return []string{pattern}, nil
	}
	middle, err := between(m[2], m[3])
	if err != nil {
		return nil, fmt.Errorf("range [%s:%s]: %w", clip(m[2]), clip(m[3]), err)
	}
	rest, err := expand(m[4], most/max(1, len(middle)))
	if err != nil {
		return nil, err
	}
	if len(middle)*len(rest) > most {
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	hosts := make([]string, 0, len(middle)*len(rest))
	for _, x := range middle {
		for _, y := range rest {
			hosts = append(hosts, m[1]+x+y)
		}
	}
	return hosts, nil
}

// between counts from first to last, both included.
func between(first, last string) ([]string, error) {
	if letter(first) != letter(last) {
		return nil, fmt.Errorf("from a letter to a number")
	}
	if letter(first) {
		if first > last {
			return nil, fmt.Errorf("runs backwards")
		}
		var all []string
		for c := first[0]; c <= last[0]; c++ {
			all = append(all, string(c))
		}
		return all, nil
	}
	if len(first) > 9 || len(last) > 9 {
		return nil, fmt.Errorf("more than 9 digits")
	}
	low, _ := strconv.Atoi(first) // only digits, at most 9
	high, _ := strconv.Atoi(last)
	switch {
	case len(first) > 1 && first[0] == '0' && len(first) != len(last):
		return nil, fmt.Errorf("the two ends are padded differently")
	case low > high:
		return nil, fmt.Errorf("runs backwards")
	case high-low >= maxHosts:
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	all := make([]string, 0, high-low+1)
	for i := low; i <= high; i++ {
		all = append(all, fmt.Sprintf("%0*d", len(first), i))
	}
	return all, nil
}

func letter(s string) bool { return s[0] >= 'a' && s[0] <= 'z' }

// DshHost is one host of a dsh file and where it stands there.
type DshHost struct {
	Name         string
	Line, Column int
}

// ParseDsh reads a dsh group file: one host or range a line, comments after #, blank lines. Whatever else stands on a line
// is a mistake, since a line that is silently left out is a host that is silently not deployed.
func ParseDsh(file string, b []byte) ([]DshHost, Mistakes) {
	var hosts []DshHost
	var wrong Mistakes
	seen := map[string]int{}
	for i, line := range bytes.Split(b, []byte("\n")) {
		at := Mistake{File: file, Line: i + 1, Column: 1}
		fail := func(format string, args ...any) {
			at.What = fmt.Sprintf(format, args...)
			wrong = append(wrong, at)
		}
		if !utf8.Valid(line) {
			fail("not UTF-8")
			continue
		}
		text, _, _ := strings.Cut(string(line), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		at.Column = strings.Index(text, words[0]) + 1
		if len(words) > 1 {
			at.Column = strings.LastIndex(strings.TrimRight(text, " \t\r"), words[len(words)-1]) + 1
			fail("%q after the host: one host a line, comments after #", clip(words[len(words)-1]))
			continue
		}
		names, err := Expand(words[0])
		if err != nil {
			fail("%v", err)
			continue
		}
		for _, name := range names {
			if first, twice := seen[name]; twice {
				fail("host %s is given twice; first in line %d", name, first)
				continue
			}
			if len(hosts) >= maxHosts {
				fail("more than %d hosts", maxHosts)
				return hosts, wrong
			}
			seen[name] = i + 1
			hosts = append(hosts, DshHost{Name: name, Line: at.Line, Column: at.Column})
		}
	}
	return hosts, wrong
}

// dshPath turns the word after dsh: into a file's path.
func dshPath(word string) (path, what string) {
	switch {
	case !strings.Contains(word, "/") && word != "" && word != "." && word != "..":
		return filepath.Join(DshDir, word), ""
	case strings.ContainsRune(word, 0) || !filepath.IsAbs(word):
		return "", fmt.Sprintf("%q is neither an absolute path nor the name of a file in %s", clip(word), DshDir)
	}
	return filepath.Clean(word), ""
}
