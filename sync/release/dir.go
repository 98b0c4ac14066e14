package release

// Kind tells files, symbolic links and directories apart. Nothing else can be in a release.
type Kind byte

// The kinds, by the letter that stands for them in an encoded Dir.
const (
	File      Kind = 'f'
	Link      Kind = 'l'
	Directory Kind = 'd'
)

// Entry is one name in a directory.
type Entry struct {
	Name string // any bytes but '/' and NUL; never "", "." or ".."
	Kind Kind
	Mode uint16 // permission bits that matter: readable and executable by whom (mode & 0555, and 0200 for the owner)
	Size int64  // bytes of a file's content; length of a link's target; 0 for a directory
	Sum  Sum    // of the content, of the link's target, or of the encoded Dir
	// Target is a symbolic link's target, inside the tree; empty for the other kinds.
	Target string
}

// Dir is one directory, sorted by name in byte order.
type Dir []Entry

// Dirs finds directory objects by their Sum. It must answer with an error that wraps fs.ErrNotExist for one it lacks.
type Dirs interface {
	Dir(sum Sum) (Dir, error)
}

// Change is a path that a Delta puts: what shall be there.
type Change struct {
	Path  string // slash separated, relative to the release's root
	Entry Entry
	Old   Entry // what Base has there; zero when nothing
}

// Delta is what makes Next out of Base. Put comes parents first, Remove children first; a path whose kind changes is in
// both, and Remove goes first.
type Delta struct {
	Base, Next ID
	Put        []Change
	Remove     []Change // Entry is what is removed
	Dirs       []Sum    // directory objects of Next that Base did not show on the way; a few more than needed, never less
}
