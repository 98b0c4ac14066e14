package prom

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSelector(t *testing.T) {
	for text, want := range map[string]string{
		`up`:                                `up{instance=~"a|b"}[5ms]`,
		` http:requests_total{ } `:          `http:requests_total{instance=~"a|b"}[5ms]`,
		`r{job="mw",code=~"5.{2}|\\d{3}",}`: `r{job="mw",code=~"5.{2}|\\d{3}",instance=~"a|b"}[5ms]`,
		"{__name__=~'r|s' , x!=`}`}":        "{__name__=~'r|s' , x!=`}`,instance=~\"a|b\"}[5ms]",
		`r{a="\"}[1h]"}`:                    `r{a="\"}[1h]",instance=~"a|b"}[5ms]`,
		`r{a=~"\\p{Greek}"}`:                `r{a=~"\\p{Greek}",instance=~"a|b"}[5ms]`,
	} {
		s, err := parseSelector(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := s.with("instance", []string{"b", "a"}, 5); got != want {
			t.Errorf("%s: asks %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		``:                                  `column 1: names no counter`,
		`{job="mw"}`:                        `column 11: names no counter`,
		`rate(r[5m])`:                       `column 5: want a plain selector`,
		`r[5m]`:                             `column 2: want a plain selector`,
		`r offset 5m`:                       `column 3: want a plain selector`,
		`r{a="b"} or vector(1)`:             `column 10: want a plain selector`,
		`1 + r`:                             `column 1: want the name of a counter`,
		`r{hosts}`:                          `column 8: want =, !=, =~ or !~ behind the label hosts`,
		`r{{hosts}}`:                        `column 3: want a label or }`,
		`r{instance=~"{hosts}"}`:            `column 14: unknown placeholder {hosts}: host and release are matched by themselves`,
		`r{a="b",rel="x{release}"}`:         `column 15: unknown placeholder {release}`,
		`r{a="b}`:                           `column 8: the value that begins at column 5 does not end`,
		"r{a=\"b\n\"}":                      `column 7: the value that begins at column 5 does not end`,
		`r{a=b}`:                            `column 5: want a quoted value`,
		`r{a="\q"}`:                         `column 6: an escape that is none`,
		`r{a=~"("}`:                         `column 6: no regular expression`,
		`r{a="\xff"}`:                       `column 5: the value is no UTF-8`,
		`r{a="b" c="d"}`:                    `column 9: want , or }`,
		`r{a="b"`:                           `column 8: want , or }`,
		`r{1a="b"}`:                         `column 3: want a label or }`,
		`r{a="` + strings.Repeat("x", 4000): `4005 bytes long, at most 4000`,
	} {
		if _, err := parseSelector(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

func TestHostTemplate(t *testing.T) {
	for _, c := range []struct{ template, name, want string }{
		{"{host}", "mw1.eqiad.wmnet", "mw1.eqiad.wmnet"},
		{"{short}:9117", "mw1.eqiad.wmnet", "mw1:9117"},
		{"{host}", "{short}", "{short}"},
		{"{host}", "", ""},
		{"{short}", ".eqiad", ""},
		{"{host}", "mw\xff", ""},
		{"{host}", strings.Repeat("m", 501), ""},
	} {
		h, err := parseHost(c.template)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.of(c.name); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s of %.20q: %q, %v; want %q", c.template, c.name, got, err, c.want)
		}
	}
	for text, want := range map[string]string{"": "names neither", "mw1": "names neither", "{host}{x}": "column 7: unknown placeholder {x}", "a{}": "column 2: unknown placeholder {}"} {
		if _, err := parseHost(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzSelector wants that whatever is accepted can be narrowed by hostile names, and that those stay one string.
func FuzzSelector(f *testing.F) {
	for _, s := range []struct {
		text, name string
		ok         bool
	}{
		{`up`, `mw1"} or vector(1) #`, true},
		{`r{a="}"}`, "mw1|.*\n\\", true},
		{"r{a=`\\`,}", "$(reboot)\x1b[31m", true},
		{`r{a='\''}`, `mw.*`, true},
		{`r[5m]`, `mw1`, false},
		{`r{a="{hosts}"}`, `mw1`, false},
	} {
		if _, err := parseSelector(s.text); (err == nil) != s.ok {
			f.Fatalf("%s: %v", s.text, err)
		}
		f.Add(s.text, s.name)
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		sel, err := parseSelector(text)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("a long or rude error: %q", err)
			}
			return
		}
		if !utf8.ValidString(name) {
			return // refused by the host's template
		}
		asked := sel.with("instance", []string{name}, 7)
		if want := "instance=~" + strconv.Quote(regexp.QuoteMeta(name)) + "}[7ms]"; !strings.HasSuffix(asked, want) {
			t.Errorf("%q narrowed to %s, want it to end in %s", text, asked, want)
		}
		if again, err := parseSelector(strings.TrimSuffix(asked, "[7ms]")); err != nil && !strings.Contains(err.Error(), "placeholder") && len(asked) <= maxSelector {
			t.Errorf("%s cannot be read again: %v (%+v)", asked, err, again)
		}
		if re := regexp.MustCompile("^(?s:" + regexp.QuoteMeta(name) + ")$"); !re.MatchString(name) || re.MatchString(name+"x") {
			t.Errorf("the pattern of %q is not its own", name)
		}
	})
}
