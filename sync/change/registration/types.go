package registration

import (
	"slices"
	"strings"
)

// types checks that services arrive where their type is wanted: constructors are given services by place, so a list in another
// order than the parameters' is an error of type when the object is made. It tells only what cannot be otherwise: of two classes
// neither is the other's parent, or a service is an object and a number, list or truth is wanted.
func (c *checker) types(name string, m *method, first int, g given) {
	for i, s := range g.services {
		if first+i >= len(m.Types) || !s.isText() {
			continue
		}
		gives, wants := c.services.gives(s.text()), m.Types[first+i]
		if gives == "" || wants == "" || strings.Contains(gives, "|") {
			continue
		}
		if c.cannotBe(gives, strings.Split(wants, "|")) {
			c.find(s.at, Type, "%s wants %s in this place, and the service %s is %s", name, wants, s.text(), gives)
		}
	}
}

// scalars are the types that no object is.
var scalars = []string{"int", "float", "bool", "false", "true", "array", "null"}

// cannotBe reports whether an object of the one class can be none of the types that are wanted.
func (c *checker) cannotBe(gives string, wants []string) bool {
	is := c.ancestors(gives)
	if is == nil {
		return false
	}
	for _, want := range wants {
		if slices.Contains(scalars, want) {
			continue
		}
		// Of an interface there may be a class below the one that is said; and below the one that is wanted may be what is given.
		to := c.ancestors(want)
		if to == nil || to.class.Kind != "class" || is.class.Kind != "class" || to.has(is.class.Name) || is.has(to.class.Name) {
			return false
		}
	}
	return true
}

// ancestors is a class with all that it is made of; nil when not all of that is known.
func (c *checker) ancestors(name string) *lineage {
	f := c.code.class(name, c.m)
	if f.class == nil {
		return nil
	}
	if l := c.code.lineage(f.class, c.m); !l.unsure {
		return l
	}
	return nil
}

// has reports whether the class is that one or descends from it.
func (l *lineage) has(name string) bool { return slices.Contains(l.names, strings.ToLower(name)) }
