package keeper

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"scap/targets/fpm/trust"
)

// DefaultFile is where a keeper's configuration is when nobody says otherwise.
const DefaultFile = "/etc/scap/keeper.json"

// Bounds of a configuration.
const (
	maxConfig = 256 << 10
	maxPools  = 64
	maxStop   = time.Hour
	// maxSocketPath is what php-fpm binds of a unix socket's path: it cuts the rest silently.
	maxSocketPath = 107
	maxReserve    = 1 << 50
)

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
	unitPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\:-]{0,250}$`)
)

// Load reads a configuration. It refuses one that others than root could have written, and one that lets root execute or
// include what others could: the error says who and what to do.
func Load(path string) (Config, error) {
	c, err := load(path)
	if err != nil {
		return Config{}, fmt.Errorf("keeper's configuration %s: %w", path, err)
	}
	return c, nil
}

func load(path string) (Config, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Config{}, err
	}
	if err := trust.Check(path); errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("%w: root installs there what `scap config keeper HOST` prints", err)
	} else if err != nil {
		return Config{}, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe in its place must not stop root
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Config{}, err
	}
	if !info.Mode().IsRegular() {
		return Config{}, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return Config{}, err
	}
	c, err := parseConfig(b)
	if err != nil {
		return Config{}, err
	}
	c.file = path
	return c, c.trusted()
}

// parseConfig reads the text of a configuration and checks everything but the disk.
func parseConfig(b []byte) (Config, error) {
	if len(b) > maxConfig {
		return Config{}, fmt.Errorf("longer than %d bytes", maxConfig)
	}
	var c Config
	if err := strict(b, &c); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// Validate reports every mistake at once that needs no look at the host.
func (c Config) Validate() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if c.User == "" {
		bad("user: say who owns the releases")
	}
	for _, p := range []struct{ name, path string }{{"root", c.Root}, {"served", c.Served}, {"state", c.State}, {"run", c.Run}} {
		if !cleanPath(p.path) {
			bad("%s %q: want a clean absolute path", p.name, p.path)
		}
	}
	for _, p := range []struct{ name, path string }{{"state", c.State}, {"run", c.Run}} {
		if within(p.path, c.Root) || within(p.path, c.Served) {
			bad("%s %q: it lies where the deploy user writes", p.name, p.path)
		}
	}
	if c.State == c.Run {
		bad("state and run are both %q: run may be lost at a reboot, state may not", c.Run)
	}
	if longest := len(c.files(1<<64 - 1).status); longest > maxSocketPath {
		bad("run %q: sockets in it would have %d characters, php-fpm cuts them at %d", c.Run, longest, maxSocketPath)
	}
	if c.Reserve > maxReserve {
		bad("reserve %d: want bytes, at most %d", c.Reserve, uint64(maxReserve))
	}
	if len(c.Pools) == 0 || len(c.Pools) > maxPools {
		bad("%d pools: want 1 to %d", len(c.Pools), maxPools)
	}
	seen := map[string]string{}
	for _, p := range c.Pools {
		wrong = append(wrong, c.validate(p)...)
		for _, one := range []string{"the name " + p.Name, "the socket " + p.Listen, "the socket " + p.Trial} {
			if before, ok := seen[one]; ok && one != "the socket " {
				bad("pool %q: %s is that of pool %q too", p.Name, one, before)
			}
			seen[one] = p.Name
		}
	}
	return errors.Join(wrong...)
}

func (c Config) validate(p Pool) (wrong []error) {
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("pool %q: "+format, append([]any{p.Name}, args...)...))
	}
	if !namePattern.MatchString(p.Name) {
		bad("name: want 1 to 64 letters, digits, dots, dashes")
	}
	for _, s := range []struct{ name, path string }{{"listen", p.Listen}, {"trial", p.Trial}} {
		switch {
		case s.name == "trial" && s.path == "":
		case !cleanPath(s.path) || strings.ContainsAny(s.path, "\n\x00"):
			bad("%s %q: want the path of a unix socket; TCP cannot be handed over", s.name, s.path)
		case len(s.path) > maxSocketPath:
			bad("%s %q: longer than %d characters, php-fpm would cut it", s.name, s.path, maxSocketPath)
		case within(s.path, c.Root), within(s.path, c.Served), within(s.path, c.Run), within(s.path, c.State):
			bad("%s %q: it lies among releases or in the keeper's own directories", s.name, s.path)
		}
	}
	for _, f := range []struct{ name, path string }{{"binary", p.Binary}, {"config_file", p.ConfigFile}, {"ini", p.INI}, {"pid_file", p.PIDFile}} {
		optional := f.name == "ini" || f.name == "pid_file"
		if (f.path != "" || !optional) && !cleanPath(f.path) {
			bad("%s %q: want a clean absolute path", f.name, f.path)
		}
	}
	// php-fpm's parser has no way to quote these in what is included.
	if strings.ContainsAny(p.ConfigFile, "*?[]{}\"'\n\x00;") {
		bad("config_file %q: no wildcards, quotes or line ends", p.ConfigFile)
	}
	if !strings.HasPrefix(p.PingPath, "/") || strings.ContainsAny(p.PingPath, "?# \n") {
		bad("ping_path %q: want a URI path", p.PingPath)
	}
	if p.Stop < time.Second || p.Stop > maxStop {
		bad("stop %v: want 1s to %v, in nanoseconds", p.Stop, maxStop)
	}
	if p.Unit != "" && !unitPattern.MatchString(p.Unit) {
		bad("unit %q: want a systemd unit's name", p.Unit)
	}
	if p.Unit == "" && (len(p.Start) == 0 || p.Start[0] == "") {
		bad("want the distribution's unit, or the command that starts its master: nothing could be given back")
	}
	return wrong
}

func cleanPath(p string) bool {
	return filepath.IsAbs(p) && filepath.Clean(p) == p && p != "/" && !strings.ContainsAny(p, "\n\x00")
}

// within reports whether path is dir or lies below it, by name.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// trusted checks what root would execute or read by this configuration.
func (c Config) trusted() error {
	var wrong []error
	for _, p := range c.Pools {
		files := []string{p.Binary, p.ConfigFile}
		if p.INI != "" {
			files = append(files, p.INI)
		}
		if p.Unit == "" {
			program, err := lookPath(p.Start[0])
			if err != nil {
				wrong = append(wrong, fmt.Errorf("pool %q: start: %w", p.Name, err))
			} else {
				files = append(files, program)
			}
		}
		for _, f := range files {
			if err := trusted(f); err != nil {
				wrong = append(wrong, fmt.Errorf("pool %q: %w", p.Name, err))
			}
		}
		if err := errors.Join(trustedIncludes(p.ConfigFile, includeDepth), trustedScan(p.INI)); err != nil {
			wrong = append(wrong, fmt.Errorf("pool %q: %w", p.Name, err))
		}
	}
	return errors.Join(wrong...)
}

// uid is the deploy user's.
func (c Config) uid() (int, error) {
	u, err := user.Lookup(c.User)
	if err != nil {
		return 0, fmt.Errorf("the deploy user: %w", err)
	}
	return strconv.Atoi(u.Uid)
}

// files are the paths of one generation. A number is never used twice, so neither is a path.
type files struct{ socket, status, pid, config, log string }

func (c Config) files(number uint64) files {
	n := strconv.FormatUint(number, 10)
	return files{
		socket: filepath.Join(c.Run, "fpm-"+n+".sock"), status: filepath.Join(c.Run, "stat-"+n+".sock"),
		pid: filepath.Join(c.Run, "fpm-"+n+".pid"), config: filepath.Join(c.Run, "fpm-"+n+".conf"), log: filepath.Join(c.Run, "fpm-"+n+".log"),
	}
}

func (f files) all() []string { return []string{f.socket, f.status, f.pid, f.config, f.log} }
