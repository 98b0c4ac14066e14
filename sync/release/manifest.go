package release

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const manifestHead = "scap-manifest 1 "

// maxManifestLine bounds a line: two paths of the longest kind, quoted at four characters a byte.
const maxManifestLine = 1 << 17

// WriteManifest writes id as text, a line an entry, so that it can be kept and compared where no store is. Names are
// quoted as Go strings; any bytes survive.
func WriteManifest(w io.Writer, src Dirs, id ID) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s%s\n", manifestHead, id)
	err := Walk(src, id, func(p string, e Entry) error {
		_, err := fmt.Fprintf(b, "%c %04o %d %s %q %q\n", e.Kind, e.Mode, e.Size, e.Sum, p, e.Target)
		return err
	})
	return errors.Join(err, b.Flush())
}

// Manifest is a release read back from text: its name and its directories.
type Manifest struct {
	ID   ID
	dirs map[Sum]Dir
}

var _ Dirs = (*Manifest)(nil)

// Dir returns a directory of the manifest.
func (m *Manifest) Dir(sum Sum) (Dir, error) {
	if d, ok := m.dirs[sum]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("directory %s: %w", sum, fs.ErrNotExist)
}

// ReadManifest reads what WriteManifest wrote. An error names the line; a manifest whose directories do not hash to its
// name is refused.
func ReadManifest(r io.Reader) (*Manifest, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxManifestLine)
	if !sc.Scan() {
		return nil, errors.Join(errors.New("manifest: empty"), sc.Err())
	}
	name, ok := strings.CutPrefix(sc.Text(), manifestHead)
	id, err := ParseID(name)
	if !ok || err != nil {
		return nil, errors.New("manifest: line 1 is not the head of a manifest")
	}
	trees := map[string]Dir{".": nil} // by path
	order := []string{"."}
	for n := 2; sc.Scan(); n++ {
		p, e, err := parseManifestLine(sc.Text())
		if err == nil {
			if _, known := trees[path.Dir(p)]; !known {
				err = errors.New("its directory does not come before it")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("manifest: line %d: %w", n, err)
		}
		trees[path.Dir(p)] = append(trees[path.Dir(p)], e)
		if e.Kind == Directory {
			trees[p] = nil
			order = append(order, p)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return sealManifest(id, trees, order)
}

// sealManifest checks that the directories are what they are called, children first.
func sealManifest(id ID, trees map[string]Dir, order []string) (*Manifest, error) {
	m := &Manifest{ID: id, dirs: map[Sum]Dir{}}
	sums := map[string]Sum{}
	for _, p := range slices.Backward(order) {
		d := trees[p]
		for _, e := range d {
			if e.Kind == Directory && e.Sum != sums[path.Join(p, e.Name)] {
				return nil, fmt.Errorf("manifest: directory %q is not what it is called", path.Join(p, e.Name))
			}
		}
		enc := d.Encode()
		if _, err := DecodeDir(enc); err != nil {
			return nil, fmt.Errorf("manifest: directory %q: %w", p, err)
		}
		sums[p] = SumOf(enc)
		m.dirs[sums[p]] = d
	}
	if ID(sums["."]) != id {
		return nil, fmt.Errorf("manifest: its content is %s and it is called %s", ID(sums["."]).Short(), id.Short())
	}
	return m, nil
}

func parseManifestLine(line string) (string, Entry, error) {
	parts := strings.SplitN(line, " ", 5)
	if len(parts) != 5 || len(parts[0]) != 1 {
		return "", Entry{}, errors.New("want kind, mode, size, digest, name and target")
	}
	e := Entry{Kind: Kind(parts[0][0])}
	mode, err1 := strconv.ParseUint(parts[1], 8, 16)
	size, err2 := strconv.ParseInt(parts[2], 10, 64)
	sum, err3 := ParseSum(parts[3])
	quoted, err4 := strconv.QuotedPrefix(parts[4])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return "", Entry{}, err
	}
	target, ok := strings.CutPrefix(parts[4][len(quoted):], " ")
	if !ok {
		return "", Entry{}, errors.New("no target behind the name")
	}
	p, err1 := strconv.Unquote(quoted)
	target, err2 = strconv.Unquote(target)
	if err := errors.Join(err1, err2); err != nil {
		return "", Entry{}, err
	}
	if p != path.Clean(p) || path.IsAbs(p) || p == "." || strings.HasPrefix(p, "../") {
		return "", Entry{}, fmt.Errorf("name %q: want a clean path inside the tree", p)
	}
	e.Mode, e.Size, e.Sum, e.Name, e.Target = uint16(mode), size, sum, path.Base(p), target
	return p, e, nil
}
