package firmware

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/cbfs"
	"github.com/assay-hw/assay/internal/fmap"
	"github.com/assay-hw/assay/internal/mtd"
)

// The types of leaves that are parts of a flash which is not made of volumes.
const (
	typeArea = "area" // of a coreboot map
	typeCBFS = "CBFS" // an area with files; the files have their own types
	typePart = "part" // of a management controller's flash
)

// area is a named range with those inside of it, from the leaf's start.
type area struct {
	name       string
	start, end int
	inside     []*area
}

// flashMap opens a flash along the map that coreboot keeps in it. A map whose
// areas cross each other or leave the flash is not followed.
func (o *opener) flashMap(l *Leaf, depth int) bool {
	if depth > 0 && !l.isWhole() || l.area != nil { // offsets in a map are those of the flash
		return false
	}
	areas, ok := fmap.Find(l.content)
	if !ok || !o.spend(l.Path, len(l.content)) {
		return false
	}
	base := int(l.Offset)
	if l.isWhole() {
		base = 0
	}
	tree, bad := nest(areas, base, len(l.content))
	if bad != nil {
		o.problem(finding.ParsersDisagree, l.Path, "areas inside each other or side by side", fmt.Sprintf("%s at 0x%x to 0x%x", bad.name, bad.start, bad.end),
			"the map of the flash has areas that cross each other or leave the flash; it was not followed")
		return false
	}
	o.areas(l, tree, depth)
	return true
}

// nest puts areas into those around them. base is where the leaf starts in the
// flash; areas around the leaf and beside it are left out.
func nest(areas []fmap.Area, base, size int) (tree []*area, bad *area) {
	var all []*area
	for _, a := range areas {
		n := &area{name: a.Name, start: a.Offset - base, end: a.Offset - base + a.Length}
		if a.Length == 0 || base > 0 && (n.end <= 0 || n.start >= size || n.start <= 0 && n.end >= size) {
			continue
		}
		if n.start < 0 || n.end > size {
			return nil, n
		}
		all = append(all, n)
	}
	slices.SortStableFunc(all, func(x, y *area) int { return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(y.end, x.end)) })
	root := &area{end: size}
	stack := []*area{root}
	for _, n := range all {
		for n.start >= stack[len(stack)-1].end {
			stack = stack[:len(stack)-1]
		}
		around := stack[len(stack)-1]
		if n.end > around.end {
			return nil, n
		}
		around.inside = append(around.inside, n)
		stack = append(stack, n)
	}
	return root.inside, nil
}

// areas makes leaves of the areas in l and of what lies between them.
func (o *opener) areas(l *Leaf, tree []*area, depth int) {
	w := o.walker(l.content, l.Path+"/")
	last := l.Path
	byPath := map[string]*area{}
	for _, a := range tree {
		w.gap(last, a.start)
		c := w.add(l.Path+"/"+a.name, Unknown, a.end)
		if c == nil || w.full {
			break
		}
		c.Type, c.Name, last = typeArea, a.name, c.Path
		byPath[c.Path] = a
	}
	w.gap(last, len(l.content))
	for i := range w.leaves {
		w.leaves[i].area = byPath[w.leaves[i].Path]
	}
	o.adopt(l, w, l.Path, depth)
}

// openArea goes into the areas inside of one, or into what it holds.
func (o *opener) openArea(l *Leaf, depth int) {
	inside := l.area.inside
	if len(inside) == 0 {
		o.raw(l, l.Path+"/", 0, depth)
		return
	}
	moved := make([]*area, 0, len(inside))
	for _, a := range inside {
		moved = append(moved, a.from(l.area.start))
	}
	o.areas(l, moved, depth)
}

// from counts an area from another start.
func (a *area) from(start int) *area {
	n := &area{name: a.name, start: a.start - start, end: a.end - start}
	for _, c := range a.inside {
		n.inside = append(n.inside, c.from(start))
	}
	return n
}

// coreboot opens an area of coreboot's file system.
func (o *opener) coreboot(l *Leaf, depth int) bool {
	files := cbfs.Parse(l.content)
	if len(files) == 0 {
		return false
	}
	w := o.walker(l.content, l.Path+"/")
	last := l.Path + "/cbfs"
	for _, f := range files {
		w.gap(last, f.Offset)
		name, kind := l.Path+"/"+f.Name, Code
		if f.Empty() {
			name, kind = last+"+free", Free
		}
		c := w.add(name, kind, f.Offset+f.Length)
		if c == nil || w.full {
			break
		}
		c.Type = f.Type.String()
		if !f.Empty() {
			c.Name, last = f.Name, c.Path
		}
	}
	w.gap(last, len(l.content))
	o.adopt(l, w, l.Path, depth)
	l.Type = typeCBFS
	return true
}

// controller opens a management controller's flash in what is one leaf of the
// image.
func (o *opener) controller(l *Leaf, depth int) bool {
	parts := mtd.Parse(l.content)
	if len(parts) == 0 || !o.spend(l.Path, len(l.content)) {
		return false
	}
	w := o.walker(l.content, l.Path+"/")
	w.parts(l.Path, 0, parts, len(l.content))
	o.adopt(l, w, l.Path, depth)
	return true
}

