package pin

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"scap/sync/change"
	"scap/sync/change/git"
)

// BenchmarkPin pins onto 100,000 files in 200 submodules and core: the time from "which changes" to "what the tree will be".
func BenchmarkPin(b *testing.B) {
	const submodules, inCore, inEach = 200, 60000, 200
	w := &world{dir: b.TempDir(), n: 1000}
	lines := func(dirs, n int) map[string]string {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("includes/d%d/e%d/File%d.php", i%dirs, i/dirs%20, i)] = fmt.Sprintf("<?php // %d\n%s", i, text)
		}
		return files
	}
	core, modules := lines(100, inCore), ""
	for i := range submodules {
		name := fmt.Sprintf("Ext%03d", i)
		core["extensions/"+name] = "\x00link " + w.commit("mediawiki/extensions/"+name, five, name, lines(10, inEach))
		modules += fmt.Sprintf("[submodule \"extensions/%s\"]\n\tpath = extensions/%s\n\turl = ../extensions/%s\n", name, name, name)
	}
	core[".gitmodules"] = modules
	w.commit(coreRepo, five, "Core", core)
	w.commit(configRepo, "master", "Config", map[string]string{"wikiversions.json": `{"enwiki": "php-1.41.0-wmf.5"}`, "a": text})
	m, err := git.Open(git.Options{Dir: filepath.Join(b.TempDir(), "mirrors"), URL: w.url(), Local: true})
	if err != nil {
		b.Fatal(err)
	}
	w.m, w.p = m, w.pinner(m)
	up := func(n int, project, branch, path string) change.Change {
		c := change.Change{Number: n, ID: fmt.Sprintf("I%040x", n), Project: project, Branch: branch, Status: change.New, PatchSet: 1, Ref: fmt.Sprintf("refs/changes/01/%d/1", n)}
		c.Revision = w.commitAt(project, c.Ref, w.git(project, "", "rev-parse", "refs/heads/"+branch), "Change\n\nChange-Id: "+c.ID+"\n", map[string]string{path: edited(1, "ONE")})
		return c
	}
	config := up(1, configRepo, "master", "a")
	ext := up(2, "mediawiki/extensions/Ext007", five, "includes/d1/e0/File1.php")
	incore := up(3, coreRepo, five, "includes/d1/e0/File1.php")
	w.commit(coreRepo, five, "Moves on", map[string]string{"x": "x"})
	var base []change.Part
	heads := func(b *testing.B) *Heads {
		h, err := w.p.Fetch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return h
	}
	pin := func(b *testing.B, p *Pinner, h *Heads, picks ...change.Change) *Pinned {
		pinned, err := p.Pin(b.Context(), h, base, picks, nil)
		if err != nil {
			b.Fatal(err)
		}
		return pinned
	}
	h := heads(b)
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			dir, err := os.MkdirTemp("", "cold-")
			if err != nil {
				b.Fatal(err)
			}
			base = nil
			cold := w.pinner(m.Quarantine(dir))
			base = pin(b, cold, h).Parts
			os.RemoveAll(dir)
		}
	})
	b.Run("heads", func(b *testing.B) {
		for b.Loop() {
			heads(b)
		}
	})
	for name, picks := range map[string][]change.Change{"config": {config}, "extension": {ext}, "core": {incore}, "all three": {config, ext, incore}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				pin(b, w.p, h, picks...)
			}
		})
	}
	r, err := m.Repo(coreRepo)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("a security patch on core", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			patch := fmt.Sprintf("--- /dev/null\n+++ b/patched%d\n@@ -0,0 +1 @@\n+x\n", i)
			if _, err := r.Apply(b.Context(), h.Live[0].Commit, []byte(patch), "x"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all blobs of core", func(b *testing.B) {
		for b.Loop() {
			diffs, err := r.Diff(b.Context(), "", h.Live[0].Commit)
			if err != nil {
				b.Fatal(err)
			}
			var oids []string
			for _, d := range diffs {
				if d.New.Kind != git.Gitlink {
					oids = append(oids, d.New.OID)
				}
			}
			blobs, err := r.Blobs(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if err := blobs.CopyAll(oids, drop); err != nil {
				b.Fatal(err)
			}
			blobs.Close()
		}
	})
}

func drop(_ int, _ int64, content io.Reader) error {
	_, err := io.Copy(io.Discard, content)
	return err
}
