package firmware

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/ifd"
	"github.com/assay-hw/assay/internal/nvram"
)

// walker cuts a run of bytes into leaves: an image, or what a part of it
// expands to. It only ever moves forward: add takes the bytes up to an end and
// nothing is added twice.
type walker struct {
	data   []byte
	pos    int
	leaves []Leaf
	names  map[string]int // shared by all walkers of an image: a path stands once
	most   int            // leaves that may still be made
	full   bool
	prefix string   // before the names of volumes: the file that they are in
	loose  bool     // volumes whose checksum does not hold count too
	runs   [][]byte // of each leaf, where the leaves are no run of data
	claims []claim  // what the bytes say of themselves and cannot be true

	silicon []piece // parts beside volumes that other maps name, in order
}

// claim is something that the bytes say of themselves and that cannot be true,
// or not together with what other bytes say.
type claim struct {
	code                 finding.Code
	path, want, got, why string
	offset, length       int
}

// add makes a leaf of the bytes from the current position up to end and
// returns it, or nil when there are none.
func (w *walker) add(name string, kind Kind, end int) *Leaf {
	if end <= w.pos {
		return nil
	}
	if len(w.leaves) >= w.most-1 && end < len(w.data) {
		w.full = true
		name, kind, end = w.prefix+"rest", Unknown, len(w.data)
	}
	w.names[name]++
	for base, n := name, w.names[name]; n > 1; n++ {
		if name = fmt.Sprintf("%s#%d", base, n); w.names[name] == 0 { // an image may use such a name itself
			w.names[name], w.names[base] = 1, n
			break
		}
	}
	if w.leaves == nil {
		const few = 4 // most files have a header and two or three sections
		w.leaves = make([]Leaf, 0, few)
	}
	w.leaves = append(w.leaves, Leaf{Path: name, Kind: kind, Offset: int64(w.pos), Length: int64(end - w.pos)})
	w.pos = end
	return &w.leaves[len(w.leaves)-1]
}

// body returns the bytes of a leaf.
func (w *walker) body(i int) []byte {
	if w.runs != nil {
		return w.runs[i]
	}
	l := w.leaves[i]
	return w.data[l.Offset : l.Offset+l.Length]
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
	if w.prefix == "" && isContainer(w.data) {
		if l := w.add("image", Code, len(w.data)); l != nil {
			l.Type = typeContainer
		}
		return
	}
	regions := w.regions()
	if regions == nil {
		if w.engineAlone() {
			return
		}
		w.silicon = w.amd()
		if last := w.capsule(); !w.flash(last, len(w.data)) {
			w.volumes(last, len(w.data))
		}
		return
	}
	last := w.base()
	for _, r := range regions {
		w.gap(last, r.Start)
		last = w.prefix + "region:" + r.Name
		if r.HoldsBIOS() {
			if !w.flash(last, r.End) {
				w.volumes(last, r.End)
			}
			continue
		}
		w.region(r)
	}
	w.gap(last, len(w.data))
}

// regions returns the map of an Intel flash descriptor, or nil when there is
// none, or when its regions overlap or leave the image: such a map is not
// followed, and the image is one area.
func (w *walker) regions() []ifd.Region {
	d, ok := ifd.Parse(w.data)
	if !ok {
		return nil
	}
	end := 0
	for _, r := range d.Regions {
		if r.Start < end || r.End > len(w.data) {
			w.claims = append(w.claims, claim{
				code: finding.ParsersDisagree, path: w.prefix + "region:" + r.Name, want: "regions side by side inside the image", got: fmt.Sprintf("0x%x to 0x%x", r.Start, r.End),
				why: "the flash descriptor's map has regions that overlap or leave the image; it was not followed", offset: 0, length: ifd.Size,
			})
			return nil
		}
		end = r.End
	}
	return d.Regions
}

// volumes finds firmware volumes up to end, whatever lies between them.
func (w *walker) volumes(after string, end int) {
	found := false
	for w.pos < end && !w.full {
		v, ok := nextVolume(w.data[:end], w.pos, w.loose)
		if !ok {
			break
		}
		found = true
		w.between(after, v.start)
		after = w.volume(v)
	}
	if !found && w.pos < end && len(w.silicon) == 0 {
		w.add(after, Unknown, end)
		return
	}
	w.between(after, end)
}

