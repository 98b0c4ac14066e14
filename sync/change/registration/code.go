package registration

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// code is the PHP of a wiki: what its files declare, asked for as it is needed.
type code struct {
	*autoload
	wiki      *wiki
	reader    *reader // nil: nothing can be read, unchecked says why
	cache     *Cache
	sources   map[string]*source // by path and what was wanted; nil: there is none
	found     map[string]*found
	unchecked string
	err       error // the first; what is found after it means nothing
}

// found is what became of looking for a class.
type found struct {
	class *class
	file  string
	why   string // why there is none
	// unsure means that it may yet be there: it would be in a part of MediaWiki that is not in this tree.
	unsure bool
}

// openCode starts php and reads how MediaWiki finds its classes.
func openCode(ctx context.Context, w *wiki, php []string, cache *Cache) (*code, error) {
	c := &code{wiki: w, cache: cache, sources: map[string]*source{}, found: map[string]*found{}}
	r, err := startReader(ctx, php)
	if errors.Is(err, errNoPHP) {
		c.unchecked = fmt.Sprintf("classes, hook handlers, services and constructors: %v", err)
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.reader = r
	c.autoload = readAutoload(c)
	if err := c.failed(); err != nil {
		c.close()
		return nil, err
	}
	if !c.hasCore {
		c.unchecked = fmt.Sprintf("classes and services of MediaWiki: %s is not there", w.in("autoload.php"))
	}
	return c, nil
}

func (c *code) close() {
	if c.reader != nil {
		c.reader.close()
	}
}

// failed is why nothing can be said, if so.
func (c *code) failed() error {
	switch {
	case c.err != nil:
		return c.err
	case c.wiki.err != nil:
		return c.wiki.err
	case c.wiki.ctx.Err() != nil:
		return context.Cause(c.wiki.ctx)
	}
	return nil
}

// source is what the file declares; nil when there is no such file.
func (c *code) source(name string, want byte) *source {
	key := string(want) + name
	if s, ok := c.sources[key]; ok {
		return s
	}
	s := c.readSource(name, want)
	c.sources[key] = s
	return s
}

func (c *code) readSource(name string, want byte) *source {
	if c.failed() != nil || !c.wiki.isFile(name) {
		return nil
	}
	data, err := c.wiki.read(name, maxSource)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.err = fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return c.ask(want, name, data)
}

// ask asks php, or the cache: what declarations a source has depends on nothing but its bytes, its tables on where it is too.
func (c *code) ask(want byte, name string, data []byte) *source {
	sum := sha256.New()
	sum.Write([]byte{want})
	if want == tables {
		fmt.Fprintf(sum, "%d:%s", len(name), name)
	}
	sum.Write(data)
	key := [sha256.Size]byte(sum.Sum(nil))
	if s := c.cache.get(key); s != nil && want != builtin { // what PHP has is no matter of bytes
		return s
	}
	s, err := c.reader.ask(want, name, data)
	if err != nil {
		c.err = err
		return nil
	}
	if want != builtin {
		c.cache.put(key, s)
	}
	return s
}

// builtin is what PHP itself has under a name.
func (c *code) builtin(name string) *source {
	key := string(builtin) + strings.ToLower(name)
	if s, ok := c.sources[key]; ok {
		return s
	}
	var s *source
	if c.failed() == nil && len(name) < 1000 {
		s = c.ask(builtin, "", []byte(name))
	}
	if s == nil {
		s = &source{}
	}
	c.sources[key] = s
	return s
}

// class looks for a class as MediaWiki would when code of m names it.
func (c *code) class(name string, m *manifest) *found {
	name = strings.TrimPrefix(name, `\`)
	key := m.dir + "\x00" + name
	if f := c.found[key]; f != nil {
		return f
	}
	f := c.lookUp(name, m, 0)
	c.found[key] = f
	return f
}

// maxAliases is how often a class may be another name of another one.
const maxAliases = 10

func (c *code) lookUp(name string, m *manifest, aliases int) *found {
	file, by := c.find(name, m)
	if file == "" {
		if s := c.builtin(name); len(s.Classes) == 1 {
			return &found{class: s.Classes[0]}
		}
		return &found{why: "is not in the tree", unsure: !c.hasCore && !m.owns(name)}
	}
	s := c.source(file, declarations)
	if s == nil {
		return &found{file: file, why: fmt.Sprintf("is not in the tree: %s, where %s has it, is not there", file, by)}
	}
	if i := slices.IndexFunc(s.Classes, func(k *class) bool { return strings.EqualFold(k.Name, name) }); i >= 0 {
		return &found{class: s.Classes[i], file: file}
	}
	for _, a := range s.ClassAliases {
		if strings.EqualFold(a.As, name) && !strings.EqualFold(a.Of, name) && aliases < maxAliases {
			if i := slices.IndexFunc(s.Classes, func(k *class) bool { return strings.EqualFold(k.Name, a.Of) }); i >= 0 {
				return &found{class: s.Classes[i], file: file}
			}
			return c.lookUp(a.Of, m, aliases+1)
		}
	}
	return &found{file: file, why: fmt.Sprintf("is not in the tree: %s does not declare it", file)}
}

// function reports whether a function can be there when MediaWiki calls it.
func (c *code) function(name string, m *manifest) bool {
	name = strings.TrimPrefix(name, `\`)
	has := func(s *source) bool {
		return s != nil && slices.ContainsFunc(s.Functions, func(f string) bool { return strings.EqualFold(f, name) })
	}
	if has(c.builtin(name)) || !c.hasCore {
		return true
	}
	for _, file := range c.loaded(m) {
		if has(c.source(file, declarations)) {
			return true
		}
	}
	return false
}
