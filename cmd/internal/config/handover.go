package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Handover is what the strategy of that name needs besides php_fpm: where root's part is, and what it may do.
type Handover struct {
	Keeper       []string      `yaml:"keeper"`        // the command that starts and ends masters as root
	KeepPrevious time.Duration `yaml:"keep_previous"` // so long the previous release's master stays, warm, for a way back
	DocumentRoot string        `yaml:"document_root"` // of the web server, inside a release
	Params       []Param       `yaml:"params"`        // FastCGI parameters of a warm-up request besides the usual ones
	StateDir     string        `yaml:"state_dir"`     // the keeper's record: root's, outlives a reboot
	RunDir       string        `yaml:"run_dir"`       // sockets and configurations of the masters: root's
	Reserve      Size          `yaml:"reserve"`       // memory that must be left beside a second master
	WebConfig    []string      `yaml:"web_config"`    // the web server's main files; none: the distribution's
}

// Param is one FastCGI parameter.
type Param struct{ Name, Value string }

// Size is a number of bytes.
type Size uint64

var sizes = []struct {
	unit string
	of   Size
}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}}

// String writes what a configuration reads: 512MB. A unit is a power of 1024.
func (z Size) String() string {
	for _, s := range sizes {
		if z > 0 && z%s.of == 0 {
			return strconv.FormatUint(uint64(z/s.of), 10) + s.unit
		}
	}
	return strconv.FormatUint(uint64(z), 10)
}

// size reads a number of bytes with its unit.
func (s *section) size(key string, def, low, high Size) Size {
	n := s.get(key)
	if n == nil {
		return def
	}
	for _, z := range sizes {
		text, ok := strings.CutSuffix(n.Value, z.unit)
		v, err := strconv.ParseUint(text, 10, 32)
		if n.Kind != yaml.ScalarNode || !ok || err != nil {
			continue
		}
		if size := Size(v) * z.of; size >= low && size <= high {
			return size
		}
		s.r.wrong(n, "%s: %s is out of range: %s to %s", s.path(key), n.Value, low, high)
		return def
	}
	s.r.wrong(n, "%s: want a size such as 512MB, in KB, MB or GB, have %s", s.path(key), kindOf(n))
	return def
}

func baseHandover() Handover {
	return Handover{
		Keeper:       []string{"/usr/bin/sudo", "-n", "/usr/local/sbin/scap-agent", "keeper"},
		KeepPrevious: 10 * time.Minute, DocumentRoot: "docroot", Params: []Param{},
		StateDir: "/var/lib/scap-keeper", RunDir: "/run/scap", Reserve: 512 << 20, WebConfig: []string{},
	}
}

func (s *section) handover(base Handover) Handover {
	sub := s.sub("handover")
	h := Handover{
		Keeper:       base.Keeper,
		KeepPrevious: sub.duration("keep_previous", base.KeepPrevious, 0, 24*time.Hour),
		DocumentRoot: sub.text("document_root", base.DocumentRoot, isInside),
		Params:       base.Params,
		StateDir:     sub.text("state_dir", base.StateDir, isTree),
		RunDir:       sub.text("run_dir", base.RunDir, isTree, leavesRoom),
		Reserve:      sub.size("reserve", base.Reserve, 0, 1<<40),
		WebConfig:    sub.texts("web_config", base.WebConfig, isPath),
	}
	if argv := sub.argv("keeper"); argv != nil {
		h.Keeper = argv
	}
	if sub.has("params") {
		h.Params = sub.params("params")
	} else {
		sub.get("params")
	}
	if h.StateDir == h.RunDir && (sub.has("state_dir") || sub.has("run_dir")) {
		sub.r.wrong(sub.place, "%s: state_dir and run_dir are one directory: what is in run_dir does not outlive a reboot", sub.name)
	}
	sub.close()
	return h
}

var paramName = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

// params reads the mapping from name to value.
func (s *section) params(key string) []Param {
	sub := s.sub(key)
	list := []Param{}
	for _, k := range sub.keys {
		if !paramName.MatchString(k.Value) {
			s.r.wrong(k, "%s: %q is no FastCGI parameter, such as HTTPS or HTTP_X_FORWARDED_PROTO", sub.name, clip(k.Value))
		}
		list = append(list, Param{Name: k.Value, Value: sub.text(k.Value, "", noControl)})
	}
	return list
}

// isInside demands a clean path inside of a release; a single dot is its root.
func isInside(text string) string {
	if text == "." {
		return ""
	}
	if text == "" || strings.HasPrefix(text, "/") || isPath("/"+text) != "" {
		return fmt.Sprintf("%q: want a path inside of a release, such as docroot, or . for its root", clip(text))
	}
	return ""
}

// leavesRoom leaves room for a socket's name.
func leavesRoom(text string) string {
	const most = maxSocket - 40
	if len(text) > most {
		return fmt.Sprintf("is %d bytes long; at most %d, for the paths of the sockets in it", len(text), most)
	}
	return ""
}

// handsOver says what keeps the hosts of a group from the strategy handover whatever state they are in.
func (s *section) handsOver(g *Group, at func(string) *yaml.Node) {
	if g.Strategy != ByHandover {
		for _, f := range g.FPM {
			if f.Trial != "" {
				s.r.wrong(at("php_fpm"), "%s: instance %s has a trial socket, which is for strategy handover", s.name, f.Name)
			}
		}
		return
	}
	if len(g.FPM) == 0 {
		s.r.wrong(at("strategy"), "%s: strategy handover with php_fpm: none: there is nothing to hand over", s.name)
	}
	if len(g.WarmUp.Requests) == 0 && len(g.FPM) > 0 {
		s.r.wrong(at("strategy"), "%s: strategy handover needs warm_up.requests: a new php-fpm is proven by their answers before users come", s.name)
	}
	for _, q := range g.WarmUp.Requests {
		if q.Script == "" && !strings.HasSuffix(strings.SplitN(q.Path, "?", 2)[0], ".php") {
			s.r.wrong(at("warm_up"), "%s: warm_up.requests: %s is no script's path, and before a handover no web server is there to rewrite it: name its script, as in {path: %s, script: /w/index.php}",
				s.name, clip(q.Path), clip(q.Path))
		}
	}
	for _, f := range g.FPM {
		if f.Control.Commands != nil {
			s.r.wrong(at("php_fpm"), "%s: strategy handover, and instance %s is controlled by commands: the keeper must know the unit or the pid file to take it over from", s.name, f.Name)
		}
		if f.StatusListen != "" && !strings.HasPrefix(f.StatusListen, "/") {
			s.r.wrong(at("php_fpm"), "%s: strategy handover, and status_listen of instance %s is TCP: two masters cannot both listen there", s.name, f.Name)
		}
	}
}
