// Package git keeps bare mirrors of the review system's repositories and works in them with git(1): fetching, picking,
// reverting, patching and comparing by tree, never with a work tree. Debian 12's git (2.39) is enough.
//
// What comes from outside (names, ids, patches, .gitmodules) is checked before git sees it, never reaches a shell, and
// never stands where git would take it for an option. The environment git runs in is fixed: no configuration, hooks,
// prompts, pagers or transports but what is said here.
package git

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Sentinels. Errors wrap them; none but ErrDown is helped by trying again.
var (
	// ErrNoRef means that a branch, a ref or a commit is not there.
	ErrNoRef = errors.New("no such ref or commit")
	// ErrNoRepo means that the server has no such repository, or that we may not see it.
	ErrNoRepo = errors.New("no such repository, or you may not see it")
	// ErrAuth means that the server wants other credentials.
	ErrAuth = errors.New("the credentials are missing or refused")
	// ErrDown means that the server could not be reached or broke off. Trying again may help.
	ErrDown = errors.New("the git server does not answer as it should")
	// ErrName is wrapped by errors about names, ids and URLs that are refused before git is asked.
	ErrName = errors.New("name refused")
)

// Options say where repositories come from and where their mirrors are.
type Options struct {
	Dir string // absolute; the mirror of a project is <Dir>/<project>.git
	URL string // http or https; a project's repository is URL/project
	// User and Password are given to git in a .netrc of a home of its own, mode 0600, below Dir: never as an argument,
	// never in its environment. With no User git asks as anybody.
	User, Password string
	CAFile         string        // certificates to trust in place of the system's
	Timeout        time.Duration // one fetch with its retries; default 10 minutes
	Local          bool          // let URL be file://…, for tests
	Most           int           // git processes at once; default 8
	// Scratch, when set, keeps all that is fetched or made, credentials too: Dir is only read, and need not be there. See
	// Quarantine. The caller removes it.
	Scratch string
}

// Mirrors are the mirrors of a server's repositories. It may be used by several goroutines at once, and by several
// processes on one directory.
type Mirrors struct {
	o     Options
	git   string // path of git(1)
	base  *Mirrors
	slots chan struct{}
	pause func(attempt int) time.Duration // before attempt 2 and on of a fetch

	mu    sync.Mutex
	repos map[string]*Repo
}

// Open checks the options and returns the mirrors in o.Dir, which it makes when it is missing. It asks no server.
func Open(o Options) (*Mirrors, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("git mirrors: directory %q is no absolute path", o.Dir)
	}
	if err := checkURL(o.URL, o.Local); err != nil {
		return nil, fmt.Errorf("git mirrors: %w", err)
	}
	if strings.ContainsFunc(o.User+o.Password, unicode.IsControl) || (o.User == "") != (o.Password == "") {
		return nil, errors.New("git mirrors: a user and a password go together, without control characters")
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Most <= 0 {
		o.Most = 8
	}
	path, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("git mirrors: git(1) is needed: %w", err)
	}
	m := &Mirrors{o: o, git: path, slots: make(chan struct{}, o.Most), pause: backoff, repos: map[string]*Repo{}}
	if o.Scratch != "" {
		m = m.Quarantine(o.Scratch)
	}
	if err := m.makeHome(); err != nil {
		return nil, fmt.Errorf("git mirrors in %s: %w", m.o.Dir, err)
	}
	return m, nil
}

// Quarantine returns mirrors that have all these have, and that keep in dir whatever is fetched or made through them:
// for a dry run, and for readers that do not hold the deploy's lock. The mirrors themselves stay untouched (but
// for the times of packs, by which git keeps what is in use). What they fetch later is not seen. The caller removes dir
// when it is done.
func (m *Mirrors) Quarantine(dir string) *Mirrors {
	q := &Mirrors{o: m.o, git: m.git, base: m, slots: m.slots, pause: m.pause, repos: map[string]*Repo{}}
	q.o.Dir = dir
	return q
}

// Repo returns the mirror of a project, which need not exist yet: Fetch makes it.
func (m *Mirrors) Repo(project string) (*Repo, error) {
	if err := CheckProject(project); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.repos[project]; r != nil {
		return r, nil
	}
	r := &Repo{m: m, project: project, dir: filepath.Join(m.o.Dir, filepath.FromSlash(project)+".git")}
	if m.base != nil {
		base, err := m.base.Repo(project)
		if err != nil {
			return nil, err
		}
		r.base = base
	}
	m.repos[project] = r
	return r, nil
}

// URL is where the repositories come from.
func (m *Mirrors) URL() string { return m.o.URL }

// Repo is the mirror of one repository. It may be used by several goroutines at once.
type Repo struct {
	m       *Mirrors
	project string
	dir     string
	base    *Repo // of a quarantine: the mirror it stands on
	memory  memory

	mu    sync.Mutex
	there bool // the quarantine's own repository has been made
}

// Project is the repository's name.
func (r *Repo) Project() string { return r.project }

// home is the directory that git takes for its user's: nothing is in it but our .netrc and files of the moment.
func (m *Mirrors) home() string { return filepath.Join(m.o.Dir, ".home") }

func checkURL(text string, local bool) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("the server's URL cannot be read: %w", ErrName) // err would repeat a password in it
	}
	switch {
	case u.User != nil:
		return fmt.Errorf("the server's URL must hold no user or password (use a credentials file): %w", ErrName)
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the server's URL %q has a query or a fragment: %w", text, ErrName)
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return nil
	case u.Scheme == "file" && u.Host == "" && local:
		return nil
	}
	return fmt.Errorf("the server's URL %q is neither http://… nor https://…: %w", text, ErrName)
}

// exists reports whether the repository is on disk.
func (r *Repo) exists() bool {
	_, err := os.Stat(filepath.Join(r.dir, "HEAD"))
	return err == nil
}
