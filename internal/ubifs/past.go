package ubifs

import (
	"encoding/binary"
	"fmt"

	"github.com/assay-hw/assay/internal/filetree"
)

// versions are all nodes that hold, by what they belong to.
type versions struct {
	names  map[uint64][]filetree.Child
	inodes map[uint64][][]byte
	pages  map[uint64][][]byte
}

// past collects what all nodes say, by all names that there ever were.
func (r *reader) past(p *filetree.Past) error {
	v := versions{names: map[uint64][]filetree.Child{}, inodes: map[uint64][][]byte{}, pages: map[uint64][][]byte{}}
	for _, n := range r.nodes {
		v.take(n)
		for at := 8; at+headLen <= len(n.b); at += 8 { // in the data of another one
			if h, ok, _ := nodeAt(n.b, at); ok {
				if r.work -= len(h.b); r.work < 0 {
					return fmt.Errorf("%w of nodes in each other", filetree.ErrLimit)
				}
				v.take(h)
			}
		}
	}
	return p.Walk(r.where, func(ino uint64) []filetree.Child { return v.names[ino] }, func(ino uint64, path string) (bool, error) {
		return r.versionsOf(p, v, ino, path)
	})
}

func (v versions) take(n node) {
	le := binary.LittleEndian
	if len(n.b) < 48 {
		return
	}
	ino := uint64(le.Uint32(n.b[24:]))
	switch n.kind {
	case inodeType:
		if len(n.b) >= 160 {
			v.inodes[ino] = append(v.inodes[ino], n.b)
		}
	case dataType:
		v.pages[ino] = append(v.pages[ino], n.b)
	case direntType:
		if len(n.b) < 56 {
			return
		}
		length := int(le.Uint16(n.b[50:]))
		if child := le.Uint64(n.b[40:]); child != 0 && length <= len(n.b)-56 {
			v.names[ino] = append(v.names[ino], filetree.Child{Name: string(n.b[56 : 56+length]), Inode: child})
		}
	}
}

// versionsOf adds all versions of one inode.
func (r *reader) versionsOf(p *filetree.Past, v versions, ino uint64, path string) (directory bool, err error) {
	le := binary.LittleEndian
	var file *filetree.Entry // the one with the most rights
	for _, b := range v.inodes[ino] {
		e := owner(b)
		e.Path = path
		inline := b[160:]
		inline = inline[:min(int64(le.Uint32(b[112:])), int64(len(inline)))]
		switch e.Type() {
		case filetree.Directory:
			directory = true
			continue
		case filetree.Link:
			e.Target = string(inline)
		case filetree.BlockDevice, filetree.CharDevice:
			if len(inline) >= 4 {
				d := le.Uint32(inline)
				e.Major, e.Minor = d>>8&0xfff, d&0xff|d>>12&0xfff00
			}
		case filetree.Regular:
			e.Size = 0
			if file == nil || e.Mode&0o6111 > file.Mode&0o6111 {
				file = &e
			}
			if len(v.pages[ino]) > 0 {
				continue
			}
		}
		if err := p.Add(e, 0); err != nil {
			return false, err
		}
	}
	if file == nil {
		return directory, nil
	}
	for _, b := range v.pages[ino] {
		if err := r.piece(p, *file, b); err != nil {
			return false, err
		}
	}
	return directory, nil
}

func (r *reader) piece(p *filetree.Past, e filetree.Entry, b []byte) error {
	le := binary.LittleEndian
	at := int64(le.Uint32(b[28:])&0x1fffffff) * pageSize
	if !p.Wants(e, at) {
		return nil
	}
	if r.work -= len(b) + pageSize; r.work < 0 {
		return fmt.Errorf("%w of older versions", filetree.ErrLimit)
	}
	data, err := r.page(b)
	if err != nil {
		e.Broken, data = err.Error(), b[40:]
	} else {
		data = data[:min(int64(len(data)), int64(le.Uint32(b[40:])))]
	}
	e.Size, e.Content = int64(len(data)), data
	return p.Add(e, at)
}
