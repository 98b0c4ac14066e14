package keeper

import "time"

// Config is what root lets a keeper do on a host: /etc/scap/keeper.json, owned by root and writable by nobody else. Paths are
// absolute and clean. `scap config keeper HOST` prints it.
type Config struct {
	// User is the deploy user, who owns Root. Releases are taken from Root/releases only, and only his.
	User   string `json:"user"`
	Root   string `json:"root"`
	Served string `json:"served"` // the permanent link to Root/current
	// State is a directory of root's that outlives a reboot: the record. Run is one that need not: sockets, pid files and
	// the configuration of each generation.
	State string `json:"state"`
	Run   string `json:"run"`
	// Reserve is the memory that must be left beside a second master, in bytes.
	Reserve uint64 `json:"reserve"`
	// Systemd makes each generation an instance of the unit scap-fpm@.service; without it they are plain processes.
	Systemd bool   `json:"systemd,omitempty"`
	Pools   []Pool `json:"pools"`

	file string // which Load read: what a generation's process reads again
}

// Pool is one php-fpm master's worth of workers.
type Pool struct {
	Name   string `json:"name"`
	Listen string `json:"listen"`          // the path of a unix socket that the web server connects to
	Trial  string `json:"trial,omitempty"` // and that of the second, weighted upstream; empty: no trials
	// Binary, ConfigFile and INI are the distribution's: a generation's configuration includes ConfigFile and replaces
	// socket, status socket, pid file and daemonize. ConfigFile must have this one pool, listening on Listen.
	Binary     string `json:"binary"`
	ConfigFile string `json:"config_file"`
	INI        string `json:"ini,omitempty"`
	PingPath   string `json:"ping_path"`
	// Stop is how long requests may take to end: process_control_timeout and some. In the file it is in nanoseconds.
	Stop time.Duration `json:"stop"`
	// Unit is the distribution's systemd unit. Without systemd: the pid file of its master, and the command that starts it.
	Unit    string   `json:"unit,omitempty"`
	PIDFile string   `json:"pid_file,omitempty"`
	Start   []string `json:"start,omitempty"`
}

// pool finds a pool by its name.
func (c Config) pool(name string) (Pool, bool) {
	for _, p := range c.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}
