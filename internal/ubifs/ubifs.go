// Package ubifs reads the files of a UBIFS volume from the nodes in it (Linux
// kernel, fs/ubifs/ubifs-media.h).
//
// It shows what a flash gives that a kernel wrote: the index leads to what was
// committed, and nodes that were written after the commit are laid over it, the
// newest last. Only nodes whose checksums hold count. A kernel replays only the
// blocks that its log names, so that a node elsewhere can be newest here and
// nothing to it: what any other valid node says is returned too.
package ubifs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/assay-hw/assay/internal/filetree"
)

const (
	magic    = 0x06101831
	headLen  = 24
	pageSize = 4096

	inodeType  = 0
	dataType   = 1
	direntType = 2
	truncType  = 4
	superType  = 6
	masterType = 7
	indexType  = 9
	commitType = 10

	rootInode = 1
	maxNode   = 1 << 17 // an index of the widest fan-out is the longest
	maxNodes  = 1 << 18
	maxLevels = 32

	authenticated = 0x10 // flags of the superblock
	encrypted     = 0x08
)

// Compression says how data are compressed.
type Compression uint16

// The compressions.
const (
	Plain Compression = iota
	LZO
	Zlib // raw deflate
	Zstd
)

// Decompress expands data to at most limit bytes.
type Decompress func(c Compression, data []byte, limit int) ([]byte, error)

// FileSystem is what the nodes add up to.
type FileSystem struct {
	Entries []filetree.Entry // sorted by path
	Damaged int              // nodes whose checksums do not hold
	Past    []filetree.Entry // what valid nodes say besides: filetree.Past
	Twice   []string         // further names of directories, which have one
	Scanned string           // why all nodes were taken and not those of the index; removed files may be among them
}

// node is one node at its place; kind and sequence are out of its header.
type node struct {
	b    []byte
	at   int
	seq  uint64
	kind byte
}

type dirent struct {
	inode uint64
	seq   uint64
	kind  byte
}

type page struct {
	seq  uint64
	node []byte
}

type inode struct {
	seq   uint64
	node  []byte
	pages map[uint32]page
	cuts  []cut
}

// cut is that a file was made shorter.
type cut struct {
	seq, size uint64
}

type reader struct {
	b          []byte
	leb        int
	flags      uint32
	out        FileSystem
	nodes      []node
	at         map[int]int // where they lie
	inodes     map[uint64]*inode
	dirs       map[uint64]map[string]dirent
	budget     *filetree.Budget
	work       int
	where      map[uint64]string // directories that were gone into
	trouble    error             // the first that did not stop the reading
	decompress Decompress
}

// Begins reports whether b begins with a superblock.
func Begins(b []byte) bool {
	n, ok, _ := nodeAt(b, 0)
	return ok && n.kind == superType && len(n.b) >= 48
}

// nodeAt reads the node at a place. damaged is that there is one whose checksum
// does not hold.
func nodeAt(b []byte, at int) (n node, ok, damaged bool) {
	if at < 0 || len(b)-at < headLen || binary.LittleEndian.Uint32(b[at:]) != magic {
		return node{}, false, false
	}
	h := b[at:]
	length := binary.LittleEndian.Uint32(h[16:])
	if length < headLen || length > maxNode || int(length) > len(h) {
		return node{}, false, true
	}
	if ^crc32.ChecksumIEEE(h[8:length]) != binary.LittleEndian.Uint32(h[4:]) {
		return node{}, false, true
	}
	return node{b: h[:length], at: at, seq: binary.LittleEndian.Uint64(h[8:]), kind: h[20]}, true, false
}

