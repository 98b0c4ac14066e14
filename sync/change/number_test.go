package change

import (
	"strings"
	"testing"
)

var numberForms = []struct {
	text, at string // at "": gerrit
	want     int
}{
	{"1001", "", 1001},
	{" 1001\n", "", 1001},
	{"2147483647", "", 1<<31 - 1},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001/", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001/2", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001/1..2/includes/Foo.php#45", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001/2/a/+/b", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001/comment/0a1b_2c/", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/1001?usp=email#message-12ab", "", 1001},
	{"https://gerrit.example.org/r/c/mediawiki%2Fcore/+/1001", "", 1001},
	{"https://gerrit.example.org/r/c/r/+/1001", "", 1001},
	{"https://gerrit.example.org/r/1001", "", 1001},
	{"https://gerrit.example.org/r/1001/3", "", 1001},
	{"https://gerrit.example.org/r/1001/edit", "", 1001},
	{"https://gerrit.example.org/r/c/1001", "", 1001},
	{"https://gerrit.example.org/r/c/1001/1..3", "", 1001},
	{"https://gerrit.example.org/1001", "", 1001},
	{"https://gerrit.example.org/c/mediawiki/core/+/1001", "", 1001},
	{"https://gerrit.example.org/r/#/c/1001", "", 1001},
	{"https://gerrit.example.org/r/#/c/1001/", "", 1001},
	{"https://gerrit.example.org/r/#/c/1001/2/includes/Foo.php", "", 1001},
	{"https://gerrit.example.org/r/#/c/mediawiki/core/+/1001/", "", 1001},
	{"https://gerrit.example.org/#/c/1001/", "", 1001},
	{"http://gerrit.example.org/r/1001", "", 1001},
	{"https://GERRIT.example.org:443/r/1001", "", 1001},
	{"gerrit.example.org/r/c/mediawiki/core/+/1001", "", 1001},
	{"http://gerrit.example/r/1001", "http://gerrit.example/", 1001},
	{"http://gerrit.example/r/c/1001", "http://gerrit.example", 1001},
	{"http://gerrit.example/c/mediawiki/core/+/1001/1", "http://gerrit.example/", 1001},
	{"http://127.0.0.1:8080/c/mediawiki/core/+/1001", "http://127.0.0.1:8080", 1001},
	{"http://127.0.0.1:8080/a/b/c/core/+/1001", "http://127.0.0.1:8080/a/b/", 1001},
}

// notNumbers are refused, with a reason that holds want.
var notNumbers = []struct{ text, at, want string }{
	{"", "", "empty"},
	{"  ", "", "empty"},
	{"-1001", "", "no number"},
	{"+1001", "", "no number"},
	{"0", "", "no change has the number 0"},
	{"01001", "", "no change has the number 01001"},
	{"2147483648", "", "no change has the number 2147483648"},
	{"99999999999999999999999", "", "no change has the number"},
	{"1001,2", "", "no number"},
	{"1001.0", "", "no number"},
	{"1e3", "", "no number"},
	{"0x3e9", "", "no number"},
	{"１００１", "", "no number"},
	{"١٠٠١", "", "no number"},
	{"abc", "", "no number"},
	{"I8473b95934b5732ac55d26311a706c9c2bde9940", "", "Change-Id"},
	{"https://gerrit.example.org/r/１００１", "", "no number"},
	{"https://gerrit.example.org/r/-1001", "", "no number"},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/-1001", "", "no number"},
	{"https://gerrit.example.org/r/c/mediawiki/core/+/", "", "no number"},
	{"https://gerrit.example.org/r/c/+/1001", "", "no number"},
	{"https://gerrit.example.org/r/q/1001", "", "no number"},
	{"https://gerrit.example.org/r/admin/repos/1001", "", "not the address"},
	{"https://gerrit.example.org/r/1001/foo", "", "not the address"},
	{"https://gerrit.example.org/r/", "", "no number"},
	{"https://gerrit.example.org/r/#/q/1001", "", "no number"},
	{"https://gerrit.example.com/r/c/mediawiki/core/+/1001", "", `on "gerrit.example.com", not on "gerrit.example.org"`},
	{"https://gerrit.example.org.evil.example/r/1001", "", "not on"},
	{"https://gerrit.example.org:8443/r/1001", "", "not on"},
	{"https://gerrit.example.org@evil.example/r/1001", "", "no address of a page"},
	{"https://ann:secret@gerrit.example.org/r/1001", "", "no address of a page"},
	{"ssh://gerrit.example.org:29418/1001", "", "no address of a page"},
	{"file:///gerrit.example.org/r/1001", "", "no address of a page"},
	{"https://gerrit.example.org/r/%zz/1001", "", "no address"},
	{"/r/1001", "", "not on"},
	{"https://gerrit.example.org/r/1001", "none", "no address of a Gerrit"},
	{"https://gerrit.example.org/r/1001\x00", "", "no address"},
	{strings.Repeat("1", 2001), "", "longer than"},
}

func TestParseNumber(t *testing.T) {
	for _, form := range numberForms {
		at := form.at
		if at == "" {
			at = gerrit
		}
		if n, err := ParseNumber(form.text, at); err != nil || n != form.want {
			t.Errorf("%q at %s: have %d, %v", form.text, at, n, err)
		}
	}
	for _, form := range notNumbers {
		at := map[string]string{"": gerrit, "none": ""}[form.at]
		n, err := ParseNumber(form.text, at)
		if err == nil || n != 0 || !strings.Contains(err.Error(), form.want) {
			t.Errorf("%q at %q: have %d, %v; want %q", form.text, at, n, err, form.want)
			continue
		}
		if text := err.Error(); !strings.Contains(text, "write its number (1001)") || !strings.Contains(text, "/c/project/+/1001") || len(text) > 1000 {
			t.Errorf("%q: it is not said what is understood, shortly: %v", form.text, err)
		}
	}
	if _, err := ParseNumber("x", gerrit+"/"); !strings.Contains(err.Error(), "("+gerrit+"/c/project/+/1001, "+gerrit+"/1001, "+gerrit+"/#/c/1001)") {
		t.Error(err)
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, form := range numberForms {
		f.Add(form.text)
		if n, err := ParseNumber(form.text, gerrit); form.at == "" && (err != nil || n != 1001 && n != 1<<31-1) {
			f.Fatal(form.text, n, err)
		}
	}
	for _, form := range notNumbers {
		f.Add(form.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNumber(text, gerrit)
		if (err == nil) != (n > 0) {
			t.Fatalf("%q: %d, %v", text, n, err)
		}
		if err != nil {
			if len(err.Error()) > 2000 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%q: %q", text, err)
			}
			return
		}
		if strings.Contains(text, "/") && !strings.Contains(strings.ToLower(text), "gerrit.example.org") && !strings.Contains(text, "%") {
			t.Fatalf("%q is nowhere at %s, and is %d", text, gerrit, n)
		}
	})
}
