package squashfs

import (
	"encoding/binary"
	"fmt"

	"github.com/assay-hw/assay/internal/filetree"
)

// The types of inodes; the long forms are seven above.
const (
	dirInode = 1 + iota
	fileInode
	linkInode
	blockInode
	charInode
	fifoInode
	socketInode
	longForm = 7
)

// modes are the type bits for the types of inodes.
var modes = [...]uint16{
	dirInode: filetree.Directory, fileInode: filetree.Regular, linkInode: filetree.Link, blockInode: filetree.BlockDevice,
	charInode: filetree.CharDevice, fifoInode: filetree.FIFO, socketInode: filetree.Socket,
}

// inode reads one inode, and below a directory all others. ref is the address
// of its metadata block in the table, and in the lower 16 bits the offset in it.
func (r *reader) inode(ref uint64, path string, depth int) error {
	c := &cursor{r: r, at: r.inodes + ref>>16, in: int(ref & 0xffff)}
	head, err := c.take(16)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	kind := le.Uint16(head)
	long := kind > longForm
	if long {
		kind -= longForm
	}
	if kind < dirInode || kind > socketInode {
		return fmt.Errorf("%w: /%s: inode of type %d", filetree.ErrMalformed, path, kind)
	}
	e := filetree.Entry{Path: path, Mode: le.Uint16(head[2:])&0o7777 | modes[kind]}
	if e.UID, err = r.id(le.Uint16(head[4:])); err != nil {
		return err
	}
	if e.GID, err = r.id(le.Uint16(head[6:])); err != nil {
		return err
	}
	switch kind {
	case dirInode:
		return r.directory(c, e, ref, long, depth)
	case fileInode:
		err = r.file(c, &e, ref, long)
	case linkInode:
		err = link(c, &e)
	case blockInode, charInode:
		var b []byte
		if b, err = c.take(8); err == nil {
			dev := le.Uint32(b[4:])
			e.Major, e.Minor = dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
		}
	}
	if err != nil {
		if fatal(err) {
			return err
		}
		e.Broken = err.Error()
	}
	r.entries = append(r.entries, e)
	return nil
}

func link(c *cursor, e *filetree.Entry) error {
	b, err := c.take(8)
	if err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > 1<<16 {
		return fmt.Errorf("%w: a link to a name of %d bytes", filetree.ErrMalformed, n)
	}
	if b, err = c.take(int(n)); err != nil {
		return err
	}
	e.Target, e.Size = string(b), int64(n)
	return c.r.budget.Take(e.Size)
}

// directory reads a directory and what is in it.
func (r *reader) directory(c *cursor, e filetree.Entry, ref uint64, long bool, depth int) error {
	if depth > filetree.MaxDepth || r.dirs[ref] {
		return fmt.Errorf("%w: /%s: a directory inside of itself, or too deep", filetree.ErrMalformed, e.Path)
	}
	r.dirs[ref] = true
	r.entries = append(r.entries, e)
	le := binary.LittleEndian
	list := &cursor{r: r}
	var size int
	if long {
		b, err := c.take(24)
		if err != nil {
			return err
		}
		size, list.at, list.in = int(le.Uint32(b[4:])), r.Header.dirs+uint64(le.Uint32(b[8:])), int(le.Uint16(b[18:]))
	} else {
		b, err := c.take(16)
		if err != nil {
			return err
		}
		size, list.at, list.in = int(le.Uint16(b[8:])), r.Header.dirs+uint64(le.Uint32(b)), int(le.Uint16(b[10:]))
	}
	for size -= 3; size > 0; { // 3 stand for the two entries that are not stored
		head, err := list.take(12)
		if err != nil {
			return err
		}
		size -= 12
		n, block := le.Uint32(head), uint64(le.Uint32(head[4:]))
		if n >= 256 {
			return fmt.Errorf("%w: /%s: a run of %d names", filetree.ErrMalformed, e.Path, n)
		}
		for range n + 1 {
			used, err := r.name(list, e.Path, block, depth)
			if err != nil {
				return err
			}
			size -= used
		}
	}
	return nil
}

