// Package ubi puts the volumes of a UBI image together from its erase blocks
// (Linux kernel, drivers/mtd/ubi/ubi-media.h).
//
// It proves what a kernel that attaches these bytes would show as volumes: only
// headers whose checksums hold count, and of two blocks for one place the newer
// one. What lies in no volume is returned too.
package ubi

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// Errors of Parse.
var (
	ErrMalformed = errors.New("malformed")
	ErrLimit     = errors.New("more than the limit")
)

const (
	headerLen  = 64
	layoutID   = 0x7fffefff // the volume that holds the table of volumes
	recordLen  = 172
	maxVolumes = 128
	minBlock   = 4096
	maxBlock   = 2 << 20
	staticType = 2

	// maxBlocks bounds an image; a flash of 128 MiB has 32,768 blocks of 4 KiB.
	maxBlocks = 1 << 16
)

// Volume is one volume.
type Volume struct {
	ID      int
	Name    string // of the table of volumes; empty when that does not hold
	Static  bool
	Content []byte // a dynamic volume is erased where no block stands for it
	Damaged string // what of it does not hold
}

// Image is what the blocks add up to.
type Image struct {
	BlockSize  int
	Blocks     int
	Volumes    []Volume // by id
	Superseded []byte   // blocks that a newer one stands for
	Unused     []byte   // bytes that belong to no volume and are not erased
	Damaged    []string // what else does not hold
}

// block is one erase block that belongs to a volume.
type block struct {
	at         int // of its data
	number     uint32
	size, used uint32
	pad        uint32
	crc        uint32
	seq        uint64
	static     bool
	copied     bool
}

type reader struct {
	b       []byte
	img     Image
	data    int // where data begin in a block
	vid     int
	volumes map[uint32]map[uint32]block
	left    int
}

func crc(b []byte) uint32 { return ^crc32.ChecksumIEEE(b) }

// Begins reports whether b begins with the header of an erase block.
func Begins(b []byte) bool {
	_, _, ok := eraseHeader(b)
	return ok
}

func eraseHeader(b []byte) (vid, data int, ok bool) {
	if len(b) < headerLen || string(b[:4]) != "UBI#" || b[4] != 1 || crc(b[:60]) != binary.BigEndian.Uint32(b[60:]) {
		return 0, 0, false
	}
	v, d := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	if v < headerLen || v > maxBlock || d < v+headerLen || d > maxBlock {
		return 0, 0, false
	}
	return int(v), int(d), true
}

// Parse reads an image, volumes of at most limit bytes.
func Parse(b []byte, limit int) (*Image, error) {
	vid, data, ok := eraseHeader(b)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with a block", ErrMalformed)
	}
	r := &reader{b: b, vid: vid, data: data, volumes: map[uint32]map[uint32]block{}, left: limit}
	r.img.BlockSize = blockSize(b, data)
	if len(b)/r.img.BlockSize > maxBlocks {
		return nil, fmt.Errorf("%w of %d blocks", ErrLimit, maxBlocks)
	}
	for at := 0; at < len(b); at += r.img.BlockSize {
		r.block(at, min(at+r.img.BlockSize, len(b)))
	}
	r.img.Blocks = len(b) / r.img.BlockSize
	records := r.table()
	for _, id := range sorted(r.volumes) {
		if id == layoutID {
			continue
		}
		v, err := r.volume(id, records[id])
		if err != nil {
			return nil, err
		}
		r.img.Volumes = append(r.img.Volumes, v)
	}
	return &r.img, nil
}

// blockSize is the distance at which most headers lie; contents may hold some
// of their own. No header says it.
func blockSize(b []byte, data int) int {
	best, most := 0, -1
	for size := minBlock; size <= maxBlock; size *= 2 {
		if size <= data {
			continue
		}
		n := 0
		for at := 0; at < len(b); at += size {
			if Begins(b[at:]) {
				n++
			}
		}
		if n >= most && (best == 0 || size <= len(b)) {
			best, most = size, n
		}
	}
	if best == 0 {
		best = maxBlock
	}
	return best
}

// Extent is how many bytes of b an image takes: up to the last block with a
// header, and to the end when nothing but erased bytes follows.
func Extent(b []byte) int {
	_, data, ok := eraseHeader(b)
	if !ok {
		return 0
	}
	size, end := blockSize(b, data), 0
	for at := 0; at < len(b); at += size {
		if Begins(b[at:]) {
			end = min(at+size, len(b))
		}
	}
	if erased(b[end:]) {
		return len(b)
	}
	return end
}

