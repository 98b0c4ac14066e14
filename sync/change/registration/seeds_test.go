package registration

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDebian wants no finding on any extension or skin of Debian's MediaWiki.
func TestDebian(t *testing.T) {
	tree, php := needMediaWiki(t), needPHP(t)
	r, err := Check(t.Context(), tree, Options{PHP: php, Core: ".", Paths: []string{"."}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) > 0 {
		t.Errorf("findings on what works:\n%s", lines(r.Findings))
	}
	if len(r.Checked) < 30 || r.Unchecked != "" {
		t.Errorf("checked %d registrations, not checked: %q", len(r.Checked), r.Unchecked)
	}
}

// garden is Debian's MediaWiki, in copies of which faults are planted.
type garden struct {
	t     *testing.T
	tree  fs.FS
	wiki  *wiki
	code  *code
	cache *Cache
}

func newGarden(t *testing.T) *garden {
	t.Helper()
	g := &garden{t: t, tree: &memo{under: needMediaWiki(t)}, cache: NewCache()}
	g.wiki = &wiki{ctx: t.Context(), tree: g.tree, core: "."}
	if err := g.wiki.load(); err != nil {
		t.Fatal(err)
	}
	var err error
	if g.code, err = openCode(t.Context(), g.wiki, needPHP(t), g.cache); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.code.close)
	return g
}

// check looks at all registrations of a copy.
func (g *garden) check(tree fs.FS) []Finding {
	g.t.Helper()
	r, err := Check(g.t.Context(), tree, Options{PHP: []string{"php"}, Core: ".", Paths: []string{"."}, Cache: g.cache})
	if err != nil {
		g.t.Fatal(err)
	}
	return r.Findings
}

// bed is one extension of a copy.
type bed struct {
	g    *garden
	m    *manifest
	copy *overlay
	root value // of its registration: what is changed in it is written
}

// want is the finding that a fault has to make.
type want struct {
	at, text string
	kind     Kind
	harmless bool
}

// parts are the places of a registration, by pointer, with a way to put something else there.
type part struct {
	value
	put func(any)
}

func (b *bed) parts(keys ...string) []part {
	var all []part
	var walk func(v value, put func(any))
	walk = func(v value, put func(any)) {
		all = append(all, part{v, put})
		switch x := v.is.(type) {
		case map[string]any:
			for _, key := range v.keys() {
				walk(v.get(key), func(to any) { x[key] = to })
			}
		case []any:
			for i, e := range v.each() {
				walk(e, func(to any) { x[i] = to })
			}
		}
	}
	for _, key := range keys {
		if root := b.root.is.(map[string]any); root[key] != nil {
			walk(b.root.get(key), func(to any) { root[key] = to })
		}
	}
	return all
}

// specs are the keys of which each entry is an object specification.
var specs = []string{"HookHandlers", "SpecialPages", "APIModules", "APIListModules"}

// spec is the first object specification that fits, with its class.
func (b *bed) spec(fits func(p part, k *class, file string) bool) (part, *class, string) {
	for _, p := range b.parts(specs...) {
		name := p.get("class").text()
		if name == "" || p.get("factory").there() || !b.used(p) {
			continue
		}
		if f := b.g.code.class(name, b.m); f.class != nil && strings.HasPrefix(f.file, b.m.dir) && fits(p, f.class, f.file) {
			return p, f.class, f.file
		}
	}
	return part{}, nil, ""
}

// used reports whether a hook uses a handler.
func (b *bed) used(p part) bool {
	name, ok := strings.CutPrefix(p.at, "HookHandlers.")
	return !ok || slices.ContainsFunc(b.m.handlings(), func(h handling) bool { return h.ours && h.name == name })
}

// edit replaces the first match of a pattern in a file of the copy.
func (b *bed) edit(file, pattern, to string) bool {
	src := text(b.g.t, b.copy, file)
	at := regexp.MustCompile(pattern).FindStringSubmatchIndex(src)
	if at == nil {
		return false
	}
	b.copy.write(file, src[:at[0]]+string(regexp.MustCompile(pattern).ExpandString(nil, to, src, at))+src[at[1]:])
	return true
}

// save writes the registration as it was changed.
func (b *bed) save() {
	data, err := json.Marshal(b.root.is)
	if err != nil {
		b.g.t.Fatal(err)
	}
	b.copy.write(b.m.file, string(data))
}

