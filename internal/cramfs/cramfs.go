// Package cramfs reads the files of a cramfs image of little-endian byte order
// (Linux kernel, include/uapi/linux/cramfs_fs.h).
//
// It proves which files a kernel would show, and whether the image's checksum
// holds.
package cramfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/assay-hw/assay/internal/filetree"
)

const (
	magic     = 0x28cd3d45
	headerLen = 64
	inodeLen  = 12
	pageSize  = 4096

	hasChecksum = 1 // flag of the second version
	supported   = 0x7ff
)

// Header is the superblock.
type Header struct {
	Size    int
	Damaged bool // the checksum does not hold
}

// Begins reports whether b begins with a superblock.
func Begins(b []byte) bool {
	return len(b) >= headerLen+inodeLen && binary.LittleEndian.Uint32(b) == magic && string(b[16:32]) == "Compressed ROMFS"
}

// ParseHeader reads the superblock and checks the checksum of the image.
func ParseHeader(b []byte) (Header, bool) {
	if !Begins(b) {
		return Header{}, false
	}
	le := binary.LittleEndian
	size, flags := le.Uint32(b[4:]), le.Uint32(b[8:])
	if uint64(size) > uint64(len(b)) || size < headerLen+inodeLen || flags&^supported != 0 {
		return Header{}, false
	}
	h := Header{Size: int(size)}
	if flags&hasChecksum != 0 {
		sum := crc32.Update(0, crc32.IEEETable, b[:32])
		sum = crc32.Update(sum, crc32.IEEETable, make([]byte, 4))
		h.Damaged = crc32.Update(sum, crc32.IEEETable, b[36:size]) != le.Uint32(b[32:])
	}
	return h, true
}

type reader struct {
	b       []byte
	budget  *filetree.Budget
	work    int
	dirs    map[int]bool
	entries []filetree.Entry
}

// Parse reads all entries, contents of at most limit bytes.
func Parse(b []byte, limit int) ([]filetree.Entry, error) {
	h, ok := ParseHeader(b)
	if !ok {
		return nil, fmt.Errorf("%w: superblock", filetree.ErrMalformed)
	}
	r := &reader{b: b[:h.Size], budget: filetree.NewBudget(limit), work: 2*limit + 1<<20, dirs: map[int]bool{}}
	err := r.inode(headerLen, "", 0)
	filetree.Sort(r.entries)
	return r.entries, err
}

// inode reads the inode at an offset, whose name is already in the path.
func (r *reader) inode(at int, path string, depth int) error {
	le := binary.LittleEndian
	b := r.b[at : at+inodeLen]
	e := filetree.Entry{Path: path, Mode: le.Uint16(b), UID: uint32(le.Uint16(b[2:])), GID: uint32(b[7])}
	size := int64(le.Uint32(b[4:]) & 0xffffff)
	offset := int(le.Uint32(b[8:])>>6) * 4
	switch e.Type() {
	case filetree.Directory:
		r.entries = append(r.entries, e)
		return r.directory(offset, int(size), path, depth)
	case filetree.BlockDevice, filetree.CharDevice:
		e.Major, e.Minor = uint32(size>>8)&0xff, uint32(size)&0xff
	case filetree.Regular, filetree.Link:
		e.Size = size
		if err := r.budget.Take(size); err != nil {
			return err
		}
		data, err := r.content(offset, int(size))
		if err != nil {
			if r.work < 0 {
				return fmt.Errorf("%w of bytes", filetree.ErrLimit)
			}
			e.Broken = err.Error()
		}
		if e.Type() == filetree.Link {
			e.Target = string(data)
		} else {
			e.Content = data
		}
	}
	r.entries = append(r.entries, e)
	return nil
}

func (r *reader) directory(at, size int, path string, depth int) error {
	if size == 0 {
		return nil
	}
	if depth > filetree.MaxDepth || r.dirs[at] {
		return fmt.Errorf("%w: /%s: a directory inside of itself, or too deep", filetree.ErrMalformed, path)
	}
	r.dirs[at] = true
	end := at + size
	if end > len(r.b) {
		return fmt.Errorf("%w: /%s: a directory outside of the image", filetree.ErrMalformed, path)
	}
	for at+inodeLen <= end {
		n := int(r.b[at+8]&0x3f) * 4
		if n > end-at-inodeLen {
			return fmt.Errorf("%w: /%s: a name of %d bytes", filetree.ErrMalformed, path, n)
		}
		name := bytes.TrimRight(r.b[at+inodeLen:at+inodeLen+n], "\x00")
		p, err := r.budget.Name(path, string(name))
		if err != nil {
			return err
		}
		if err := r.inode(at, p, depth+1); err != nil {
			return err
		}
		at += inodeLen + n
	}
	return nil
}

// content expands the pages of a file: first where each ends, then streams.
func (r *reader) content(at, size int) ([]byte, error) {
	pages := (size + pageSize - 1) / pageSize
	start := at + 4*pages
	if start > len(r.b) {
		return nil, fmt.Errorf("%w: pages outside of the image", filetree.ErrMalformed)
	}
	out := make([]byte, 0, size)
	for i := range pages {
		end := int(binary.LittleEndian.Uint32(r.b[at+4*i:]))
		want := min(pageSize, size-len(out))
		if end < start || end > len(r.b) {
			return nil, fmt.Errorf("%w: a page from 0x%x to 0x%x", filetree.ErrMalformed, start, end)
		}
		if r.work -= end - start + want + 64; r.work < 0 {
			return nil, filetree.ErrLimit
		}
		if end == start { // a hole
			out = out[:len(out)+want]
			continue
		}
		z, err := zlib.NewReader(bytes.NewReader(r.b[start:end]))
		if err != nil {
			return nil, err
		}
		n := len(out)
		out = out[:n+want]
		if _, err := io.ReadFull(z, out[n:]); err != nil {
			return nil, fmt.Errorf("page %d: %w", i, err)
		}
		start = end
	}
	return out, nil
}
