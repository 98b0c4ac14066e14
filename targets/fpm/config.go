package fpm

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"scap/targets/fpm/keeper"
)

// Strategy says how a host's php-fpm changes from one release to the next.
type Strategy string

// The strategies.
const (
	// Drain stops every master, swaps the link while nothing runs, and starts them. It is right in every layout.
	Drain Strategy = "drain"
	// Reload swaps the link and sends SIGUSR2 at once. Requests in flight go on across the swap, so it is allowed only
	// where every path comes from the real path of the script, and never with a process_control_timeout of 0.
	Reload Strategy = "reload"
	// Handover starts the new release's own master beside the old one, in a mount namespace in which the served path leads to
	// that release and to no other, proves it, and renames its socket to where the web server looks. It is right in every
	// layout. The masters belong to the keeper (package keeper). A host that cannot do it is drained.
	Handover Strategy = "handover"
)

// Config describes the php-fpm of one host. Paths are absolute.
type Config struct {
	// Served is the canonical path of the wiki (/srv/mediawiki): a link that leads, at once or by way of <root>/current,
	// to a directory in Releases.
	Served string `json:"served"`
	// Releases holds the releases, each in a directory named by its 64 hex digits.
	Releases string `json:"releases"`
	// Work is a directory outside of the releases in which the agent keeps its probe script, which php-fpm must be able
	// to read, and its count of own requests.
	Work     string   `json:"work"`
	Strategy Strategy `json:"strategy,omitempty"` // default drain
	Keeper   Keeper   `json:"keeper,omitzero"`    // for strategy handover
	// Instances are all php-fpm masters that serve from Served. All of them are stopped before the swap.
	Instances []Instance `json:"instances"`
	Warm      Warm       `json:"warm"`
	Limits    Limits     `json:"limits"`
	Quiet     Watch      `json:"quiet"`
	// Outside are directories besides Releases from which scripts may be in the opcode cache (/usr/share/php is always
	// allowed). A script from elsewhere makes the proof fail: it is code that no deploy controls.
	Outside []string `json:"outside,omitempty"`
}

// Keeper is what the strategy handover needs besides. Instance.Listen is then what the web server connects to: a link that the
// keeper publishes; Instance.ConfigFile is the distribution's, from which each generation's is made.
type Keeper struct {
	Command []string `json:"command,omitempty"` // the command that speaks the keeper's protocol, as root
	Keep    Duration `json:"keep,omitempty"`    // so long the previous release's master is kept for a way back; 0: not
	// DocumentRoot is the web server's, inside a release ("docroot"): a page is asked of a master that no web server leads to
	// yet, straight over FastCGI, as Served/DocumentRoot/Script. Params are more FastCGI parameters of such a request.
	DocumentRoot string            `json:"documentRoot,omitempty"`
	Params       map[string]string `json:"params,omitempty"`
}

// Instance is one php-fpm master with one pool.
type Instance struct {
	Name   string `json:"name"`
	Listen string `json:"listen"` // a unix socket's path, or "host:port"
	// StatusListen is pm.status_listen, when the pool has one: the status is then answered also when all workers are busy.
	StatusListen string `json:"statusListen,omitempty"`
	Trial        string `json:"trial,omitempty"` // the trial's link, as the keeper must know it; empty: nobody checks
	StatusPath   string `json:"statusPath"`      // pm.status_path
	PingPath     string `json:"pingPath"`        // ping.path
	Binary       string `json:"binary"`          // /usr/sbin/php-fpm8.2
	ConfigFile   string `json:"configFile"`
	INI          string `json:"ini,omitempty"` // php.ini given by -c; default: what the binary finds
	// Longest is how long a request may take to end when its host changes; process_control_timeout must be no shorter.
	Longest Duration `json:"longest,omitempty"`
	Control Control  `json:"control"`

	gen *keeper.Generation // whose master this is, see Instance.of; nil: the distribution's
}

// Control says how an instance is started and signalled. Every command is an argument vector: no shell reads it.
type Control struct {
	// Unit is the systemd unit that the commands below start and signal. It must not start php-fpm again by itself.
	Unit string `json:"unit,omitempty"`
	// PIDFile is the master's pid file. Without the commands below, masters are signalled directly.
	PIDFile string `json:"pidFile,omitempty"`
	// The commands replace what would be done otherwise. Start may return once the master listens (daemonize = yes) or
	// run it in the foreground. Test must print the configuration as "php-fpm -tt" does. Kill ends master and workers
	// without waiting for requests.
	Start  []string `json:"start,omitempty"`
	Quit   []string `json:"quit,omitempty"`
	Kill   []string `json:"kill,omitempty"`
	Reload []string `json:"reload,omitempty"`
	Test   []string `json:"test,omitempty"`
}