// parts adds the parts of a controller's flash up to end. What lies before the
// first is mostly its boot loader, which has no header.
func (w *walker) parts(path string, base int, parts []mtd.Part, end int) {
	last := path + "/start"
	for _, p := range parts {
		w.gap(last, base+p.Offset)
		name := p.Kind
		if p.Name != "" {
			name += ":" + p.Name
		}
		kind := Code
		if p.Writable {
			kind = Volatile
		}
		c := w.add(path+"/"+name, kind, base+p.Offset+p.Length)
		if c == nil || w.full {
			break
		}
		c.Type, c.Name, c.part, last = typePart, name, &p, c.Path
		if p.Ambiguous != "" {
			w.claims = append(w.claims, claim{
				code: finding.VendorSignatureInvalid, path: c.Path, want: "one place for every image", got: "more",
				why:    "the table of images can be read in two ways, so that other bytes may run than those that are checked: " + p.Ambiguous,
				offset: base + p.Offset, length: p.Length,
			})
		}
		if p.Damaged != "" {
			w.claims = append(w.claims, claim{
				code: finding.InputMalformed, path: c.Path, want: "a module as its header says", got: "another", why: "a module does not hold: " + p.Damaged,
				offset: base + p.Offset, length: p.Length,
			})
		}
	}
	w.gap(last, end)
}

// module opens a module of MegaRAC: its header, and what its contents are.
func (o *opener) module(l *Leaf, depth int) {
	w := o.walker(l.content, l.Path+"/")
	if at := l.part.Header; at >= 0 && at < l.part.Body {
		w.gap(l.Path+"/start", at)
		w.add(l.Path+"/header", Header, min(at+moduleHeader, l.part.Body))
	}
	w.gap(l.Path+"/header", l.part.Body)
	end := l.part.Body + l.part.BodyLength
	if l.Kind == Volatile {
		end = len(l.content) // what is written does not keep to the header
	}
	if c := w.add(l.Path+"/contents", l.Kind, end); c != nil && !w.full {
		c.Type = typePart
	}
	w.gap(l.Path+"/contents", len(l.content))
	o.adopt(l, w, l.Path, depth)
}

const moduleHeader = 64

// flash cuts a flash that is not made of volumes along coreboot's map, or else
// into the parts of a management controller. It reports whether there is either.
func (w *walker) flash(path string, end int) bool {
	body := w.data[w.pos:end]
	areas, ok := fmap.Find(w.data)
	if ok {
		tree, bad := nest(areas, w.pos, len(body))
		if bad != nil || len(tree) == 0 || w.volumesOutside(tree, body) {
			return false
		}
		w.areaTree(path, w.pos, tree)
		w.gap(path, end)
		return true
	}
	if contained(body) || w.volumesOutside(nil, body) {
		return false
	}
	parts := mtd.Parse(body)
	if len(parts) == 0 {
		return false
	}
	w.parts(path, w.pos, parts, end)
	return true
}

// contained reports whether bytes begin as the containers do in which firmware
// is given out: parts of what they hold may lie on a boundary by chance.
func contained(b []byte) bool {
	for _, magic := range []string{"PK\x03\x04", "MSCF", "\x1f\x8b", "\xfd7zXZ", "070701", "BZh", "\x7fELF", "MZ"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return len(b) > 262 && string(b[257:262]) == "ustar"
}

// volumesOutside reports whether there are volumes of UEFI that no volatile area
// holds.
func (w *walker) volumesOutside(tree []*area, body []byte) bool {
	for pos := 0; ; {
		v, ok := nextVolume(body, pos, false)
		if !ok || !inVolatileArea(tree, v.start) {
			return ok
		}
		pos = v.start + v.Length
	}
}

func inVolatileArea(tree []*area, at int) bool {
	return slices.ContainsFunc(tree, func(a *area) bool {
		return at >= a.start && at < a.end && (written(a.name) || inVolatileArea(a.inside, at))
	})
}

// areaTree adds the innermost areas. base is where offsets count from.
func (w *walker) areaTree(path string, base int, tree []*area) {
	last := path
	for _, a := range tree {
		w.gap(last, base+a.start)
		name := path + "/" + a.name
		last = name
		if len(a.inside) > 0 {
			w.areaTree(name, base, a.inside)
			w.gap(name, base+a.end)
			continue
		}
		kind := Unknown
		if written(a.name) {
			kind = Volatile
		}
		c := w.add(name, kind, base+a.end)
		if c == nil || w.full {
			return
		}
		c.Type, c.Name, c.area, last = typeArea, a.name, a, c.Path
	}
}

// written reports whether firmware writes to an area in operation, by the names
// that coreboot gives to such areas.
func written(name string) bool {
	switch name {
	case "RW_MRC_CACHE", "RW_VAR_MRC_CACHE", "RECOVERY_MRC_CACHE", "UNIFIED_MRC_CACHE", "MRC_CACHE", "RW_DDR_TRAINING", "RO_DDR_TRAINING",
		"RW_ELOG", "ELOG", "RW_NVRAM", "RW_VPD", "RW_SHARED", "SHARED_DATA", "SMMSTORE", "CONSOLE":
		return true
	}
	return false
}
