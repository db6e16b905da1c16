// Package fat32 writes FAT32 file systems (Microsoft FAT specification 1.03)
// that hold a fixed set of files. Equal inputs give equal bytes: there is no
// clock and no random serial number.
package fat32

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// File is one file by its path below the root. Directories are made as they
// are needed.
type File struct {
	Path string
	Data []byte
}

const (
	sector   = 512
	reserved = 32 // sectors before the first FAT
	endChain = 0x0fffffff
	// date is 1980-01-01, the first day that a directory entry can name.
	date = 1<<5 | 1
)

// MinClusters is the least number of clusters that makes a file system FAT32
// for every reader (3.5).
const MinClusters = 65525

// Size is the size in bytes of a volume that holds so many bytes of payload.
func Size(payload int64) int64 {
	clusters := max(MinClusters, payload/sector+1) + 64
	return ((clusters+reserved+2)*64/63 + 2) * sector
}

// Format writes a file system of size bytes at the start of w, with clusters of
// one sector. Sectors that hold nothing are not written: w must read as zeros.
func Format(w io.WriterAt, size int64, label string, id uint32, files []File) error {
	f := &format{w: w}
	if err := f.plan(size, label); err != nil {
		return err
	}
	root := &node{name: label, dir: true}
	for _, x := range files {
		if err := root.add(x); err != nil {
			return err
		}
	}
	if err := f.place(root); err != nil {
		return err
	}
	if err := f.write(root, root); err != nil {
		return err
	}
	return f.tables(size, label, id)
}

type format struct {
	w        io.WriterAt
	fatSize  int64 // sectors
	clusters int64
	fat      []uint32 // chain of every used cluster
}

func (f *format) plan(size int64, label string) error {
	total := size / sector
	f.fatSize = (total*4)/sector + 1 // generous: an entry for every sector
	f.clusters = total - reserved - 2*f.fatSize
	if f.clusters < MinClusters || total > 1<<28 {
		return fmt.Errorf("fat32: a volume of %d bytes: want %d clusters at least, and 128 GiB at most", size, MinClusters)
	}
	if len(label) > 11 {
		return fmt.Errorf("fat32: label %q has more than 11 characters", label)
	}
	f.fat = []uint32{0x0ffffff8, endChain}
	return nil
}

// node is a file or directory while the volume is made.
type node struct {
	name  string
	dir   bool
	data  []byte
	kids  []*node
	first uint32
}

func (n *node) add(x File) error {
	at := n
	parts := strings.Split(strings.TrimPrefix(x.Path, "/"), "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if !allowed(part) {
			return fmt.Errorf("fat32: FAT forbids the name %q", part)
		}
		k := slices.IndexFunc(at.kids, func(c *node) bool { return strings.EqualFold(c.name, part) })
		switch {
		case k < 0:
			at.kids = append(at.kids, &node{name: part, dir: !last})
			k = len(at.kids) - 1
			if last {
				at.kids[k].data = x.Data
			}
		case last || !at.kids[k].dir:
			return fmt.Errorf("fat32: %q is there twice", x.Path)
		}
		at = at.kids[k]
	}
	return nil
}

// allowed reports whether a name may be one on FAT (6.1 and 7). Readers drop dots
// and spaces at the end, so that the name would be another one.
func allowed(name string) bool {
	return name != "" && len(utf16.Encode([]rune(name))) <= 255 && utf8.ValidString(name) &&
		strings.TrimRight(name, ". ") == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`\:*?"<>|`, r) })
}

// entriesOf counts the 32-byte entries that a name takes.
func entriesOf(name string) int {
	if _, plain := shortName(name); plain {
		return 1
	}
	return 1 + (len(utf16.Encode([]rune(name)))+12)/13
}

func (n *node) bytes(root bool) int64 {
	if !n.dir {
		return int64(len(n.data))
	}
	count := 2 // "." and "..", or the label and an end
	for _, k := range n.kids {
		count += entriesOf(k.name)
	}
	if root {
		count--
	}
	return int64(count) * 32
}

// place gives every node its clusters, in the order of the tree.
func (f *format) place(root *node) error {
	queue := []*node{root}
	for len(queue) > 0 {
		n := queue[0]
		queue = append(queue[1:], n.kids...)
		count := (n.bytes(n == root) + sector - 1) / sector
		if count == 0 {
			continue
		}
		if int64(len(f.fat))+count > f.clusters+2 {
			return fmt.Errorf("fat32: the files do not fit into %d clusters", f.clusters)
		}
		if !n.dir && len(n.data) > 1<<32-1 {
			return fmt.Errorf("fat32: %s is larger than 4 GiB", n.name)
		}
		n.first = uint32(len(f.fat))
		for i := range count {
			next := uint32(len(f.fat)) + 1
			if i == count-1 {
				next = endChain
			}
			f.fat = append(f.fat, next)
		}
	}
	return nil
}

func (f *format) offset(cluster uint32) int64 {
	return (reserved + 2*f.fatSize + int64(cluster) - 2) * sector
}

