package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// manifest is one extension.json or skin.json.
type manifest struct {
	file, dir string // in the tree
	name      string
	root      value
	broken    string  // why it cannot be read at all
	wrong     []wrong // parts that MediaWiki would not take

	classes    map[string]string // AutoloadClasses: class -> file in the tree
	namespaces map[string]string // AutoloadNamespaces: prefix with its last backslash -> directory in the tree
}

// maxDepth is how deep json_decode reads.
const maxDepth = 512

// arrays are the keys that MediaWiki goes through as arrays, and breaks on anything else.
var arrays = []string{
	"APIFormatModules", "APIListModules", "APIMetaModules", "APIModules", "APIPropModules", "Actions", "AuthManagerAutoConfig",
	"AutoloadClasses", "AutoloadNamespaces", "CentralIdLookupProviders", "ConfigRegistry", "ContentHandlers", "DomainEventIngresses",
	"ExtensionFunctions", "ExtensionMessagesFiles", "FeedClasses", "HookHandlers", "Hooks", "JobClasses", "LogActionsHandlers",
	"MediaHandlers", "MessagesDirs", "ParsoidModules", "ResourceModuleSkinStyles", "ResourceModules", "RestModuleFiles", "RestRoutes",
	"SearchMappings", "ServiceWiringFiles", "SessionProviders", "SpecialPages", "TranslationAliasesDirs", "ValidSkinNames", "attributes",
	"config", "requires",
}

// readManifest reads what extension.json or skin.json of that path says. What is wrong with it is kept in it.
func readManifest(file string, data []byte) *manifest {
	m := &manifest{file: file, dir: path.Dir(file), classes: map[string]string{}, namespaces: map[string]string{}}
	root, err := decode(data)
	if err != nil {
		m.broken = err.Error()
		return m
	}
	m.root = value{"", root}
	m.name = m.root.get("name").text()
	if m.name == "" {
		m.wrong = append(m.wrong, wrong{"name", "MediaWiki wants a name, and there is none"})
	}
	if v := m.root.get("manifest_version"); v.there() && v.is != json.Number("1") && v.is != json.Number("2") {
		m.wrong = append(m.wrong, wrong{v.at, fmt.Sprintf("MediaWiki knows manifest versions 1 and 2, not %.40v", v.is)})
	}
	for _, key := range arrays {
		if not := m.root.get(key).notArray(); not != "" {
			m.wrong = append(m.wrong, wrong{key, not})
		}
	}
	for _, key := range m.root.get("AutoloadClasses").keys() {
		m.classes[key] = m.path(m.root.get("AutoloadClasses").get(key).text())
	}
	for _, key := range m.root.get("AutoloadNamespaces").keys() {
		m.namespaces[key] = m.path(m.root.get("AutoloadNamespaces").get(key).text())
	}
	return m
}

// decode reads JSON as PHP's json_decode does, which takes no broken UTF-8, no second value and no more than 512 levels.
func decode(data []byte) (map[string]any, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("more than %d bytes", maxManifest)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8")
	}
	if depth := depth(data); depth > maxDepth {
		return nil, fmt.Errorf("is nested %d deep, json_decode reads no more than %d", depth, maxDepth)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, fmt.Errorf("is no JSON near byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("has more than one JSON value, the second at byte %d", d.InputOffset())
	}
	object, ok := root.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("has to be an object, and is %s", value{"", root}.kind())
	}
	return object, nil
}

// depth is how deep objects and lists are nested, at least when it is JSON.
func depth(data []byte) int {
	most, now, text := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case text && b == '\\':
			i++
		case b == '"':
			text = !text
		case text:
		case b == '{' || b == '[':
			now++
			most = max(most, now)
		case b == '}' || b == ']':
			now--
		}
	}
	return most
}

// path is where in the tree a path of the registration leads; it may lead out, then fs.ValidPath says so.
func (m *manifest) path(name string) string { return path.Join(m.dir, name) }

// owns reports whether a class belongs to this extension by its name.
func (m *manifest) owns(class string) bool {
	if _, ok := m.classes[class]; ok {
		return true
	}
	for prefix := range m.namespaces {
		if strings.HasPrefix(class, prefix) {
			return true
		}
	}
	return false
}

// requires reports whether the extension does not load without one of these.
func (m *manifest) requires(names map[string]bool) bool {
	for _, what := range []string{"extensions", "skins"} {
		for _, name := range m.root.get("requires").get(what).keys() {
			if names[name] {
				return true
			}
		}
	}
	return false
}
