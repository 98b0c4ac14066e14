package change

import (
	"slices"
	"strings"
	"testing"
)

func TestRisks(t *testing.T) {
	l := wiki()
	o := RiskOptions{BetaOnly: []string{"wmf-config/CommonSettings-labs.php", "wmf-config/*-labs.yaml", "[", "dblists/labs"}}
	for _, row := range []struct {
		name, at, files string
		want            []string // kind: paths
	}{
		{"nothing of note", "foo@5", "includes/Foo.php resources/foo.js README.md", nil},
		{"no files", "foo@5", "", nil},
		{"messages", "foo@5", "i18n/en.json Foo.php i18n/api/de.json", []string{"l10n: i18n/api/de.json i18n/en.json"}},
		{"messages below", "core@5", "includes/installer/i18n/en.json", []string{"l10n: includes/installer/i18n/en.json"}},
		{"languages", "core@5", "languages/messages/MessagesDe.php", []string{"l10n: languages/messages/MessagesDe.php"}},
		{"languages below", "core@5", "includes/languages/Foo.php", []string{"l10n: includes/languages/Foo.php"}},
		{"not quite messages", "core@5", "src/i18nfoo/x i18n.php languages.php xi18n/y", nil},
		{"registration", "foo@5", "extension.json", []string{"registration: extension.json"}},
		{"registration of a skin", "foo@5", "skin.json", []string{"registration: skin.json"}},
		{"not quite registration", "foo@5", "my-extension.json extension.json.md", nil},
		{"schema", "core@5", "maintenance/tables.json", []string{"schema: maintenance/tables.json"}},
		{"schema by its directory", "foo@5", "sql/mysql/tables-generated.php", []string{"schema: sql/mysql/tables-generated.php"}},
		{"schema by its ending", "foo@5", "db/add.sql", []string{"schema: db/add.sql"}},
		{"schema changes", "foo@5", "db_patches/x.json schema/abstractSchemaChanges/y.json patches/z", []string{"schema: db_patches/x.json patches/z schema/abstractSchemaChanges/y.json"}},
		{"vendor", "vendor@5", "wikimedia/at-ease/src/AtEase.php", []string{"vendor: wikimedia/at-ease/src/AtEase.php"}},
		{"vendor of its own", "foo@5", "vendor/x/y.php", []string{"vendor: vendor/x/y.php"}},
		{"composer", "core@5", "composer.json", []string{"vendor: composer.json"}},
		{"versions", "config", "wikiversions.json", []string{"wikiversions: wikiversions.json"}},
		{"a file of that name elsewhere", "core@5", "wikiversions.json private/x", nil},
		{"private settings", "config", "private/readme.php", []string{"secrets: private/readme.php"}},
		{"private settings by name", "foo@5", "tests/PrivateSettings.php", []string{"secrets: tests/PrivateSettings.php"}},
		{"only test wikis", "config", "wmf-config/CommonSettings-labs.php", []string{"beta-only: wmf-config/CommonSettings-labs.php"}},
		{"only test wikis, by pattern", "config", "wmf-config/a-labs.yaml wmf-config/CommonSettings-labs.php", []string{"beta-only: wmf-config/CommonSettings-labs.php wmf-config/a-labs.yaml"}},
		{"test wikis and others", "config", "wmf-config/CommonSettings-labs.php wmf-config/CommonSettings.php", nil},
		{"a pattern that is none is a path", "config", "[", []string{"beta-only: ["}},
		{"no file of configuration", "config", "", nil},
		{"files of that name in code", "core@5", "wmf-config/CommonSettings-labs.php", nil},
		{"Gerrit's own files", "foo@5", "/COMMIT_MSG /MERGE_LIST", nil},
		{"several at once", "foo@5", "extension.json i18n/en.json sql/x.sql", []string{"l10n: i18n/en.json", "registration: extension.json", "schema: sql/x.sql"}},
		{"what is not deployed", "puppet", "i18n/en.json extension.json", nil},
		{"a development branch", "foo", "i18n/en.json", []string{"l10n: i18n/en.json"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBook(t).has(1, row.at, "files="+row.files)
			var have []string
			for _, r := range Risks([]Change{b.changes[1]}, l, o) {
				have = append(have, r.Kind+": "+strings.Join(r.Paths, " "))
				if r.Change != 1 || !strings.HasPrefix(r.Text, b.changes[1].String()+" touches ") {
					t.Errorf("%+v", r)
				}
			}
			if !slices.Equal(have, row.want) {
				t.Errorf("have %q, want %q", have, row.want)
			}
		})
	}
	t.Run("what a rename leaves counts", func(t *testing.T) {
		c := newBook(t).has(1, "foo@5").changes[1]
		c.Files = []File{{Path: "docs/en.json", Old: "i18n/en.json", Status: 'R'}}
		if have := Risks([]Change{c}, l, o); len(have) != 1 || !slices.Equal(have[0].Paths, []string{"i18n/en.json"}) {
			t.Errorf("%+v", have)
		}
	})
	t.Run("text", func(t *testing.T) {
		c := newBook(t).has(1, "foo@5", "files=i18n/a.json i18n/b.json i18n/c.json i18n/d.json i18n/e.json").changes[1]
		want := `1 "Change of foo@5" (mediawiki/extensions/Foo, wmf/1.41.0-wmf.5) touches i18n/a.json, i18n/b.json, i18n/c.json and 2 more: the localisation cache is built anew, which takes a while`
		if have := Risks([]Change{c}, l, o); len(have) != 1 || have[0].Text != want {
			t.Errorf("%+v", have)
		}
	})
}

func TestBetaOnly(t *testing.T) {
	l, o := wiki(), RiskOptions{BetaOnly: []string{"labs.php"}}
	b := newBook(t).has(1, "config", "files=labs.php").has(2, "config", "files=labs.php real.php").has(3, "core@5", "files=labs.php").has(4, "config")
	for want, asked := range map[string][]int{"only": {1}, "two": {1, 2}, "code": {1, 3}, "empty": {4}, "none": {}} {
		var cs []Change
		for _, n := range asked {
			cs = append(cs, b.changes[n])
		}
		if have := BetaOnly(cs, l, o); have != (want == "only") {
			t.Errorf("%s: %v", want, have)
		}
	}
	if BetaOnly([]Change{b.changes[1]}, l, RiskOptions{}) {
		t.Error("nothing is beta-only unless it is said so")
	}
}
