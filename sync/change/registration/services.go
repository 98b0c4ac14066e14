package registration

import "strings"

// services are the names that MediaWiki's service container knows: core's wiring, that of the extensions in the tree, and what
// extensions define in a handler of the hook MediaWikiServices.
type services struct {
	code  *code
	names map[string]string // name -> the type that it says it is; nil: not read yet
	lower map[string]string // in lower case -> name, to tell what was meant
	core  bool              // core's wiring was there
}

// file is core's wiring.
func (s *services) file() string { return s.code.wiki.in("includes/ServiceWiring.php") }

// unknown reports whether it was asked for services without core's wiring.
func (s *services) unknown() bool { return s.names != nil && !s.core }

// known reports whether there is a service of that name.
func (s *services) known(name string) bool {
	s.load()
	_, ok := s.names[name]
	return ok
}

// has reports whether there may be one: without core's wiring nobody knows.
func (s *services) has(name string) bool { return s.known(name) || !s.core }

// gives is the type that a service says it is, "" when it does not say.
func (s *services) gives(name string) string {
	s.load()
	return s.names[name]
}

// like is a service whose name differs in nothing but case, or "".
func (s *services) like(name string) string { return s.lower[strings.ToLower(name)] }

func (s *services) load() {
	if s.names != nil {
		return
	}
	s.names = map[string]string{}
	w := s.code.wiki
	s.core = s.wiring(s.file(), &manifest{})
	for _, m := range w.manifests {
		for _, v := range m.root.get("ServiceWiringFiles").each() {
			s.wiring(m.path(v.text()), m)
		}
		for _, v := range handlersOf(m, "MediaWikiServices") {
			class, _, _ := strings.Cut(v, "::")
			if f := s.code.class(class, m); f.file != "" {
				if src := s.code.source(f.file, declarations); src != nil {
					for _, name := range src.Defines {
						s.names[name] = ""
					}
				}
			}
		}
	}
	s.lower = map[string]string{}
	for name := range s.names {
		s.lower[strings.ToLower(name)] = name
	}
}

// wiring reads one wiring file: it returns an array of closures by name.
func (s *services) wiring(file string, m *manifest) bool {
	src := s.code.source(file, tables)
	if src == nil {
		return false
	}
	t, ok := src.Tables["return"]
	for _, p := range t.Pairs {
		name := p.Key
		if p.Const != "" {
			name = s.constant(p.Const, m)
		}
		if name != "" {
			s.names[name] = p.Gives
		}
	}
	if !ok || t.Open {
		for _, word := range src.Words {
			s.names[word] = ""
		}
	}
	return true
}

// constant is the text of a class constant.
func (s *services) constant(name string, m *manifest) string {
	class, constant, _ := strings.Cut(name, "::")
	if f := s.code.class(class, m); f.class != nil {
		return f.class.Consts[constant]
	}
	return ""
}
