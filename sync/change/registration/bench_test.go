package registration

import "testing"

// BenchmarkCheck looks at one extension of Debian's MediaWiki, as after a change of it.
func BenchmarkCheck(b *testing.B) {
	tree, php := needMediaWiki(b), needPHP(b)
	for b.Loop() {
		if _, err := Check(b.Context(), tree, Options{PHP: php, Core: ".", Paths: []string{"extensions/AbuseFilter/extension.json"}}); err != nil {
			b.Fatal(err)
		}
	}
}
