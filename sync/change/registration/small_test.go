package registration

import (
	"io/fs"
	"testing"
	"testing/fstest"
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
		"w/includes/Page.php":                "<?php\nnamespace MediaWiki;\nclass Page {}\n",
		"w/includes/SubPage.php":             "<?php\nnamespace MediaWiki;\nclass SubPage extends Page {}\n",
		"w/includes/GenericParameterJob.php": "<?php\nnamespace MediaWiki;\ninterface GenericParameterJob {}\n",
		"w/includes/Other.php":               "<?php\nnamespace MediaWiki;\nclass Other {}\n",
		"w/includes/HookRunner.php": `<?php
namespace MediaWiki\HookContainer;
class HookRunner { public function onPageShown( $out, $skin ) {} public function onSetup_it() {} }`,
		"w/includes/ServiceWiring.php": `<?php
use MediaWiki\Page;
return [
	'Page' => static function ( $services ): Page { return new Page( [ 'a' => 1 ] ); },
	'SubPage' => static function (): \MediaWiki\SubPage {},
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
		"w/extensions/Foo/src/A.php":                               "<?php\nnamespace Foo;\nclass A extends B { use T { hidden as public onShown; } }\n",
		"w/extensions/Foo/src/B.php":                               "<?php\nnamespace Foo;\nabstract class B extends C implements I { public function onFromParent() {} }\n",
		"w/extensions/Foo/src/C.php":                               "<?php\nnamespace Foo;\nclass C { public function __construct( $one, ...$rest ) {} }\n",
		"w/extensions/Foo/src/T.php":                               "<?php\nnamespace Foo;\ntrait T { private function hidden() {} public function onFromTrait() {} }\n",
		"w/extensions/Foo/src/Asks.php":                            "<?php\nnamespace Foo;\ninterface Asks { public function asked(); }\n",
		"w/extensions/Foo/src/Lacks.php":                           "<?php\nnamespace Foo;\nclass Lacks extends \\SpecialPage implements Asks {}\n",
		"w/extensions/Foo/src/Loop.php":                            "<?php\nnamespace Foo;\nclass Loop extends Loop2 {}\n",
		"w/extensions/Foo/src/Loop2.php":                           "<?php\nnamespace Foo;\nclass Loop2 extends Loop {}\n",
		"w/extensions/Foo/src/Job.php":                             "<?php\nnamespace Foo;\nclass Job implements \\MediaWiki\\GenericParameterJob { function __construct( $params, $more ) {} static function make( $params, $more ) {} }\n",
		"w/extensions/Foo/src/TitleJob.php":                        "<?php\nnamespace Foo;\nclass TitleJob { function __construct( $title, $params, $more ) {} }\n",
		"w/extensions/Foo/src/Log.php":                             "<?php\nnamespace Foo;\nclass Log { protected function __construct( $entry ) {} }\n",
		"w/extensions/Foo/src/Sub.php":                             "<?php\nnamespace Foo;\nclass Sub { function __construct( \\MediaWiki\\SubPage $page, array|null $list = null ) {} function __call( $n, $a ) {} static function __callStatic( $n, $a ) {} }\n",
		"w/extensions/Foo/src/Defines.php":                         "<?php\nnamespace Foo;\nclass Defines { static function onMediaWikiServices( $s ) { $s->defineService( 'Foo.Late', 1 ); } }\n",
		"w/extensions/Foo/vendor/autoload.php":                     "<?php\n",
		"w/extensions/Foo/vendor/composer/autoload_classmap.php":   "<?php\nreturn array( 'Mapped' => dirname( __DIR__ ) . '/x/mapped.php' );",
		"w/extensions/Foo/vendor/composer/autoload_psr4.php":       "<?php\nreturn array( 'Lib\\\\' => array( dirname( __DIR__ ) . '/x/src' ) );",
		"w/extensions/Foo/vendor/composer/autoload_namespaces.php": "<?php\nreturn array( 'Old_' => array( dirname( __DIR__ ) . '/x' ) );",
		"w/extensions/Foo/vendor/composer/autoload_files.php":      "<?php\nreturn array( 'abc' => dirname( __DIR__ ) . '/x/functions.php' );",
		"w/extensions/Foo/vendor/x/mapped.php":                     "<?php\nclass Mapped {}\n",
		"w/extensions/Foo/vendor/x/functions.php":                  "<?php\nfunction libCall() {}\n",
		"w/extensions/Foo/vendor/x/src/A/B.php":                    "<?php\nnamespace Lib\\A;\nclass B {}\n",
		"w/extensions/Foo/vendor/x/Old/Class.php":                  "<?php\nclass Old_Class {}\n",
		"w/extensions/Foo/src/Legacy.php":                          "<?php\nnamespace Foo;\nclass Legacy { static function onPageShown() {} function __call( $n, $a ) {} }\n",
		"w/extensions/Foo/merged.php":                              "<?php\nreturn array_merge( [ 'Foo.Merged' => 1 ], $more );\n",
		"w/extensions/Foo/src/I.php":                               "<?php\nnamespace Foo;\ninterface I {}\n",
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
