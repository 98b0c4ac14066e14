package registration

import "io/fs"

// files checks that the files and directories that a registration names are there.
func (c *checker) files() {
	root := c.m.root
	for _, v := range root.get("AutoloadClasses").each() {
		c.file(v, c.wiki.isFile, "no file")
	}
	for _, v := range root.get("AutoloadNamespaces").each() {
		c.file(v, c.wiki.isDir, "no directory")
	}
	for _, name := range []string{"ExtensionMessagesFiles", "RestModuleFiles", "ServiceWiringFiles"} {
		for _, v := range root.get(name).each() {
			c.file(v, c.wiki.isFile, "no file")
		}
	}
	for _, name := range []string{"MessagesDirs", "TranslationAliasesDirs"} {
		for _, v := range root.get(name).each() {
			for _, v := range v.many() {
				c.file(v, c.wiki.isDir, "no directory")
			}
		}
	}
}

// file checks that a path is what it has to be; it is of the directory of the registration.
func (c *checker) file(v value, is func(string) bool, not string) {
	if !v.isText() || v.text() == "" {
		c.find(v.at, JSON, "has to be a path, and is %s", v.kind())
		return
	}
	switch name := c.m.path(v.text()); {
	case !fs.ValidPath(name):
		c.find(v.at, File, "%q leads out of the tree", v.text())
	case !is(name):
		c.find(v.at, File, "%s %s is in the tree", not, name)
	}
}
