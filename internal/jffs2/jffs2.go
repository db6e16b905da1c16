// Package jffs2 reads the files of a JFFS2 file system from the nodes in its
// flash (Linux kernel, include/uapi/linux/jffs2.h), of either byte order.
//
// It shows what the newest version of each name and each byte adds up to, of
// nodes whose checksums hold; how many do not hold is returned. That is what a
// kernel shows of a flash that was written by one. A kernel may be made to pass
// nodes over, though (fs/jffs2/scan.c: blocks that begin erased, nodes across
// blocks, summaries), so that what any other valid node says is returned too.
package jffs2

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/filetree"
	"github.com/assay-hw/assay/internal/lzo"
)

const (
	magic    = 0x1985
	accurate = 0x2000 // cleared in nodes that are obsolete

	typeDirent = 0xe001
	typeInode  = 0xe002

	headLen   = 12
	direntLen = 40
	inodeLen  = 68
	rootInode = 1
	maxNode   = 1 << 16 // no writer makes longer ones: a page and its header
)

// FileSystem is what the nodes add up to.
type FileSystem struct {
	Entries []filetree.Entry // sorted by path
	Used    int              // up to the end of the last node
	Damaged int              // nodes whose checksums do not hold, names that cannot be
	Past    []filetree.Entry // what valid nodes say besides: filetree.Past
	Twice   []string         // further names of directories, which have one: a rename that was cut off
}

type dirent struct {
	parent, version, inode uint32
	name                   string
}

type inodeNode struct {
	version, size, offset, expanded uint32
	mode, uid, gid                  uint16
	compression                     byte
	data                            []byte
}

type reader struct {
	b       []byte
	order   binary.ByteOrder
	out     FileSystem
	dirs    map[uint32]map[string]dirent
	inodes  map[uint32][]inodeNode
	first   map[uint32]dirent // the oldest of the names that an inode has
	names   map[uint32][]filetree.Child
	hidden  map[uint32][]inodeNode // in the data of others, or by a summary
	budget  *filetree.Budget
	work    int
	nodes   int
	where   map[uint64]string // directories that were gone into
	trouble error             // the first that did not stop the reading
}

// crc is the kernel's crc32 with a start of zero and no inversion.
func crc(b []byte) uint32 { return ^crc32.Update(0xffffffff, crc32.IEEETable, b) }

// Order returns the byte order of a file system that begins with a node.
func Order(b []byte) (order binary.ByteOrder, ok bool) {
	if len(b) < headLen {
		return nil, false
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if order.Uint16(b) == magic && sealed(order, b) {
			return order, true
		}
	}
	return nil, false
}

// sealed checks the checksum of a node's header, which is over the header of the
// node as it was written: an obsolete one has a bit less.
func sealed(order binary.ByteOrder, h []byte) bool {
	var b [8]byte
	copy(b[:], h)
	order.PutUint16(b[2:], order.Uint16(h[2:])|accurate)
	return crc(b[:]) == order.Uint32(h[8:])
}

const page = 4096

// Begins reports whether a node stands where the first page that is not erased
// begins: nodes are written to the next free block.
func Begins(b []byte) bool {
	at := 0
	for at+page < len(b) && erased(b[at:at+page]) {
		at += page
	}
	_, ok := Order(b[at:])
	return ok
}

// Holds reports whether a node stands where any page begins. A kernel goes on
// behind blocks that hold anything else; they are what an erasure leaves that
// was cut off.
func Holds(b []byte) bool {
	_, ok := orderOf(b)
	return ok
}

func orderOf(b []byte) (binary.ByteOrder, bool) {
	for at := 0; at < len(b); at += page {
		if order, ok := Order(b[at:]); ok {
			return order, true
		}
	}
	return nil, false
}

func erased(b []byte) bool {
	for _, c := range b {
		if c != 0xff {
			return false
		}
	}
	return true
}

