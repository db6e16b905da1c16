package firmware

import (
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
	if depth > 0 && !l.isWhole() { // offsets in a map are those of the flash
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

// controller opens a management controller's flash. What lies before the first
// part is mostly its boot loader, which has no header.
func (o *opener) controller(l *Leaf, depth int) bool {
	parts := mtd.Parse(l.content)
	if len(parts) == 0 || !o.spend(l.Path, len(l.content)) {
		return false
	}
	w := o.walker(l.content, l.Path+"/")
	last := l.Path + "/start"
	for _, p := range parts {
		w.gap(last, p.Offset)
		name := p.Kind
		if p.Name != "" {
			name += ":" + p.Name
		}
		c := w.add(l.Path+"/"+name, Unknown, p.Offset+p.Length)
		if c == nil || w.full {
			break
		}
		c.Type, c.Name, last = typePart, name, c.Path
	}
	w.gap(last, len(l.content))
	o.adopt(l, w, l.Path, depth)
	return true
}