// block files one block under the volume that it belongs to.
func (r *reader) block(at, end int) {
	b := r.b[at:end]
	if erased(b) {
		return
	}
	if !Begins(b) || r.data > len(b) {
		r.unused(b)
		return
	}
	h := b[r.vid : r.vid+headerLen]
	if erased(h) {
		r.unused(b[headerLen:])
		return
	}
	if string(h[:4]) != "UBI!" || crc(h[:60]) != binary.BigEndian.Uint32(h[60:]) {
		r.unused(b[headerLen:])
		return
	}
	be := binary.BigEndian
	n := block{
		at: at + r.data, static: h[5] == staticType, copied: h[6] != 0, number: be.Uint32(h[12:]), size: be.Uint32(h[20:]),
		used: be.Uint32(h[24:]), pad: be.Uint32(h[28:]), crc: be.Uint32(h[32:]), seq: be.Uint64(h[40:]),
	}
	id := be.Uint32(h[8:])
	if int64(n.size) > int64(len(b)-r.data) || int64(n.number) >= int64(maxBlocks) || id != layoutID && id >= maxVolumes {
		r.img.Damaged = append(r.img.Damaged, fmt.Sprintf("the block at 0x%x has a header that cannot be true", at))
		r.unused(b[headerLen:])
		return
	}
	r.unused(b[headerLen:r.vid])
	r.unused(b[r.vid+headerLen : r.data])
	r.file(id, n)
}

// file keeps the newer of two blocks that stand for one place. A copy counts
// only when its bytes arrived whole.
func (r *reader) file(id uint32, n block) {
	if r.volumes[id] == nil {
		r.volumes[id] = map[uint32]block{}
	}
	old, ok := r.volumes[id][n.number]
	if ok {
		newer, older := n, old
		if old.seq > n.seq {
			newer, older = old, n
		}
		if newer.copied && crc(r.b[newer.at:newer.at+int(newer.size)]) != newer.crc {
			newer, older = older, newer
		}
		r.img.Superseded = append(r.img.Superseded, r.blockData(older)...)
		n = newer
	}
	r.volumes[id][n.number] = n
}

// blockData is all of a block that may hold contents.
func (r *reader) blockData(n block) []byte {
	return r.b[n.at:min(n.at-r.data+r.img.BlockSize, len(r.b))]
}

// unused keeps bytes that belong to no volume unless they are empty.
func (r *reader) unused(b []byte) {
	if !erased(b) && len(bytes.Trim(b, "\x00")) > 0 {
		r.img.Unused = append(r.img.Unused, b...)
	}
}

func erased(b []byte) bool {
	for _, c := range b {
		if c != 0xff {
			return false
		}
	}
	return true
}

type record struct {
	name   string
	static bool
}

// table reads the table of volumes, of which there are two copies.
func (r *reader) table() map[uint32]record {
	for _, n := range []uint32{0, 1} {
		l, ok := r.volumes[layoutID][n]
		if !ok {
			continue
		}
		if out, ok := records(r.blockData(l)); ok {
			return out
		}
	}
	r.img.Damaged = append(r.img.Damaged, "no copy of the table of volumes holds")
	return nil
}

func records(b []byte) (map[uint32]record, bool) {
	out := map[uint32]record{}
	for id := 0; id < maxVolumes && len(b) >= recordLen; id, b = id+1, b[recordLen:] {
		v := b[:recordLen]
		if crc(v[:168]) != binary.BigEndian.Uint32(v[168:]) {
			return nil, false
		}
		if binary.BigEndian.Uint32(v) == 0 {
			continue
		}
		n := min(int(binary.BigEndian.Uint16(v[14:])), 127)
		name := bytes.Map(func(c rune) rune {
			if c <= 0x20 || c > 0x7e || c == '/' {
				return '_'
			}
			return c
		}, v[16:16+n])
		out[uint32(id)] = record{name: string(name), static: v[12] == staticType}
	}
	return out, true
}

// volume joins the blocks of one volume.
func (r *reader) volume(id uint32, rec record) (Volume, error) {
	blocks := r.volumes[id]
	numbers := sorted(blocks)
	first := blocks[numbers[0]]
	v := Volume{ID: int(id), Name: rec.name, Static: first.static}
	if rec.name != "" && rec.static != first.static {
		v.Damaged = "the table of volumes has another type than the blocks"
	}
	usable := r.img.BlockSize - r.data - int(min(first.pad, uint32(r.img.BlockSize-r.data)))
	size := 0
	if !v.Static {
		size = (int(numbers[len(numbers)-1]) + 1) * usable
	} else {
		for _, n := range numbers {
			size += int(blocks[n].size)
		}
	}
	if size > r.left {
		return v, fmt.Errorf("%w: volume %d has %d bytes", ErrLimit, id, size)
	}
	r.left -= size
	v.Content = make([]byte, 0, size)
	if v.Static && int64(first.used) != int64(len(numbers)) {
		v.Damaged = fmt.Sprintf("%d blocks of %d", len(numbers), first.used)
	}
	for i, n := range numbers {
		b := r.blockData(blocks[n])
		if v.Static {
			body := b[:min(int(blocks[n].size), len(b))]
			if int(n) != i || crc(body) != blocks[n].crc {
				v.Damaged = cmp.Or(v.Damaged, fmt.Sprintf("the checksum of its block %d does not hold", n))
			}
			v.Content = append(v.Content, body...)
			r.unused(b[len(body):])
			continue
		}
		v.Content = fill(v.Content, int(n)*usable)
		v.Content = append(v.Content, b[:min(usable, len(b))]...)
	}
	return v, nil
}

// fill appends erased bytes up to a length.
func fill(b []byte, n int) []byte {
	for len(b) < n {
		b = append(b, 0xff)
	}
	return b
}

func sorted[V any](m map[uint32]V) []uint32 {
	out := make([]uint32, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