// Parse reads a file system, contents of at most limit bytes. Of the past only
// entries are returned for which keep reports true; nil keeps all.
func Parse(b []byte, limit int, keep func(filetree.Entry) bool) (FileSystem, error) {
	order, ok := orderOf(b)
	if !ok {
		return FileSystem{}, fmt.Errorf("%w: it does not begin with a node", filetree.ErrMalformed)
	}
	r := newReader(b, order, limit)
	if err := r.scan(); err != nil {
		return FileSystem{}, err
	}
	r.out.Entries = append(r.out.Entries, r.root())
	if err := r.directory(rootInode, "", 0); err != nil {
		return FileSystem{}, err
	}
	filetree.Sort(r.out.Entries)
	past := filetree.NewPast(r.out.Entries, r.work, keep)
	if err := r.past(past); err != nil {
		return FileSystem{}, err
	}
	if err := r.swapped(past, limit); err != nil {
		return FileSystem{}, err
	}
	r.out.Past = past.Entries
	return r.out, r.trouble
}

func newReader(b []byte, order binary.ByteOrder, limit int) *reader {
	return &reader{
		b: b, order: order, dirs: map[uint32]map[string]dirent{}, inodes: map[uint32][]inodeNode{}, first: map[uint32]dirent{},
		names: map[uint32][]filetree.Child{}, hidden: map[uint32][]inodeNode{},
		budget: filetree.NewBudget(limit), work: 3*limit + 8*len(b) + 1<<20, where: map[uint64]string{},
	}
}

func (r *reader) root() filetree.Entry {
	root := filetree.Entry{Mode: filetree.Directory | 0o755}
	if ns := r.inodes[rootInode]; len(ns) > 0 {
		n := ns[len(ns)-1]
		root.Mode, root.UID, root.GID = n.mode, uint32(n.uid), uint32(n.gid)
	}
	return root
}

// maxNodes bounds the nodes of a flash; each takes memory.
const maxNodes = 1 << 18

// scan finds all nodes. A node whose header does not hold is stepped over by
// four bytes, as the kernel does.
func (r *reader) scan() error {
	for at := 0; at+headLen <= len(r.b); {
		h := r.b[at:]
		if r.order.Uint16(h) != magic {
			at += 4
			continue
		}
		kind, n := r.order.Uint16(h[2:]), int64(r.order.Uint32(h[4:]))
		if !sealed(r.order, h) {
			at += 4
			continue
		}
		if n < headLen || n > int64(len(h)) {
			r.out.Damaged++
			at += 4
			continue
		}
		if r.nodes++; r.nodes > maxNodes {
			return fmt.Errorf("%w of %d nodes", filetree.ErrLimit, maxNodes)
		}
		if !r.take(kind, h[:n], false) {
			r.out.Damaged++
		}
		if err := r.within(h[:n]); err != nil {
			return err
		}
		at += int(n+3) &^ 3
		r.out.Used = min(at, len(r.b))
	}
	for _, ns := range r.inodes {
		slices.SortStableFunc(ns, func(a, b inodeNode) int { return cmp.Compare(a.version, b.version) })
	}
	for _, names := range r.dirs {
		for _, d := range names {
			if old, ok := r.first[d.inode]; !ok || cmp.Or(cmp.Compare(d.version, old.version), cmp.Compare(d.parent, old.parent), cmp.Compare(d.name, old.name)) < 0 {
				r.first[d.inode] = d
			}
		}
	}
	return r.summaries()
}

// take files a node under what it belongs to, and reports whether it holds.
func (r *reader) take(kind uint16, b []byte, hidden bool) bool {
	switch kind {
	case typeDirent:
		return r.dirent(b, hidden)
	case typeInode:
		n, ino, ok := r.inode(b)
		if ok && hidden {
			r.hidden[ino] = append(r.hidden[ino], n)
		} else if ok {
			r.inodes[ino] = append(r.inodes[ino], n)
		}
		return ok
	}
	return true
}

func (r *reader) dirent(b []byte, hidden bool) bool {
	if len(b) < direntLen || crc(b[:32]) != r.order.Uint32(b[32:]) {
		return false
	}
	n := int(b[28])
	if n > len(b)-direntLen || crc(b[direntLen:direntLen+n]) != r.order.Uint32(b[36:]) {
		return false
	}
	parent := r.order.Uint32(b[12:])
	name, _, _ := strings.Cut(string(b[direntLen:direntLen+n]), "\x00") // a kernel ends it there
	d := dirent{parent: parent, version: r.order.Uint32(b[16:]), inode: r.order.Uint32(b[20:]), name: name}
	if d.inode != 0 {
		r.names[parent] = append(r.names[parent], filetree.Child{Name: name, Inode: uint64(d.inode)})
	}
	if hidden {
		return true
	}
	if r.dirs[parent] == nil {
		r.dirs[parent] = map[string]dirent{}
	}
	if old, ok := r.dirs[parent][d.name]; !ok || d.version >= old.version {
		r.dirs[parent][d.name] = d
	}
	return true
}

