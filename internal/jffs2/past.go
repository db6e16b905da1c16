package jffs2

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/internal/filetree"
)

// within finds nodes in the data of another one. A kernel gets to them where the
// outer node reaches over the end of a block, or by a summary.
func (r *reader) within(b []byte) error {
	for at := 4; at+headLen <= len(b); at += 4 {
		if err := r.hiddenAt(b[at:]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) hiddenAt(h []byte) error {
	if r.order.Uint16(h) != magic || !sealed(r.order, h) {
		return nil
	}
	n := int64(r.order.Uint32(h[4:]))
	if n < headLen || n > int64(len(r.b)) {
		return nil
	}
	h = h[:min(n, int64(len(h)))]
	if r.nodes++; r.nodes > maxNodes {
		return fmt.Errorf("%w of %d nodes", filetree.ErrLimit, maxNodes)
	}
	if r.work -= len(h); r.work < 0 {
		return fmt.Errorf("%w of nodes in each other", filetree.ErrLimit)
	}
	r.take(r.order.Uint16(h[2:]), h, true)
	return nil
}

const (
	typeSummary = 0x2006
	sumMagic    = 0x02851885
	sumLen      = 32
	maxBlock    = 1 << 20
)

// summaries takes what the summaries at the ends of blocks say (Linux kernel,
// fs/jffs2/summary.h): a kernel believes them, and does not read the block.
// How long blocks are stands nowhere; all sizes are tried.
func (r *reader) summaries() error {
	for end := page; end <= len(r.b); end += page {
		if r.order.Uint32(r.b[end-4:]) != sumMagic {
			continue
		}
		offset := int(r.order.Uint32(r.b[end-8:]))
		for size := page; size <= min(end, maxBlock); size *= 2 {
			if offset >= size-sumLen || end%size != 0 {
				continue
			}
			if err := r.summary(r.b[end-size:end], offset); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) summary(block []byte, offset int) error {
	h := block[offset:]
	u := r.order
	if u.Uint16(h) != magic || u.Uint16(h[2:]) != typeSummary || !sealed(u, h) || crc(h[:24]) != u.Uint32(h[28:]) {
		return nil
	}
	if r.work -= len(h); r.work < 0 {
		return fmt.Errorf("%w of summaries", filetree.ErrLimit)
	}
	count, b := u.Uint32(h[12:]), h[sumLen:len(h)-8]
	for ; count > 0 && len(b) >= 2; count-- {
		if r.nodes++; r.nodes > maxNodes {
			return fmt.Errorf("%w of %d nodes", filetree.ErrLimit, maxNodes)
		}
		n := 18 // of an inode and of an attribute
		switch kind := u.Uint16(b); {
		case kind == typeInode && len(b) >= n:
			if at := u.Uint32(b[10:]); int64(at)+inodeLen <= int64(len(block)) {
				r.summed(u.Uint32(b[2:]), block[at:])
			}
		case kind == typeDirent && len(b) >= 24:
			if n = 24 + int(b[22]); n > len(b) {
				return nil
			}
			if ino := u.Uint32(b[18:]); ino != 0 {
				parent := u.Uint32(b[10:])
				r.names[parent] = append(r.names[parent], filetree.Child{Name: string(b[24:n]), Inode: uint64(ino)})
			}
		case kind == 0xe009: // a reference to an attribute
			n = 6
		}
		if n > len(b) {
			return nil
		}
		b = b[n:]
	}
	return nil
}

// summed takes a node as one of the inode that a summary gives for it.
func (r *reader) summed(ino uint32, b []byte) {
	length := int64(r.order.Uint32(b[4:]))
	if length < inodeLen || length > int64(len(b)) {
		return
	}
	if r.work -= int(length); r.work < 0 {
		return // the next summary says so
	}
	if n, own, ok := r.inode(b[:length]); ok && own != ino {
		r.hidden[ino] = append(r.hidden[ino], n)
	}
}

// past collects what all nodes say, by all names that there ever were.
func (r *reader) past(p *filetree.Past) error {
	return p.Walk(r.where, func(ino uint64) []filetree.Child { return r.names[uint32(ino)] }, func(ino uint64, path string) (bool, error) {
		directory := false
		ns := slices.Concat(r.inodes[uint32(ino)], r.hidden[uint32(ino)])
		holds := slices.ContainsFunc(ns, func(n inodeNode) bool { return n.expanded > 0 })
		for _, n := range ns {
			e := filetree.Entry{Path: path, Mode: n.mode, UID: uint32(n.uid), GID: uint32(n.gid)}
			if e.Type() == filetree.Directory {
				directory = true
				continue
			}
			if n.expanded == 0 && holds && e.Mode&0o6111 == 0 {
				continue // what was to be written next
			}
			if err := r.piece(p, e, n); err != nil {
				return false, err
			}
		}
		return directory, nil
	})
}

func (r *reader) piece(p *filetree.Past, e filetree.Entry, n inodeNode) error {
	if n.compression == zero || !p.Wants(e, int64(n.offset)) {
		return nil
	}
	if r.work -= len(n.data) + int(min(n.expanded, maxNode)) + 64; r.work < 0 {
		return fmt.Errorf("%w of older versions", filetree.ErrLimit)
	}
	data, err := expand(n)
	e.Size = int64(n.expanded)
	switch {
	case err != nil:
		e.Broken, e.Content = err.Error(), n.data
	case e.Type() == filetree.Link:
		e.Target = string(data)
	case e.IsDevice():
		e.Major, e.Minor = r.device(data)
	default:
		e.Content = data
	}
	return p.Add(e, int64(n.offset))
}

// swapped adds what nodes of the other byte order give: a kernel of that order
// takes these, and passes over all others.
func (r *reader) swapped(p *filetree.Past, limit int) error {
	var other binary.ByteOrder = binary.BigEndian
	if r.order == binary.BigEndian {
		other = binary.LittleEndian
	}
	o := newReader(r.b, other, limit)
	if err := o.scan(); err != nil {
		return err
	}
	if len(o.names) == 0 {
		return nil
	}
	o.where[rootInode] = ""
	return o.past(p)
}
