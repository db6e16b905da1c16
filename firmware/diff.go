package firmware

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Change is one difference between two images, named by what it is in both and
// not by where it lies.
type Change struct {
	Change   string   `json:"change"` // "added", "removed", "changed", "moved", or "repacked": the same parts in another order or compression
	Path     string   `json:"path"`
	From     string   `json:"from,omitempty"` // path before it moved
	Kind     Kind     `json:"kind"`
	Type     string   `json:"type,omitempty"`
	Name     string   `json:"name,omitempty"`
	Sections []string `json:"sections,omitempty"` // sections of a file that differ, or lines of a listing
	Old      string   `json:"old,omitempty"`      // sha256
	New      string   `json:"new,omitempty"`
	First    *int64   `json:"firstDifference,omitempty"` // offset in the new image of the first byte that differs, where the part lies in it as it is
}

// Diff compares two images part by part, down to files and variables: what
// surrounds a changed part, and empty room that shrank for it, is no change of
// its own. Images with equal bytes have no changes, others at least one.
func Diff(a, b *Image) []Change {
	if a.SHA256 == b.SHA256 {
		return nil
	}
	old, now := modules(a), modules(b)
	out := changes(old, now, false)
	if len(out) == 0 {
		out = repacked(a, b)
	}
	if len(out) == 0 {
		out = changes(old, now, true)
	}
	if len(out) == 0 {
		out = []Change{{Change: "moved", Path: "image", Kind: Unknown, Old: a.SHA256, New: b.SHA256}}
	}
	locate(out, a, b)
	return out
}

// locate says where bytes differ first, in parts that are in both images as they
// stand and whose path says too little: room that somebody filled, a boot loader.
func locate(changes []Change, a, b *Image) {
	at := func(m *Image, path string) (Leaf, bool) {
		i := slices.IndexFunc(m.Leaves, func(l Leaf) bool { return l.Path == path })
		if i < 0 {
			return Leaf{}, false
		}
		return m.Leaves[i], true
	}
	for i := range changes {
		c := &changes[i]
		old, ok := at(a, c.Path)
		now, still := at(b, c.Path)
		if c.Change != "changed" || !ok || !still {
			continue
		}
		x, y := a.bytes(old), b.bytes(now)
		n := min(len(x), len(y))
		first := now.Offset + int64(firstDifference(x[:n], y[:n]))
		c.First = &first
	}
}

// repacked lists the parts that hold the same modules in both images and have
// other bytes all the same.
func repacked(a, b *Image) []Change {
	var out []Change
	for _, l := range a.Open() {
		i := slices.IndexFunc(b.Open(), func(o Leaf) bool { return o.Path == l.Path })
		if i < 0 || !l.holdsFiles() || l.SHA256 == b.Open()[i].SHA256 {
			continue
		}
		out = append(out, change("repacked", l, l.SHA256, b.Open()[i].SHA256))
	}
	return out
}

// modules lists what is compared as one, by path.
func modules(m *Image) map[string]Leaf {
	out := map[string]Leaf{}
	for _, l := range m.Open() {
		l.eachModule(func(c Leaf) { out[c.Path] = c })
	}
	return out
}

// changes lists the differences of two sets of modules. all includes what
// otherwise only follows from another change.
func changes(old, now map[string]Leaf, all bool) []Change {
	var out []Change
	gone := map[string][]Change{} // by digest and last name
	for _, path := range slices.Sorted(maps.Keys(old)) {
		l := old[path]
		n, ok := now[path]
		switch {
		case !ok && (all || !l.Surrounds()):
			gone[l.SHA256+" "+last(path)] = append(gone[l.SHA256+" "+last(path)], change("removed", l, l.SHA256, ""))
		case ok && l.SHA256 != n.SHA256 && (all || !l.Surrounds() || !n.Surrounds()):
			c := change("changed", n, l.SHA256, n.SHA256)
			c.Sections = differingSections(l, n)
			out = append(out, c)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(now)) {
		n := now[path]
		if _, ok := old[path]; ok || !all && n.Surrounds() {
			continue
		}
		c := change("added", n, "", n.SHA256)
		if k := n.SHA256 + " " + last(path); n.SHA256 != "" && len(gone[k]) > 0 {
			c.Change, c.From, c.Old = "moved", gone[k][0].Path, gone[k][0].Old
			gone[k] = gone[k][1:]
		}
		out = append(out, c)
	}
	for _, g := range gone {
		out = append(out, g...)
	}
	slices.SortStableFunc(out, func(x, y Change) int {
		return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Change, y.Change), cmp.Compare(x.From, y.From))
	})
	return out
}

func change(what string, l Leaf, old, now string) Change {
	return Change{Change: what, Path: l.Path, Kind: l.Kind, Type: l.Type, Name: l.Name, Old: old, New: now}
}

// differingSections names the sections of a file that are not the same in both.
func differingSections(a, b Leaf) []string {
	if a.Type == typeListing && b.Type == typeListing {
		return differingLines(a.content, b.content)
	}
	old, now := map[string]string{}, map[string]string{}
	sections := func(l Leaf, into map[string]string) {
		var walk func(Leaf)
		walk = func(c Leaf) {
			if len(c.Inside) == 0 && c.Path != l.Path && c.section != nil {
				into[strings.TrimPrefix(c.Path, l.Path+"/")] = c.SHA256
			}
			for _, i := range c.Inside {
				walk(i)
			}
		}
		walk(l)
	}
	sections(a, old)
	sections(b, now)
	var out []string
	for name, sum := range old {
		if now[name] != sum {
			out = append(out, name)
		}
	}
	for name := range now {
		if _, ok := old[name]; !ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// maxLines bounds the lines of a listing that are named.
const maxLines = 40

// differingLines names the lines that only one of two listings has.
func differingLines(a, b []byte) []string {
	count := map[string]int{}
	for _, l := range strings.Split(string(a), "\n") {
		count[l]++
	}
	for _, l := range strings.Split(string(b), "\n") {
		count[l]--
	}
	var out []string
	for l, n := range count {
		if n != 0 {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxLines)]
}
