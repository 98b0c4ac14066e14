package registration

import (
	"fmt"
	"slices"
	"strings"
)

// lineage is a class with all that it is made of: parents, interfaces, traits, and theirs.
type lineage struct {
	class   *class
	methods map[string]*method // in lower case: what an object of the class has
	names   []string           // of all that it is, in lower case
	missing []missing          // what it is made of and that is not in the tree: PHP cannot load it
	unsure  bool               // something may be there that cannot be seen
}

// missing is a class that another one needs.
type missing struct{ text, name, relation string }

// maxLineage bounds what one class is made of.
const maxLineage = 500

// lineage gathers what a class is made of.
func (c *code) lineage(k *class, m *manifest) *lineage {
	l := &lineage{class: k, methods: map[string]*method{}}
	c.gather(l, k, m, map[string]bool{})
	return l
}

// gather adds what k has to l: nearer methods win, as they do in PHP: the class's own, then its traits', then its parent's.
func (c *code) gather(l *lineage, k *class, m *manifest, seen map[string]bool) {
	low := strings.ToLower(k.Name)
	if seen[low] || len(seen) > maxLineage {
		return
	}
	seen[low] = true
	l.names = append(l.names, low)
	for name, method := range k.Methods {
		if l.methods[name] == nil || l.methods[name].Abstract {
			l.methods[name] = method
		}
	}
	for _, name := range k.Traits {
		if t := c.needs(l, k, "uses the trait", name, m); t != nil {
			c.rename(l, k, t)
			c.gather(l, t, m, seen)
		}
	}
	if k.Parent != "" {
		if parent := c.needs(l, k, "extends", k.Parent, m); parent != nil {
			c.gather(l, parent, m, seen)
		}
	}
	for _, name := range k.Interfaces {
		relation := "implements"
		if k.Kind == "interface" {
			relation = "extends"
		}
		if i := c.needs(l, k, relation, name, m); i != nil {
			c.gather(l, i, m, seen)
		}
	}
}

// needs is a class that another one is made of; nil when there is none, which l then says.
func (c *code) needs(l *lineage, k *class, relation, name string, m *manifest) *class {
	f := c.class(name, m)
	if f.class == nil {
		l.unsure = true
		if !f.unsure {
			l.missing = append(l.missing, missing{fmt.Sprintf("%s %s %s, which %s", k.Name, relation, name, f.why), name, relation})
		}
	}
	return f.class
}

// rename adds the methods that a class takes from a trait under other names.
func (c *code) rename(l *lineage, k, trait *class) {
	for as, alias := range k.TraitAliases {
		from := trait.Methods[alias.Of]
		if from == nil || l.methods[as] != nil && as != alias.Of {
			continue
		}
		renamed := *from
		if alias.Visibility != "" {
			renamed.Visibility = alias.Visibility
		}
		l.methods[as] = &renamed
	}
}

// method is what an object of the class has under a name; nil when it has none. A class that takes calls of any name has all.
func (l *lineage) method(name string) (m *method, any bool) {
	if m := l.methods[strings.ToLower(name)]; m != nil && !m.Abstract {
		return m, false
	}
	return nil, l.methods["__call"] != nil || l.unsure
}

// is reports whether the class is, or descends from, one whose name ends so: MediaWiki moved classes between namespaces.
func (l *lineage) is(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(l.names, func(n string) bool { return n == name || strings.HasSuffix(n, `\`+name) })
}
