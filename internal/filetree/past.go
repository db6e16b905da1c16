package filetree

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Child is a name in a directory, of any version.
type Child struct {
	Name  string
	Inode uint64
}

// Past collects what valid nodes give besides what the newest ones show: other
// versions of files, names that were removed, folders with a second name. Which
// nodes a kernel takes depends on more than their versions, so that one that is
// newest here may be one that the kernel never reads.
//
// What says the same as the file that is shown is left out: collecting garbage
// writes it anew. So a file system that nobody changes gives nothing new.
type Past struct {
	Entries []Entry // sorted by path; each is PATH~OFFSET-DIGEST, with the contents from that offset

	keep func(Entry) bool
	now  map[string]Entry
	seen map[string]bool
	work int
}

// NewPast collects what is not in the entries that are shown. Only what keep
// reports true for is kept; nil keeps all.
func NewPast(shown []Entry, work int, keep func(Entry) bool) *Past {
	p := &Past{keep: keep, now: make(map[string]Entry, len(shown)), seen: map[string]bool{}, work: work}
	for _, e := range shown {
		p.now[e.Path] = e
	}
	return p
}

// Wants reports whether an entry may be kept, by all but its contents.
func (p *Past) Wants(e Entry, offset int64) bool {
	return offset == 0 || p.keep == nil || p.keep(e)
}

// Add adds a piece of a file, or a link, a device or an empty file.
func (p *Past) Add(e Entry, offset int64) error {
	if p.work -= len(e.Content) + 64; p.work < 0 {
		return fmt.Errorf("%w of older versions", ErrLimit)
	}
	if cur, ok := p.now[e.Path]; ok && says(cur, e, offset) {
		return nil
	}
	if real := Lasting(e.Path); real != e.Path {
		if cur, ok := p.now[real]; ok && says(cur, e, offset) {
			return nil
		}
	}
	if p.keep != nil && !p.keep(e) {
		return nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%o %d:%d %d,%d %q %s %q", e.Mode, e.UID, e.GID, e.Major, e.Minor, e.Target, e.Broken, e.Content))
	e.Path = fmt.Sprintf("%s~%x-%x", e.Path, offset, sum[:6])
	if p.seen[e.Path] {
		return nil
	}
	if len(p.seen) >= MaxEntries {
		return fmt.Errorf("%w of %d older versions", ErrLimit, MaxEntries)
	}
	p.seen[e.Path] = true
	p.Entries = append(p.Entries, e)
	return nil
}

// says reports whether the file that is shown says what a piece of an older one
// does: the same bytes at the same place, and no right to run that it lacks.
func says(cur, e Entry, offset int64) bool {
	const runs = 0o6111
	if cur.Type() != e.Type() || cur.Target != e.Target || cur.Major != e.Major || cur.Minor != e.Minor || e.Mode&runs&^cur.Mode != 0 || e.Broken != cur.Broken {
		return false
	}
	end := offset + int64(len(e.Content))
	return offset >= 0 && end <= int64(len(cur.Content)) && bytes.Equal(cur.Content[offset:end], e.Content)
}

// Walk goes through all names that directories ever had. where has the paths of
// those that are shown, by inode; names are the children of one; visit adds what
// an inode holds under a path, and reports whether it is a directory.
func (p *Past) Walk(where map[uint64]string, names func(uint64) []Child, visit func(inode uint64, path string) (directory bool, err error)) error {
	queue := slices.SortedFunc(maps.Keys(where), func(a, b uint64) int { return cmp.Or(cmp.Compare(where[a], where[b]), cmp.Compare(a, b)) })
	depth := map[uint64]int{}
	for len(queue) > 0 {
		dir := queue[0]
		queue = queue[1:]
		children := names(dir)
		slices.SortFunc(children, func(a, b Child) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Inode, b.Inode)) })
		for _, c := range slices.Compact(children) {
			at := path.Join(where[dir], c.Name)
			if !plausible(c.Name) || len(at) > maxPath {
				continue // no kernel opens it
			}
			directory, err := visit(c.Inode, at)
			if err != nil {
				return err
			}
			known, ok := where[c.Inode]
			switch {
			case !directory || known == at && ok:
			case ok:
				err = p.Add(Entry{Path: at, Mode: Directory, Target: "/" + known}, 0)
			case depth[dir] >= MaxDepth:
				err = fmt.Errorf("%w of %d levels", ErrLimit, MaxDepth)
			default:
				where[c.Inode] = at
				depth[c.Inode] = depth[dir] + 1
				queue = append(queue, c.Inode)
			}
			if err != nil {
				return err
			}
		}
	}
	slices.SortFunc(p.Entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

// plausible reports whether a kernel opens a file of this name.
func plausible(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// Lasting is the path of the file that one of a temporary name becomes when it is
// complete, or the path itself: "passwd+", ".#hostname0123456789abcdef" as systemd
// writes it, "motd.aB3dE9" of mkstemp.
func Lasting(p string) string {
	dir, name := path.Split(p)
	const random = 16
	if n, ok := strings.CutPrefix(name, ".#"); ok && len(n) > random && alphanumeric(n[len(n)-random:]) {
		return dir + n[:len(n)-random]
	}
	for _, end := range []string{".tmp", ".new", ".lock", "+", "~", ".swp", ".part"} {
		if n, ok := strings.CutSuffix(name, end); ok && n != "" {
			return dir + n
		}
	}
	const mkstemp = 6
	if at := len(name) - mkstemp - 1; at > 0 && name[at] == '.' && alphanumeric(name[at+1:]) {
		return dir + name[:at]
	}
	return p
}

func alphanumeric(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
}

// Room says how many bytes of a file have to be held: holes at its end count as
// nothing. end is where its last data end, data how many bytes those have. It
// is false for a file that is nearly all holes.
func (b *Budget) Room(size, end, data int64) (n int64, ok bool) {
	const holes = 1 << 20
	n = max(size, 0)
	if n-end > holes {
		n = max(end, 0)
	}
	return n, n <= holes+4*data || n <= int64(b.Bytes)/64
}
