package pin

import (
	"slices"
	"strings"
	"testing"
)

func TestWikiversions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"b": "php-1.41.0-wmf.10", "a": "php-1.41.0-wmf.9", "c": "php-1.41.0-wmf.9"}`, "1.41.0-wmf.9 1.41.0-wmf.10"},
		{`{"a": "php-master"}`, "master"},
		{`{}`, ""},
		{``, ""},
		{`[]`, ""},
		{`{"a": 1}`, ""},
		{`{"a": "php-1"} x`, ""},
		{`{"a": "1.41.0"}`, ""},
		{`{"a": "php-"}`, ""},
		{`{"a": "php-../../etc"}`, ""},
		{`{"a": "php-1/2"}`, ""},
		{`{"a": "php--x"}`, ""},
		{`{"a": "php-1\n2"}`, ""},
		{`{"a": "php-` + strings.Repeat("1", 100) + `"}`, ""},
	} {
		names, err := parseWikiversions([]byte(c.text), "php-")
		if got := strings.Join(names, " "); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%.60s: %q, %v", c.text, got, err)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	sorted := []string{"1.9.0", "1.41.0-wmf.4", "1.41.0-wmf.5", "1.41.0-wmf.05x", "1.41.0-wmf.10", "1.42.0-wmf.1", "2", "master"}
	names := slices.Clone(sorted)
	slices.Reverse(names)
	slices.SortFunc(names, compareVersions)
	if !slices.Equal(names, sorted) {
		t.Errorf("%v", names)
	}
}

func FuzzWikiversions(f *testing.F) {
	f.Add([]byte(`{"enwiki": "php-1.41.0-wmf.5"}`))
	f.Add([]byte(`{"enwiki": "php-../x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		names, err := parseWikiversions(text, "php-")
		if err == nil && len(names) == 0 {
			t.Error("no version and no error")
		}
		for _, name := range names {
			if checkVersion(name) != nil || strings.ContainsAny(name, "/\n") {
				t.Errorf("%q", name)
			}
		}
	})
}
