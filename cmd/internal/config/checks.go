package config

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// maxSocket is the longest path of a Unix socket: longer ones are cut silently by the programs that make them.
const maxSocket = 107

var word = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// isWord is for the names that people give to groups, phases, balancers and instances.
func isWord(text string) string {
	if !word.MatchString(text) {
		return fmt.Sprintf("%q: want small letters, digits, - and _, at most 64, beginning with a letter or digit", clip(text))
	}
	return ""
}

func notEmpty(text string) string {
	if text == "" {
		return "is empty"
	}
	return ""
}

func noControl(text string) string {
	if i := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }); i >= 0 {
		return fmt.Sprintf("has a control character (%q)", text[i])
	}
	return ""
}

// isPath demands a clean absolute path, so that no working directory and no .. decides what it means.
func isPath(text string) string {
	switch {
	case text == "":
		return "is empty: want an absolute path"
	case noControl(text) != "":
		return noControl(text)
	case !filepath.IsAbs(text):
		return fmt.Sprintf("%q is relative: want an absolute path", clip(text))
	case len(text) > 4000:
		return "is longer than 4000 bytes"
	case filepath.Clean(text) != text:
		return fmt.Sprintf("%q: write it as %s", clip(text), clip(filepath.Clean(text)))
	}
	return ""
}

// isTree is for directories that are swapped or pruned.
func isTree(text string) string {
	if what := isPath(text); what != "" {
		return what
	}
	if strings.Count(text, "/") < 2 {
		return fmt.Sprintf("%q is at the top of the file system: name a directory below one", text)
	}
	return ""
}

func isSocket(text string) string {
	if what := isPath(text); what != "" {
		return what
	}
	if len(text) > maxSocket {
		return fmt.Sprintf("is %d bytes long; a socket's path has at most %d", len(text), maxSocket)
	}
	return ""
}

// isSocketOrAddress is for what listens: a Unix socket's path, or host:port.
func isSocketOrAddress(text string) string {
	if strings.HasPrefix(text, "/") {
		return isSocket(text)
	}
	if what := isAddress(text); what != "" {
		return fmt.Sprintf("%q is neither an absolute socket path nor host:port", clip(text))
	}
	return ""
}

// isAddress demands host:port with a port in range.
func isAddress(text string) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil || (net.ParseIP(host) == nil && isHost(host) != "") || !isPort(port) {
		return fmt.Sprintf("%q is not host:port", clip(text))
	}
	return ""
}

func isPort(text string) bool {
	p, err := strconv.Atoi(text)
	return err == nil && p >= 1 && p <= 65535 && strconv.Itoa(p) == text
}

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}$`)

func isUser(text string) string {
	if !userName.MatchString(text) {
		return fmt.Sprintf("%q is no user name", clip(text))
	}
	return ""
}

// isJump demands [user@]host[:port].
func isJump(text string) string {
	rest := text
	if user, after, ok := strings.Cut(text, "@"); ok {
		if what := isUser(user); what != "" {
			return what
		}
		rest = after
	}
	if isHost(rest) == "" || isAddress(rest) == "" {
		return ""
	}
	return fmt.Sprintf("%q is not [user@]host[:port]", clip(text))
}

// isWeb demands http://host[:port] or https://host[:port] and nothing behind it.
func isWeb(text string) string {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Sprintf("%q is not http://host:port", clip(text))
	}
	if p := u.Port(); p != "" && !isPort(p) {
		return fmt.Sprintf("port %s is out of range: 1 to 65535", clip(p))
	}
	if h := u.Hostname(); net.ParseIP(h) == nil && isHost(strings.ToLower(h)) != "" {
		return fmt.Sprintf("%q is no host", clip(h))
	}
	return ""
}

// isURLPath is for the path of a request: it is written into a request line as it is.
func isURLPath(text string) string {
	if !strings.HasPrefix(text, "/") || len(text) > 2000 || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return fmt.Sprintf("%q: want a path that begins with / and has neither spaces nor letters outside ASCII (write them as %%20)", clip(text))
	}
	return ""
}

// isScript is for the path of a script as a web server knows it.
func isScript(text string) string {
	if what := isURLPath(text); what != "" {
		return what
	}
	if !strings.HasSuffix(text, ".php") || path.Clean(text) != text {
		return fmt.Sprintf("%q is no script, such as /w/index.php", clip(text))
	}
	return ""
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

func isHeader(text string) string {
	if !headerName.MatchString(text) {
		return fmt.Sprintf("%q is no header name", clip(text))
	}
	return ""
}

func isHostHeader(text string) string {
	if strings.ToLower(text) != text || (isHost(text) != "" && isAddress(text) != "") {
		return fmt.Sprintf("%q is neither host nor host:port", clip(text))
	}
	return ""
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*\.service$`)

func isUnit(text string) string {
	if !unitName.MatchString(text) || len(text) > 255 {
		return fmt.Sprintf("%q is no service unit; want for example php8.2-fpm.service", clip(text))
	}
	return ""
}

// isPattern is for excludes.
func isPattern(text string) string {
	for part := range strings.SplitSeq(strings.Trim(text, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Sprintf("%q matches no path of a tree", clip(text))
		}
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Sprintf("%q is no pattern: a [ without its ]", clip(text))
		}
	}
	return ""
}
