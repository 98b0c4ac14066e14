package git

import (
	"slices"
	"sync"
)

// memory is what this process has learnt about objects. What an id names never changes, and a mirror forgets nothing in
// weeks; so nobody starts a git process to ask again. What was not there is not remembered: it may be fetched.
type memory struct {
	mu      sync.Mutex
	objects map[string]object      // by id, id^{tree}, id:path
	modules map[string][]Submodule // by commit
}

// Bounds of a memory.
const (
	mostObjects = 10000
	mostModules = 100
)

// lasting reports whether a name means the same for ever: an id, or something under one.
func lasting(name string) bool { return len(name) >= 40 && IsID(name[:40]) }

// recall returns what is known of names, and those that must be asked about.
func (m *memory) recall(names []string) (known map[string]object, ask []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known = map[string]object{}
	for _, name := range names {
		if o, ok := m.objects[name]; ok {
			known[name] = o
		} else {
			ask = append(ask, name)
		}
	}
	return known, ask
}

// learn remembers what was found.
func (m *memory) learn(found map[string]object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil || len(m.objects)+len(found) > mostObjects {
		m.objects = map[string]object{}
	}
	for name, o := range found {
		if o.kind != "" && lasting(name) {
			m.objects[name] = o
		}
	}
}

// mounted returns the submodules of a commit that was read before.
func (m *memory) mounted(commit string) ([]Submodule, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list, ok := m.modules[commit]
	return slices.Clone(list), ok
}

func (m *memory) mount(commit string, list []Submodule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.modules == nil || len(m.modules) >= mostModules {
		m.modules = map[string][]Submodule{}
	}
	m.modules[commit] = slices.Clone(list)
}
