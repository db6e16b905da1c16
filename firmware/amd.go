package firmware

import (
	"github.com/assay-hw/assay/internal/amdfw"
)

// typeAMD is the type of leaves that AMD's directories name.
const typeAMD = "AMD firmware"

// amd is the map of what AMD's directories name in the image.
func (w *walker) amd() []piece {
	f, ok := amdfw.Parse(w.data)
	if !ok {
		return nil
	}
	var pieces, bad []piece
	for _, s := range f.Structures {
		pieces = append(pieces, piece{path: w.prefix + "efs", kind: Header, typ: typeAMD, name: "embedded firmware structure", start: s.Offset, end: s.Offset + s.Length})
	}
	for _, d := range f.Directories {
		path := w.prefix + d.Name + "/directory"
		if d.Damaged {
			w.damaged(path, "a directory of AMD's firmware", d.Offset, d.Length)
		}
		pieces = append(pieces, piece{path: path, kind: Header, typ: typeAMD, name: d.Name, start: d.Offset, end: d.Offset + d.Length})
		for _, e := range d.Entries {
			p := piece{path: w.prefix + d.Name + "/" + e.Label(), kind: amdKind(e.Kind), typ: typeAMD, start: e.Offset, end: e.Offset + e.Length}
			switch {
			case e.Outside:
				p.end = e.Length
				bad = append(bad, p)
			case e.Offset >= 0:
				if e.Header != nil {
					p.name = e.Header.Version
				}
				pieces = append(pieces, p)
			}
		}
	}
	pieces, crossing := laid(pieces, 0, len(w.data))
	w.reject(append(bad, crossing...), "the map of AMD's firmware")
	return pieces
}

func amdKind(k amdfw.Kind) Kind {
	switch k {
	case amdfw.Code:
		return Code
	case amdfw.Data:
		return Data
	case amdfw.Written:
		return Volatile
	}
	return Unknown
}

// AMD returns the directories of AMD's security processor and host firmware.
func (m *Image) AMD() (amdfw.Firmware, bool) {
	if _, ok := m.Descriptor(); ok {
		return amdfw.Firmware{}, false
	}
	return amdfw.Parse(m.data)
}
