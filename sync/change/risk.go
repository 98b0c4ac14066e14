package change

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Risk is something about what a change touches that a deployer does well to know.
type Risk struct {
	Change int
	Kind   string // one of the Risk constants
	Text   string
	Paths  []string // in the change's repository
}

// The kinds of risks.
const (
	RiskL10n         = "l10n"
	RiskRegistration = "registration"
	RiskSchema       = "schema"
	RiskVendor       = "vendor"
	RiskVersions     = "wikiversions"
	RiskSecrets      = "secrets"
	RiskBetaOnly     = "beta-only"
)

// RiskOptions say what the rules of a wiki's own are.
type RiskOptions struct {
	// BetaOnly are the configuration's files that only test wikis read: paths, or patterns as of path.Match.
	BetaOnly []string
}

// riskRules tell by its path what a file of a change means.
var riskRules = []struct {
	kind  string
	match func(l Layout, c *Change, p string) bool
	text  string
}{
	{RiskL10n, isL10n, "the localisation cache is built anew, which takes a while"},
	{RiskRegistration, isRegistration, "a name in it that the code does not have breaks every page"},
	{RiskSchema, isSchema, "a deploy changes no database: see that the schema was changed before, and that both forms work"},
	{RiskVendor, isVendor, "libraries change for everything that uses them"},
	{RiskVersions, isVersions, "wikis move to other versions"},
	{RiskSecrets, isSecrets, "private settings belong on the deploy host, not into a change that everybody can read"},
}

// Risks returns the risks of changes, change by change.
func Risks(cs []Change, l Layout, o RiskOptions) []Risk {
	var risks []Risk
	for i := range cs {
		c := &cs[i]
		if l.kind(c) == Foreign {
			continue
		}
		touched := paths(c)
		for _, rule := range riskRules {
			hit := slices.DeleteFunc(slices.Clone(touched), func(p string) bool { return !rule.match(l, c, p) })
			if len(hit) > 0 {
				risks = append(risks, Risk{Change: c.Number, Kind: rule.kind, Paths: hit, Text: fmt.Sprintf("%s touches %s: %s", c, some(hit), rule.text)})
			}
		}
		if isBetaOnly(l, c, touched, o.BetaOnly) {
			risks = append(risks, Risk{
				Change: c.Number, Kind: RiskBetaOnly, Paths: touched,
				Text: fmt.Sprintf("%s touches only %s, which test wikis alone read: there is nothing to deploy", c, some(touched)),
			})
		}
	}
	return risks
}

// BetaOnly reports whether none of the changes touches anything but the configuration of test wikis.
func BetaOnly(cs []Change, l Layout, o RiskOptions) bool {
	for i := range cs {
		if !isBetaOnly(l, &cs[i], paths(&cs[i]), o.BetaOnly) {
			return false
		}
	}
	return len(cs) > 0
}

func isBetaOnly(l Layout, c *Change, touched, patterns []string) bool {
	other := func(p string) bool {
		return !slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, p)
			return p == pattern || ok && err == nil
		})
	}
	return isConfig(l, c) && len(touched) > 0 && !slices.ContainsFunc(touched, other)
}

// paths are all that a change touches, sorted, the old names of what it moves included. What Gerrit shows as a file and is
// none, such as /COMMIT_MSG, is left out.
func paths(c *Change) []string {
	var out []string
	for _, f := range c.Files {
		for _, p := range []string{f.Path, f.Old} {
			if p != "" && !strings.HasPrefix(p, "/") {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// some names three paths of many.
func some(paths []string) string {
	const most = 3
	var words []string
	for _, p := range paths[:min(len(paths), most)] {
		words = append(words, plain(p, 200))
	}
	if n := len(paths) - most; n > 0 {
		words = append(words, fmt.Sprintf("%d more", n))
	}
	return list(words)
}

func isConfig(l Layout, c *Change) bool { return l.kind(c) == Config }

// within reports whether a directory of that name is part of a path.
func within(p, dir string) bool {
	return strings.HasPrefix(p, dir+"/") || strings.Contains(p, "/"+dir+"/")
}

func isL10n(_ Layout, _ *Change, p string) bool { return within(p, "i18n") || within(p, "languages") }

func isRegistration(_ Layout, _ *Change, p string) bool {
	return slices.Contains([]string{"extension.json", "skin.json"}, path.Base(p))
}

func isSchema(_ Layout, _ *Change, p string) bool {
	return slices.ContainsFunc([]string{"sql", "db_patches", "patches", "abstractSchemaChanges"}, func(dir string) bool { return within(p, dir) }) ||
		path.Ext(p) == ".sql" || path.Base(p) == "tables.json"
}

func isVendor(_ Layout, c *Change, p string) bool {
	return path.Base(c.Project) == "vendor" || within(p, "vendor") || slices.Contains([]string{"composer.json", "composer.lock", "composer.local.json"}, path.Base(p))
}

func isVersions(l Layout, c *Change, p string) bool {
	return isConfig(l, c) && slices.Contains([]string{"wikiversions.json", "wikiversions.php"}, p)
}

func isSecrets(l Layout, c *Change, p string) bool {
	return path.Base(p) == "PrivateSettings.php" || isConfig(l, c) && strings.HasPrefix(p, "private/")
}
