// Package squashfs reads the files of a squashfs 4.0 image (Linux kernel,
// fs/squashfs/squashfs_fs.h).
//
// It proves which files a kernel would show for the bytes, as long as the bytes
// keep their own promises: a table or a directory that does not is an error, a
// file that does not is listed without contents. Extended attributes are not
// read.
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/assay-hw/assay/internal/filetree"
)

// Compression says how blocks are compressed.
type Compression uint16

// The compressions of squashfs 4.0.
const (
	Gzip Compression = 1 + iota // zlib streams
	LZMA
	LZO
	XZ
	LZ4
	Zstd
)

// String returns the name that mksquashfs knows the compression by.
func (c Compression) String() string {
	if c >= Gzip && c <= Zstd {
		return []string{"gzip", "lzma", "lzo", "xz", "lz4", "zstd"}[c-Gzip]
	}
	return fmt.Sprintf("compression %d", uint16(c))
}

// Decompress expands one block to at most limit bytes.
type Decompress func(block []byte, limit int) ([]byte, error)

const (
	headerLen  = 96
	metaLen    = 8192
	maxBlock   = 1 << 20
	noFragment = 0xffffffff
	stored     = 1 << 24 // in the size of a data block
)

// Header is the superblock.
type Header struct {
	Compression      Compression
	Used             int // bytes of the image
	block            int
	fragments, ids   int
	root             uint64
	idTable          uint64
	inodes, dirs     uint64
	fragmentTable    uint64
	blockLog, inodeN uint32
}

// ParseHeader reads the superblock and reports whether it holds.
func ParseHeader(b []byte) (Header, bool) {
	le := binary.LittleEndian
	if len(b) < headerLen || string(b[:4]) != "hsqs" || le.Uint16(b[28:]) != 4 || le.Uint16(b[30:]) != 0 {
		return Header{}, false
	}
	h := Header{
		Compression: Compression(le.Uint16(b[20:])), inodeN: le.Uint32(b[4:]), blockLog: uint32(le.Uint16(b[22:])),
		ids: int(le.Uint16(b[26:])), root: le.Uint64(b[32:]), idTable: le.Uint64(b[48:]),
		inodes: le.Uint64(b[64:]), dirs: le.Uint64(b[72:]), fragmentTable: le.Uint64(b[80:]),
	}
	block, used, fragments := le.Uint32(b[12:]), le.Uint64(b[40:]), le.Uint32(b[16:])
	if block < 4096 || block > maxBlock || h.blockLog > 20 || block != 1<<h.blockLog || used < headerLen || used > uint64(len(b)) || fragments > uint32(len(b)/16) {
		return Header{}, false
	}
	h.block, h.Used, h.fragments = int(block), int(used), int(fragments)
	return h, true
}

// reader is an image that is being read.
type reader struct {
	Header
	b          []byte
	decompress Decompress
	budget     *filetree.Budget
	work       int // bytes that may still be expanded, contents or not

	meta     map[uint64]metaBlock
	frags    map[uint32][]byte
	idList   []uint32
	contents map[uint64][]byte // by inode, which several names may have
	dirs     map[uint64]bool
	entries  []filetree.Entry
}

type metaBlock struct {
	data []byte
	next uint64
}

// Parse reads all entries, contents of at most limit bytes.
func Parse(b []byte, decompress Decompress, limit int) ([]filetree.Entry, error) {
	h, ok := ParseHeader(b)
	if !ok {
		return nil, fmt.Errorf("%w: superblock", filetree.ErrMalformed)
	}
	r := &reader{
		Header: h, b: b[:h.Used], decompress: decompress, budget: filetree.NewBudget(limit), work: 2*limit + 1<<20,
		meta: map[uint64]metaBlock{}, frags: map[uint32][]byte{}, contents: map[uint64][]byte{}, dirs: map[uint64]bool{},
	}
	if err := r.readIDs(); err != nil {
		return nil, fmt.Errorf("table of ids: %w", err)
	}
	err := r.inode(h.root, "", 0)
	filetree.Sort(r.entries)
	return r.entries, err
}

