package registration

import "strings"

// key is one part of a registration that names classes or things to call.
type key struct {
	name string
	r    rules
	deep int // levels of lists or objects around the things themselves
}

// keys are the parts of a registration that core makes objects from, and what it gives them.
var keys = []key{
	{"APIFormatModules", rules{extra: span{2, 2}, class: true, strict: true}, 1}, // the module above and the name
	{"APIListModules", rules{extra: span{2, 2}, class: true, strict: true}, 1},
	{"APIMetaModules", rules{extra: span{2, 2}, class: true, strict: true}, 1},
	{"APIModules", rules{extra: span{2, 2}, class: true, strict: true}, 1},
	{"APIPropModules", rules{extra: span{2, 2}, class: true, strict: true}, 1},
	{"Actions", rules{extra: span{2, 2}, class: true, callable: true, strict: true}, 1}, // article and context
	{"AuthManagerAutoConfig", rules{strict: true}, 2},
	{"CentralIdLookupProviders", rules{strict: true}, 1},
	{"ConfigRegistry", rules{extra: anyNumber, callable: true}, 1},
	{"ContentHandlers", rules{extra: span{1, 1}, class: true, callable: true, strict: true}, 1}, // the content model
	{"DomainEventIngresses", rules{}, 1},
	{"ExtensionFunctions", rules{callable: true}, 1},
	{"FeedClasses", rules{extra: anyNumber, class: true}, 1},
	{"InstallerTasks", rules{extra: anyNumber}, 1},
	{"JobClasses", rules{extra: span{2, 2}, class: true, callable: true, strict: true, job: true}, 1},            // title and parameters
	{"LogActionsHandlers", rules{extra: span{1, 1}, class: true, callable: true, strict: true, inside: true}, 1}, // the log entry
	{"MediaHandlers", rules{class: true}, 1},
	{"NotificationHandlers", rules{extra: anyNumber}, 1},
	{"NotificationMiddleware", rules{extra: anyNumber}, 1},
	{"OutputPipelineStages", rules{extra: anyNumber}, 1},
	{"RecentChangeSources", rules{extra: anyNumber}, 1},
	{"RestRoutes", rules{}, 1},
	{"SearchMappings", rules{extra: span{0, 1}, class: true}, 1}, // the database, for those that want one
	{"SessionProviders", rules{strict: true}, 1},
	{"SpecialPages", rules{class: true, callable: true, strict: true}, 1},
	{"TempUserSerialMappings", rules{extra: span{1, 1}}, 1},
	{"TempUserSerialProviders", rules{extra: span{1, 1}}, 1},
	{"UserOptionsStoreProviders", rules{extra: anyNumber}, 1},
	{"UserRegistrationProviders", rules{extra: anyNumber}, 1},
}

// keys checks all parts that core makes objects from.
func (c *checker) keys() {
	for _, k := range keys {
		c.deep(c.m.root.get(k.name), k.r, k.deep)
	}
	if v := c.m.root.get("callback"); v.there() {
		c.call(v)
	}
	for _, v := range c.m.root.get("ValidSkinNames").each() {
		if v.isText() { // once, a skin's class was known by its name
			c.make(v, "Skin"+v.text(), rules{}, given{})
		} else {
			c.spec(v, rules{strict: true})
		}
	}
	c.parsoid()
}

func (c *checker) deep(v value, r rules, levels int) {
	if levels == 0 {
		c.spec(v, r)
		return
	}
	for _, e := range v.each() {
		c.deep(e, r, levels-1)
	}
}

// parsoid checks ParsoidModules: each a class, or an object that may have one and names classes for what it does.
func (c *checker) parsoid() {
	for _, v := range c.m.root.get("ParsoidModules").each() {
		c.spec(v, rules{class: true})
		for _, p := range v.get("domProcessors").each() {
			c.spec(p, rules{extra: anyNumber, class: true})
		}
		for _, t := range v.get("tags").each() {
			c.spec(t.get("handler"), rules{extra: anyNumber, class: true})
		}
	}
}

// classes checks that the files of AutoloadClasses hold the classes they are there for.
func (c *checker) classes() {
	v := c.m.root.get("AutoloadClasses")
	for _, name := range v.keys() {
		if !c.wiki.isFile(c.m.classes[name]) {
			continue // told of with the other files
		}
		if f := c.code.lookUp(name, c.m, 0); f.class == nil && !f.unsure && f.file == c.m.classes[name] {
			c.find(v.get(name).at, Class, "class %s %s", name, f.why)
		}
	}
}

// attributes checks what is registered with other extensions: only they know what it means, but a class of the extension's own
// is meant to be there.
func (c *checker) attributes() {
	c.attribute(c.m.root.get("attributes"), 0)
}

func (c *checker) attribute(v value, depth int) {
	if depth > maxDepth {
		return
	}
	if !v.isText() {
		for _, e := range v.each() {
			c.attribute(e, depth+1)
		}
		return
	}
	name := strings.TrimPrefix(v.text(), `\`)
	class, _, static := strings.Cut(name, "::")
	switch {
	case !strings.Contains(class, `\`) || strings.HasSuffix(class, `\`) || strings.ContainsAny(class, " /.") || !c.m.owns(class):
	case static:
		c.callable(v.at, name, "")
	default:
		if f := c.code.class(name, c.m); f.class == nil {
			c.find(v.at, Class, "class %s %s", name, f.why)
		}
	}
}