// Parse reads a volume, contents of at most limit bytes. Of the past only entries
// are returned for which keep reports true; nil keeps all.
func Parse(b []byte, decompress Decompress, limit int, keep func(filetree.Entry) bool) (FileSystem, error) {
	if !Begins(b) {
		return FileSystem{}, fmt.Errorf("%w: it does not begin with a superblock", filetree.ErrMalformed)
	}
	r := &reader{
		b: b, leb: int(binary.LittleEndian.Uint32(b[36:])), flags: binary.LittleEndian.Uint32(b[28:]),
		at: map[int]int{}, inodes: map[uint64]*inode{}, dirs: map[uint64]map[string]dirent{}, where: map[uint64]string{},
		budget: filetree.NewBudget(limit), work: 3*limit + 8*len(b) + 1<<20, decompress: decompress,
	}
	if err := r.scan(); err != nil {
		return FileSystem{}, err
	}
	r.collect()
	root := filetree.Entry{Mode: filetree.Directory | 0o755}
	if n := r.inodes[rootInode]; n != nil && n.node != nil {
		root = owner(n.node)
	}
	r.out.Entries = append(r.out.Entries, root)
	if err := r.directory(rootInode, "", 0); err != nil {
		return FileSystem{}, err
	}
	filetree.Sort(r.out.Entries)
	past := filetree.NewPast(r.out.Entries, r.work, keep)
	if err := r.past(past); err != nil {
		return FileSystem{}, err
	}
	r.out.Past = past.Entries
	return r.out, r.trouble
}

// scan finds all nodes, which begin on eight bytes.
func (r *reader) scan() error {
	for at := 0; at+headLen <= len(r.b); {
		n, ok, damaged := nodeAt(r.b, at)
		if damaged {
			r.out.Damaged++
			r.work -= maxNode / 8 // its checksum was computed
		}
		if r.work < 0 {
			return fmt.Errorf("%w of work", filetree.ErrLimit)
		}
		if !ok {
			at += 8
			continue
		}
		if len(r.nodes) >= maxNodes {
			return fmt.Errorf("%w of %d nodes", filetree.ErrLimit, maxNodes)
		}
		r.nodes = append(r.nodes, n)
		r.at[at] = len(r.nodes) - 1
		at += (len(n.b) + 7) &^ 7
	}
	return nil
}

// collect takes the nodes that count: those that the index leads to, and those
// written after the commit that wrote it.
func (r *reader) collect() {
	indexed, after, err := r.index()
	if err != nil {
		r.out.Scanned = err.Error()
		indexed, after = nil, 0
	}
	for _, n := range r.nodes {
		if err != nil || indexed[n.at] || n.seq > after {
			r.take(n)
		}
	}
}

// index walks from the newest master node to the leaves of the index, and
// returns where they lie, and the sequence number of the commit's start.
func (r *reader) index() (leaves map[int]bool, after uint64, err error) {
	var master *node
	for i, n := range r.nodes {
		if n.kind == masterType && len(n.b) >= 60 && (master == nil || n.seq > master.seq) {
			master = &r.nodes[i]
		}
	}
	switch {
	case r.flags&(authenticated|encrypted) != 0:
		return nil, 0, fmt.Errorf("the volume is authenticated or encrypted")
	case master == nil:
		return nil, 0, fmt.Errorf("there is no master node")
	}
	le := binary.LittleEndian
	commit := le.Uint64(master.b[32:])
	for _, n := range r.nodes {
		if n.kind == commitType && len(n.b) >= 32 && le.Uint64(n.b[24:]) == commit {
			after = max(after, n.seq)
		}
	}
	leaves = map[int]bool{}
	err = r.branch(le.Uint32(master.b[48:]), le.Uint32(master.b[52:]), leaves, map[int]bool{}, 0)
	return leaves, after, err
}

