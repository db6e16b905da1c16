// Package jffs2 reads the files of a JFFS2 file system from the nodes in its
// flash (Linux kernel, include/uapi/linux/jffs2.h), of either byte order.
//
// It proves what a kernel that mounts these bytes would show: the newest version
// of a name and of each byte wins, and only nodes whose checksums hold count.
// How many do not hold is returned.
package jffs2

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

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
	Damaged int              // nodes whose checksums do not hold
}

type dirent struct {
	version, inode uint32
	name           string
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
	budget  *filetree.Budget
	work    int
	nodes   int
	visited map[uint32]bool
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

// Begins returns where the first node of a file system is: blocks before it may
// be erased, as nodes are written to the next free block.
func Begins(b []byte) (at int, ok bool) {
	for at+page < len(b) && erased(b[at:at+page]) {
		at += page
	}
	_, ok = Order(b[at:])
	return at, ok
}

func erased(b []byte) bool {
	for _, c := range b {
		if c != 0xff {
			return false
		}
	}
	return true
}

// Parse reads a file system, contents of at most limit bytes.
func Parse(b []byte, limit int) (FileSystem, error) {
	at, ok := Begins(b)
	if !ok {
		return FileSystem{}, fmt.Errorf("%w: it does not begin with a node", filetree.ErrMalformed)
	}
	order, _ := Order(b[at:])
	r := &reader{
		b: b, order: order, dirs: map[uint32]map[string]dirent{}, inodes: map[uint32][]inodeNode{},
		budget: filetree.NewBudget(limit), work: 2*limit + 1<<20, visited: map[uint32]bool{},
	}
	if err := r.scan(); err != nil {
		return FileSystem{}, err
	}
	root := filetree.Entry{Mode: filetree.Directory | 0o755}
	if ns := r.inodes[rootInode]; len(ns) > 0 {
		n := ns[len(ns)-1]
		root.Mode, root.UID, root.GID = n.mode, uint32(n.uid), uint32(n.gid)
	}
	r.out.Entries = append(r.out.Entries, root)
	err := r.directory(rootInode, "", 0)
	filetree.Sort(r.out.Entries)
	return r.out, err
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
		ok := true
		switch kind {
		case typeDirent:
			ok = r.dirent(h[:n])
		case typeInode:
			ok = r.inode(h[:n])
		}
		if !ok {
			r.out.Damaged++
		}
		at += int(n+3) &^ 3
		r.out.Used = min(at, len(r.b))
	}
	for _, ns := range r.inodes {
		slices.SortStableFunc(ns, func(a, b inodeNode) int { return cmp.Compare(a.version, b.version) })
	}
	return nil
}

func (r *reader) dirent(b []byte) bool {
	if len(b) < direntLen || crc(b[:32]) != r.order.Uint32(b[32:]) {
		return false
	}
	n := int(b[28])
	if n > len(b)-direntLen || crc(b[direntLen:direntLen+n]) != r.order.Uint32(b[36:]) {
		return false
	}
	parent := r.order.Uint32(b[12:])
	d := dirent{version: r.order.Uint32(b[16:]), inode: r.order.Uint32(b[20:]), name: string(b[direntLen : direntLen+n])}
	if r.dirs[parent] == nil {
		r.dirs[parent] = map[string]dirent{}
	}
	if old, ok := r.dirs[parent][d.name]; !ok || d.version >= old.version {
		r.dirs[parent][d.name] = d
	}
	return true
}

func (r *reader) inode(b []byte) bool {
	if len(b) < inodeLen || crc(b[:60]) != r.order.Uint32(b[64:]) {
		return false
	}
	u := r.order
	n := inodeNode{
		version: u.Uint32(b[16:]), mode: uint16(u.Uint32(b[20:])), uid: u.Uint16(b[24:]), gid: u.Uint16(b[26:]), size: u.Uint32(b[28:]),
		offset: u.Uint32(b[44:]), expanded: u.Uint32(b[52:]), compression: b[56],
	}
	length := int64(u.Uint32(b[48:]))
	if length > int64(len(b)-inodeLen) || n.expanded > maxNode {
		return false
	}
	n.data = b[inodeLen : inodeLen+length]
	if crc(n.data) != u.Uint32(b[60:]) {
		return false
	}
	ino := u.Uint32(b[12:])
	r.inodes[ino] = append(r.inodes[ino], n)
	return true
}

// directory names what a directory holds, in the order of names.
func (r *reader) directory(ino uint32, path string, depth int) error {
	if depth > filetree.MaxDepth || r.visited[ino] {
		return fmt.Errorf("%w: /%s: a directory inside of itself, or too deep", filetree.ErrMalformed, path)
	}
	r.visited[ino] = true
	names := make([]string, 0, len(r.dirs[ino]))
	for name, d := range r.dirs[ino] {
		if d.inode != 0 { // 0 is a name that was removed
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p, err := r.budget.Name(path, name)
		if err != nil {
			return err
		}
		if err := r.entry(r.dirs[ino][name].inode, p, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(ino uint32, path string, depth int) error {
	e := filetree.Entry{Path: path}
	ns := r.inodes[ino]
	if len(ns) == 0 {
		e.Broken = "it has no inode"
		r.out.Entries = append(r.out.Entries, e)
		return nil
	}
	n := ns[len(ns)-1]
	e.Mode, e.UID, e.GID = n.mode, uint32(n.uid), uint32(n.gid)
	if e.Type() == filetree.Directory {
		r.out.Entries = append(r.out.Entries, e)
		return r.directory(ino, path, depth+1)
	}
	e.Size = int64(n.size)
	if e.IsDevice() || e.Type() == filetree.Link {
		e.Size = int64(n.expanded) // their data is not counted as size by all writers
	}
	if err := r.budget.Take(e.Size); err != nil {
		return err
	}
	content, broken, err := r.content(ns, int(e.Size))
	if err != nil {
		return err
	}
	e.Broken = broken
	switch {
	case e.Type() == filetree.Link:
		e.Target = string(content)
	case e.IsDevice():
		e.Major, e.Minor = r.device(content)
	case e.Type() == filetree.Regular:
		e.Content = content
	}
	r.out.Entries = append(r.out.Entries, e)
	return nil
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

// content lays the nodes of a file over each other, the newest last. A node
// that cannot be expanded leaves a hole.
func (r *reader) content(ns []inodeNode, size int) (out []byte, broken string, err error) {
	out = make([]byte, size)
	length := 0 // of the file at that version, as far as it matters
	for _, n := range ns {
		now := min(int64(n.size), int64(size))
		if int(now) < length {
			r.work -= length - int(now)
			clear(out[now:length]) // the file was made shorter
		}
		length = int(now)
		if int64(n.offset) >= int64(size) || n.expanded == 0 {
			continue
		}
		if r.work -= len(n.data) + int(n.expanded) + 64; r.work < 0 {
			return nil, "", fmt.Errorf("%w of bytes", filetree.ErrLimit)
		}
		data, err := expand(n)
		if err != nil {
			broken = err.Error()
			continue
		}
		copy(out[n.offset:], data)
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
