package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// walker cuts an image into leaves. It only ever moves forward: add takes the
// bytes up to an end and nothing is added twice.
type walker struct {
	data   []byte
	pos    int
	leaves []Leaf
	names  map[string]int
	full   bool
}

// add makes a leaf of the bytes from the current position up to end.
func (w *walker) add(name string, kind Kind, end int) {
	if end <= w.pos {
		return
	}
	if len(w.leaves) >= maxLeaves-1 && end < len(w.data) {
		w.full = true
		name, kind, end = "rest", Unknown, len(w.data)
	}
	w.names[name]++
	if n := w.names[name]; n > 1 {
		name = fmt.Sprintf("%s#%d", name, n)
	}
	w.leaves = append(w.leaves, Leaf{Path: name, Kind: kind, Offset: int64(w.pos), Length: int64(end - w.pos)})
	w.pos = end
}

// gap adds bytes that belong to no structure: padding when they are all erased
// or all zero, otherwise unknown. The name does not depend on which, so that
// filled padding is the same leaf with other bytes.
func (w *walker) gap(after string, end int) {
	kind := Unknown
	if end > w.pos && uniform(w.data[w.pos:end]) {
		kind = Padding
	}
	w.add(after+"+gap", kind, end)
}

// image cuts the whole image: along the Intel descriptor's regions when there
// is one, else as one area of volumes.
func (w *walker) image() {
	regions := descriptorRegions(w.data)
	if regions == nil {
		w.volumes("image", len(w.data))
		return
	}
	last := "image"
	for _, r := range regions {
		w.gap(last, r.start)
		last = "region:" + r.name
		if r.volumes {
			w.volumes(last, r.end)
			continue
		}
		w.add(last, r.kind, r.end)
	}
	w.gap(last, len(w.data))
}

var volumeSignature = []byte("_FVH")

// volumes finds firmware volumes up to end, whatever lies between them.
func (w *walker) volumes(after string, end int) {
	found := false
	for search := w.pos; w.pos < end && !w.full; {
		i := bytes.Index(w.data[min(search, end):end], volumeSignature)
		if i < 0 {
			break
		}
		at := search + i - volumeSignatureAt
		search += i + len(volumeSignature)
		if at < w.pos {
			continue
		}
		v, ok := parseVolume(w.data[at:end])
		if !ok {
			continue
		}
		found = true
		w.gap(after, at)
		w.volumeSeen(v, at)
		after = w.lastVolume(v)
		search = max(search, w.pos)
	}
	if !found && w.pos < end {
		w.add(after, Unknown, end)
		return
	}
	w.gap(after, end)
}

// volumeSeen adds one volume. Volumes of one name are told apart by their
// order.
func (w *walker) volumeSeen(v volume, at int) {
	key := "volume:" + v.name
	w.names[key]++
	v.path = w.lastVolume(v)
	v.start = at
	end := at + v.length
	w.add(v.path+"/header", Header, at+v.headerLength)
	switch v.content {
	case files:
		w.files(v, end)
	case variables:
		w.variableStore(v, end)
	default:
		w.add(v.path+"/body", Unknown, end)
	}
}

// lastVolume names the newest volume of a name.
func (w *walker) lastVolume(v volume) string {
	if n := w.names["volume:"+v.name]; n > 1 {
		return fmt.Sprintf("%s#%d", v.name, n)
	}
	return v.name
}

// content says how the bytes of a volume are organised.
type content uint8

const (
	opaque content = iota
	files
	variables
)

// volume is one EFI_FIRMWARE_VOLUME_HEADER (UEFI PI 1.8, volume 3, 3.2.1).
type volume struct {
	name         string // FvName of the extended header, else the file system's GUID
	path         string
	start        int
	length       int
	headerLength int
	erased       byte
	content      content
}

const (
	volumeSignatureAt = 40
	volumeHeaderMin   = 56 + 8 // fixed part and the block map's end
	volumeHeaderMax   = 512    // room for 56 runs of blocks; a signature is found often, so this bounds the work
	erasePolarity     = 1 << 11
)

// parseVolume checks a header at the start of b: sizes, block map and checksum
// must all hold, since "_FVH" also occurs inside code.
func parseVolume(b []byte) (volume, bool) {
	if len(b) < volumeHeaderMin {
		return volume{}, false
	}
	length := binary.LittleEndian.Uint64(b[32:])
	header := int(binary.LittleEndian.Uint16(b[48:]))
	revision := b[55]
	if header < volumeHeaderMin || header > volumeHeaderMax || header%2 != 0 || revision < 1 || revision > 2 ||
		length < uint64(header) || length > uint64(len(b)) {
		return volume{}, false
	}
	if !blockMapHolds(b[56:header], length) || sum16(b[:header]) != 0 {
		return volume{}, false
	}
	v := volume{length: int(length), headerLength: header}
	if binary.LittleEndian.Uint32(b[44:])&erasePolarity != 0 {
		v.erased = 0xff
	}
	fs := guidAt(b[16:])
	v.name = fs
	switch fs {
	case guidFFS1, guidFFS2, guidFFS3, guidFFSApple:
		v.content = files
	case guidNVData:
		v.content = variables
	}
	if ext := int(binary.LittleEndian.Uint16(b[52:])); revision == 2 && ext >= header && ext+20 <= v.length {
		v.name = guidAt(b[ext:])
	}
	return v, true
}

// blockMapHolds checks that the block map ends inside the header and adds up
// to the volume's length.
func blockMapHolds(b []byte, length uint64) bool {
	var sum uint64
	for ; len(b) >= 8; b = b[8:] {
		n, size := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
		if n == 0 && size == 0 {
			return sum == length
		}
		if sum += n * size; sum > length {
			return false
		}
	}
	return false
}

func sum16(b []byte) (s uint16) {
	for ; len(b) >= 2; b = b[2:] {
		s += binary.LittleEndian.Uint16(b)
	}
	return s
}

// uniform reports whether all bytes are 0xff or all are zero.
func uniform(b []byte) bool {
	return len(b) > 0 && (b[0] == 0xff || b[0] == 0) && allAre(b, b[0])
}

func allAre(b []byte, v byte) bool {
	for _, c := range b {
		if c != v {
			return false
		}
	}
	return true
}

// The GUIDs that decide how bytes are read, as UEFI PI 1.8 and edk2 print them.
const (
	guidFFS1     = "7A9354D9-0468-444A-81CE-0BF617D890DF"
	guidFFS2     = "8C8CE578-8A3D-4F1C-9935-896185C32DD3"
	guidFFS3     = "5473C07A-3DCB-4DCA-BD6F-1E9689E7349A"
	guidFFSApple = "04ADEEAD-61FF-4D31-B6BA-64F8BF901F5A"
	guidNVData   = "FFF12B8D-7696-4C8B-A985-2747075B4F50"

	guidVariables     = "DDCF3616-3275-4164-98B6-FE85707FFE7D"
	guidAuthVariables = "AAF32C78-947B-439A-A180-2E144EC37792"
	guidWorkBlock     = "9E58292B-7C68-497D-A0CE-6500FD9F1B95"
	guidNVARFile      = "CEF5B9A3-476D-497F-9FDC-E98143E0422C"
)

// guidAt prints the first 16 bytes as an EFI_GUID.
func guidAt(b []byte) string {
	return fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}
