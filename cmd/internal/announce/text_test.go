package announce

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"plain", "Fix the skin", "Fix the skin"},
		{"a line end", "a\r\nQUIT :b", "a QUIT :b"},
		{"IRC's colours", "a\x02b\x0304c\x0f", "a b 04c"},
		{"an escape", "a\x1b[2Jb", "a [2Jb"},
		{"a NUL", "a\x00b", "a b"},
		{"from right to left", "a\u202eb\u2066c", "abc"},
		{"zero width", "a\u200bb\ufeffc", "abc"},
		{"line separators", "a\u2028b\u0085c", "a b c"},
		{"no UTF-8", "a\xff\xfeb", "a\uFFFDb"},
		{"spaces around and within", "  a \t\n b  ", "a b"},
		{"umlauts and others", "Übergröße 日本語 🦊", "Übergröße 日本語 🦊"},
		{"nothing", "\n", ""},
	} {
		if got := clean(row.text); got != row.want {
			t.Errorf("%s: %q becomes %q, want %q", row.name, row.text, got, row.want)
		}
	}
}

func TestText(t *testing.T) {
	long := strings.Repeat("日本語 ", 200)
	e := Event{Did: "jd@deploy1 Finished scap backport", About: long, Rest: " (duration: 05m 12s)"}
	got := e.Text(mark, lineMost)
	if len(got) > lineMost || len(got) < lineMost-6 || !strings.HasPrefix(got, "!log jd@deploy1 Finished scap backport: 日本語") || !strings.HasSuffix(got, "… (duration: 05m 12s)") || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	e.Rest = strings.Repeat("mw1001.example.org, ", 100)
	if got = e.Text(mark, lineMost); len(got) > lineMost || !strings.Contains(got, "日本語 日本語 日本語 日本…mw1001") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got = (Event{Did: "a", Rest: " b"}).Text("", 100); got != "a b" {
		t.Errorf("without something that it is about: %q", got)
	}
}

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "00m 00s", -time.Second: "00m 00s", 5*time.Minute + 12*time.Second: "05m 12s", 59*time.Second + 600*time.Millisecond: "01m 00s", 2*time.Hour + time.Second: "120m 01s",
	} {
		if got := took(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// FuzzText makes one line of anything, within its bounds.
func FuzzText(f *testing.F) {
	seeds := []string{"", "\r\n", "\x03", strings.Repeat("é", 300), "\xff", "\u202e", "a: b"}
	for _, a := range seeds {
		for _, b := range seeds {
			f.Add(a, b, 400)
			f.Add(a, b, 41)
		}
	}
	f.Fuzz(func(t *testing.T, about, rest string, most int) {
		if most < 3 || most > 1000 {
			return
		}
		e := Event{Did: clean(rest), About: clean(about), Rest: clean(about)}
		got := e.Text(mark, most)
		if len(got) > most || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q and %q within %d become %q", about, rest, most, got)
		}
	})
}
