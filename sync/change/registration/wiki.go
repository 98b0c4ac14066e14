package registration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"syscall"
)

// wiki is MediaWiki in a tree with its extensions and skins.
type wiki struct {
	ctx       context.Context
	tree      fs.FS
	core      string
	manifests []*manifest // by file
	stats     map[string]fs.FileMode
	err       error // the first that says the tree cannot be read; what is missing from it is none
}

// in is a path below the wiki.
func (w *wiki) in(name string) string { return path.Join(w.core, name) }

// load reads all registration files: a class or service of one extension may be another's.
func (w *wiki) load() error {
	w.stats = map[string]fs.FileMode{}
	if info, err := fs.Stat(w.tree, w.core); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is no directory", w.core)
	}
	for _, kind := range [][2]string{{"extensions", "extension.json"}, {"skins", "skin.json"}} {
		if err := w.loadBelow(w.in(kind[0]), kind[1], 2); err != nil {
			return err
		}
	}
	sort.Slice(w.manifests, func(i, j int) bool { return w.manifests[i].file < w.manifests[j].file })
	return nil
}

// loadBelow reads the files of that name in the directories of dir, and of directories in these: some extensions bring parts
// that can be loaded by themselves.
func (w *wiki) loadBelow(dir, name string, levels int) error {
	entries, err := fs.ReadDir(w.tree, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		below := path.Join(dir, e.Name())
		if e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || !w.isDir(below) {
			continue
		}
		file := path.Join(below, name)
		if w.isFile(file) {
			m, err := w.manifest(file)
			if err != nil {
				return err
			}
			w.manifests = append(w.manifests, m)
		} else if levels == 2 {
			continue // parts are only looked for in what is an extension itself
		}
		if levels > 1 {
			if err := w.loadBelow(below, name, levels-1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *wiki) manifest(file string) (*manifest, error) {
	data, err := w.read(file, maxManifest)
	if errors.Is(err, errTooLarge) {
		return &manifest{file: file, dir: path.Dir(file), broken: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	return readManifest(file, data), nil
}

// errTooLarge is a file that is larger than any of its kind.
var errTooLarge = errors.New("too large to be read")

// read reads a file of no more than most bytes.
func (w *wiki) read(name string, most int) ([]byte, error) {
	if w.ctx.Err() != nil {
		return nil, context.Cause(w.ctx)
	}
	f, err := w.tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, most)
	}
	return data, nil
}

// mode is what is at a path: a directory, a file, or fs.ModeIrregular when there is nothing or nothing that can be reached.
func (w *wiki) mode(name string) fs.FileMode {
	if mode, ok := w.stats[name]; ok {
		return mode
	}
	mode := fs.ModeIrregular
	if fs.ValidPath(name) {
		info, err := fs.Stat(w.tree, name)
		if err == nil {
			mode = info.Mode().Type()
		} else if !isAbsent(err) && w.err == nil {
			w.err = err
		}
	}
	w.stats[name] = mode
	return mode
}

// isAbsent reports whether an error says that nothing is there, or nothing can be.
func isAbsent(err error) bool {
	for _, absent := range []error{fs.ErrNotExist, fs.ErrInvalid, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL} {
		if errors.Is(err, absent) {
			return true
		}
	}
	return false
}

func (w *wiki) isFile(name string) bool { return w.mode(name) == 0 }
func (w *wiki) isDir(name string) bool  { return w.mode(name) == fs.ModeDir }

// concerned are the registrations that a change of these paths may break.
func (w *wiki) concerned(paths []string) []*manifest {
	chosen := map[*manifest]bool{}
	names := map[string]bool{} // extensions that changed
	for _, p := range paths {
		p = path.Clean(p)
		all := within(w.core, p)
		if !within(p, w.core) && !all {
			continue
		}
		owner := w.owner(p)
		code := owner == nil && (strings.HasSuffix(p, ".php") || strings.HasSuffix(p, ".inc"))
		for _, m := range w.manifests {
			if all || code || within(m.dir, p) || within(p, m.dir) || owner != nil && within(m.dir, owner.dir) {
				chosen[m] = true
				names[m.name] = true
			}
		}
		names[w.gone(p)] = true
	}
	delete(names, "")
	var todo []*manifest
	for _, m := range w.manifests {
		if chosen[m] || m.requires(names) {
			todo = append(todo, m)
		}
	}
	return todo
}

// owner is the outermost extension or skin that a path is of.
func (w *wiki) owner(p string) *manifest {
	var owner *manifest
	for _, m := range w.manifests {
		if within(p, m.dir) && (owner == nil || len(m.dir) < len(owner.dir)) {
			owner = m
		}
	}
	return owner
}

// gone is the name of an extension whose registration is not in the tree any more; by custom it is the directory's.
func (w *wiki) gone(p string) string {
	for _, dir := range []string{"extensions", "skins"} {
		if rest, ok := strings.CutPrefix(p, w.in(dir)+"/"); ok && w.owner(p) == nil {
			name, _, _ := strings.Cut(rest, "/")
			return name
		}
	}
	return ""
}

// within reports whether name is dir or below it.
func within(name, dir string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}
