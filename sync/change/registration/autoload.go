package registration

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// autoload is how MediaWiki finds the file of a class: its own map, the extensions' maps, the namespaces of both, then
// Composer's. includes/AutoLoader.php has the order.
type autoload struct {
	wiki       *wiki
	hasCore    bool
	local      map[string]string   // autoload.php: class -> file
	lower      map[string]string   // the same in lower case
	namespaces map[string]string   // core's prefixes with their last backslash -> directory
	files      []string            // loaded always, by Composer
	vendors    map[string]composer // by directory
}

// composer is what Composer wrote for one vendor directory.
type composer struct {
	classes    map[string]string
	psr4, psr0 map[string][]string
	files      []string
}

func readAutoload(c *code) *autoload {
	a := &autoload{wiki: c.wiki, local: map[string]string{}, lower: map[string]string{}, namespaces: map[string]string{}, vendors: map[string]composer{}}
	if s := c.source(c.wiki.in("autoload.php"), tables); s != nil {
		a.hasCore = true
		a.local = one(s.Tables["$wgAutoloadLocalClasses"])
		for name, file := range a.local {
			a.lower[strings.ToLower(name)] = file
		}
	}
	if s := c.source(c.wiki.in("includes/AutoLoader.php"), tables); s != nil {
		for name, t := range s.Tables {
			if strings.HasSuffix(name, "::CORE_NAMESPACES") {
				a.namespaces = one(t)
			}
		}
	}
	a.readVendor(c, c.wiki.in("vendor"))
	for _, m := range c.wiki.manifests {
		if m.root.get("load_composer_autoloader").is == true {
			a.readVendor(c, path.Join(m.dir, "vendor"))
		}
	}
	return a
}

func (a *autoload) readVendor(c *code, dir string) {
	if !c.wiki.isFile(path.Join(dir, "autoload.php")) {
		return
	}
	read := func(name string) map[string][]string {
		if s := c.source(path.Join(dir, "composer", name), tables); s != nil {
			return all(s.Tables["return"])
		}
		return nil
	}
	v := composer{classes: map[string]string{}, psr4: read("autoload_psr4.php"), psr0: read("autoload_namespaces.php")}
	for name, files := range read("autoload_classmap.php") {
		v.classes[name] = files[0]
	}
	for _, files := range read("autoload_files.php") {
		v.files = append(v.files, files...)
	}
	slices.Sort(v.files)
	a.vendors[dir] = v
	a.files = append(a.files, v.files...)
}

// all is a table of texts as paths in the tree.
func all(t table) map[string][]string {
	m := map[string][]string{}
	for _, p := range t.Pairs {
		for _, v := range p.Values {
			m[p.Key] = append(m[p.Key], strings.TrimPrefix(path.Clean("/"+v), "/"))
		}
	}
	return m
}

func one(t table) map[string]string {
	m := map[string]string{}
	for key, values := range all(t) {
		m[key] = values[0]
	}
	return m
}

// find is the file in which a class has to be when code of m names it, and who says so; empty: nobody knows one.
func (a *autoload) find(name string, m *manifest) (file, by string) {
	if file, ok := a.local[name]; ok {
		return file, a.wiki.in("autoload.php")
	}
	for _, o := range a.order(m) {
		if file, ok := o.classes[name]; ok {
			return file, o.file
		}
	}
	if file, ok := a.lower[strings.ToLower(name)]; ok {
		return file, a.wiki.in("autoload.php")
	}
	if file, by := a.findNamespace(name, m); file != "" {
		return file, by
	}
	for _, dir := range slices.Sorted(maps.Keys(a.vendors)) {
		if file := a.findVendor(name, a.vendors[dir]); file != "" {
			return file, path.Join(dir, "autoload.php")
		}
	}
	return "", ""
}

// order are all registrations, m's own first: what two of them map is whose is loaded first, and m's is loaded.
func (a *autoload) order(m *manifest) []*manifest {
	return append([]*manifest{m}, a.wiki.manifests...)
}

// findNamespace looks for the file that the namespace says, longest prefix first; the file has to be there.
func (a *autoload) findNamespace(name string, m *manifest) (file, by string) {
	for end := strings.LastIndex(name, `\`); end >= 0; end = strings.LastIndex(name[:end], `\`) {
		prefix := name[:end+1]
		rest := strings.ReplaceAll(name[end+1:], `\`, "/") + ".php"
		if dir, ok := a.namespaces[prefix]; ok {
			if file := path.Join(dir, rest); a.wiki.isFile(file) {
				return file, a.wiki.in("includes/AutoLoader.php")
			}
		}
		for _, o := range a.order(m) {
			if dir, ok := o.namespaces[prefix]; ok {
				if file := path.Join(dir, rest); a.wiki.isFile(file) {
					return file, o.file
				}
			}
		}
	}
	return "", ""
}

func (a *autoload) findVendor(name string, v composer) string {
	if file, ok := v.classes[name]; ok {
		return file
	}
	for end := strings.LastIndex(name, `\`); end >= 0; end = strings.LastIndex(name[:end], `\`) {
		for _, dir := range v.psr4[name[:end+1]] {
			if file := path.Join(dir, strings.ReplaceAll(name[end+1:], `\`, "/")+".php"); a.wiki.isFile(file) {
				return file
			}
		}
	}
	space, short := "", name
	if end := strings.LastIndex(name, `\`); end >= 0 {
		space, short = strings.ReplaceAll(name[:end+1], `\`, "/"), name[end+1:]
	}
	for prefix, dirs := range v.psr0 {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		for _, dir := range dirs {
			if file := path.Join(dir, space+strings.ReplaceAll(short, "_", "/")+".php"); a.wiki.isFile(file) {
				return file
			}
		}
	}
	return ""
}

// loaded are the files whose functions are there when an extension's are called: MediaWiki's own, Composer's, those of
// AutoloadClasses, and what lies in the extension's directory.
func (a *autoload) loaded(m *manifest) []string {
	files := []string{a.wiki.in("includes/GlobalFunctions.php"), a.wiki.in("includes/Defines.php")}
	files = append(files, a.files...)
	for _, class := range slices.Sorted(maps.Keys(m.classes)) {
		files = append(files, m.classes[class])
	}
	entries, _ := fs.ReadDir(a.wiki.tree, m.dir) // it was read before: it has m's file
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".php") {
			files = append(files, path.Join(m.dir, e.Name()))
		}
	}
	return slices.Compact(files)
}