// inode reads a node. What it expands to is not looked at here: a hole may be as
// long as the file.
func (r *reader) inode(b []byte) (n inodeNode, ino uint32, ok bool) {
	if len(b) < inodeLen || crc(b[:60]) != r.order.Uint32(b[64:]) {
		return n, 0, false
	}
	u := r.order
	n = inodeNode{
		version: u.Uint32(b[16:]), mode: uint16(u.Uint32(b[20:])), uid: u.Uint16(b[24:]), gid: u.Uint16(b[26:]), size: u.Uint32(b[28:]),
		offset: u.Uint32(b[44:]), expanded: u.Uint32(b[52:]), compression: b[56],
	}
	length := int64(u.Uint32(b[48:]))
	if length > int64(len(b)-inodeLen) {
		return n, 0, false
	}
	n.data = b[inodeLen : inodeLen+length]
	return n, u.Uint32(b[12:]), crc(n.data) == u.Uint32(b[60:])
}

// directory names what a directory holds, in the order of names.
func (r *reader) directory(ino uint32, path string, depth int) error {
	if depth > filetree.MaxDepth {
		r.trouble = cmp.Or(r.trouble, fmt.Errorf("%w: /%s: directories too deep", filetree.ErrMalformed, path))
		return nil
	}
	r.where[uint64(ino)] = path
	names := maps.Clone(r.dirs[ino])
	maps.DeleteFunc(names, func(_ string, d dirent) bool { return d.inode == 0 }) // a name that was removed
	damaged, err := filetree.Names(r.budget, path, names, func(d dirent, p string) error { return r.entry(d, p, depth) })
	r.out.Damaged += damaged
	return err
}

func (r *reader) entry(d dirent, path string, depth int) error {
	e := filetree.Entry{Path: path}
	ns := r.inodes[d.inode]
	if len(ns) == 0 {
		e.Broken = "it has no inode"
		r.out.Entries = append(r.out.Entries, e)
		return nil
	}
	n := ns[len(ns)-1]
	e.Mode, e.UID, e.GID = n.mode, uint32(n.uid), uint32(n.gid)
	if e.Type() == filetree.Directory {
		if _, ok := r.where[uint64(d.inode)]; ok || r.first[d.inode] != d {
			r.out.Twice = append(r.out.Twice, path)
			return nil
		}
		r.out.Entries = append(r.out.Entries, e)
		return r.directory(d.inode, path, depth+1)
	}
	e, err := r.shown(e, ns)
	r.out.Entries = append(r.out.Entries, e)
	return err
}

// shown is a file as its nodes add up, the newest last.
func (r *reader) shown(e filetree.Entry, ns []inodeNode) (filetree.Entry, error) {
	n := ns[len(ns)-1]
	e.Size = int64(n.size)
	if e.IsDevice() || e.Type() == filetree.Link {
		e.Size = int64(n.expanded) // their data is not counted as size by all writers
	}
	var end, data int64
	for _, n := range ns {
		if n.compression != zero && int64(n.offset) < e.Size {
			end, data = max(end, min(int64(n.offset)+int64(n.expanded), e.Size)), data+int64(min(n.expanded, maxNode))
		}
	}
	room, ok := r.budget.Room(e.Size, end, data)
	if !ok {
		e.Broken, e.Content = "it is nearly all holes", stored(ns)
		return e, r.budget.Take(int64(len(e.Content)))
	}
	if err := r.budget.Take(room); err != nil {
		return e, err
	}
	content, broken, err := r.content(ns, int(room))
	if err != nil {
		return e, err
	}
	if e.Broken = broken; broken != "" {
		content = stored(ns)
	}
	switch {
	case broken != "":
		e.Content = content
	case e.Type() == filetree.Link:
		e.Target = string(content)
	case e.IsDevice():
		e.Major, e.Minor = r.device(content)
	case e.Type() == filetree.Regular:
		e.Content = content
	}
	return e, nil
}

