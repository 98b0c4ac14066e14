package registration

import (
	"slices"
	"strings"
	"testing"
)

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

		{"a class that is its own parent", `, "SpecialPages": { "X": "Foo\\Loop" }`, ``},
		{"a class that takes any call", `, "HookHandlers": { "x": { "class": "Foo\\Sub", "services": [ "SubPage" ] } }, "Hooks": { "PageShown": [ "x", "Foo\\Sub::anything" ] }`, ``},
		{"a subclass of what is wanted", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "SubPage" ] } }, "Hooks": { "PageShown": "main" }`, ``},
		{"what may be a subclass of what is wanted", `, "SpecialPages": { "X": { "class": "Foo\\Sub", "services": [ "Page" ] } }`, ``},
		{"a service for a list", `, "SpecialPages": { "X": { "class": "Foo\\Sub", "services": [ "SubPage", "Page" ] } }`, `SpecialPages.X.services[1] type wants array|null`},
		{"a service defined by a call", `, "Hooks": { "MediaWikiServices": "Foo\\Defines::onMediaWikiServices" }, "SpecialPages": { "X": { "class": "Foo\\A", "services": [ "Foo.Late" ] } }`, ``},
		{"a log formatter, which makes itself", `, "LogActionsHandlers": { "x/y": "Foo\\Log" }`, ``},
		{"a constructor that is not public", `, "SpecialPages": { "X": { "class": "Foo\\Log", "args": [ 1 ] } }`, `SpecialPages.X.class class protected`},
		{"a job that wants no title", `, "JobClasses": { "x": { "class": "Foo\\Job", "services": [ "Page" ] } }`, ``},
		{"a job that wants no title and too much", `, "JobClasses": { "x": "Foo\\Job" }`, `JobClasses.x arity needs 2`},
		{"a job that wants a title and more", `, "JobClasses": { "x": { "class": "Foo\\TitleJob", "services": [ "Page" ] } }`, ``},
		{"a job that wants a title and gets none", `, "JobClasses": { "x": { "class": "Foo\\TitleJob", "services": [ "Page" ], "needsPage": false } }`, `JobClasses.x.class arity needs 3`},
		{"a job's factory that is told of no title", `, "JobClasses": { "x": { "factory": "Foo\\Job::make", "services": [ "Page" ], "needsPage": false } }`, ``},
		{"a job's factory", `, "JobClasses": { "x": { "factory": "Foo\\Job::make" } }`, ``},
		{"libraries of its own", `, "load_composer_autoloader": true, "SpecialPages": { "X": "Mapped", "Y": "Lib\\A\\B", "Z": "Old_Class" }, "callback": "libCall"`, ``},
		{"libraries that nobody loads", `, "SpecialPages": { "X": "Old_Class" }`, `SpecialPages.X class is not in the tree`},
		{"a class for its hook's static method", `, "Hooks": { "PageShown": "Foo\\Legacy" }`, ``},
		{"a class without its hook's static method", `, "Hooks": { "Setup_it": "Foo\\Legacy" }`, `Hooks.Setup_it handler no method onSetup_it`},
		{"a class that takes any call, but no static one", `, "Hooks": { "PageShown": "Foo\\Legacy::anything" }`, `Hooks.PageShown handler no method anything`},
		{"wiring that cannot be read whole", `, "ServiceWiringFiles": [ "merged.php" ], "SpecialPages": { "X": { "class": "Foo\\A", "services": [ "Foo.Merged" ] } }`, ``},
		{"a setting", `, "config": { "FooA": { "value": 1 } }`, ``},
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
		{"an icon", `, "ResourceModules": { "x": { "localBasePath": "", "class": "Foo\\Main", "images": { "a": { "file": { "ltr": "a.svg" } } }, "variants": { "b": "c.d" } } }`, `ResourceModules.x.images.a.file.ltr file Foo/a.svg`},
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

	tree := over(small())
	tree.write("w/extensions/Foo/src/Own.php", "<?php\nnamespace Foo;\nclass Own implements Hooks\\SentHook { public function onSent() {} }\n")
	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "HookHandlers": { "own": { "class": "Foo\\Own", "services": [ "Gone" ] } }, "Hooks": { "Sent": "own" }`))
	findings := look(t, tree).Findings
	if len(findings) == 0 {
		t.Fatal("no finding where the interface is the extension's own")
	}
	expect(t, findings[:1], `HookHandlers.own.class class implements Foo\Hooks\SentHook`)
	if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Kind == Service }) {
		t.Errorf("no finding of the service in\n%s", lines(findings))
	}
}

// TestHarmless wants slips that break nothing told apart.
func TestHarmless(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		want       bool
	}{
		{"arguments that PHP drops", `, "HookHandlers": { "main": { "class": "Foo\\Main", "services": [ "Page" ], "args": [ 1, 2 ] } }, "Hooks": { "PageShown": "main" }`, true},
		{"a handler that no hook uses", `, "HookHandlers": { "main": { "class": "Foo\\Main" } }`, true},
		{"a handler that one uses", `, "HookHandlers": { "main": { "class": "Foo\\Main" } }, "Hooks": { "PageShown": "main" }`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := over(small())
			tree.write("w/extensions/Foo/extension.json", manifestOf(tt.more))
			if have := look(t, tree).Findings; len(have) != 1 || have[0].Harmless != tt.want {
				t.Errorf("have %+v", have)
			}
		})
	}
}

// TestSettings wants those settings told that PHP asks for and nothing registers, and no other text.
func TestSettings(t *testing.T) {
	for _, tt := range []struct{ name, file, php, want string }{
		{"registered", "src/X.php", `$config->get( 'FooA' );`, ``},
		{"not registered", "src/X.php", `$config->get( 'FooB' );`, `config.FooB config src/X.php asks for the setting "FooB"`},
		{"asked for first", "src/X.php", `if ( $config->has( 'FooB' ) ) { $config->get( 'FooB' ); }`, ``},
		{"a service", "src/X.php", `$options->get( 'FooService' );`, ``},
		{"no name of a setting", "src/X.php", `$config->get( 'Foo:B' );`, ``},
		{"somebody else's", "src/X.php", `$config->get( 'BarB' );`, ``},
		{"in a test", "tests/X.php", `$config->get( 'FooB' );`, ``},
		{"in a library", "vendor/x/X.php", `$config->get( 'FooB' );`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := over(small())
			tree.write("w/extensions/Foo/extension.json", manifestOf(`, "config": { "FooA": { "value": 1 } }`))
			tree.write("w/extensions/Foo/wiring.php", "<?php return [ 'FooService' => fn () => 1 ];")
			tree.write("w/extensions/Foo/"+tt.file, "<?php "+tt.php)
			expect(t, look(t, tree).Findings, tt.want)
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
