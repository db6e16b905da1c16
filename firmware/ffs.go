package firmware

import "encoding/binary"

// File types (UEFI PI 1.8, volume 3, 2.1.4.1).
const (
	fileRaw       = 0x01
	fileFreeform  = 0x02
	fileSecCore   = 0x03
	fileLastKnown = 0x0f
	filePad       = 0xf0
)

const (
	fileHeader      = 24
	fileHeaderLarge = 32
	fileLarge       = 1 << 0 // FFS_ATTRIB_LARGE_FILE
)

// ffsFile is one EFI_FFS_FILE_HEADER with the length that it claims.
type ffsFile struct {
	guid   string
	kind   Kind
	header int
	length int
}

// parseFile checks a file header at the start of b. The checksum leaves out
// the state and the body's checksum (UEFI PI 1.8, volume 3, 3.2.3).
func parseFile(b []byte) (ffsFile, bool) {
	if len(b) < fileHeader {
		return ffsFile{}, false
	}
	f := ffsFile{guid: guidAt(b), header: fileHeader, length: int(b[20]) | int(b[21])<<8 | int(b[22])<<16}
	if b[19]&fileLarge != 0 {
		if len(b) < fileHeaderLarge {
			return ffsFile{}, false
		}
		n := binary.LittleEndian.Uint64(b[24:])
		if n > uint64(len(b)) {
			return ffsFile{}, false
		}
		f.header, f.length = fileHeaderLarge, int(n)
	}
	if f.length < f.header || f.length > len(b) {
		return ffsFile{}, false
	}
	var sum byte
	for i, c := range b[:f.header] {
		if i != 17 && i != 23 {
			sum += c
		}
	}
	f.kind = kindOfFile(b[18])
	return f, sum == 0
}

func kindOfFile(t byte) Kind {
	switch {
	case t == filePad:
		return Padding
	case t == fileFreeform:
		return Data
	case t == fileRaw, t >= fileSecCore && t <= fileLastKnown:
		return Code // a raw file holds the reset vector of many volumes
	}
	return Unknown
}

// files adds one leaf per file, what lies between files, and the free space.
// After a header that does not hold, the walk goes on at the next one that
// does: one bad file must not hide the others.
func (w *walker) files(v volume, end int) {
	last := v.path + "/header"
	for w.pos < end && !w.full {
		next := v.start + (w.pos-v.start+7)&^7
		if next >= end {
			break
		}
		w.gap(last, next)
		if allAre(w.data[next:min(next+fileHeader, end)], v.erased) {
			w.add(last+"+free", Free, end)
			return
		}
		f, ok := parseFile(w.data[next:end])
		if !ok {
			w.gap(last, w.resync(v, next, end))
			continue
		}
		last = w.file(v, f, last)
	}
	w.gap(last, end)
}

// file adds a file and returns the name that what follows is called after.
func (w *walker) file(v volume, f ffsFile, last string) string {
	end := w.pos + f.length
	if f.kind == Padding {
		w.add(last+"+pad", Padding, end)
		return last
	}
	name := v.path + "/" + f.guid
	if f.guid == guidNVARFile {
		w.add(name+"/header", Header, w.pos+f.header)
		w.add(name+"/variables", Volatile, end)
		return name
	}
	w.add(name, f.kind, end)
	return name
}

// resync finds the next plausible file header after a broken one.
func (w *walker) resync(v volume, from, end int) int {
	for at := from + 8; at < end; at += 8 {
		if allAre(w.data[at:min(at+fileHeader, end)], v.erased) {
			return at
		}
		if f, ok := parseFile(w.data[at:end]); ok && f.kind != Unknown {
			return at
		}
	}
	return end
}
