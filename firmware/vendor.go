package firmware

import (
	"errors"
	"fmt"
	"strings"
)

// VendorFile is what a vendor ships: an image of a whole flash, an update
// capsule, or a cabinet or container with one of them inside.
type VendorFile struct {
	Name    string // of the image in evidence that it is for, "bios"; empty: by what is in it
	Version string // label that machines with it report
	Image   *Image
}

// ErrNoFirmware is wrapped where a vendor's file holds nothing that could be a
// flash or a part of one.
var ErrNoFirmware = errors.New("no firmware image found inside")

// VendorReference makes a reference from a vendor's file and returns the image
// that it found inside, too. size is how long the
// flash of a known-good unit is, 0 when that is not known.
//
// An update rarely holds the whole flash: without descriptor and of another
// size than the flash, only its volumes become leaves, and the reference says
// that it is partial.
func VendorReference(f VendorFile, size int64) (Reference, *Image, error) {
	m, wrapped := payload(f.Image, 0)
	if m == nil {
		return Reference{}, nil, fmt.Errorf("%s: %w; it was taken apart into %d parts", f.Image.Artifact, ErrNoFirmware, len(f.Image.Parts()))
	}
	r := Reference{Name: f.Name, Version: f.Version}
	if r.Name == "" {
		r.Name = hostFirmware
		if !holdsVolumes(m) {
			r.Name = "bmc"
		}
	}
	_, described := m.Descriptor()
	r.Partial = holdsVolumes(m) && !described && (wrapped || size > 0 && m.Size != size)
	if !r.Partial {
		r.Size, r.SHA256 = m.Size, m.StableSHA256()
	}
	for _, l := range m.Parts() {
		if r.Partial && !ofVolume(l) {
			continue
		}
		d := l.declared()
		d.Inside = l.declaredInside()
		r.Leaves = append(r.Leaves, d)
	}
	return r, m, nil
}

// holdsVolumes reports whether firmware volumes are among the top leaves.
func holdsVolumes(m *Image) bool {
	for _, l := range m.Leaves {
		if l.Type == typeVolume {
			return true
		}
	}
	return false
}

// ofVolume reports whether a top leaf belongs to a firmware volume and is not
// written in operation: variables in an update are where a board starts from,
// not what it has.
func ofVolume(l Leaf) bool {
	first, rest, inside := strings.Cut(l.Path, "/")
	return inside && rest != "" && l.Kind != Volatile && !strings.HasPrefix(first, "capsule") && !strings.HasPrefix(first, "region:") && !strings.HasPrefix(first, "image")
}

// volumeOf is the first part of a leaf's path: for leaves of a volume, its name.
func volumeOf(l Leaf) string {
	v, _, _ := strings.Cut(l.Path, "/")
	return v
}

// payload finds the flash image in a vendor's file: the file itself, or the
// largest part of it that holds volumes or the parts of a flash.
func payload(m *Image, depth int) (found *Image, wrapped bool) {
	const deepest = 6 // cabinet, zip, container, capsule, image
	_, described := m.Descriptor()
	if described || holdsVolumes(m) {
		return m, strings.HasPrefix(m.Leaves[0].Path, "capsule")
	}
	if depth == deepest {
		return nil, false
	}
	for _, l := range files(m.Parts()) {
		inner := Parse(m.Name, l.content, m.decoders...)
		inner.Artifact, inner.bounds.work = m.Artifact, m.bounds.work/2
		if p, _ := payload(inner, depth+1); p != nil && (found == nil || p.Size > found.Size) {
			found = p
		}
	}
	if found == nil && len(m.Leaves) > 1 {
		return m, false // parts of a management controller's flash
	}
	return found, found != nil
}

// files returns the files of archives in an opened image, and payloads that are
// files of their own.
func files(leaves []Leaf) []Leaf {
	var out []Leaf
	for _, l := range leaves {
		if l.packed || l.Type == typeContainer && l.Path != "image" {
			out = append(out, l)
			continue
		}
		out = append(out, files(l.Inside)...)
	}
	return out
}
