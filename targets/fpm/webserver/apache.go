package webserver

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// What Apache's members for trials and for all else are to be called: its logs know a worker by such a name, not by a path.
const (
	MainWorker  = "fcgi://scap-main"
	TrialWorker = "fcgi://scap-trial"
)

// apacheLine is one logical line: continued ones are joined.
type apacheLine struct {
	file string
	line int
	text string
}

// apache reads a configuration from its main file on. What is passed to a pool it finds by the socket's path, in whatever
// directive it stands.
func (r *reader) apache(file string) {
	a := &apache{reader: r, dir: filepath.Dir(file)}
	a.read(file, 0)
	for _, l := range a.lines {
		a.look(l)
	}
	for _, p := range r.q.Pools {
		a.balanced(p)
	}
}

type apache struct {
	*reader
	dir   string
	lines []apacheLine
}

var (
	apacheRoot    = regexp.MustCompile(`(?i)^ServerRoot\s+"?([^"]+?)"?\s*$`)
	apacheInclude = regexp.MustCompile(`(?i)^Include(?:Optional)?\s+"?([^"]+?)"?\s*$`)
	apacheUnix    = regexp.MustCompile(`unix:([^|"'\s]+)\|fcgi://([^\s"'/>]*)`)
	apacheReuse   = regexp.MustCompile(`(?i)\benablereuse\s*=\s*on\b`)
	apacheWeight  = regexp.MustCompile(`(?i)\bloadfactor\s*=\s*([0-9]+(?:\.[0-9]+)?)`)
)

// read reads one file and what it includes.
func (a *apache) read(file string, depth int) {
	if depth > maxDepth {
		a.problem("%s: includes nested deeper than %d", file, maxDepth)
		return
	}
	text, ok := a.text(file)
	if !ok {
		return
	}
	number, begun, whole := 0, 0, ""
	for raw := range strings.Lines(text) {
		number++
		line := strings.TrimRight(raw, "\r\n")
		if whole == "" {
			begun = number
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			whole += rest + " "
			continue
		}
		whole = strings.TrimSpace(whole + line)
		if whole != "" && !strings.HasPrefix(whole, "#") {
			a.line(apacheLine{file, begun, whole}, depth)
		}
		whole = ""
	}
}

func (a *apache) line(l apacheLine, depth int) {
	if m := apacheRoot.FindStringSubmatch(l.text); m != nil && filepath.IsAbs(m[1]) {
		a.dir = m[1]
	}
	if m := apacheInclude.FindStringSubmatch(l.text); m != nil {
		for _, path := range a.included(m[1], a.dir) {
			a.read(path, depth+1)
		}
		return
	}
	a.lines = append(a.lines, l)
}

// look looks at a line that names a pool's socket.
func (a *apache) look(l apacheLine) {
	m := apacheUnix.FindStringSubmatch(l.text)
	if m == nil {
		return
	}
	p, trial, ok := a.pool(m[1])
	if !ok {
		return
	}
	if !trial {
		a.serves("apache", p)
	}
	if apacheReuse.MatchString(l.text) {
		a.found(Line{
			File: l.file, Number: l.line, Have: l.text, Want: apacheReuse.ReplaceAllString(l.text, "disablereuse=on"), Must: true,
			Why: "a connection kept to a php-fpm that ends loses the next POST on it",
		})
	}
}

// balanced looks whether both sockets of a pool are members of a balancer, with the weights that the share wants.
func (a *apache) balanced(p Pool) {
	if p.Trial == "" || !a.reached[p.Listen] {
		return
	}
	var first, main, trial apacheLine
	for _, l := range a.lines {
		m := apacheUnix.FindStringSubmatch(l.text)
		if m == nil {
			continue
		}
		member := strings.HasPrefix(strings.ToLower(l.text), "balancermember")
		switch {
		case m[1] == p.Listen && member:
			main = l
		case m[1] == p.Listen && first.text == "":
			first = l
		case m[1] == p.Trial && member:
			trial = l
		}
	}
	if main.text != "" && trial.text != "" && a.weighs(factor(main.text), factor(trial.text)) {
		return
	}
	one, two := weights(a.q.Share)
	want := fmt.Sprintf("BalancerMember \"unix:%s|%s\" loadfactor=%d disablereuse=on\nBalancerMember \"unix:%s|%s\" loadfactor=%d disablereuse=on retry=1",
		p.Listen, MainWorker, one, p.Trial, TrialWorker, two)
	why := "trials need a balancer with two members: <Proxy balancer://scap>, and SetHandler or ProxyPassMatch to it"
	at := first
	if main.text != "" {
		at, why = main, "a trial's socket is there only while a release is tried; Apache goes on to the other without it"
	}
	a.found(Line{File: at.file, Number: at.line, Have: at.text, Want: want, Why: why})
}

// factor is a member's loadfactor in hundredths, which Apache reads as a number with up to two decimals.
func factor(text string) int {
	m := apacheWeight.FindStringSubmatch(text)
	if m == nil {
		return 100
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0
	}
	return int(v * 100)
}
