package firmware

import (
	"maps"
	"slices"
	"strings"
)

// candidates are the references that an image is held against, one of which it
// has to be. None may be more lenient than another one of the same flash:
// a partial reference stands for what it holds together with the rest of a whole
// one, a digest of the whole file counts where it is met, and one without leaves
// and digests says nothing beside others.
func candidates(refs []Reference, m *Image) []Reference {
	var whole, partial, other []Reference
	for _, r := range refs {
		switch {
		case r.Partial:
			partial = append(partial, r.aligned(m))
		case len(r.Leaves) > 0 || r.SHA256 != "":
			whole = append(whole, r)
		case len(r.Digests) > 0:
			other = append(other, r)
		}
	}
	out := slices.Clone(whole)
	for _, p := range partial {
		for _, w := range whole {
			if len(w.Leaves) > 0 {
				out = append(out, p.over(w))
			}
		}
	}
	if len(whole) == 0 {
		out = append(out, partial...)
	}
	for _, r := range other {
		k := &comparer{ref: r, got: m}
		if k.shipped(); len(k.found) == 0 && k.coverage.Compared > 0 || len(whole)+len(partial) == 0 {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return refs[:1] // it declares nothing, and that is told
	}
	return out
}

// over is what a flash holds that had the whole reference, once the update of
// the partial one is on it: the update's volumes in place of the old ones.
func (r Reference) over(whole Reference) Reference {
	mine := map[string]bool{}
	for _, l := range r.Leaves {
		mine[volumeOf(l)] = true
	}
	out := r
	out.Partial, out.SHA256, out.Size, out.Protection = false, "", whole.Size, whole.Protection
	out.Leaves = slices.DeleteFunc(slices.Clone(whole.Leaves), func(l Leaf) bool { return ofVolume(l) && mine[volumeOf(l)] })
	out.Leaves = append(out.Leaves, r.Leaves...)
	return out
}

// aligned renames the volumes of a partial reference to those of the image that
// hold the same files. Volumes without a name of their own are counted, and the
// update's first one may be the flash's third.
func (r Reference) aligned(m *Image) Reference {
	mine, theirs := byVolume(r.Leaves), byVolume(m.Leaves)
	taken, rename := map[string]bool{}, map[string]string{}
	for _, v := range slices.Sorted(maps.Keys(mine)) {
		best, most := v, 0
		for _, w := range slices.Sorted(maps.Keys(theirs)) {
			if unnumbered(w) == unnumbered(v) && !taken[w] {
				if n := inCommon(mine[v], theirs[w]); n > most || n == most && w == v {
					best, most = w, n
				}
			}
		}
		taken[best], rename[v] = true, best
	}
	out := r
	out.Leaves = slices.Clone(r.Leaves)
	for i := range out.Leaves {
		l := &out.Leaves[i]
		v := volumeOf(*l)
		l.Path = rename[v] + strings.TrimPrefix(l.Path, v)
		l.Inside = slices.Clone(l.Inside)
		for j := range l.Inside {
			l.Inside[j].Path = rename[v] + strings.TrimPrefix(l.Inside[j].Path, v)
		}
	}
	return out
}

// byVolume groups the leaves of volumes.
func byVolume(leaves []Leaf) map[string][]Leaf {
	out := map[string][]Leaf{}
	for _, l := range leaves {
		if ofVolume(l) {
			out[volumeOf(l)] = append(out[volumeOf(l)], l)
		}
	}
	return out
}

// unnumbered is a volume's name without the number that tells it from others.
func unnumbered(v string) string {
	name, _, _ := strings.Cut(v, "#")
	return name
}

// inCommon counts files that two volumes have under one name, twice when their
// bytes are equal too.
func inCommon(a, b []Leaf) int {
	sums := map[string]string{}
	for _, l := range b {
		sums[l.Path[len(volumeOf(l)):]] = l.SHA256
	}
	n := 0
	for _, l := range a {
		if sum, ok := sums[l.Path[len(volumeOf(l)):]]; ok && l.Kind != Header {
			n++
			if sum == l.SHA256 {
				n++
			}
		}
	}
	return n
}
