package registration

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// small is a MediaWiki of a few files with one extension, at w.
func small() fstest.MapFS {
	files := map[string]string{
		"w/autoload.php": `<?php
$wgAutoloadLocalClasses = [
	'SpecialPage' => __DIR__ . '/includes/SpecialPage.php',
	'OldName' => __DIR__ . '/includes/SpecialPage.php',
	'MediaWiki\\HookContainer\\HookRunner' => __DIR__ . '/includes/HookRunner.php',
];`,
		"w/includes/AutoLoader.php": `<?php
class AutoLoader {
	public const CORE_NAMESPACES = [ 'MediaWiki\\' => __DIR__ . '/', ];
}`,
		"w/includes/GlobalFunctions.php": "<?php\nfunction wfKnown() {}\n",
		"w/includes/SpecialPage.php": `<?php
class SpecialPage { public function __construct( $name = '' ) {} }
class_alias( SpecialPage::class, 'OldName' );`,
		"w/includes/Page.php":  "<?php\nnamespace MediaWiki;\nclass Page {}\n",
		"w/includes/Other.php": "<?php\nnamespace MediaWiki;\nclass Other {}\n",
		"w/includes/HookRunner.php": `<?php
namespace MediaWiki\HookContainer;
class HookRunner { public function onPageShown( $out, $skin ) {} public function onSetup_it() {} }`,
		"w/includes/ServiceWiring.php": `<?php
use MediaWiki\Page;
return [
	'Page' => static function ( $services ): Page { return new Page( [ 'a' => 1 ] ); },
	'Other' => static fn ( $services ): \MediaWiki\Other => new \MediaWiki\Other,
];`,
		"w/extensions/Foo/extension.json": manifestOf(""),
		"w/extensions/Foo/wiring.php":     "<?php\nreturn [ 'Foo.Store' => static function () {}, Foo\\Names::KEY => fn () => 1 ];\n",
		"w/extensions/Foo/src/Names.php":  "<?php\nnamespace Foo;\nclass Names { public const KEY = 'Foo.Key'; }\n",
		"w/extensions/Foo/src/Main.php": `<?php
namespace Foo;
use MediaWiki\{Page, Other as O};
class Main {
	public function __construct( private readonly Page $page, ?O $other = null ) {}
	public function onPageShown( $out, $skin ) {}
	public function onSetup_it() {}
	public static function make(): self { return new self(); }
	public function plain() {}
}`,
		"w/extensions/Foo/src/A.php":     "<?php\nnamespace Foo;\nclass A extends B { use T { hidden as public onShown; } }\n",
		"w/extensions/Foo/src/B.php":     "<?php\nnamespace Foo;\nabstract class B extends C implements I { public function onFromParent() {} }\n",
		"w/extensions/Foo/src/C.php":     "<?php\nnamespace Foo;\nclass C { public function __construct( $one, ...$rest ) {} }\n",
		"w/extensions/Foo/src/T.php":     "<?php\nnamespace Foo;\ntrait T { private function hidden() {} public function onFromTrait() {} }\n",
		"w/extensions/Foo/src/Asks.php":  "<?php\nnamespace Foo;\ninterface Asks { public function asked(); }\n",
		"w/extensions/Foo/src/Lacks.php": "<?php\nnamespace Foo;\nclass Lacks extends \\SpecialPage implements Asks {}\n",
		"w/extensions/Foo/src/I.php":     "<?php\nnamespace Foo;\ninterface I {}\n",
	}
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

// manifestOf is a registration of the extension with something more in it.
func manifestOf(more string) string {
	return `{ "name": "Foo", "manifest_version": 2, "AutoloadNamespaces": { "Foo\\": "src/" }, "ServiceWiringFiles": [ "wiring.php" ],
		"SpecialPages": { "A": { "class": "Foo\\A", "args": [ 1 ] } } ` + more + ` }`
}

// look checks all of a small wiki.
func look(t *testing.T, tree fs.FS) *Report {
	t.Helper()
	r, err := Check(t.Context(), tree, Options{PHP: needPHP(t), Core: "w", Paths: []string{"w"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		want       string // the findings' pointers, kinds and a word of each; empty: none
	}{
		{"nothing", ``, ``},
		{"no hooks at all, as PHP writes it", `, "Hooks": []`, ``},
		{"remarks", `, "Hooks": { "@note": "x" }, "@doc": 1`, ``},
		{"a handler", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page", "Other" ] } }, "Hooks": { "PageShown": "main" }`, ``},
		{"a handler as an object", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page" ] } }, "Hooks": { "PageShown": { "handler": "main" } }`, ``},
		{"handlers in a list", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page" ] } }, "Hooks": { "PageShown": [ "main", { "handler": "main" } ] }`, ``},
		{"a colon in a hook's name", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page" ] } }, "Hooks": { "setup:it": "main" }`, ``},
		{"a method of a parent", `, "HookHandlers": { "a": { "class": "Foo\\A", "args": [ 1 ] } }, "Hooks": { "FromParent": "a" }`, ``},
		{"a method of a trait", `, "HookHandlers": { "a": { "class": "Foo\\A", "args": [ 1 ] } }, "Hooks": { "FromTrait": "a" }`, ``},
		{"a method of a trait by another name", `, "HookHandlers": { "a": { "class": "Foo\\A", "args": [ 1 ] } }, "Hooks": { "Shown": "a" }`, ``},
		{"a parent's constructor", `, "APIModules": { "a": { "class": "Foo\\A" } }`, ``},
		{"a constructor that takes any number", `, "APIModules": { "a": { "class": "Foo\\A", "services": [ "Page", "Other" ], "args": [ 1, 2, 3 ] } }`, ``},
		{"null for a service", `, "APIListModules": { "a": { "class": "Foo\\A", "services": [ null ] } }`, ``},
		{"an optional service", `, "APIListModules": { "a": { "class": "Foo\\A", "optional_services": [ "NoSuch" ] } }`, ``},
		{"a service by a constant", `, "APIListModules": { "a": { "class": "Foo\\A", "services": [ "Foo.Key", "Foo.Store" ] } }`, ``},
		{"a leading backslash", `, "SpecialPages": { "X": "\\SpecialPage" }`, ``},
		{"an alias", `, "SpecialPages": { "X": "OldName" }`, ``},
		{"the wrong case, which core forgives", `, "SpecialPages": { "X": "specialpage" }`, ``},
		{"a class of PHP", `, "SpecialPages": { "X": { "class": "ArrayObject" } }`, ``},
		{"a page taken out", `, "SpecialPages": { "X": false }, "Actions": { "x": true }`, ``},
		{"a factory", `, "SpecialPages": { "X": { "factory": "Foo\\Main::make" } }`, ``},
		{"a factory as a list", `, "SpecialPages": { "X": { "factory": [ "Foo\\Main", "make" ] } }`, ``},
		{"a function", `, "ExtensionFunctions": [ "wfKnown", "strlen" ]`, ``},
		{"a job", `, "JobClasses": { "x": "Foo\\A" }`, ``},
		{"a route that has no class", `, "RestRoutes": [ { "path": "/x", "redirect": {} } ]`, ``},
		{"somebody else's attribute", `, "attributes": { "Bar": { "X": "Bar\\Y", "Z": "Foo", "css": "Foo \\ bar" } }`, ``},

		{"a class that lacks what its interface asks for", `, "SpecialPages": { "X": "Foo\\Lacks" }`, `SpecialPages.X class has no method asked`},
		{"no class", `, "SpecialPages": { "X": "Foo\\Gone" }`, `SpecialPages.X class is not in the tree`},
		{"no class of core", `, "SpecialPages": { "X": "MediaWiki\\Gone" }`, `SpecialPages.X class is not in the tree`},
		{"an abstract class", `, "SpecialPages": { "X": { "class": "Foo\\B", "args": [ 1 ] } }`, `SpecialPages.X.class class abstract`},
		{"an interface", `, "SpecialPages": { "X": "Foo\\I" }`, `SpecialPages.X class interface`},
		{"neither class nor factory", `, "SpecialPages": { "X": { "services": [] } }`, `SpecialPages.X json neither`},
		{"a number for a class", `, "SpecialPages": { "X": 7 }`, `SpecialPages.X json a number`},
		{"an object for args", `, "SpecialPages": { "X": { "class": "Foo\\A", "args": { "a": 1 } } }`, `SpecialPages.X.args json list`},
		{"hooks that are no array", `, "Hooks": "main"`, `Hooks json has to be an array`},
		{"no handler of that name", `, "Hooks": { "PageShown": { "handler": "main" } }`, `Hooks.PageShown.handler handler refuses`},
		{"no handler nor function", `, "Hooks": { "PageShown": "main" }`, `Hooks.PageShown handler no function`},
		{"no method", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page" ] } }, "Hooks": { "PageHidden": "main" }`, `Hooks.PageHidden handler no method onPageHidden`},
		{"no static method", `, "Hooks": { "PageShown": [ [ "Foo\\Main", "gone" ] ] }`, `Hooks.PageShown[0] handler no method gone`},
		{"a method that is not static", `, "Hooks": { "PageShown": "Foo\\Main::plain" }`, `Hooks.PageShown handler not static`},
		{"no service", `, "APIListModules": { "a": { "class": "Foo\\A", "services": [ "page" ] } }`, `APIListModules.a.services[0] service there is "Page"`},
		{"too few", `, "HookHandlers": { "main": { "class": "Foo\\Main" } }, "Hooks": { "PageShown": "main" }`, `HookHandlers.main.class arity needs 1`},
		{"too many", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page", "Other" ], "args": [ 1 ] } }, "Hooks": { "PageShown": "main" }`, `HookHandlers.main.class arity takes 2`},
		{"another type", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Other" ] } }, "Hooks": { "PageShown": "main" }`, `HookHandlers.main.services[0] type wants MediaWiki\Page`},
		{"a factory takes less", `, "SpecialPages": { "X": { "factory": "Foo\\Main::make", "args": [ 1 ] } }`, `SpecialPages.X.factory arity takes 0`},
		{"one's own class elsewhere", `, "attributes": { "Bar": { "Things": [ "Foo\\Gone" ] } }`, `attributes.Bar.Things[0] class is not in the tree`},
		{"one's own method elsewhere", `, "attributes": { "Bar": { "Things": [ "\\Foo\\Main::gone" ] } }`, `attributes.Bar.Things[0] handler no method gone`},
		{"a callback", `, "callback": "Foo\\Main::gone"`, `callback handler no method gone`},
		{"no file", `, "ExtensionMessagesFiles": { "x": "no.php" }`, `ExtensionMessagesFiles.x file no file w/extensions/Foo/no.php`},
		{"no directory", `, "MessagesDirs": { "x": [ "i18n" ] }`, `MessagesDirs.x[0] file no directory`},
		{"a file that leads out", `, "ExtensionMessagesFiles": { "x": "../../../../etc/passwd" }`, `ExtensionMessagesFiles.x file leads out`},
		{"a file for a class that is not in it", `, "AutoloadClasses": { "Foo\\Z": "src/A.php" }`, `AutoloadClasses.Foo\Z class does not declare it`},
		{"a script", `, "ResourceModules": { "x": { "localBasePath": "js", "scripts": "x.js" } }`, `ResourceModules.x.scripts file js/x.js`},
		{"a package file", `, "ResourceModules": { "x": { "localBasePath": "", "packageFiles": [ { "name": "y.json", "callback": "Foo\\Main::gone" } ] } }`, `ResourceModules.x.packageFiles[0].callback handler no method gone`},
		{"a manifest of the future", `, "manifest_version": 3`, `manifest_version json versions 1 and 2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := over(small())
			tree.write("w/extensions/Foo/extension.json", manifestOf(tt.more))
			expect(t, look(t, tree).Findings, tt.want)
		})
	}
}

// expect wants one finding, as pointer, kind and a part of its text, or none.
func expect(t *testing.T, findings []Finding, want string) {
	t.Helper()
	if want == "" {
		if len(findings) > 0 {
			t.Errorf("findings on what is well:\n%s", lines(findings))
		}
		return
	}
	part := strings.SplitN(want, " ", 3)
	if len(findings) != 1 || findings[0].Pointer != part[0] || string(findings[0].Kind) != part[1] || !strings.Contains(findings[0].Text, part[2]) {
		t.Errorf("want %s\nhave %s", want, lines(findings))
	}
}

// TestAbsentExtension wants no alarm at a handler whose only hook comes from an extension that is not there, and one at a
// handler that is made for a hook of MediaWiki too: PHP cannot load its class.
func TestAbsentExtension(t *testing.T) {
	handler := "<?php\nnamespace Foo;\nclass Echoes implements \\Echo\\Hooks\\EchoSentHook {\n public function onEchoSent() {} public function onPageShown() {} }\n"
	for _, tt := range []struct{ name, hooks, want string }{
		{"only its hook", `"EchoSent": "echo"`, ``},
		{"a hook of core too", `"EchoSent": "echo", "PageShown": "echo"`, `HookHandlers.echo.class class implements Echo\Hooks\EchoSentHook`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := over(small())
			tree.write("w/extensions/Foo/src/Echoes.php", handler)
			services := `[ "EchoStore" ]`
			if tt.want != "" {
				services = `[]`
			}
			tree.write("w/extensions/Foo/extension.json", manifestOf(`, "HookHandlers": { "echo": { "class": "Foo\\Echoes", "services": `+services+` } }, "Hooks": { `+tt.hooks+` }`))
			findings := slices.DeleteFunc(look(t, tree).Findings, func(f Finding) bool { return f.Harmless })
			expect(t, findings, tt.want)
		})
	}
}

// TestIncident plays 2023-01-17: a setting left extension.json while PHP that asks for it was still served; and its like, new
// handlers met old constructors.
func TestIncident(t *testing.T) {
	before := `, "config": { "FooNamespaces": { "value": [ 1, 3 ] }, "FooOther": { "value": 1 } }, "HookHandlers": { "page": { "class": "Foo\\Page", "services": [ "Page" ] } }, "Hooks": { "PageShown": "page" }`
	after := `, "config": { "FooOther": { "value": 1 } }, "HookHandlers": { "page": { "class": "Foo\\Page", "services": [ "Page", "Other" ] } }, "Hooks": { "PageShown": "page", "Setup_it": "page" }`
	oldPHP := "<?php\nnamespace Foo;\nclass Page {\n public function __construct( \\MediaWiki\\Page $p ) {}\n public function onPageShown( $out ) { return $this->config->get( 'FooNamespaces' ); }\n}\n"
	newPHP := "<?php\nnamespace Foo;\nclass Page {\n public function __construct( \\MediaWiki\\Page $p, \\MediaWiki\\Other $o ) {}\n public function onPageShown( $out ) {}\n public function onSetup_it() {}\n}\n"
	for _, tt := range []struct {
		name, json, php string
		want            []string
	}{
		{"before", before, oldPHP, nil},
		{"after", after, newPHP, nil},
		{"new extension.json, old PHP", after, oldPHP, []string{
			"HookHandlers.page.class arity", "Hooks.Setup_it handler", "config.FooNamespaces config",
		}},
		{"old extension.json, new PHP", before, newPHP, []string{"HookHandlers.page.class arity"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := over(small())
			tree.write("w/extensions/Foo/extension.json", manifestOf(tt.json))
			tree.write("w/extensions/Foo/src/Page.php", tt.php)
			var have []string
			for _, f := range look(t, tree).Findings {
				have = append(have, f.Pointer+" "+string(f.Kind))
			}
			if !slices.Equal(have, tt.want) {
				t.Errorf("have %q, want %q", have, tt.want)
			}
		})
	}
}

// TestConcerned wants those registrations looked at which a change may break.
func TestConcerned(t *testing.T) {
	tree := small()
	for name, text := range map[string]string{
		"w/extensions/Bar/extension.json":      `{ "name": "Bar", "manifest_version": 2, "requires": { "extensions": { "Foo": "*" } } }`,
		"w/extensions/Foo/Part/extension.json": `{ "name": "FooPart", "manifest_version": 2 }`,
		"w/skins/Baz/skin.json":                `{ "name": "Baz", "manifest_version": 2, "requires": { "extensions": { "Gone": "*" } } }`,
		"v/extensions/Foo/extension.json":      `{ "name": "Foo" }`,
		"w/extensions/README":                  "no extension",
	} {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	const foo, part, bar, baz = "w/extensions/Foo/extension.json", "w/extensions/Foo/Part/extension.json", "w/extensions/Bar/extension.json", "w/skins/Baz/skin.json"
	for _, tt := range []struct {
		path string
		want []string
	}{
		{foo, []string{bar, part, foo}},
		{"w/extensions/Foo/src/A.php", []string{bar, part, foo}},
		{"w/extensions/Foo/src/Deleted.php", []string{bar, part, foo}},
		{part, []string{bar, part, foo}},
		{bar, []string{bar}},
		{"w/extensions/Bar/i18n/en.json", []string{bar}},
		{"w/skins", []string{baz}},
		{"w/skins/Baz/skin.json", []string{baz}},
		{"w/extensions/Gone/extension.json", []string{baz}},
		{"w/includes/SpecialPage.php", []string{bar, part, foo, baz}},
		{"w/resources/x.js", nil},
		{"w", []string{bar, part, foo, baz}},
		{".", []string{bar, part, foo, baz}},
		{"v/extensions/Foo/extension.json", nil},
		{"wmf-config/x.php", nil},
	} {
		t.Run(tt.path, func(t *testing.T) {
			r, err := Check(t.Context(), tree, Options{Core: "w", Paths: []string{tt.path}})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.Checked, tt.want) {
				t.Errorf("checked %q, want %q", r.Checked, tt.want)
			}
		})
	}
}

// TestCache wants a changed source read again, and an unchanged one not.
func TestCache(t *testing.T) {
	php, cache := needPHP(t), NewCache()
	check := func(tree fs.FS) []Finding {
		r, err := Check(t.Context(), tree, Options{PHP: php, Core: "w", Paths: []string{"w"}, Cache: cache})
		if err != nil {
			t.Fatal(err)
		}
		return r.Findings
	}
	tree := over(small())
	expect(t, check(tree), "")
	kept := len(cache.by)
	expect(t, check(tree), "")
	if len(cache.by) != kept || kept == 0 {
		t.Errorf("%d sources kept, then %d", kept, len(cache.by))
	}
	tree.write("w/extensions/Foo/src/A.php", "<?php\nnamespace Foo;\nclass Another {}\n")
	expect(t, check(tree), "SpecialPages.A.class class does not declare it")
	tree = over(small())
	tree.write("w/includes/ServiceWiring.php", "<?php return [];")
	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "APIModules": { "a": { "class": "Foo\\A", "services": [ "Page" ] } }`))
	expect(t, check(tree), `APIModules.a.services[0] service "Page"`)
}

// TestWithoutPHP wants files and JSON checked where there is no php, and the rest said.
func TestWithoutPHP(t *testing.T) {
	tree := over(small())
	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "SpecialPages": { "X": "Gone" }, "MessagesDirs": { "x": "i18n" }`))
	for _, tt := range []struct {
		name, want string
		php        []string
	}{
		{"none configured", "no php is configured", nil},
		{"none there", "no php: exec", []string{"no-such-php"}},
		{"no tokenizer", "version 8.1 has no tokenizer", answers(`{"php":"8.1","tokenizer":false}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Check(t.Context(), tree, Options{PHP: tt.php, Core: "w", Paths: []string{"w"}})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, r.Findings, "MessagesDirs.x file no directory")
			if !strings.Contains(r.Unchecked, tt.want) {
				t.Errorf("not checked: %q, want %q", r.Unchecked, tt.want)
			}
		})
	}
}

// answers is a php that says one thing and ends.
func answers(json string) []string {
	return []string{"sh", "-c", `printf '\0\0\0\` + octal(len(json)) + `%s' '` + json + `'`}
}

func octal(n int) string {
	return string([]byte{'0' + byte(n>>6), '0' + byte(n>>3&7), '0' + byte(n&7)})
}

// TestBrokenPHP wants a php that breaks to be an error, never a clean report.
func TestBrokenPHP(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		php        []string
	}{
		{"ends at once", "EOF", []string{"sh", "-c", "exit 1"}},
		{"complains", "no memory", []string{"sh", "-c", "echo no memory >&2; exit 1"}},
		{"ends after the first word", "w/autoload.php", answers(`{"php":"8.1","tokenizer":true}`)},
		{"says something else", "an answer of", []string{"sh", "-c", "echo '<html>Warning'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Check(t.Context(), small(), Options{PHP: tt.php, Core: "w", Paths: []string{"w"}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have %v, %v; want an error with %q", r, err, tt.want)
			}
		})
	}
}

// TestTimeout wants a php that hangs, and what it started, killed in time, and the reason told.
func TestTimeout(t *testing.T) {
	_, err := Check(t.Context(), small(), Options{PHP: []string{"sh", "-c", "sleep 1000 & wait"}, Core: "w", Paths: []string{"w"}, Timeout: 50 * time.Millisecond})
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("have %v, want ErrTimeout", err)
	}
	cause := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Check(ctx, small(), Options{PHP: needPHP(t), Core: "w", Paths: []string{"w"}}); !errors.Is(err, cause) {
		t.Errorf("have %v, want %v", err, cause)
	}
}

// TestNotMediaWiki wants what belongs to an extension checked where MediaWiki is not what Core holds, and the rest said.
func TestNotMediaWiki(t *testing.T) {
	tree := over(small())
	tree.remove("w/autoload.php")
	tree.remove("w/includes")
	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "SpecialPages": { "X": "Foo\\Gone", "Y": { "class": "MediaWiki\\Unknown", "services": [ "Unknown" ] } }`))
	r := look(t, tree)
	expect(t, r.Findings, "SpecialPages.X class is not in the tree")
	if !strings.Contains(r.Unchecked, "w/autoload.php is not there") {
		t.Errorf("not checked: %q", r.Unchecked)
	}
	if _, err := Check(t.Context(), tree, Options{Core: "php-1.99", Paths: []string{"."}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a core that is not there: %v", err)
	}
}

// TestOld wants what was wrong before told apart from what a change brings.
func TestOld(t *testing.T) {
	before, after := over(small()), over(small())
	before.write("w/extensions/Foo/extension.json", manifestOf(`, "callback": "gone"`))
	after.write("w/extensions/Foo/extension.json", manifestOf(`, "callback": "gone", "ExtensionFunctions": [ "new" ]`))
	for name, tt := range map[string]struct {
		before fs.FS
		want   []bool // of the new one, and of the old one
	}{
		"the tree before":  {before, []bool{false, true}},
		"none known":       {nil, []bool{false, false}},
		"no MediaWiki yet": {fstest.MapFS{}, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Check(t.Context(), after, Options{PHP: needPHP(t), Core: "w", Paths: []string{"w"}, Before: tt.before})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Findings) != 2 || r.Findings[0].Old != tt.want[0] || r.Findings[1].Old != tt.want[1] {
				t.Errorf("have %+v", r.Findings)
			}
		})
	}
}
