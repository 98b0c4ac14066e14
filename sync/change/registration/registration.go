// Package registration checks, without running any of it, that what a MediaWiki extension or skin registers is there: classes,
// hook handlers, services, constructors that take what they are given, and files, all in one tree. On 2023-01-17 a new
// extension.json met classes of another version; a tree in which the two do not fit each other can be known before it is served.
package registration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"time"
)

// Kind is what is wrong.
type Kind string

// The kinds of findings.
const (
	Class   Kind = "class"   // a class that is named is not in the tree, or cannot be made
	Handler Kind = "handler" // a hook handler, or a function or method to call, is not there or cannot be called
	Service Kind = "service" // no service wiring in the tree has a service of that name
	Arity   Kind = "arity"   // a constructor, factory or hook method takes more or fewer arguments than it is given
	Type    Kind = "type"    // a constructor or factory takes something else in the place where it is given a service
	Config  Kind = "config"  // PHP asks for a setting of the extension that nothing registers
	File    Kind = "file"    // a file or directory that is named is not in the tree
	JSON    Kind = "json"    // the file cannot be read, or not as MediaWiki reads it
)

// Finding is one thing that is registered and does not fit the tree.
type Finding struct {
	File    string // the registration file, in the tree
	Pointer string // where in it: Hooks.BeforePageDisplay[0]
	Kind    Kind
	Text    string
	// Harmless is a slip that breaks nothing: arguments over the number that is taken, which PHP drops unseen, and what is wrong
	// with a hook handler that no hook uses. There are extensions that have run with such for years.
	Harmless bool
	// Old is a finding that Options.Before has too: it is no doing of the change.
	Old bool
}

// String is a finding in one line.
func (f Finding) String() string {
	at := f.File
	if f.Pointer != "" {
		at += ": " + f.Pointer
	}
	return fmt.Sprintf("%s: %s (%s)", at, f.Text, f.Kind)
}

// Report is what a check found.
type Report struct {
	Findings []Finding // by file and pointer
	More     int       // findings that were left out: a report is bounded
	Checked  []string  // the registration files that were looked at
	// Unchecked says what could not be judged and why, such as that there is no php; empty: everything was.
	Unchecked string
}

// Options say what is checked, and with what.
type Options struct {
	// PHP is how php is called, such as ["php"]; its tokenizer reads the sources, which go to it over its standard input. Empty,
	// or a program that is not there: only files and the JSON itself are checked, and the report says so.
	PHP []string
	// Core is the path of MediaWiki in the tree, such as php-1.41.0-wmf.5; "." when it is the tree.
	Core string
	// Paths are the files that changed, whether or not they are still there; directories stand for all below them. From them
	// follows which registration files are looked at: those of the extensions and skins that the files are of, those that
	// require these, and all when PHP of MediaWiki itself changed. Paths outside of Core are somebody else's.
	Paths []string
	// Before is the tree before the change, with the same Core, for Old; it is only looked at when there are findings. nil: none
	// is known.
	Before fs.FS
	// Timeout bounds the whole check; 0: a minute.
	Timeout time.Duration
	// Cache keeps what was read of PHP sources, by their contents, from check to check; nil: nothing is kept.
	Cache *Cache
}

// Bounds of what is read and told.
const (
	maxManifest = 4 << 20 // bytes of a registration file; the largest known has about 200 KB
	maxSource   = 4 << 20 // bytes of a PHP file
	maxFindings = 1000
)

// ErrTimeout is the cause of a check that took longer than it may. The next one may well be faster: files are cached by then.
var ErrTimeout = errors.New("the check of registrations took too long")

// Check looks at the registrations that o.Paths concern. A Report with findings is no error; an error means that the tree
// could not be judged: it cannot be read, php broke, or the time is over.
func Check(ctx context.Context, tree fs.FS, o Options) (*Report, error) {
	limit := o.Timeout
	if limit <= 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: more than %v", ErrTimeout, limit))
	defer cancel()

	if !fs.ValidPath(path.Clean(o.Core)) {
		return nil, fmt.Errorf("check registrations: %q is no path in a tree", o.Core)
	}
	if o.Cache == nil {
		o.Cache = NewCache()
	}
	r, err := check(ctx, tree, o)
	if err == nil && len(r.Findings) > 0 && o.Before != nil {
		err = r.compare(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("check registrations in %s: %w", o.Core, err)
	}
	return r, nil
}

// compare marks the findings that the tree before has too. One without this MediaWiki, as before a new version, has none.
func (r *Report) compare(ctx context.Context, o Options) error {
	before, err := check(ctx, o.Before, o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("before the change: %w", err)
	}
	for i, f := range r.Findings {
		r.Findings[i].Old = slices.Contains(before.Findings, f)
	}
	return nil
}

// check is Check of one tree.
func check(ctx context.Context, tree fs.FS, o Options) (*Report, error) {
	w := &wiki{ctx: ctx, tree: tree, core: path.Clean(o.Core)}
	if err := w.load(); err != nil {
		return nil, err
	}
	r := &Report{}
	todo := w.concerned(o.Paths)
	if len(todo) == 0 {
		return r, nil
	}
	code, err := openCode(ctx, w, o.PHP, o.Cache)
	if err != nil {
		return nil, err
	}
	defer code.close()
	services := &services{code: code}
	for _, m := range todo {
		c := &checker{wiki: w, code: code, services: services, m: m, report: r}
		c.check()
		r.Checked = append(r.Checked, m.file)
		if err := code.failed(); err != nil {
			return nil, fmt.Errorf("%s: %w", m.file, err)
		}
	}
	r.Unchecked = code.unchecked
	if r.Unchecked == "" && services.unknown() {
		r.Unchecked = fmt.Sprintf("services: %s is not there", services.file())
	}
	sort.SliceStable(r.Findings, func(i, j int) bool {
		a, b := r.Findings[i], r.Findings[j]
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Pointer < b.Pointer
	})
	return r, nil
}

// checker looks at one registration file.
type checker struct {
	wiki     *wiki
	code     *code
	services *services
	m        *manifest
	report   *Report
	harmless bool // what is looked at is never used
}

// find notes a finding.
func (c *checker) find(at string, kind Kind, format string, args ...any) {
	if len(c.report.Findings) >= maxFindings {
		c.report.More++
		return
	}
	c.report.Findings = append(c.report.Findings, Finding{File: c.m.file, Pointer: at, Kind: kind, Text: fmt.Sprintf(format, args...), Harmless: c.harmless})
}

// findHarmless notes a finding that does no harm.
func (c *checker) findHarmless(at string, kind Kind, format string, args ...any) {
	was := c.harmless
	c.harmless = true
	c.find(at, kind, format, args...)
	c.harmless = was
}

// check goes through all that a registration file names.
func (c *checker) check() {
	if c.m.broken != "" {
		c.find("", JSON, "%s", c.m.broken)
		return
	}
	for _, p := range c.m.wrong {
		c.find(p.at, JSON, "%s", p.text)
	}
	c.files()
	if c.code.reader == nil {
		return
	}
	c.classes()
	c.hooks()
	c.keys()
	c.modules()
	c.attributes()
	c.settings()
}