// Warm says which pages are asked for, through the host's own web server, before a release counts as proven.
type Warm struct {
	Base string `json:"base,omitempty"` // http://127.0.0.1 or https://…; without it and without Pages nothing is asked for
	// Pages are asked for one after the other, then Rounds times more all at once, so that the workers share the cold
	// start. Every answer must be as wanted.
	Pages  []Page `json:"pages,omitempty"`
	Rounds int    `json:"rounds,omitempty"` // default 2
	// Same are headers that every answer must carry, all with the same value: the marks of one release.
	Same []string `json:"same,omitempty"`
}

// Page is one request of the warm-up.
type Page struct {
	Path    string            `json:"path"`
	Script  string            `json:"script,omitempty"` // the script that the web server runs for it, /w/index.php; default: Path itself, without its query
	Host    string            `json:"host,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Status  int               `json:"status,omitempty"` // default 200
	// Want are headers and the values they must have; "{release}" stands for the 64 hex digits of the release.
	Want map[string]string `json:"want,omitempty"`
}

// Limits bound the steps.
type Limits struct {
	Answer Duration `json:"answer,omitempty"` // one question over FastCGI; default 3s
	Start  Duration `json:"start,omitempty"`  // until the new master answers its ping; default 20s
	Stop   Duration `json:"stop,omitempty"`   // beyond process_control_timeout, until every worker is gone; default 5s
	Warm   Duration `json:"warm,omitempty"`   // one page of the warm-up; default 20s
	Prove  Duration `json:"prove,omitempty"`  // until every worker has answered; default 10s
}

// Watch says what is a user's request.
type Watch struct {
	// Entries are patterns (as of path.Match) of the scripts in a release that the web server starts; default those of
	// Wikimedia's layout. What the opcode cache counts for them is the count of requests of a Proof: health checks that
	// php-fpm's ping answers are not in it. A pattern too few makes the count too small, never too large.
	Entries []string `json:"entries,omitempty"`
	// Ignore, for Quiet, are URI paths of health checks and monitoring that reach php-fpm, besides the ping and status paths.
	Ignore []string `json:"ignore,omitempty"`
}

const (
	defaultAnswer = 3 * time.Second
	defaultStart  = 20 * time.Second
	defaultStop   = 5 * time.Second
	defaultWarm   = 20 * time.Second
	defaultProve  = 10 * time.Second

	// maxSocketPath is what php-fpm binds of a unix socket's path: it cuts the rest silently.
	maxSocketPath = 107
	maxInstances  = 64
	maxPages      = 256
	maxRounds     = 64
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// Validate reports every mistake in the configuration at once.
func (c Config) Validate() error {
	var wrong []error
	for name, path := range map[string]string{"served": c.Served, "releases": c.Releases, "work": c.Work} {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			wrong = append(wrong, fmt.Errorf("%s %q: want a clean absolute path", name, path))
		}
	}
	if filepath.IsAbs(c.Work) && (within(c.Work, c.Releases) || within(c.Work, c.Served)) {
		wrong = append(wrong, fmt.Errorf("work %q lies in a release", c.Work))
	}
	switch c.Strategy {
	case "", Drain, Reload, Handover:
	default:
		wrong = append(wrong, fmt.Errorf("strategy %q: want %q, %q or %q", c.Strategy, Drain, Reload, Handover))
	}
	if c.Strategy == Reload && len(c.Warm.Pages) == 0 {
		wrong = append(wrong, errors.New("strategy reload needs pages to warm: they prove the layout"))
	}
	if len(c.Instances) == 0 || len(c.Instances) > maxInstances {
		wrong = append(wrong, fmt.Errorf("%d instances: want 1 to %d", len(c.Instances), maxInstances))
	}
	seen := map[string]bool{}
	for _, i := range c.Instances {
		if seen[i.Name] || seen[i.Listen] {
			wrong = append(wrong, fmt.Errorf("instance %q: its name or socket is used twice", i.Name))
		}
		seen[i.Name], seen[i.Listen] = true, true
		wrong = append(wrong, i.validate()...)
	}
	for _, pattern := range c.Quiet.Entries {
		if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(pattern, "\n\x00") || strings.HasPrefix(pattern, "/") {
			wrong = append(wrong, fmt.Errorf("entry script %q: want a pattern inside a release, such as w/*.php", pattern))
		}
	}
	if c.Strategy == Handover {
		wrong = append(wrong, c.validateHandover()...)
	}
	return errors.Join(append(wrong, c.Warm.validate()...)...)
}

// validateHandover finds what a generation could not be started or asked with.
func (c Config) validateHandover() (wrong []error) {
	if len(c.Keeper.Command) == 0 || c.Keeper.Command[0] == "" {
		wrong = append(wrong, errors.New("strategy handover needs the keeper's command"))
	}
	if root := filepath.Dir(c.Releases); within(c.Work, root) {
		wrong = append(wrong, fmt.Errorf("work %q lies in %s, of which a generation sees one release and nothing else", c.Work, root))
	}
	if d := c.Keeper.DocumentRoot; d != "" && !filepath.IsLocal(d) {
		wrong = append(wrong, fmt.Errorf("document root %q: want a path inside a release", d))
	}
	for _, p := range c.Warm.Pages {
		if script := p.script(); !strings.HasPrefix(script, "/") || !strings.HasSuffix(script, ".php") || !filepath.IsLocal(script[1:]) {
			wrong = append(wrong, fmt.Errorf("warm page %q: name the script that the web server runs for it, such as /w/index.php, not %q", p.Path, script))
		}
	}
	return wrong
}

func (i Instance) validate() (wrong []error) {
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("instance %q: "+format, append([]any{i.Name}, args...)...))
	}
	if !namePattern.MatchString(i.Name) {
		bad("name: want 1 to 64 letters, digits, dots, dashes")
	}
	for _, listen := range []string{i.Listen, i.StatusListen} {
		switch {
		case listen == "" && i.Listen != "":
		case strings.HasPrefix(listen, "/") && len(listen) > maxSocketPath:
			bad("socket %s: longer than %d characters, php-fpm would cut it", listen, maxSocketPath)
		case strings.HasPrefix(listen, "/"), strings.Contains(listen, ":"):
		default:
			bad("listen %q: want a unix socket's path or host:port", listen)
		}
	}
	for name, path := range map[string]string{"status path": i.StatusPath, "ping path": i.PingPath} {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?# ") {
			bad("%s %q: want a URI path; php-fpm cannot be proven without one", name, path)
		}
	}
	for name, path := range map[string]string{"binary": i.Binary, "config file": i.ConfigFile} {
		if !filepath.IsAbs(path) {
			bad("%s %q: want an absolute path", name, path)
		}
	}
	if i.INI != "" && !filepath.IsAbs(i.INI) {
		bad("ini %q: want an absolute path", i.INI)
	}
	for name, argv := range map[string][]string{
		"start": i.Control.Start, "quit": i.Control.Quit, "kill": i.Control.Kill, "reload": i.Control.Reload, "test": i.Control.Test,
	} {
		if len(argv) > 0 && argv[0] == "" {
			bad("%s: an empty command", name)
		}
	}
	if strings.HasPrefix(i.Control.Unit, "-") || strings.ContainsAny(i.Control.Unit, " /\n") {
		bad("unit %q: want a systemd unit's name", i.Control.Unit)
	}
	if i.Control.Unit != "" && (len(i.Control.Start) == 0 || len(i.Control.Quit) == 0) {
		bad("unit %s: want the commands that start it and send it SIGQUIT", i.Control.Unit)
	}
	return wrong
}

func (w Warm) validate() (wrong []error) {
	if len(w.Pages) == 0 && w.Base == "" {
		return nil
	}
	if u, err := url.Parse(w.Base); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || (u.Path != "" && u.Path != "/") {
		wrong = append(wrong, fmt.Errorf("warm base %q: want http://host[:port] of the host's own web server", w.Base))
	}
	if len(w.Pages) > maxPages || w.Rounds < 0 || w.Rounds > maxRounds {
		wrong = append(wrong, fmt.Errorf("warm: %d pages in %d rounds: at most %d in %d", len(w.Pages), w.Rounds, maxPages, maxRounds))
	}
	for _, p := range w.Pages {
		if !strings.HasPrefix(p.Path, "/") || strings.ContainsAny(p.Path, " \r\n#") {
			wrong = append(wrong, fmt.Errorf("warm page %q: want a URI path", p.Path))
		}
		if p.Status != 0 && (p.Status < 200 || p.Status > 499) {
			wrong = append(wrong, fmt.Errorf("warm page %q: a wanted status of %d is no good answer", p.Path, p.Status))
		}
	}
	return wrong
}

// entries are the patterns of entry scripts.
func (c Config) entries() []string {
	if len(c.Quiet.Entries) > 0 {
		return c.Quiet.Entries
	}
	return []string{"*.php", "w/*.php", "rpc/*.php", "docroot/*.php", "docroot/*/*.php", "docroot/*/*/*.php"}
}

// within reports whether path is dir or lies below it, by name.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
