package registration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// span is how many arguments MediaWiki itself adds in front; most -1: nobody knows.
type span struct{ least, most int }

var anyNumber = span{0, -1}

// rules say what one place of a registration allows.
type rules struct {
	extra    span
	class    bool // a text may be a class
	callable bool // a text, or a list, may be something to call
	strict   bool // an object has to have a class or factory
	absent   bool // nothing in this tree makes it
	job      bool // extra is one less for classes that want no title
	inside   bool // the class itself makes its objects: its constructor may be protected
}

// spec checks an object specification, as ObjectFactory makes objects from: a class or factory, services and arguments.
func (c *checker) spec(v value, r rules) {
	switch {
	case v.is == nil, v.is == false, v.is == true: // taken out, or on and off
	case v.isText() && r.callable && (strings.Contains(v.text(), "::") || !r.class):
		c.callable(v.at, v.text(), "")
	case v.isText() && r.class:
		c.make(v, v.text(), r, given{})
	case v.isList() && r.callable:
		c.call(v)
	case v.isMap():
		c.object(v, r)
	case r.strict || r.class:
		c.find(v.at, JSON, "has to be a class or an object specification, and is %s", v.kind())
	}
}

// given are the arguments that a registration names itself.
type given struct {
	services []value // their names; null stands for an argument that is null
	args     int
}

func (g given) count() int { return len(g.services) + g.args }

func (c *checker) object(v value, r rules) {
	class, factory := v.get("class"), v.get("factory")
	if !class.there() && !factory.there() {
		if r.strict {
			c.find(v.at, JSON, "has neither class nor factory")
		}
		return
	}
	if r.job {
		r.extra = title(v)
	}
	g := given{services: append(c.names(v.get("services"), r, true), c.names(v.get("optional_services"), r, false)...)}
	args := v.get("args")
	switch {
	case v.get("spec_is_arg").is == true:
		g.args = 1
	case args.isMap() && len(args.keys()) > 0:
		c.find(args.at, JSON, "args has to be a list, and is an object")
		return
	default:
		g.args = len(args.each())
	}
	if !factory.there() {
		c.make(class, class.text(), r, g)
		return
	}
	if m := c.call(factory); m != nil && !r.absent {
		c.arity(factory.at, factory.text(), m, r.extra, g)
	}
	if class.there() { // only what the factory has to give
		if f := c.code.class(class.text(), c.m); f.class == nil && !f.unsure {
			c.find(class.at, Class, "class %s %s", class.text(), f.why)
		}
	}
}

// names checks a list of services.
func (c *checker) names(v value, r rules, needed bool) []value {
	if not := v.notArray(); not != "" {
		c.find(v.at, JSON, "%s", not)
		return nil
	}
	all := v.each()
	for _, s := range all {
		switch {
		case s.is == nil:
		case !s.isText():
			c.find(s.at, JSON, "has to be the name of a service, and is %s", s.kind())
		case needed && !r.absent && !c.services.has(s.text()):
			text := fmt.Sprintf("no service wiring in the tree has %q", s.text())
			if like := c.services.like(s.text()); like != "" {
				text += fmt.Sprintf("; there is %q", like)
			}
			c.find(s.at, Service, "%s", text)
		}
	}
	return all
}

// make checks that an object of a class can be made of what it is given.
func (c *checker) make(v value, name string, r rules, g given) {
	if name == "" {
		c.find(v.at, JSON, "has to be the name of a class, and is %s", v.kind())
		return
	}
	l := c.concrete(v.at, name, r.absent)
	if l == nil {
		return
	}
	ctor := l.methods["__construct"]
	if ctor == nil {
		if l.unsure {
			return
		}
		ctor = &method{Visibility: "public"}
	}
	if ctor.Visibility != "public" && !r.inside {
		c.find(v.at, Class, "the constructor of %s is %s", l.class.Name, ctor.Visibility)
		return
	}
	extra := r.extra
	switch {
	case !r.job:
	case l.is("GenericParameterJob"):
		extra = span{1, 1}
	case l.unsure:
		extra.least = 1
	}
	c.arity(v.at, "the constructor of "+l.class.Name, ctor, extra, g)
}

// title is what a job gets besides its own arguments: parameters, and before them a title, unless its class or registration
// wants none.
func title(v value) span {
	switch need := v.get("needsPage"); {
	case need.is == false:
		return span{1, 1}
	case v.get("factory").there() && !need.there():
		return span{1, 2}
	}
	return span{2, 2}
}

// concrete looks for a class of which objects can be made, with all that it is made of; nil, and a finding, when there is none.
func (c *checker) concrete(at, name string, absent bool) *lineage {
	f := c.code.class(name, c.m)
	if f.class == nil {
		if !f.unsure {
			c.find(at, Class, "class %s %s", name, f.why)
		}
		return nil
	}
	if f.class.Kind != "class" {
		c.find(at, Class, "%s is of the kind %s: no object can be made of it", f.class.Name, f.class.Kind)
		return nil
	}
	if f.class.Abstract {
		c.find(at, Class, "class %s is abstract: no object can be made of it", f.class.Name)
		return nil
	}
	l := c.code.lineage(f.class, c.m)
	c.whole(at, l, absent)
	return l
}

// whole checks that PHP can load a class: that all it is made of is in the tree, and that it has what that asks of it.
func (c *checker) whole(at string, l *lineage, absent bool) {
	for _, m := range l.missing {
		if !absent || c.m.owns(m.name) || ofCore(m.name) {
			c.find(at, Class, "%s", m.text)
		}
	}
	if l.unsure || l.class.Abstract || l.class.Kind != "class" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(l.methods)) {
		if m := l.methods[name]; m.Abstract {
			c.find(at, Class, "%s has no method %s, which what it is made of asks for: PHP cannot load it", l.class.Name, m.Name)
		}
	}
}

// arity checks that what is called takes what it is given: MediaWiki's own arguments, then services, then args. More than it
// takes is a mistake too when the registration names them: the last is meant to arrive somewhere.
func (c *checker) arity(at, name string, m *method, extra span, g given) {
	gets := fmt.Sprintf("gets %s", count(g, extra))
	switch {
	case extra.most >= 0 && extra.most+g.count() < m.Required:
		c.find(at, Arity, "%s needs %d arguments, and %s", name, m.Required, gets)
	case m.Most >= 0 && g.count() > 0 && extra.least+g.count() > m.Most:
		c.findHarmless(at, Arity, "%s takes %d arguments, and %s", name, m.Most, gets)
		fallthrough
	case extra.least == extra.most:
		c.types(name, m, extra.least, g)
	}
}

// count is what something gets, in words.
func count(g given, extra span) string {
	text := fmt.Sprintf("%d: %d services, %d args", extra.least+g.count(), len(g.services), g.args)
	if extra.least > 0 {
		text += fmt.Sprintf(", %d from MediaWiki", extra.least)
	}
	return text
}
