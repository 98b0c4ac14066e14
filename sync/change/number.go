package change

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxReference bounds what somebody may write to name a change.
const maxReference = 2000

// ParseNumber reads what a deployer writes to name a change of the Gerrit at gerritURL: its number, or its address in any
// form that Gerrit has had: /c/project/+/1001, /c/1001, /1001 and #/c/1001, with or without /r before it and a patch set,
// a file or a comment behind it.
func ParseNumber(text, gerritURL string) (int, error) {
	text = strings.TrimSpace(text)
	n, err := parseNumber(text, gerritURL)
	if err != nil {
		base := strings.TrimRight(gerritURL, "/")
		if base == "" {
			base = "https://gerrit.example.org"
		}
		return 0, fmt.Errorf("%q names no change: %w; write its number (1001) or its address (%s/c/project/+/1001, %s/1001, %s/#/c/1001)",
			clip(text, 200), err, base, base, base)
	}
	return n, nil
}

func parseNumber(text, gerritURL string) (int, error) {
	switch {
	case text == "":
		return 0, errors.New("it is empty")
	case len(text) > maxReference:
		return 0, fmt.Errorf("it is longer than %d bytes", maxReference)
	case isChangeID(text):
		return 0, errors.New("it is a Change-Id, which several changes may share")
	case !strings.Contains(text, "/"):
		return number(text)
	}
	base, err := url.Parse(gerritURL)
	if err != nil || base.Host == "" {
		return 0, errors.New("no address of a Gerrit is configured, so only a number will do")
	}
	if !strings.Contains(text, "://") { // copied without its scheme
		text = base.Scheme + "://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return 0, errors.New("it is no address")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return 0, errors.New("it is no address of a page")
	}
	if host(u) != host(base) {
		return 0, fmt.Errorf("it is on %q, not on %q", clip(u.Host, 100), base.Host)
	}
	path := below(u.Path, base.Path)
	if strings.Trim(path, "/") == "" || strings.Trim(path, "/") == "r" {
		path = u.Fragment // as Gerrit wrote them before 2.16
	}
	return inPath(below(path, "/r"))
}

// host is where a URL leads, with its port: http and https of one host are one Gerrit.
func host(u *url.URL) string {
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if p := u.Port(); p != "" && p != "80" && p != "443" {
		return name + ":" + p
	}
	return name
}

// below is path without prefix, if it is below that.
func below(path, prefix string) string {
	rest, ok := strings.CutPrefix(path, strings.TrimRight(prefix, "/"))
	if ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}

// inPath finds the number in the path of a change's page.
func inPath(path string) (int, error) {
	rest, c := strings.CutPrefix(path, "/c/")
	if project, tail, ok := strings.Cut(rest, "/+/"); c && ok && project != "" {
		n, _, _ := strings.Cut(tail, "/") // a patch set, two, a file or a comment may follow
		return number(n)
	}
	rest = strings.TrimPrefix(rest, "/")
	n, behind, more := strings.Cut(rest, "/")
	if more && behind != "" {
		if ps, _, _ := strings.Cut(behind, "/"); !isPatchSets(ps) {
			return 0, errors.New("it is not the address of a change")
		}
	}
	return number(n)
}

// isPatchSets is for 3, 1..3 and edit.
func isPatchSets(text string) bool {
	from, to, two := strings.Cut(text, "..")
	_, err := number(from)
	if two && err == nil {
		_, err = number(to)
	}
	return err == nil || text == "edit"
}

// number reads a change's number: ASCII digits, above zero.
func number(text string) (int, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, errors.New("there is no number in its place")
	}
	n, err := strconv.ParseInt(text, 10, 32) // Gerrit's own bound
	if err != nil || text[0] == '0' {
		return 0, fmt.Errorf("no change has the number %s", clip(text, 20))
	}
	return int(n), nil
}

// isChangeID is for "I" and 40 hex digits.
func isChangeID(text string) bool {
	return len(text) == 41 && (text[0] == 'I' || text[0] == 'i') && strings.Trim(text[1:], "0123456789abcdefABCDEF") == ""
}