func anySpec(part, *class, string) bool { return true }

// seeds are the faults, each planted in every extension that has a place for it.
var seeds = []struct {
	name  string
	least int // extensions that have to have a place
	plant func(b *bed) *want
}{
	{"a class in the registration is misspelt", 15, func(b *bed) *want {
		p, k, _ := b.spec(anySpec)
		if k == nil {
			return nil
		}
		p.is.(map[string]any)["class"] = p.get("class").text() + "s"
		return &want{p.get("class").at, k.Name + "s", Class, false}
	}},
	{"a class's file is gone", 15, func(b *bed) *want {
		p, k, file := b.spec(anySpec)
		if k == nil {
			return nil
		}
		b.copy.remove(file)
		return &want{p.get("class").at, k.Name, Class, false}
	}},
	{"a class is renamed in PHP", 15, func(b *bed) *want {
		p, k, file := b.spec(anySpec)
		if k == nil || !b.edit(file, `(?m)^((?:abstract |final )?class )(\w+)`, "${1}New$2") {
			return nil
		}
		return &want{p.get("class").at, path.Base(file) + " does not declare it", Class, false}
	}},
	{"a parent class is not there", 5, func(b *bed) *want {
		p, k, file := b.spec(func(_ part, k *class, _ string) bool { return k.Parent != "" })
		if k == nil || !b.edit(file, `(?m)^(.*class \w+ extends )(\w+)`, `${1}\MediaWiki\Nowhere`) {
			return nil
		}
		return &want{p.get("class").at, `extends MediaWiki\Nowhere`, Class, false}
	}},
	{"a hook names no handler", 15, func(b *bed) *want {
		return b.hook(func(h part, _ *class, _, _ string) *want {
			h.put("mian")
			return &want{h.at, `"mian" is no function`, Handler, false}
		})
	}},
	{"a hook's method is renamed", 10, func(b *bed) *want {
		return b.hook(func(h part, k *class, file, method string) *want {
			if !b.edit(file, `function `+method+`\b`, "function "+method+"Old") {
				return nil
			}
			return &want{h.at, "no method " + method, Handler, false}
		})
	}},
	{"a hook's method is private", 10, func(b *bed) *want {
		return b.hook(func(h part, k *class, file, method string) *want {
			if !b.edit(file, `public function `+method+`\b`, "private function "+method) {
				return nil
			}
			return &want{h.at, method + " is private", Handler, false}
		})
	}},
	{"a hook's method needs more than the hook gives", 10, func(b *bed) *want {
		return b.hook(func(h part, k *class, file, method string) *want {
			if _, ok := b.g.code.gives(strings.TrimPrefix(h.at, "Hooks.")); !ok || !b.edit(file, `function `+method+`\(`, "function "+method+"( $$a, $$b, $$c, $$d, $$e, $$f, $$g, $$h, $$i, ") {
				return nil
			}
			return &want{h.at, method + " needs", Arity, false}
		})
	}},
	{"a static method is gone", 8, func(b *bed) *want {
		for _, p := range b.parts("Hooks", "callback", "ExtensionFunctions", "ResourceModules") {
			class, method, static := strings.Cut(p.text(), "::")
			if f := b.g.code.class(class, b.m); static && f.class != nil && b.edit(f.file, `function `+method+`\b`, "function "+method+"Old") {
				return &want{p.at, "no method " + method, Handler, false}
			}
		}
		return nil
	}},
	{"a service is misspelt", 10, func(b *bed) *want {
		p, k, _ := b.spec(func(p part, _ *class, _ string) bool { return len(p.get("services").each()) > 0 })
		if k == nil {
			return nil
		}
		p.get("services").is.([]any)[0] = "NoSuchService"
		return &want{p.get("services").at + "[0]", "NoSuchService", Service, false}
	}},
	{"a service is not given", 10, func(b *bed) *want {
		p, k, _ := b.spec(func(p part, k *class, _ string) bool {
			ctor := k.Methods["__construct"]
			return ctor != nil && ctor.Required == len(ctor.Types) && len(p.get("services").each()) > 0
		})
		if k == nil {
			return nil
		}
		all := p.get("services").is.([]any)
		p.is.(map[string]any)["services"] = all[:len(all)-1]
		return &want{p.get("class").at, "the constructor of " + k.Name + " needs", Arity, false}
	}},
	{"a constructor needs one more", 10, func(b *bed) *want {
		p, k, file := b.spec(func(_ part, k *class, _ string) bool { return k.Methods["__construct"] != nil })
		if k == nil || !b.edit(file, `function __construct\(\s*(\$|\w|\\|\?|\))`, "function __construct( $$more, $1") {
			return nil
		}
		return &want{p.get("class").at, "the constructor of " + k.Name + " needs", Arity, false}
	}},
	{"a service too many", 10, func(b *bed) *want {
		p, k, _ := b.spec(func(p part, k *class, _ string) bool {
			ctor := k.Methods["__construct"]
			return ctor != nil && ctor.Required == ctor.Most && len(p.get("services").each()) > 0
		})
		if k == nil {
			return nil
		}
		p.is.(map[string]any)["services"] = append(p.get("services").is.([]any), "MainConfig")
		return &want{p.get("class").at, "the constructor of " + k.Name + " takes", Arity, true}
	}},
	{"services are in another order", 3, func(b *bed) *want {
		p, k, _ := b.spec(func(p part, k *class, _ string) bool {
			all := p.get("services").each()
			return len(all) > 1 && b.classService(all[0].text()) && b.classService(all[1].text())
		})
		if k == nil {
			return nil
		}
		all := p.get("services").is.([]any)
		all[0], all[1] = all[1], all[0]
		return &want{p.get("services").at + "[0]", "the constructor of " + k.Name + " wants", Type, false}
	}},
	{"a setting is gone", 3, func(b *bed) *want {
		config, _ := b.root.get("config").is.(map[string]any)
		c := &checker{wiki: b.g.wiki, code: b.g.code, m: b.m}
		for _, file := range c.phpFiles() {
			for _, setting := range b.g.code.source(file, declarations).Gets {
				if config[setting] != nil && strings.HasPrefix(setting, b.m.name) {
					delete(config, setting)
					return &want{"config." + setting, "asks for the setting", Config, false}
				}
			}
		}
		return nil
	}},
	{"a file is gone", 30, func(b *bed) *want {
		for _, p := range b.parts("ServiceWiringFiles", "ExtensionMessagesFiles", "AutoloadClasses", "MessagesDirs") {
			if p.isText() {
				b.copy.remove(b.m.path(p.text()))
				return &want{p.at, b.m.path(p.text()), File, false}
			}
		}
		return nil
	}},
}