func (f *format) write(n, parent *node) error {
	if !n.dir {
		if len(n.data) == 0 {
			return nil
		}
		_, err := f.w.WriteAt(n.data, f.offset(n.first))
		return err
	}
	var b []byte
	if n == parent { // the root
		b = append(b, entry([11]byte([]byte(fmt.Sprintf("%-11s", n.name))), 0x08, 0, 0)...)
	} else {
		up := parent.first
		if up == 2 {
			up = 0 // the root is written as 0 (6.5)
		}
		b = append(b, entry([11]byte([]byte(".          ")), 0x10, n.first, 0)...)
		b = append(b, entry([11]byte([]byte("..         ")), 0x10, up, 0)...)
	}
	for i, k := range n.kids {
		b = append(b, k.entries(i)...)
	}
	if _, err := f.w.WriteAt(b, f.offset(n.first)); err != nil {
		return err
	}
	for _, k := range n.kids {
		if err := f.write(k, n); err != nil {
			return err
		}
	}
	return nil
}

// shortName gives the 8.3 form of a name that needs no long one.
func shortName(name string) (s [11]byte, plain bool) {
	base, ext, _ := strings.Cut(name, ".")
	ok := func(p string, most int) bool {
		return len(p) <= most && !strings.ContainsFunc(p, func(r rune) bool { return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r) })
	}
	if base == "" || !ok(base, 8) || !ok(ext, 3) || strings.HasSuffix(name, ".") {
		return s, false
	}
	copy(s[:], fmt.Sprintf("%-8s%-3s", base, ext))
	return s, true
}

func (n *node) entries(index int) []byte {
	attr, size := byte(0x20), uint32(len(n.data))
	if n.dir {
		attr, size = 0x10, 0
	}
	short, plain := shortName(n.name)
	if plain {
		return entry(short, attr, n.first, size)
	}
	copy(short[:], fmt.Sprintf("A~%06d   ", index+1)) // unique in its directory
	var sum byte
	for _, c := range short {
		sum = sum>>1 | sum<<7
		sum += c
	}
	units := utf16.Encode([]rune(n.name))
	parts := (len(units) + 12) / 13
	if len(units)%13 != 0 {
		units = append(units, 0)
	}
	for len(units) < parts*13 {
		units = append(units, 0xffff)
	}
	var b []byte
	for i := parts; i >= 1; i-- {
		e := make([]byte, 32)
		e[0], e[11], e[13] = byte(i), 0x0f, sum
		if i == parts {
			e[0] |= 0x40
		}
		for j, u := range units[(i-1)*13 : i*13] {
			at := 1 + 2*j
			switch {
			case j >= 11:
				at = 28 + 2*(j-11)
			case j >= 5:
				at = 14 + 2*(j-5)
			}
			binary.LittleEndian.PutUint16(e[at:], u)
		}
		b = append(b, e...)
	}
	return append(b, entry(short, attr, n.first, size)...)
}

func entry(name [11]byte, attr byte, first, size uint32) []byte {
	e := make([]byte, 32)
	copy(e, name[:])
	e[11] = attr
	binary.LittleEndian.PutUint16(e[16:], date)
	binary.LittleEndian.PutUint16(e[18:], date)
	binary.LittleEndian.PutUint16(e[20:], uint16(first>>16))
	binary.LittleEndian.PutUint16(e[24:], date)
	binary.LittleEndian.PutUint16(e[26:], uint16(first))
	binary.LittleEndian.PutUint32(e[28:], size)
	return e
}

// tables writes the boot sector, the information sector, their copies and both
// FATs.
func (f *format) tables(size int64, label string, id uint32) error {
	boot := make([]byte, sector)
	copy(boot, []byte{0xeb, 0x58, 0x90})
	copy(boot[3:], "ASSAY   ")
	le := binary.LittleEndian
	le.PutUint16(boot[11:], sector)
	boot[13], boot[16], boot[21] = 1, 2, 0xf8
	le.PutUint16(boot[14:], reserved)
	le.PutUint16(boot[24:], 32)
	le.PutUint16(boot[26:], 64)
	le.PutUint32(boot[32:], uint32(size/sector))
	le.PutUint32(boot[36:], uint32(f.fatSize))
	le.PutUint32(boot[44:], 2)
	le.PutUint16(boot[48:], 1)
	le.PutUint16(boot[50:], 6)
	boot[64], boot[66] = 0x80, 0x29
	le.PutUint32(boot[67:], id)
	copy(boot[71:], fmt.Sprintf("%-11s", label))
	copy(boot[82:], "FAT32   ")
	boot[510], boot[511] = 0x55, 0xaa
	info := make([]byte, sector)
	le.PutUint32(info, 0x41615252)
	le.PutUint32(info[484:], 0x61417272)
	le.PutUint32(info[488:], uint32(f.clusters+2-int64(len(f.fat))))
	le.PutUint32(info[492:], uint32(len(f.fat)))
	info[510], info[511] = 0x55, 0xaa
	fat := make([]byte, 4*len(f.fat))
	for i, c := range f.fat {
		le.PutUint32(fat[4*i:], c)
	}
	for _, x := range []struct {
		at   int64
		data []byte
	}{{0, boot}, {1, info}, {6, boot}, {7, info}, {reserved, fat}, {reserved + f.fatSize, fat}} {
		if _, err := f.w.WriteAt(x.data, x.at*sector); err != nil {
			return err
		}
	}
	return nil
}