// branch follows one branch of the index.
func (r *reader) branch(leb, offset uint32, leaves, seen map[int]bool, depth int) error {
	at64 := int64(leb)*int64(r.leb) + int64(offset)
	if at64 > int64(len(r.b)) || depth > maxLevels {
		return fmt.Errorf("the index leads out of the volume")
	}
	at := int(at64)
	i, ok := r.at[at]
	if !ok {
		return fmt.Errorf("the index leads to 0x%x, where no node is", at)
	}
	n := r.nodes[i]
	if n.kind != indexType {
		leaves[at] = true
		return nil
	}
	if seen[at] {
		return fmt.Errorf("the index has a loop")
	}
	seen[at] = true
	le := binary.LittleEndian
	if len(n.b) < 28 {
		return fmt.Errorf("an index node of %d bytes", len(n.b))
	}
	const branchLen = 20
	children := int(le.Uint16(n.b[24:]))
	if children > (len(n.b)-28)/branchLen {
		return fmt.Errorf("an index node with %d branches in %d bytes", children, len(n.b))
	}
	for i := range children {
		c := n.b[28+branchLen*i:]
		if err := r.branch(le.Uint32(c), le.Uint32(c[4:]), leaves, seen, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// take files a node under what it belongs to; the newest wins.
func (r *reader) take(n node) {
	le := binary.LittleEndian
	if len(n.b) < 48 {
		return
	}
	ino := uint64(le.Uint32(n.b[24:]))
	second := le.Uint32(n.b[28:])
	switch n.kind {
	case inodeType:
		if i := r.inode(ino); len(n.b) >= 160 && (i.node == nil || n.seq >= i.seq) {
			i.node, i.seq = n.b, n.seq
		}
	case dataType:
		i, at := r.inode(ino), second&0x1fffffff
		if i.pages == nil {
			i.pages = map[uint32]page{}
		}
		if old, ok := i.pages[at]; !ok || n.seq >= old.seq {
			i.pages[at] = page{seq: n.seq, node: n.b}
		}
	case truncType:
		if len(n.b) >= 56 {
			i := r.inode(ino)
			i.cuts = append(i.cuts, cut{seq: n.seq, size: le.Uint64(n.b[48:])})
		}
	case direntType:
		r.dirent(n, ino)
	}
}

func (r *reader) inode(ino uint64) *inode {
	i := r.inodes[ino]
	if i == nil {
		i = &inode{}
		r.inodes[ino] = i
	}
	return i
}

func (r *reader) dirent(n node, parent uint64) {
	if len(n.b) < 56 {
		return
	}
	length := int(binary.LittleEndian.Uint16(n.b[50:]))
	if length == 0 || length > 255 || length > len(n.b)-56 {
		return
	}
	name := string(n.b[56 : 56+length])
	if r.dirs[parent] == nil {
		r.dirs[parent] = map[string]dirent{}
	}
	if old, ok := r.dirs[parent][name]; !ok || n.seq >= old.seq {
		r.dirs[parent][name] = dirent{inode: binary.LittleEndian.Uint64(n.b[40:]), seq: n.seq, kind: n.b[49]}
	}
}

func owner(b []byte) filetree.Entry {
	le := binary.LittleEndian
	return filetree.Entry{UID: le.Uint32(b[96:]), GID: le.Uint32(b[100:]), Mode: uint16(le.Uint32(b[104:])), Size: int64(le.Uint64(b[48:]))}
}

func (r *reader) directory(ino uint64, path string, depth int) error {
	if depth > filetree.MaxDepth {
		r.trouble = cmp.Or(r.trouble, fmt.Errorf("%w: /%s: directories too deep", filetree.ErrMalformed, path))
		return nil
	}
	r.where[ino] = path
	names := maps.Clone(r.dirs[ino])
	maps.DeleteFunc(names, func(_ string, d dirent) bool { return d.inode == 0 }) // a name that was removed
	damaged, err := filetree.Names(r.budget, path, names, func(d dirent, p string) error { return r.entry(d.inode, p, depth) })
	r.out.Damaged += damaged
	return err
}

func (r *reader) entry(ino uint64, path string, depth int) error {
	i := r.inodes[ino]
	if i == nil || i.node == nil {
		r.out.Entries = append(r.out.Entries, filetree.Entry{Path: path, Broken: "it has no inode"})
		return nil
	}
	e := owner(i.node)
	e.Path = path
	le := binary.LittleEndian
	n := int64(le.Uint32(i.node[112:]))
	inline := i.node[160:]
	if n <= int64(len(inline)) {
		inline = inline[:n]
	}
	switch e.Type() {
	case filetree.Directory:
		if _, ok := r.where[ino]; ok {
			r.out.Twice = append(r.out.Twice, path)
			return nil
		}
		e.Size = 0
		r.out.Entries = append(r.out.Entries, e)
		return r.directory(ino, path, depth+1)
	case filetree.Link:
		e.Target = string(inline)
		if err := r.budget.Take(int64(len(inline))); err != nil {
			return err
		}
	case filetree.BlockDevice, filetree.CharDevice:
		if len(inline) >= 4 {
			d := le.Uint32(inline)
			e.Major, e.Minor = d>>8&0xfff, d&0xff|d>>12&0xfff00
		}
	case filetree.Regular:
		var err error
		if e, err = r.regular(e, i); err != nil {
			return err
		}
	}
	r.out.Entries = append(r.out.Entries, e)
	return nil
}

func (r *reader) regular(e filetree.Entry, i *inode) (filetree.Entry, error) {
	end, data := int64(0), int64(0)
	for n := range i.pages {
		end, data = max(end, min(int64(n+1)*pageSize, e.Size)), data+pageSize
	}
	room, ok := r.budget.Room(e.Size, end, data)
	if !ok {
		e.Broken, e.Content = "it is nearly all holes", i.stored()
		return e, r.budget.Take(int64(len(e.Content)))
	}
	err := r.budget.Take(room)
	if err != nil {
		return e, err
	}
	if e.Content, e.Broken, err = r.content(i, int(room)); e.Broken != "" {
		e.Content = i.stored()
	}
	return e, err
}

// stored are the pages of a file as they are stored.
func (i *inode) stored() []byte {
	var out []byte
	for _, n := range slices.Sorted(maps.Keys(i.pages)) {
		out = append(fmt.Appendf(out, "%d\n", n), i.pages[n].node[40:]...)
	}
	return out
}

// content joins the pages of a file. One that cannot be expanded is a hole.
func (r *reader) content(i *inode, size int) (out []byte, broken string, err error) {
	out = make([]byte, size)
	numbers := make([]uint32, 0, len(i.pages))
	for n := range i.pages {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	le := binary.LittleEndian
	for _, n := range numbers {
		p := i.pages[n]
		r.work -= len(i.cuts)
		at := int64(n) * pageSize
		want := min(int64(le.Uint32(p.node[40:])), pageSize)
		if end := i.cutAfter(p.seq); end < at+want {
			want = end - at // the rest was cut off after it was written
		}
		if at >= int64(size) || want <= 0 {
			continue
		}
		if r.work -= len(p.node) + pageSize; r.work < 0 {
			return nil, "", fmt.Errorf("%w of bytes", filetree.ErrLimit)
		}
		data, err := r.page(p.node)
		if err != nil {
			broken = cmp.Or(broken, err.Error())
			continue
		}
		copy(out[at:], data[:min(int64(len(data)), want)])
	}
	return out, broken, nil
}

func (r *reader) page(b []byte) ([]byte, error) {
	c := Compression(binary.LittleEndian.Uint16(b[44:]))
	if c == Plain {
		return b[48:], nil
	}
	data, err := r.decompress(c, b[48:], pageSize)
	if err != nil {
		return nil, fmt.Errorf("compression %d: %w", c, err)
	}
	return data, nil
}

// cutAfter is the shortest length that a file had after a sequence number.
func (i *inode) cutAfter(seq uint64) int64 {
	end := int64(1) << 62
	for _, c := range i.cuts {
		if c.seq > seq && c.size < uint64(end) {
			end = int64(c.size)
		}
	}
	return end
}