// classService reports whether a service is of a class that is nobody's parent or child among services.
func (b *bed) classService(name string) bool {
	s := &services{code: b.g.code}
	f := b.g.code.class(s.gives(name), b.m)
	return f.class != nil && f.class.Kind == "class" && f.class.Parent == "" && len(f.class.Interfaces) == 0
}

// hook plants in the first hook that a class of the extension handles by a handler of its own.
func (b *bed) hook(plant func(h part, k *class, file, method string) *want) *want {
	for _, h := range b.parts("Hooks") {
		name, ok := strings.CutPrefix(h.at, "Hooks.")
		spec := b.root.get("HookHandlers").get(h.text())
		if !ok || !h.isText() || !spec.there() {
			continue
		}
		f := b.g.code.class(spec.get("class").text(), b.m)
		if f.class == nil || !strings.HasPrefix(f.file, b.m.dir) {
			continue
		}
		if w := plant(h, f.class, f.file, methodOf(name)); w != nil {
			return w
		}
	}
	return nil
}

// TestSeeds plants each fault in copies of all extensions that have a place for it, and wants each found where it is and by name,
// and nothing found in the others.
func TestSeeds(t *testing.T) {
	g := newGarden(t)
	for _, seed := range seeds {
		t.Run(seed.name, func(t *testing.T) {
			copy := over(g.tree)
			wants := map[string]*want{}
			for _, m := range g.wiki.manifests {
				b := &bed{g: g, m: readManifest(m.file, []byte(text(t, g.tree, m.file))), copy: copy}
				b.root = b.m.root
				if w := seed.plant(b); w != nil {
					wants[m.file] = w
					b.save()
				}
			}
			if len(wants) < seed.least {
				t.Errorf("planted in %d extensions, want at least %d", len(wants), seed.least)
			}
			findings := g.check(copy)
			for file, w := range wants {
				if !slices.ContainsFunc(findings, func(f Finding) bool {
					return f.File == file && f.Pointer == w.at && f.Kind == w.kind && strings.Contains(f.Text, w.text) && f.Harmless == w.harmless
				}) {
					t.Errorf("%s: %s: %+v not found in\n%s", file, seed.name, *w, lines(of(findings, file)))
				}
			}
			for _, f := range findings {
				if wants[f.File] == nil && !strings.HasPrefix(f.File, "extensions/ConfirmEdit/") { // whose parts share its classes
					t.Errorf("found where nothing was planted: %v", f)
				}
			}
		})
	}
}

