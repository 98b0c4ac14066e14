package staging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// compileWikiversions makes the PHP file of a wikiversions.json, which says for each wiki which version serves it. has
// reports whether a version's directory is in the tree.
func compileWikiversions(text []byte, has func(version string) bool) ([]byte, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	var wikis map[string]string
	if err := json.Unmarshal(text, &wikis); err != nil {
		return nil, fmt.Errorf("want an object of strings: %w", err)
	}
	if len(wikis) == 0 {
		return nil, errors.New("it names no wiki")
	}
	out := bytes.NewBufferString("<?php\nreturn [\n")
	missing := map[string]string{}
	for _, wiki := range slices.Sorted(maps.Keys(wikis)) {
		version := wikis[wiki]
		if !has(version) {
			missing[version] = wiki
		}
		fmt.Fprintf(out, "\t'%s' => '%s',\n", quotePHP(wiki), quotePHP(version))
	}
	if len(missing) > 0 {
		version := slices.Min(slices.Collect(maps.Keys(missing)))
		return nil, fmt.Errorf("%q shall be served by %q, which is not in the tree", missing[version], version)
	}
	out.WriteString("];\n")
	return out.Bytes(), nil
}

// quotePHP makes text fit between single quotes.
func quotePHP(text string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text)
}
