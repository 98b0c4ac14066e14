package registration

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// variable is what can be the name of a setting.
var variable = regexp.MustCompile(`^\w+$`)

// maxFiles bounds how many PHP files of one extension are looked through for settings.
const maxFiles = 5000

// settings checks that settings which PHP of the extension asks for are registered: what broke on 2023-01-17 was a setting that
// extension.json had no more and old PHP still asked for. A setting is a text that begins with the extension's name, asked of
// something that is called a config.
func (c *checker) settings() {
	name := strings.ReplaceAll(c.m.name, " ", "")
	if len(name) < 3 || !c.m.root.get("config").there() && !c.m.root.get("ConfigRegistry").there() {
		return
	}
	asked, guarded := map[string]string{}, map[string]bool{}
	for _, file := range c.phpFiles() {
		s := c.code.source(file, declarations)
		if s == nil {
			continue
		}
		for _, setting := range s.Gets {
			if strings.HasPrefix(setting, name) && variable.MatchString(setting) && asked[setting] == "" {
				asked[setting] = file
			}
		}
		for _, setting := range s.Hases {
			guarded[setting] = true
		}
	}
	for setting, file := range asked {
		if !guarded[setting] && !c.registered(setting) && !c.services.known(setting) {
			c.find(under("config", setting), Config, "%s asks for the setting %q, which nothing registers", file, setting)
		}
	}
}

// registered reports whether core or an extension in the tree registers a setting.
func (c *checker) registered(setting string) bool {
	for _, m := range c.wiki.manifests {
		if m.root.get("config").get(setting).there() {
			return true
		}
	}
	f := c.code.class(`MediaWiki\MainConfigNames`, c.m)
	return f.class != nil && slices.Contains(slices.Collect(maps.Values(f.class.Consts)), setting)
}

// phpFiles are the extension's sources, but for tests and what is not its own.
func (c *checker) phpFiles() []string {
	var files []string
	err := fs.WalkDir(c.wiki.tree, c.m.dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case len(files) >= maxFiles || c.wiki.ctx.Err() != nil:
			return fs.SkipAll
		case d.IsDir() && p != c.m.dir && (slices.Contains([]string{"tests", "vendor", "node_modules", ".git"}, d.Name()) || c.part(p)):
			return fs.SkipDir
		case strings.HasSuffix(p, ".php"):
			files = append(files, p)
		}
		return nil
	})
	if err != nil && c.wiki.err == nil && !isAbsent(err) {
		c.wiki.err = err
	}
	return files
}

// part reports whether a directory is a part of the extension that has a registration of its own.
func (c *checker) part(dir string) bool {
	return slices.ContainsFunc(c.wiki.manifests, func(m *manifest) bool { return m.dir == path.Clean(dir) })
}
