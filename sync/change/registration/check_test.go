package registration

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

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

// TestTimeout wants a php that hangs ended in time, and the reason told.
func TestTimeout(t *testing.T) {
	_, err := Check(t.Context(), small(), Options{PHP: []string{"sh", "-c", "sleep 1000 & wait"}, Core: "w", Paths: []string{"w"}, Timeout: 50 * time.Millisecond})
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("have %v, want ErrTimeout", err)
	}
}

// TestCancel wants php and what it started killed when the check is cancelled: who writes to a pipe and lives keeps it open.
func TestCancel(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := io.ReadFull(alive, make([]byte, 1))
		cancel(errors.Join(cause, err))
	})
	php := []string{"sh", "-c", `( echo -n x; exec sleep 1000 ) >"$1" & wait`, "sh", fifo}
	if _, err := Check(ctx, small(), Options{PHP: php, Core: "w", Paths: []string{"w"}}); !errors.Is(err, cause) {
		t.Errorf("have %v, want %v", err, cause)
	}
	wg.Wait()
	end, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	alive.Close() // now only what php started has it open for writing
	if err := end.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(end); err != nil {
		t.Errorf("what php started lives on: %v", err)
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

// TestCacheKnowsPlaces wants a table of the same bytes at another place read anew: its paths begin there.
func TestCacheKnowsPlaces(t *testing.T) {
	c := &code{reader: newReader(t), cache: NewCache()}
	src := []byte("<?php return [ 'A' => __DIR__ . '/a.php' ];")
	for _, dir := range []string{"v", "w", "v"} {
		if have := one(c.ask(tables, dir+"/x.php", src).Tables["return"])["A"]; have != dir+"/a.php" {
			t.Errorf("in %s it is %s", dir, have)
		}
	}
}
