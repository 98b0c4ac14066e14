package registration

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// ask is what php says of a source.
func ask(t *testing.T, r *reader, want byte, src string) *source {
	t.Helper()
	s, err := r.ask(want, "w/dir/file.php", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newReader(t testing.TB) *reader {
	t.Helper()
	r, err := startReader(t.Context(), needPHP(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// TestDeclarations wants PHP read as PHP reads it, in the corners of its syntax too.
func TestDeclarations(t *testing.T) {
	r := newReader(t)
	for _, tt := range []struct{ name, src, want string }{
		{"a class", `class A extends B implements C, \D\E {}`, `class A < B : C D\E`},
		{"a namespace", `namespace N\M; class A extends B implements \C {}`, `class N\M\A < N\M\B : C`},
		{"a namespace with braces", `namespace N { class A {} } namespace { class B extends N\A {} }`, `class N\A; class B < N\A`},
		{
			"imports", `namespace N; use X\Y; use X\Z as W, V; use X\{ K, L as M }; use function f\g; use const h\I; class A extends Y implements W, V, K, M, Y\Sub, namespace\Own {}`,
			`class N\A < X\Y : X\Z V X\K X\L X\Y\Sub N\Own`,
		},
		{"imports end with their namespace", `namespace N; use X\Y; class A extends Y {} namespace M; class B extends Y {}`, `class N\A < X\Y; class M\B < M\Y`},
		{"an interface", `interface A extends B, C {}`, `interface A : B C`},
		{"an enum", `enum A: string implements B { case X = 'x'; public static function of() {} }`, `enum A : B; public static of 0-0`},
		{
			"modifiers", `abstract class A { abstract protected function b(); final public static function c() {} private function d() {} function e() {} }`,
			`abstract class A; protected abstract b 0-0; public static c 0-0; private d 0-0; public e 0-0`,
		},
		{"final and readonly", `final readonly class A {}`, `class A`},
		{"parameters", `class A { function a( $a, B $b, ?C &$c = null, D|E $d = [ 1, f( 2, 3 ) ], ...$more ) {} }`, `class A; public a 2-any`},
		{"an optional one before a needed one", `class A { function a( $a = 1, $b ) {} }`, `class A; public a 2-2`},
		{"a trailing comma", `class A { function a( $a, $b, ) {} }`, `class A; public a 2-2`},
		{"promotion and attributes", `class A { public function __construct( #[X( 1, [ 2 ] )] private readonly ?B $b, protected C&D $c = new E( 1, 2 ) ) {} }`, `class A; public __construct 1-2`},
		{"names that are words", `class A { function list() {} function class() {} function &print( $a ) {} }`, `class A; public class 0-0; public list 0-0; public print 1-1`},
		{
			"closures and classes without a name", `class A { function a() { $f = function ( $x ) use ( $y ) { return fn ( $z ) => "{$z} ${y}"; }; return new class( 1 ) extends B { function inner() {} }; } function b() {} }`,
			`class A; public a 0-0; public b 0-0`,
		},
		{"::class is no class", `$x = A::class; class B { const C = D::class; }`, `class B`},
		{"in a condition", `if ( true ) { class A { function a() {} } }`, `class A; public a 0-0`},
		{"text that looks like PHP", "class A { function a() { return <<<X\nclass B { function b() {} }\nX; } } // class C {}\n?> class D {} <?php class E {}", `class A; public a 0-0; class E`},
		{"braces in text", `class A { function a() { return "{" . '}' . "$b[0] {$c->d} }"; } function e() {} }`, `class A; public a 0-0; public e 0-0`},
		{"traits", `namespace N; class A { use T, \U { T::a as protected b; c as d; e as private; U::f insteadof T; } use V; }`, `class N\A + N\T U N\V`},
		{"functions", `namespace N; function a() {} if ( 1 ) { function b() { function c() {} } } class A { function d() { function e() {} } }`, `class N\A; public d 0-0; function N\a; function N\b; function N\c`},
		{"aliases", `namespace N; class A {} class_alias( A::class, 'Old' ); \class_alias( 'N\\A', "Older" );`, `class N\A; N\A as Old; N\A as Older`},
		{"services that are defined", `$services->defineService( 'X', f() ); $x->redefineService( "Y" );`, `defines X; defines Y`},
		{
			"settings", `$config->get( 'A' ); $this->config->get( 'B' ); $s->getMainConfig()->get( 'C' ); f( $options?->get( 'D' ) ); $cache->get( 'E' ); $config->get( $f ); $config->has( 'G' ); get( 'H' );`,
			`get A; get B; get C; get D; has G`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if have := told(ask(t, r, declarations, "<?php\n"+tt.src)); have != tt.want {
				t.Errorf("have %s\nwant %s", have, tt.want)
			}
		})
	}
}

// told is a source in a line.
func told(s *source) string {
	var all []string
	for _, k := range s.Classes {
		text := k.Kind + " " + k.Name
		if k.Abstract {
			text = "abstract " + text
		}
		if k.Parent != "" {
			text += " < " + k.Parent
		}
		if len(k.Interfaces) > 0 {
			text += " : " + strings.Join(k.Interfaces, " ")
		}
		if len(k.Traits) > 0 {
			text += " + " + strings.Join(k.Traits, " ")
		}
		all = append(all, text)
		all = append(all, methodsOf(k)...)
	}
	for _, f := range s.Functions {
		all = append(all, "function "+f)
	}
	for _, a := range s.ClassAliases {
		all = append(all, a.Of+" as "+a.As)
	}
	for _, name := range s.Defines {
		all = append(all, "defines "+name)
	}
	for _, name := range s.Gets {
		all = append(all, "get "+name)
	}
	for _, name := range s.Hases {
		all = append(all, "has "+name)
	}
	return strings.Join(all, "; ")
}

// methodsOf are a class's methods as they stand in no order; the tests name theirs so that they sort.
func methodsOf(k *class) []string {
	var all []string
	for _, m := range k.Methods {
		text := m.Visibility
		if m.Static {
			text += " static"
		}
		if m.Abstract {
			text += " abstract"
		}
		most := fmt.Sprint(m.Most)
		if m.Most < 0 {
			most = "any"
		}
		all = append(all, fmt.Sprintf("%s %s %d-%s", text, m.Name, m.Required, most))
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(name(a), name(b)) })
	return all
}

// name is the name in a method's line: the word before the last.
func name(line string) string {
	words := strings.Fields(line)
	return words[len(words)-2]
}

// TestTypes wants types in full, and those that are more than a choice of names left out.
func TestTypes(t *testing.T) {
	s := ask(t, newReader(t), declarations, "<?php namespace N; use X\\Y; class A { function a( $none, int $i, ?Y $y, Y|\\Z|null $z, Y&Z $both, (A&B)|null $dnf, self $s, array $list, callable &$c, Own ...$more ) {} }")
	want := []string{"", "int", "null|X\\Y", "X\\Y|Z|null", "", "", "self", "array", "callable", "N\\Own"}
	if diff := cmp.Diff(want, s.Classes[0].Methods["a"].Types); diff != "" {
		t.Error(diff)
	}
}

// TestTables wants arrays read as far as they are written out, and the rest known to be open.
func TestTables(t *testing.T) {
	r := newReader(t)
	for _, tt := range []struct{ name, src, want string }{
		{"paths", `$vendorDir = dirname( __DIR__ ); return array( 'A\\B' => $vendorDir . '/a/b.php', "C" => array( dirname( __DIR__, 2 ) . 'c', __DIR__ ), );`, `A\B=/w/a/b.php C=/c,/w/dir`},
		{"services", `return [ 'A' => static function ( $s ) use ( $x ): N\A { return [ 'no' => 1 ]; }, 'B' => fn (): ?B => f( [ 2 ] ), C::D => 'x', C::class => null ];`, `A:N\A B:null|B C::D=x C=`},
		{"with something else in it", `return [ 'A' => 1, ...$more, 'B' => 2 ];`, `A=1 B=2 open`},
		{"not only an array", `return [ 'A' => 1 ] + more( 'B' );`, `none A B`},
		{"made elsewhere", `$a = []; $a['X'] = 1; return $a;`, ``},
		{"broken off", `return [ 'A' => [ 'B' =>`, `none A B`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ask(t, r, tables, "<?php\n"+tt.src)
			table, ok := s.Tables["return"]
			var all []string
			for _, p := range table.Pairs {
				text := p.Key + p.Const + "=" + strings.Join(p.Values, ",")
				if p.Gives != "" {
					text = p.Key + ":" + p.Gives
				}
				all = append(all, text)
			}
			if table.Open {
				all = append(all, "open")
			}
			if !ok {
				all = append(all, "none")
			}
			if have := strings.Join(append(all, s.Words...), " "); have != tt.want {
				t.Errorf("have %q, want %q", have, tt.want)
			}
		})
	}
}

// hostile are sources that nobody writes by mistake.
var hostile = []string{
	"", "<?php", "<?php class", "<?php class A", "<?php class A {", "<?php }}}} class A {}", "<?php namespace", "<?php use", "<?php use A\\{", "<?php use A\\{B as",
	"<?php class A { use T { a as", "<?php class A { function", "<?php class A { function a(", "<?php class A { const", "<?php class_alias(", "<?php return [", "<?php return array(",
	"<?php $config->get(", "<?php new class", "<?php new class(", "<?php enum", "<?php enum A", "<?php fn", "<?php return static fn(", "<?php return [ 'a' => function () use (",
	"<?php class A extends", "<?php class A { use", "<?php # [ #[", "<?php #[", "<?php \"{$", "<?php <<<X\n", "\x00\xff<?php class \xff\xfe {}", "<?php " + strings.Repeat("[", 2000),
	"<?php return " + strings.Repeat("[ 'a' => ", 500), "<?php class A { function a(" + strings.Repeat("(", 2000), "<?php " + strings.Repeat("class A { ", 500),
	"<?php return [ 'a' => __DIR__ . __DIR__ . dirname( dirname( '' ) ) ];", "<?php return dirname(", "<?php exit( 3 ); class A {}", "<?php __halt_compiler(); class A {}",
	"<?php return [ ']' => ')', '}' => [ } ] ];", "<?php class A { use T { x as } use U; }", "<?php use A, , B;", "<?php use ;", "<?php function &", "<?php class A { const X = ; const = }",
}

// FuzzReader sends php anything, and wants an answer of right shape from the same process each time.
func FuzzReader(f *testing.F) {
	for _, src := range hostile {
		f.Add(src)
	}
	if len(hostile) < 40 {
		f.Fatal("no seeds")
	}
	var r *reader
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<16 {
			return
		}
		if r == nil {
			var err error
			if r, err = startReader(context.Background(), needPHP(t)); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []byte{declarations, tables} {
			s := ask(t, r, want, src)
			for _, k := range s.Classes {
				if k.Name == "" || k.Methods == nil {
					t.Errorf("a class without a name or methods: %+v", k)
				}
				for _, m := range k.Methods {
					if m.Required < 0 || m.Most >= 0 && m.Required > m.Most {
						t.Errorf("%s needs %d and takes %d", m.Name, m.Required, m.Most)
					}
				}
			}
		}
	})
	if r != nil {
		r.close()
	}
}

// FuzzManifest has anything as extension.json, and wants findings at most.
func FuzzManifest(f *testing.F) {
	seeds := []string{
		manifestOf(""), "", "{", "[]", "null", "7", "\"x\"", "{}", "{} {}", "\xef\xbb\xbf{}", "{\"a\":\"\xff\"}", strings.Repeat("[", 600), strings.Repeat(`{"Hooks":`, 300) + "1" + strings.Repeat("}", 300),
		`{"Hooks":{"":{"handler":""}},"HookHandlers":{"":{}}}`, `{"Hooks":{"A":[[],[1],["a",2],{"handler":7}]},"HookHandlers":[1,"a",null]}`, `{"name":7,"manifest_version":"2","AutoloadClasses":{"":"","A":7,"B":"../../.."},"AutoloadNamespaces":{"\\\\":"","X":"."}}`,
		`{"SpecialPages":[[["a"]]],"APIModules":{"a":{"class":7,"services":{"a":7},"args":"x"}},"JobClasses":"x","ParsoidModules":[{"tags":[{"handler":[]}],"domProcessors":7}],"ValidSkinNames":["x",{}]}`,
		`{"ResourceModules":{"a":{"scripts":{"x":7},"packageFiles":{"a":{"callback":[7]}},"images":{"a":{"a":{"a":{"a":{"a":{"a":{"a":"x.svg"}}}}}}}}},"ResourceFileModulePaths":{"localBasePath":"../../../.."}}`,
		`{"attributes":{"A":["Foo\\\\","\\Foo\\::","::","Foo\\A::b::c"]},"callback":{"a":1},"ExtensionFunctions":[null,["a","b","c"]],"requires":{"extensions":["a"]},"config":[1]}`,
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	if len(seeds) < 15 {
		f.Fatal("no seeds")
	}
	cache := NewCache()
	f.Fuzz(func(t *testing.T, data []byte) {
		tree := over(small())
		tree.files["w/extensions/Foo/extension.json"] = &fstest.MapFile{Data: data}
		r, err := Check(context.Background(), tree, Options{PHP: needPHP(t), Core: "w", Paths: []string{"w"}, Cache: cache})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(data); err != nil && (len(r.Findings) != 1 || r.Findings[0].Kind != JSON) {
			t.Errorf("%v, and found was\n%s", err, lines(r.Findings))
		}
		if len(r.Findings) > maxFindings {
			t.Errorf("%d findings", len(r.Findings))
		}
		var php any
		if json.Unmarshal(data, &php) != nil && r.Findings == nil {
			t.Error("no finding on what is no JSON")
		}
		for _, f := range r.Findings {
			if f.Text == "" || !fs.ValidPath(f.File) {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestDecode wants no JSON taken that MediaWiki's json_decode does not take.
func TestDecode(t *testing.T) {
	for _, tt := range []struct{ name, json, want string }{
		{"an object", `{"a":[1,"x",null]}`, ""},
		{"512 levels", `{"a":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`, ""},
		{"brackets in text", `{"a":"` + strings.Repeat("[", 600) + `\""}`, ""},
		{"513 levels", `{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`, "nested 513 deep"},
		{"no UTF-8", "{\"a\":\"\xff\"}", "not UTF-8"},
		{"a byte order mark", "\ufeff{}", "no JSON"},
		{"a comma too many", `{"a":1,}`, "no JSON near byte"},
		{"two values", `{} {}`, "more than one"},
		{"a list", `[]`, "is a list"},
		{"nothing", ``, "no JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode([]byte(tt.json))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("have %v, want %q", err, tt.want)
			}
		})
	}
}

// TestBounds wants what is too large told, not read.
func TestBounds(t *testing.T) {
	tree := over(small())
	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "@x": "`+strings.Repeat("x", maxManifest)+`"`))
	expect(t, look(t, tree).Findings, " json too large")

	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "@x": `+strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)))
	expect(t, look(t, tree).Findings, " json nested 513 deep")

	tree = over(small())
	tree.write("w/extensions/Foo/src/A.php", "<?php"+strings.Repeat(" ", maxSource))
	if _, err := Check(t.Context(), tree, Options{PHP: needPHP(t), Core: "w", Paths: []string{"w"}}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("have %v, want an error: what cannot be read is not well", err)
	}

	tree = over(small())
	tree.write("w/extensions/Foo/extension.json", manifestOf(`, "ExtensionFunctions": [ "x"`+strings.Repeat(`, "x"`, maxFindings+9)+` ]`))
	if r := look(t, tree); len(r.Findings) != maxFindings || r.More != 10 {
		t.Errorf("%d findings and %d more", len(r.Findings), r.More)
	}
}