// volume is a volume at its place. Its path is the name of the extended header,
// or else the file system's GUID.
type volume struct {
	ffs.Volume
	path  string
	start int
}

// nextVolume finds the first volume that begins at pos or behind it; loose takes
// those whose checksum does not hold too.
func nextVolume(b []byte, pos int, loose bool) (volume, bool) {
	for search := pos; ; {
		i := bytes.Index(b[search:], []byte(ffs.Signature))
		if i < 0 {
			return volume{}, false
		}
		at := search + i - ffs.SignatureAt
		search += i + len(ffs.Signature)
		if at < pos {
			continue
		}
		if v, ok := ffs.ParseDamaged(b[at:]); ok && (loose || !v.Damaged) {
			return volume{Volume: v, start: at}, true
		}
	}
}

// volume adds one volume and returns its path. Volumes of one name are told
// apart by their order.
func (w *walker) volume(v volume) string {
	v.path = w.prefix + string(v.FileSystem)
	if v.Name != "" {
		v.path = w.prefix + string(v.Name)
	}
	w.names["volume:"+v.path]++
	if n := w.names["volume:"+v.path]; n > 1 {
		v.path = fmt.Sprintf("%s#%d", v.path, n)
	}
	end := v.start + v.Length
	if v.Damaged {
		w.claims = append(w.claims, claim{
			code: finding.InputMalformed, path: v.path, want: "a header whose checksum holds", got: "another checksum",
			why: "the header of a firmware volume is damaged; some firmware takes the volume all the same", offset: v.start, length: v.Header,
		})
	}
	if l := w.add(v.path+"/header", Header, v.start+v.Header); l != nil {
		l.Type, l.Name = typeVolume, ffs.NameOf(cmp.Or(v.Name, v.FileSystem))
	}
	switch {
	case v.HasFiles():
		w.files(v, end)
	case v.FileSystem == ffs.SystemNVData, v.FileSystem == moreVariables:
		w.variableStore(v, end)
	default:
		w.add(v.path+"/body", Unknown, end)
	}
	return v.path
}

// typeVolume is the type of the leaf that begins a volume.
const typeVolume = "volume"

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
		if allAre(w.data[next:min(next+ffs.FileHeader, end)], v.Erased) {
			w.add(last+"+free", Free, end)
			return
		}
		f, ok := v.ParseFile(w.data[next:end])
		if !ok {
			w.gap(last, w.resync(v, next, end))
			continue
		}
		last = w.file(v, f, last)
	}
	w.gap(last, end)
}

// file adds a file and returns the name that what follows is called after.
func (w *walker) file(v volume, f ffs.File, last string) string {
	start, end := w.pos, w.pos+f.Length
	if f.Type == ffs.Pad {
		w.add(last+"+pad", Padding, end)
		return last
	}
	if x := v.start + v.Extended; v.Extended > 0 && x < end && x+extendedMin > start {
		w.claims = append(w.claims, claim{
			code: finding.ParsersDisagree, path: v.path + "/" + string(f.GUID), want: "the extended header in a pad file or before all files", got: "in this file",
			why: "the volume's extended header and a file claim the same bytes", offset: start, length: f.Length,
		})
	}
	name := v.path + "/" + string(f.GUID)
	if f.GUID == ffs.NVARFile {
		w.add(name+"/header", Header, w.pos+f.Header)
		if l := w.add(name+"/variables", Volatile, end); l != nil {
			l.Type, l.store = typeVariables, nvram.NVAR
		}
		return name
	}
	if l := w.add(name, kindOfFile(f.Type), end); l != nil && !w.full {
		l.Type = f.Type.String()
		l.file = &f
	}
	return name
}

const extendedMin = 20

func kindOfFile(t ffs.FileType) Kind {
	switch {
	case t == ffs.Pad:
		return Padding
	case t == ffs.Freeform:
		return Data
	case t == ffs.Raw, t >= ffs.SecCore && t <= ffs.LastKnown:
		return Code // a raw file holds the reset vector of many volumes
	}
	return Unknown
}

// resync finds the next plausible file header after a broken one.
func (w *walker) resync(v volume, from, end int) int {
	for at := from + 8; at < end; at += 8 {
		if allAre(w.data[at:min(at+ffs.FileHeader, end)], v.Erased) {
			return at
		}
		if f, ok := v.ParseFile(w.data[at:end]); ok && kindOfFile(f.Type) != Unknown {
			return at
		}
	}
	return end
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
