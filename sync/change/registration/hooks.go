package registration

import (
	"fmt"
	"slices"
	"strings"
)

// runners are core's classes that call hooks: each has a method for each hook, with the arguments that handlers get.
var runners = []string{`MediaWiki\HookContainer\HookRunner`, `MediaWiki\Api\ApiHookRunner`, `MediaWiki\ResourceLoader\HookRunner`}

// handling is one registration of a handler for a hook.
type handling struct {
	hook string
	at   string
	name string // of an entry of HookHandlers, or what is called: a function or Class::method
	ours bool   // it is an entry of HookHandlers
}

// handlings are all registrations of handlers, as MediaWiki's ExtensionProcessor reads them.
func (m *manifest) handlings() []handling {
	var all []handling
	for _, hook := range m.root.get("Hooks").keys() {
		all = append(all, m.handlingsOf(hook, m.root.get("Hooks").get(hook), true)...)
	}
	return all
}

func (m *manifest) handlingsOf(hook string, v value, outer bool) []handling {
	one := handling{hook: hook, at: v.at}
	if v.isText() {
		one.name = v.text()
		one.ours = m.root.get("HookHandlers").get(one.name).there()
		return []handling{one}
	}
	if h := v.get("handler"); h.there() {
		one.name, one.ours, one.at = h.text(), true, h.at
		return []handling{one}
	}
	if !outer { // [ "Class", "method" ], or [ "function", argument… ]
		parts := v.each()
		if len(parts) == 0 || !parts[0].isText() {
			return nil
		}
		one.name = parts[0].text()
		if len(parts) > 1 && parts[1].isText() && !strings.Contains(one.name, "::") {
			one.name += "::" + parts[1].text()
		}
		return []handling{one}
	}
	var all []handling
	for _, e := range v.each() {
		all = append(all, m.handlingsOf(hook, e, false)...)
	}
	return all
}

// handlersOf are the classes and functions that handle a hook.
func handlersOf(m *manifest, hook string) []string {
	var all []string
	for _, h := range m.handlingsOf(hook, m.root.get("Hooks").get(hook), true) {
		if !h.ours {
			all = append(all, h.name)
			continue
		}
		spec := m.root.get("HookHandlers").get(h.name)
		all = append(all, spec.get("class").text(), spec.get("factory").text())
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// methodOf is the method that handles a hook.
func methodOf(hook string) string {
	if hook == "" {
		return "on"
	}
	return "on" + strings.NewReplacer(":", "_", "-", "_", `\`, "_").Replace(strings.ToUpper(hook[:1])+hook[1:])
}

// hooks checks HookHandlers and Hooks.
func (c *checker) hooks() {
	handlers := c.m.root.get("HookHandlers")
	handlings := c.m.handlings()
	for _, name := range handlers.keys() {
		c.handlerSpec(name, handlers.get(name), handlings)
	}
	for _, h := range handlings {
		if h.ours {
			c.handled(h, handlers.get(h.name))
		} else {
			c.legacy(h)
		}
	}
}

// handlerSpec checks one entry of HookHandlers. An entry whose every hook belongs to an extension that is not in this tree is
// never made: MediaWiki makes a handler when its hook runs. What such an entry needs of that extension is not missed.
func (c *checker) handlerSpec(name string, spec value, handlings []handling) {
	if !spec.isMap() {
		c.find(spec.at, JSON, "has to be an object with a class or factory, and is %s", spec.kind())
		return
	}
	var hooks []string
	for _, h := range handlings {
		if h.ours && h.name == name {
			hooks = append(hooks, h.hook)
		}
	}
	absent := false
	if class := spec.get("class").text(); class != "" && len(hooks) > 0 {
		if f := c.code.class(class, c.m); f.class != nil {
			l := c.code.lineage(f.class, c.m)
			absent = !slices.ContainsFunc(hooks, func(hook string) bool { return !c.nobodyRuns(hook, l) })
		}
	}
	c.harmless = len(hooks) == 0
	c.spec(spec, rules{strict: true, absent: absent})
	c.harmless = false
}

// nobodyRuns reports whether the interface that goes with a hook is named by its handler and is not in the tree: who brings the
// hook brings the interface.
func (c *checker) nobodyRuns(hook string, l *lineage) bool {
	want := strings.TrimPrefix(methodOf(hook), "on") + "Hook"
	return slices.ContainsFunc(l.missing, func(m missing) bool {
		return !c.m.owns(m.name) && !ofCore(m.name) && strings.EqualFold(m.name[strings.LastIndex(m.name, `\`)+1:], want)
	})
}

// ofCore reports whether a class is MediaWiki's own by its name.
func ofCore(name string) bool {
	return strings.HasPrefix(name, `MediaWiki\`) && !strings.HasPrefix(name, `MediaWiki\Extension`) && !strings.HasPrefix(name, `MediaWiki\Skin`)
}

// handled checks that the object of a HookHandlers entry has the method for the hook.
func (c *checker) handled(h handling, spec value) {
	if !spec.there() {
		c.find(h.at, Handler, "HookHandlers has no %q: MediaWiki refuses to load the extension", h.name)
		return
	}
	name := spec.get("class").text()
	f := c.code.class(name, c.m)
	if name == "" || f.class == nil {
		return // a factory's, or told of already
	}
	want := methodOf(h.hook)
	l := c.code.lineage(f.class, c.m)
	m, any := l.method(want)
	switch {
	case m == nil && !any:
		c.find(h.at, Handler, "%s has no method %s", f.class.Name, want)
	case m != nil && m.Visibility != "public":
		c.find(h.at, Handler, "%s::%s is %s", f.class.Name, m.Name, m.Visibility)
	case m != nil:
		c.passes(h, fmt.Sprintf("%s::%s", f.class.Name, m.Name), m)
	}
}

// legacy checks a handler that is a function or a static method.
func (c *checker) legacy(h handling) {
	if m := c.callable(h.at, h.name, methodOf(h.hook)); m != nil {
		c.passes(h, h.name, m)
	}
}

// passes checks that a method needs no more arguments than the hook gives.
func (c *checker) passes(h handling, name string, m *method) {
	gives, ok := c.code.gives(h.hook)
	if ok && m.Required > gives {
		c.find(h.at, Arity, "%s needs %d arguments, and the hook gives %d", name, m.Required, gives)
	}
}

// gives is how many arguments a hook of core has for its handlers.
func (c *code) gives(hook string) (int, bool) {
	for _, name := range runners {
		f := c.class(name, &manifest{})
		if f.class == nil {
			continue
		}
		if m := f.class.Methods[strings.ToLower(methodOf(hook))]; m != nil && m.Most >= 0 {
			return m.Most, true
		}
	}
	return 0, false
}