// stored are the bytes of a file's nodes as they are stored, in the order of
// their offsets in the file: the order on the flash is another after each
// collection of garbage.
func stored(ns []inodeNode) []byte {
	ns = slices.SortedStableFunc(slices.Values(ns), func(a, b inodeNode) int { return cmp.Compare(a.offset, b.offset) })
	var out []byte
	for _, n := range ns {
		out = append(fmt.Appendf(out, "0x%x+0x%x %d\n", n.offset, n.expanded, n.compression), n.data...)
	}
	return out
}

func (r *reader) device(b []byte) (major, minor uint32) {
	switch len(b) {
	case 2:
		d := r.order.Uint16(b)
		return uint32(d >> 8), uint32(d & 0xff)
	case 4:
		d := r.order.Uint32(b)
		return d >> 8 & 0xfff, d&0xff | d>>12&0xfff00
	}
	return 0, 0
}

// content lays the nodes of a file over each other, the newest last. What a node
// says that cannot be expanded matters while no newer one lies over it.
func (r *reader) content(ns []inodeNode, size int) (out []byte, broken string, err error) {
	out = make([]byte, size)
	type hole struct {
		from, to int64
		why      string
	}
	var holes []hole
	length := 0 // of the file at that version, as far as it matters
	for _, n := range ns {
		now := int(min(int64(n.size), int64(size)))
		if now < length {
			r.work -= length - now
			clear(out[now:length]) // the file was made shorter
		}
		length = now
		from, to := int64(n.offset), min(int64(n.offset)+int64(n.expanded), int64(size))
		if from >= to {
			continue
		}
		if r.work -= len(n.data) + int(min(n.expanded, maxNode)) + 64*(1+len(holes)); r.work < 0 {
			return nil, "", fmt.Errorf("%w of bytes", filetree.ErrLimit)
		}
		if n.compression == zero {
			r.work -= int(to - from)
			clear(out[from:to])
		} else if data, err := expand(n); err != nil {
			holes = append(holes, hole{from, to, err.Error()})
			continue
		} else {
			copy(out[from:], data)
		}
		holes = slices.DeleteFunc(holes, func(h hole) bool { return h.from >= from && h.to <= to })
	}
	if len(holes) > 0 {
		broken = holes[0].why
	}
	return out, broken, nil
}

// The compressions of nodes.
const (
	plain = iota
	zero
	rtime
	rubin
	copied
	dynamicRubin
	deflated
	lzoed
)

func expand(n inodeNode) ([]byte, error) {
	var out []byte
	var err error
	if n.expanded > maxNode {
		return nil, fmt.Errorf("%w: a node of %d bytes", filetree.ErrMalformed, n.expanded)
	}
	switch n.compression {
	case plain, copied:
		out = n.data
	case zero:
		return make([]byte, n.expanded), nil
	case rtime:
		out, err = expandRTime(n.data, int(n.expanded))
	case deflated:
		var z io.ReadCloser
		if z, err = zlib.NewReader(bytes.NewReader(n.data)); err == nil {
			out, err = io.ReadAll(io.LimitReader(z, int64(n.expanded)))
		}
	case lzoed:
		out, _, err = lzo.Decode(n.data, int(n.expanded))
	default:
		return nil, fmt.Errorf("compression %d is not known", n.compression)
	}
	if err == nil && len(out) != int(n.expanded) {
		err = fmt.Errorf("%w: a node of %d bytes instead of %d", filetree.ErrMalformed, len(out), n.expanded)
	}
	return out, err
}

// expandRTime expands the kernel's simplest compression: each byte is followed
// by how many of those that followed it the last time follow it again.
func expandRTime(b []byte, size int) ([]byte, error) {
	var last [256]int
	out := make([]byte, 0, size)
	for len(out) < size {
		if len(b) < 2 {
			return nil, fmt.Errorf("%w: it ends too early", filetree.ErrMalformed)
		}
		c, n, from := b[0], int(b[1]), last[b[0]]
		b = b[2:]
		out = append(out, c)
		last[c] = len(out)
		if n > size-len(out) {
			return nil, fmt.Errorf("%w: it expands to more than it says", filetree.ErrMalformed)
		}
		for ; n > 0; n, from = n-1, from+1 {
			out = append(out, out[from])
		}
	}
	return out, nil
}
