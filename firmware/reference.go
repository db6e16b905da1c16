package firmware

import (
	"cmp"
	"slices"
)

// Reference is what a manifest declares of one firmware image. Several
// references of one name are alternatives: versions that are all allowed.
type Reference struct {
	Name       string            `json:"name"`                 // "bios", "bmc": firmware/<name>.rom in the evidence
	Version    string            `json:"version,omitempty"`    // label of the vendor
	MinVersion string            `json:"minVersion,omitempty"` // older labels are refused
	Size       int64             `json:"size,omitempty"`       // bytes of the whole image
	SHA256     string            `json:"sha256,omitempty"`     // Image.StableSHA256: the image without its volatile ranges
	Digests    map[string]string `json:"digests,omitempty"`    // of the whole image as the vendor ships it, by algorithm: "sha384"
	Part       string            `json:"part,omitempty"`       // id of the flash part, where it is known
	Leaves     []Leaf            `json:"leaves,omitempty"`     // in offset order
	Protection []Protection      `json:"protection,omitempty"` // locks against writing the flash
	Partial    bool              `json:"partial,omitempty"`    // leaves that are not listed are not declared, as in an update that leaves parts of the flash alone
	Note       string            `json:"note,omitempty"`
}

// DraftReferences makes references from known-good units, each with its images
// and, by image name, the version labels its firmware reports. Units with
// different bytes give several references of one name. Images that are not
// complete are left out.
func DraftReferences(versions map[string]string, units ...[]*Image) []Reference {
	var out []Reference
	for _, images := range units {
		for _, m := range images {
			if m.Reason != "" {
				continue
			}
			r := Reference{Name: m.Name, Version: versions[m.Name], Size: m.Size, SHA256: m.StableSHA256(), Protection: m.Protection}
			for _, l := range m.Parts() {
				d := l.declared()
				d.Inside = l.declaredInside()
				r.Leaves = append(r.Leaves, d)
			}
			same := func(o Reference) bool {
				return o.Name == r.Name && o.SHA256 == r.SHA256 && slices.EqualFunc(o.Leaves, r.Leaves, sameWritten)
			}
			if i := slices.IndexFunc(out, same); i >= 0 {
				allowExecutables(&out[i], m)
				allowVersions(&out[i], r.Leaves)
				out[i].Protection = common(out[i].Protection, m.Protection)
				continue
			}
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Reference) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.SHA256, b.SHA256))
	})
	return out
}

// sameWritten reports whether the same is declared of two ranges that firmware
// writes to; their bytes are in no digest.
func sameWritten(a, b Leaf) bool {
	return a.Kind != Volatile || b.Kind != Volatile || a.Encoding == b.Encoding && slices.EqualFunc(latest(a.Inside), latest(b.Inside), func(x, y Leaf) bool {
		return x.Path == y.Path && x.SHA256 == y.SHA256 && x.Kind == y.Kind
	})
}

// latest leaves out what lies on a flash of the past of a unit.
func latest(ls []Leaf) []Leaf {
	return slices.DeleteFunc(slices.Clone(ls), func(l Leaf) bool { return l.Type == SupersededType })
}

// allowVersions adds the older versions of files that another unit has.
func allowVersions(r *Reference, leaves []Leaf) {
	for i := range r.Leaves {
		have := map[string]bool{}
		for _, l := range r.Leaves[i].Inside {
			have[l.Path] = true
		}
		for _, l := range leaves[i].Inside {
			if l.Type == SupersededType && !have[l.Path] {
				r.Leaves[i].Inside = append(r.Leaves[i].Inside, l)
			}
		}
	}
}

// allowExecutables adds what another unit has in its volatile leaves.
func allowExecutables(r *Reference, m *Image) {
	for i := range r.Leaves {
		for _, l := range m.Leaves {
			if l.Kind == Volatile && l.Path == r.Leaves[i].Path {
				all := append(slices.Clone(r.Leaves[i].Executables), l.Executables...)
				slices.Sort(all)
				r.Leaves[i].Executables = slices.Compact(all)
			}
		}
	}
}

// OlderThan compares version labels number by number; text between numbers is
// compared as text. It reports whether a is older than b.
func OlderThan(a, b string) bool {
	for a != "" && b != "" {
		x, restA, numA := token(a)
		y, restB, numB := token(b)
		a, b = restA, restB
		c := cmp.Compare(x, y)
		if numA && numB {
			c = cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
		}
		if c != 0 {
			return c < 0
		}
	}
	return a == "" && b != ""
}

// token splits a run of digits, without leading zeros, or of anything else.
func token(s string) (tok, rest string, number bool) {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	number = digit(s[0])
	n := 1
	for n < len(s) && digit(s[n]) == number {
		n++
	}
	tok, rest = s[:n], s[n:]
	for number && len(tok) > 1 && tok[0] == '0' {
		tok = tok[1:]
	}
	return tok, rest, number
}