func of(findings []Finding, file string) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.File != file })
}

// TestCoreSeeds breaks MediaWiki itself below its extensions.
func TestCoreSeeds(t *testing.T) {
	g := newGarden(t)
	for _, tt := range []struct {
		name, file, pattern, to string
		kind                    Kind
		text                    string
		least                   int
	}{
		{"a service is gone", "includes/ServiceWiring.php", `'UserOptionsLookup' =>`, "'UserOptions' =>", Service, `"UserOptionsLookup"`, 3},
		{"a class is gone", "autoload.php", `'SpecialPage' =>`, "'TheSpecialPage' =>", Class, "extends SpecialPage", 5},
		{"a file is another's", "includes/specialpage/SpecialPage.php", `class SpecialPage `, "class ASpecialPage ", Class, "does not declare it", 5},
		{"a constructor needs more", "includes/logging/LogFormatter.php", `function __construct\( LogEntry \$entry`, "$0, $$more", Arity, "needs 2 arguments", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bed{g: g, copy: over(g.tree)}
			if !b.edit(tt.file, tt.pattern, tt.to) {
				t.Fatal("MediaWiki has no place for it")
			}
			files := map[string]bool{}
			for _, f := range g.check(b.copy) {
				if f.Kind == tt.kind && strings.Contains(f.Text, tt.text) {
					files[f.File] = true
				}
			}
			if len(files) < tt.least {
				t.Errorf("found in %d extensions, want at least %d", len(files), tt.least)
			}
		})
	}
}

// TestMisspelt misspells texts all over the registrations, one a registration at a time, and wants each told of at its place.
func TestMisspelt(t *testing.T) {
	const rounds = 5
	g := newGarden(t)
	for round := range rounds {
		copy := over(g.tree)
		at := map[string]string{}
		for i, m := range g.wiki.manifests {
			b := &bed{g: g, m: readManifest(m.file, []byte(text(t, g.tree, m.file))), copy: copy}
			b.root = b.m.root
			texts := slices.DeleteFunc(b.parts("APIModules", "AuthManagerAutoConfig", "AutoloadClasses", "AutoloadNamespaces", "ConfigRegistry",
				"ContentHandlers", "ExtensionFunctions", "ExtensionMessagesFiles", "HookHandlers", "Hooks", "JobClasses", "LogActionsHandlers",
				"MediaHandlers", "MessagesDirs", "ParsoidModules", "ServiceWiringFiles", "SpecialPages", "callback"), func(p part) bool { return !p.isText() })
			p := texts[(i+round*max(1, len(texts)/rounds))%len(texts)]
			p.put(p.text() + "Zz")
			b.save()
			at[m.file] = p.at
		}
		findings := g.check(copy)
		for file, at := range at {
			if !slices.ContainsFunc(of(findings, file), func(f Finding) bool { return strings.HasPrefix(f.Pointer, at) }) {
				t.Errorf("%s: %s is misspelt, and found was\n%s", file, at, lines(of(findings, file)))
			}
		}
	}
}

// TestReportsAreInOrder wants the same report of the same tree, whatever order maps have.
func TestReportsAreInOrder(t *testing.T) {
	tree := over(small())
	for _, name := range []string{"A", "B", "C"} {
		tree.remove("w/extensions/Foo/src/" + name + ".php")
	}
	var first *Report
	for range 3 {
		r := look(t, tree)
		if first == nil {
			first = r
		}
		if !slices.Equal(r.Findings, first.Findings) || !slices.IsSortedFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.File, b.File) }) {
			t.Errorf("have\n%s\nand\n%s", lines(first.Findings), lines(r.Findings))
		}
	}
}
