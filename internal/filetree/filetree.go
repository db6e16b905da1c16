// Package filetree says what the file systems of embedded devices hold: entries
// with the mode, the owner and the contents that a kernel would show.
//
// It is the common result of the packages that read squashfs, cramfs, JFFS2 and
// UBIFS, and proves nothing by itself.
package filetree

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Entry is one name of a file system.
type Entry struct {
	Path         string // slash-separated, without a leading slash; "" is the root
	Mode         uint16 // type and permissions as in st_mode
	UID, GID     uint32
	Size         int64
	Target       string // of a symbolic link
	Major, Minor uint32 // of a device
	Content      []byte // of a regular file; of a broken one the bytes as they are stored
	Broken       string // why the contents could not be read
}

// The types of entries, in the upper bits of the mode.
const (
	typeMask    = 0xf000
	Socket      = 0xc000
	Link        = 0xa000
	Regular     = 0x8000
	BlockDevice = 0x6000
	Directory   = 0x4000
	CharDevice  = 0x2000
	FIFO        = 0x1000
)

// Type returns the type bits of the mode.
func (e Entry) Type() uint16 { return e.Mode & typeMask }

// IsDevice reports whether the entry stands for a device.
func (e Entry) IsDevice() bool { return e.Type() == BlockDevice || e.Type() == CharDevice }

// Runs reports whether a kernel may run the file: by its mode, or because its
// contents are a program, a library or a script, which others may load.
func (e Entry) Runs() bool {
	return e.Type() == Regular && (e.Mode&0o111 != 0 || bytes.HasPrefix(e.Content, []byte("\x7fELF")) || bytes.HasPrefix(e.Content, []byte("#!")))
}

// String is the entry as one line: mode, owner, size or what it points to, path.
// Names are quoted where they would not be plain in a terminal.
func (e Entry) String() string {
	var what string
	switch e.Type() {
	case Link, Directory:
		what = "-"
		if e.Target != "" {
			what = "-> " + plain(e.Target)
		}
	case BlockDevice, CharDevice:
		what = fmt.Sprintf("%d,%d", e.Major, e.Minor)
	case Regular:
		what = strconv.FormatInt(e.Size, 10)
	default:
		what = "-"
	}
	return fmt.Sprintf("%c%04o %d:%d %s %s", letter(e.Type()), e.Mode&0o7777, e.UID, e.GID, plain("/"+e.Path), what)
}

func letter(t uint16) byte {
	switch t {
	case Socket:
		return 's'
	case Link:
		return 'l'
	case Regular:
		return '-'
	case BlockDevice:
		return 'b'
	case Directory:
		return 'd'
	case CharDevice:
		return 'c'
	case FIFO:
		return 'p'
	}
	return '?'
}

// plain quotes a name that holds anything but printable ASCII, or that could be
// taken for two fields.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// Sort puts entries into the order of their paths.
func Sort(es []Entry) {
	slices.SortStableFunc(es, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
}

// Listing is one line per entry, in the order given.
func Listing(es []Entry) []byte {
	var b bytes.Buffer
	for _, e := range es {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Errors of readers of file systems.
var (
	ErrMalformed = errors.New("malformed")
	ErrLimit     = errors.New("more than the limit")
)

// Bounds of one file system. Those of management controllers have some thousand
// entries, a dozen levels deep.
const (
	MaxEntries = 1 << 16
	MaxDepth   = 64
	maxPath    = 4096
)

// Budget counts what reading a file system takes.
type Budget struct {
	Bytes   int // that contents may still have
	Entries int // that may still be named
}

// NewBudget allows contents of so many bytes.
func NewBudget(n int) *Budget { return &Budget{Bytes: n, Entries: MaxEntries} }

// Name takes one entry below a directory, and returns its path.
func (b *Budget) Name(dir, name string) (string, error) {
	if b.Entries--; b.Entries < 0 {
		return "", fmt.Errorf("%w of %d entries", ErrLimit, MaxEntries)
	}
	if !plausible(name) {
		return "", fmt.Errorf("%w: the name %q", ErrMalformed, name)
	}
	if dir != "" {
		name = dir + "/" + name
	}
	if len(name) > maxPath {
		return "", fmt.Errorf("%w: a path of %d bytes", ErrMalformed, len(name))
	}
	return name, nil
}

// Names visits what a directory holds, in the order of names. damaged is how many names
// nobody can open.
func Names[T any](b *Budget, dir string, names map[string]T, visit func(what T, path string) error) (damaged int, err error) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p, err := b.Name(dir, name)
		if errors.Is(err, ErrMalformed) {
			damaged++
			continue
		}
		if err == nil {
			err = visit(names[name], p)
		}
		if err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

// Take takes n bytes.
func (b *Budget) Take(n int64) error {
	if n < 0 || n > int64(b.Bytes) {
		return fmt.Errorf("%w of bytes", ErrLimit)
	}
	b.Bytes -= int(n)
	return nil
}