// expand takes a block out of the budget of work.
func (r *reader) expand(b []byte, limit int) ([]byte, error) {
	if r.work -= len(b) + 64; r.work < 0 {
		return nil, fmt.Errorf("%w of bytes", filetree.ErrLimit)
	}
	out, err := r.decompress(b, limit)
	if err == nil && len(out) > limit {
		err = fmt.Errorf("%w: a block of %d bytes", filetree.ErrMalformed, len(out))
	}
	r.work -= len(out)
	return out, err
}

// metadata returns the block of metadata at an offset of the image.
func (r *reader) metadata(at uint64) (metaBlock, error) {
	if m, ok := r.meta[at]; ok {
		return m, nil
	}
	if at < headerLen || at > uint64(len(r.b)) || uint64(len(r.b))-at < 2 {
		return metaBlock{}, fmt.Errorf("%w: metadata at 0x%x", filetree.ErrMalformed, at)
	}
	size := binary.LittleEndian.Uint16(r.b[at:])
	n := int(size & 0x7fff)
	if n == 0 || n > metaLen || n > len(r.b)-int(at)-2 {
		return metaBlock{}, fmt.Errorf("%w: metadata at 0x%x of %d bytes", filetree.ErrMalformed, at, n)
	}
	m := metaBlock{data: r.b[at+2 : int(at)+2+n], next: at + 2 + uint64(n)}
	if size&0x8000 == 0 {
		var err error
		if m.data, err = r.expand(m.data, metaLen); err != nil {
			return metaBlock{}, fmt.Errorf("metadata at 0x%x: %w", at, err)
		}
	}
	if len(m.data) == 0 {
		return metaBlock{}, fmt.Errorf("%w: metadata at 0x%x is empty", filetree.ErrMalformed, at)
	}
	r.meta[at] = m
	return m, nil
}

// cursor reads a run of metadata across its blocks.
type cursor struct {
	r  *reader
	at uint64
	in int
}

// take returns the next n bytes.
func (c *cursor) take(n int) ([]byte, error) {
	var out []byte
	for {
		m, err := c.r.metadata(c.at)
		if err != nil {
			return nil, err
		}
		if c.in > len(m.data) {
			return nil, fmt.Errorf("%w: offset %d in metadata of %d bytes", filetree.ErrMalformed, c.in, len(m.data))
		}
		have := min(n-len(out), len(m.data)-c.in)
		if out == nil && have == n {
			out = m.data[c.in : c.in+n : c.in+n]
		} else {
			out = append(out, m.data[c.in:c.in+have]...)
		}
		c.in += have
		if len(out) == n {
			return out, nil
		}
		c.at, c.in = m.next, 0
		if c.r.work -= have + 1; c.r.work < 0 {
			return nil, fmt.Errorf("%w of bytes", filetree.ErrLimit)
		}
	}
}

// table returns entry n of a table that an index of block addresses leads to.
func (r *reader) table(index uint64, n, size int) ([]byte, error) {
	per := metaLen / size
	at := index + 8*uint64(n/per)
	if at < index || at > uint64(len(r.b)) || uint64(len(r.b))-at < 8 {
		return nil, fmt.Errorf("%w: index at 0x%x", filetree.ErrMalformed, at)
	}
	c := cursor{r: r, at: binary.LittleEndian.Uint64(r.b[at:]), in: n % per * size}
	return c.take(size)
}

func (r *reader) readIDs() error {
	for n := range r.ids {
		b, err := r.table(r.idTable, n, 4)
		if err != nil {
			return err
		}
		r.idList = append(r.idList, binary.LittleEndian.Uint32(b))
	}
	return nil
}

func (r *reader) id(n uint16) (uint32, error) {
	if int(n) >= len(r.idList) {
		return 0, fmt.Errorf("%w: owner %d of %d", filetree.ErrMalformed, n, len(r.idList))
	}
	return r.idList[n], nil
}

// fatal reports whether an error ends the reading: its budget is used up.
func fatal(err error) bool { return errors.Is(err, filetree.ErrLimit) }
