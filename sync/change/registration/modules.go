package registration

import (
	"io/fs"
	"path"
	"strings"
)

// modules checks ResourceModules: classes, callbacks, and the files of which ResourceLoader makes scripts and styles. A file
// that is not there is an exception for whoever asks for the module.
func (c *checker) modules() {
	defaults := c.m.root.get("ResourceFileModulePaths")
	for _, v := range c.m.root.get("ResourceModules").each() {
		if f := v.get("factory"); f.there() {
			c.call(f)
		} else if k := v.get("class"); k.there() {
			c.concrete(k.at, k.text(), false)
		}
		base := c.base(v, defaults)
		for _, key := range []string{"scripts", "styles", "templates", "debugScripts"} {
			for _, f := range v.get(key).many() {
				c.resource(f, base)
			}
			c.named(v.get(key), base)
		}
		for _, key := range []string{"languageScripts", "skinScripts", "skinStyles"} {
			for _, list := range v.get(key).each() {
				for _, f := range list.many() {
					c.resource(f, base)
				}
				c.named(list, base)
			}
		}
		for _, f := range v.get("packageFiles").many() {
			c.packageFile(f, base)
		}
		c.images(v.get("images"), base, 0)
	}
}

// base is the directory that a module's files are in: without a word of it, that of MediaWiki.
func (c *checker) base(v, defaults value) string {
	for _, v := range []value{v.get("localBasePath"), defaults.get("localBasePath")} {
		if v.there() {
			return c.m.path(v.text())
		}
	}
	return c.wiki.core
}

// resource checks one file of a list; an object is handled by named, or says where a file is by other means.
func (c *checker) resource(v value, base string) {
	name := v.text()
	if name == "" || strings.HasPrefix(name, "/") || strings.Contains(name, "//") || !resourceName(name) {
		return
	}
	if p := path.Join(base, name); !fs.ValidPath(p) || !c.wiki.isFile(p) {
		c.find(v.at, File, "no file %s is in the tree", p)
	}
}

// resourceName reports whether a text is surely a file: media queries and such have no dot and suffix.
func resourceName(name string) bool {
	ext := path.Ext(name)
	return len(ext) > 1 && !strings.ContainsAny(name, " ()") && !strings.Contains(ext, "/")
}

// named checks a list whose keys are the files: { "print.css": { "media": "print" } }.
func (c *checker) named(v value, base string) {
	if !v.isMap() {
		return
	}
	for _, name := range v.keys() {
		if e := v.get(name); e.isMap() && !e.get("class").there() {
			c.resource(value{e.at, name}, base)
		}
	}
}

// images checks the images of an icon module: files by name, or by direction and language below a name.
func (c *checker) images(v value, base string, depth int) {
	if v.isText() {
		c.resource(v, base)
		return
	}
	for _, key := range v.keys() {
		if key != "variants" && depth < 6 {
			c.images(v.get(key), base, depth+1)
		}
	}
}

// packageFile checks a file of a package: a name, or an object with a file or a callback.
func (c *checker) packageFile(v value, base string) {
	c.resource(v, base)
	for _, key := range []string{"callback", "versionCallback"} {
		if f := v.get(key); f.there() {
			c.call(f)
		}
	}
	if v.get("file").there() {
		c.resource(v.get("file"), base)
	} else if name := v.get("name"); v.isMap() && len(v.keys()) == 1 {
		c.resource(name, base)
	}
}
