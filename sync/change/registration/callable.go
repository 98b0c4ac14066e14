package registration

import "strings"

// call checks something to call: a text, or a list of class and method.
func (c *checker) call(v value) *method {
	if v.isText() {
		return c.callable(v.at, v.text(), "")
	}
	parts := v.each()
	if len(parts) == 2 && parts[0].isText() && parts[1].isText() {
		return c.callable(v.at, parts[0].text()+"::"+parts[1].text(), "")
	}
	c.find(v.at, JSON, "has to be a function or Class::method, and is %s", v.kind())
	return nil
}

// callable checks that a function or static method is there, and returns the method. usual is the method that is called when
// only a class is named, "" when none is.
func (c *checker) callable(at, name, usual string) *method {
	class, want, static := strings.Cut(name, "::")
	if !static {
		if c.code.function(name, c.m) {
			return nil
		}
		if f := c.code.class(name, c.m); f.class == nil || usual == "" {
			c.find(at, Handler, "%q is no function in the tree%s", name, c.hint())
			return nil
		}
		want = usual
	}
	f := c.code.class(class, c.m)
	if f.class == nil {
		if !f.unsure {
			c.find(at, Class, "class %s %s", class, f.why)
		}
		return nil
	}
	l := c.code.lineage(f.class, c.m)
	c.whole(at, l, usual != "" && c.nobodyRuns(strings.TrimPrefix(usual, "on"), l))
	m, _ := l.method(want)
	switch {
	case m == nil && !l.unsure && l.methods["__callstatic"] == nil:
		c.find(at, Handler, "%s has no method %s", f.class.Name, want)
	case m == nil:
	case !m.Static:
		c.find(at, Handler, "%s::%s is not static", f.class.Name, m.Name)
	case m.Visibility != "public":
		c.find(at, Handler, "%s::%s is %s", f.class.Name, m.Name, m.Visibility)
	default:
		return m
	}
	return nil
}

// hint names what a hook may name besides functions.
func (c *checker) hint() string {
	names := c.m.root.get("HookHandlers").keys()
	if len(names) == 0 {
		return ""
	}
	if len(names) > 10 {
		names = names[:10]
	}
	return ", nor one of HookHandlers: " + strings.Join(names, ", ")
}
