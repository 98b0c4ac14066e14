package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scap/cmd/internal/config"
	"scap/sync/change/staging"
)

// patches holds what is private to the deployer's word: a patch that is new and that nobody named is asked about, and one
// that is gone too.
func (b *backport) patches(ctx context.Context) error {
	text, public, err := b.privately()
	switch {
	case err != nil || text == "":
		return err
	case b.yes:
		return coded{exitError, fmt.Errorf("--yes does not confirm it. %s", text)}
	}
	return b.put(ctx, text+"\nShip it so?", public+". Ship it so?") // their names are nobody else's business
}

// privately says what is private, differs from what is served and was not named: with names, and for everybody.
func (b *backport) privately() (text, public string, err error) {
	if b.base == nil {
		return "", "", nil
	}
	fresh, missing := slices.Clone(b.built.NewPatches), []string{}
	for _, path := range b.o.private {
		name := privateName(b.conf.Staging, path)
		if sum, ok := sumOf(b.built.Record, name); ok && b.sums[path] != "" && sum != b.sums[path] {
			return "", "", fmt.Errorf("%s has changed since it was confirmed: begin again", path)
		}
		i := slices.Index(fresh, name)
		if i < 0 {
			missing = append(missing, path)
			continue
		}
		fresh = slices.Delete(fresh, i, i+1)
	}
	if len(missing) > 0 {
		return "", "", usage(fmt.Errorf("--private: %s: nothing new of that name is in the tree. A patch belongs below staging.patches (%s), a file below staging.private (%s)",
			strings.Join(missing, ", "), orText(b.conf.Staging.Patches, "none"), orText(b.conf.Staging.Private, "none")))
	}
	var doubt []string
	if len(fresh) > 0 {
		doubt = append(doubt, "new, and not named with --private: "+strings.Join(fresh, ", "))
	}
	if len(b.built.GonePatches) > 0 {
		doubt = append(doubt, "served now, and not in the new tree: "+strings.Join(b.built.GonePatches, ", "))
	}
	if len(doubt) == 0 {
		return "", "", nil
	}
	const differ = "Private patches and files differ from those that are served"
	return differ + ":\n  " + strings.Join(doubt, "\n  "), fmt.Sprintf("%s: %d new, %d gone", differ, len(fresh), len(b.built.GonePatches)), nil
}

// seal notes what the private files that were named hold now: nothing else of their names may ship.
func (b *backport) seal() error {
	b.sums = map[string]string{}
	for _, path := range b.o.private {
		if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
			continue // whether it may be in a tree is for the composing to say
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return usage(fmt.Errorf("--private: %w", err))
		}
		sum := sha256.Sum256(text)
		b.sums[path] = hex.EncodeToString(sum[:])
	}
	return nil
}

// sumOf is what a record has of a private patch or file.
func sumOf(r *staging.Record, name string) (sum string, ok bool) {
	for _, p := range secrets(r) {
		if p.Name == name {
			return p.Sum, true
		}
	}
	return "", false
}

// privateName is what a record calls the private patch or file at path.
func privateName(s *config.Staging, path string) string {
	for _, dir := range []string{s.Patches, s.Private} {
		if full, err := filepath.Abs(path); err == nil && dir != "" {
			if name, ok := strings.CutPrefix(full, strings.TrimSuffix(dir, "/")+"/"); ok {
				return name
			}
		}
	}
	return path
}