// name reads one name of a directory and what it stands for.
func (r *reader) name(list *cursor, dir string, block uint64, depth int) (used int, err error) {
	le := binary.LittleEndian
	b, err := list.take(8)
	if err != nil {
		return 0, err
	}
	in, length := uint64(le.Uint16(b)), int(le.Uint16(b[6:]))+1
	if length > 256 {
		return 0, fmt.Errorf("%w: /%s: a name of %d bytes", filetree.ErrMalformed, dir, length)
	}
	name, err := list.take(length)
	if err != nil {
		return 0, err
	}
	path, err := r.budget.Name(dir, string(name))
	if err != nil {
		return 0, err
	}
	return 8 + length, r.inode(block<<16|in, path, depth+1)
}

// extent is where the contents of a file lie.
type extent struct {
	start         uint64
	size          int64
	fragment, off uint32
	blocks        []byte
}

func (r *reader) file(c *cursor, e *filetree.Entry, ref uint64, long bool) error {
	le := binary.LittleEndian
	var x extent
	if long {
		b, err := c.take(40)
		if err != nil {
			return err
		}
		x = extent{start: le.Uint64(b), size: int64(le.Uint64(b[8:])), fragment: le.Uint32(b[28:]), off: le.Uint32(b[32:])}
	} else {
		b, err := c.take(16)
		if err != nil {
			return err
		}
		x = extent{start: uint64(le.Uint32(b)), fragment: le.Uint32(b[4:]), off: le.Uint32(b[8:]), size: int64(le.Uint32(b[12:]))}
	}
	e.Size = x.size
	if err := r.budget.Take(x.size); err != nil {
		return err
	}
	if known, ok := r.contents[ref]; ok {
		e.Content = known
		return nil
	}
	n := x.size / int64(r.block)
	if x.fragment == noFragment && x.size%int64(r.block) != 0 {
		n++
	}
	var err error
	if x.blocks, err = c.take(int(4 * n)); err != nil {
		return err
	}
	if e.Content, err = r.content(x); err == nil {
		r.contents[ref] = e.Content
	}
	return err
}

// content joins the blocks of a file and its part of a fragment.
func (r *reader) content(x extent) ([]byte, error) {
	out := make([]byte, 0, x.size) // taken from the budget before
	at := x.start
	for b := x.blocks; len(b) > 0; b = b[4:] {
		want := min(r.block, int(x.size)-len(out))
		size := binary.LittleEndian.Uint32(b)
		if size == 0 { // a hole
			out = out[:len(out)+want]
			continue
		}
		data, err := r.dataBlock(at, size)
		if err != nil {
			return nil, err
		}
		if len(data) != want {
			return nil, fmt.Errorf("%w: a block of %d bytes instead of %d", filetree.ErrMalformed, len(data), want)
		}
		out = append(out, data...)
		at += uint64(size &^ stored)
	}
	rest := int(x.size) - len(out)
	if rest == 0 {
		return out, nil
	}
	f, err := r.fragmentBlock(x.fragment)
	if err != nil {
		return nil, err
	}
	if int64(x.off)+int64(rest) > int64(len(f)) {
		return nil, fmt.Errorf("%w: %d bytes at %d of a fragment of %d", filetree.ErrMalformed, rest, x.off, len(f))
	}
	return append(out, f[x.off:int(x.off)+rest]...), nil
}

func (r *reader) dataBlock(at uint64, size uint32) ([]byte, error) {
	n := int(size &^ stored)
	if n > r.block || at > uint64(len(r.b)) || n > len(r.b)-int(at) {
		return nil, fmt.Errorf("%w: a block of %d bytes at 0x%x", filetree.ErrMalformed, n, at)
	}
	b := r.b[at : int(at)+n]
	if size&stored != 0 {
		return b, nil
	}
	return r.expand(b, r.block)
}

// maxFragments bounds how many expanded fragments are kept; files come in the
// order of their directories, not of their fragments.
const maxFragments = 64

func (r *reader) fragmentBlock(n uint32) ([]byte, error) {
	if f, ok := r.frags[n]; ok {
		return f, nil
	}
	if int64(n) >= int64(r.fragments) {
		return nil, fmt.Errorf("%w: fragment %d of %d", filetree.ErrMalformed, n, r.fragments)
	}
	b, err := r.table(r.fragmentTable, int(n), 16)
	if err != nil {
		return nil, err
	}
	f, err := r.dataBlock(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]))
	if err != nil {
		return nil, err
	}
	if len(r.frags) >= maxFragments {
		clear(r.frags)
	}
	r.frags[n] = f
	return f, nil
}
