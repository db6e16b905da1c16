package unpack

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/eficomp"
	"github.com/assay-hw/assay/internal/ifd"
	"github.com/assay-hw/assay/internal/pfat"
	"github.com/assay-hw/assay/internal/pfs"
	"github.com/assay-hw/assay/internal/ucp"
)

// containerDecoders are for what firmware is shipped in, and what signs it.
func containerDecoders() []firmware.Decoder {
	return append([]firmware.Decoder{pkcs7Signatures(), cabinets(), zips()}, vendors()...)
}

// vendors are the containers in which vendors ship updates, beside cabinets and
// capsules. No vendor's file was at hand: they are read as BIOSUtilities reads
// them, and the tests build their own.
func vendors() []firmware.Decoder {
	return []firmware.Decoder{
		{Name: "ami-pfat", Begins: pfat.Begins, Open: openPFAT},
		{Name: "ami-ucp", Begins: ucp.Begins, Open: openUCP},
		{Name: "dell-pfs", Begins: pfs.Begins, Open: openPFS},
		{Name: "dell-sections", Begins: pfs.BeginsSection, Open: openSections},
		{Name: "updater", Begins: beginsUpdater, Open: openUpdater},
	}
}

// doesNotHold is a note for a container whose own claims do not hold.
func doesNotHold(path, why string) firmware.Note {
	return firmware.Note{Code: finding.InputMalformed, Path: clean(path), Want: "a container that holds", Got: "another", Why: why}
}

// openPFAT opens an image for BIOS Guard. Components are parts of one flash:
// when they begin with its map, they are opened together.
func openPFAT(b []byte, limit int) (firmware.Archive, error) {
	m, err := pfat.Parse(b, limit)
	if err != nil {
		return firmware.Archive{}, bounded(err, errors.Is(err, pfat.ErrLimit))
	}
	a := firmware.Archive{Used: m.Size}
	for _, p := range m.Problems {
		a.Notes = append(a.Notes, doesNotHold("", p))
	}
	for _, c := range m.Components {
		f := file(c.Name, c.Data)
		f.Kind, f.Type, f.Name = firmware.Unknown, "component", fmt.Sprintf("%d blocks, %d with signatures that are not checked", c.Blocks, c.Signed)
		a.Files = append(a.Files, f)
	}
	if len(a.Files) > 1 && mapped(a.Files[0].Content) {
		var all [][]byte
		for _, f := range a.Files {
			all = append(all, f.Content)
		}
		a.Files = []firmware.File{{Path: "image", Kind: firmware.Unknown, Type: typeMember, Name: fmt.Sprintf("reassembled from %d components", len(all)), Content: bytes.Join(all, nil)}}
	}
	return a, nil
}

// mapped reports whether b begins with a descriptor of a flash longer than b.
func mapped(b []byte) bool {
	d, ok := ifd.Parse(b)
	if !ok {
		return false
	}
	for _, r := range d.Regions {
		if r.End > len(b) {
			return true
		}
	}
	return false
}

func openUCP(b []byte, limit int) (firmware.Archive, error) {
	modules, size, sum, err := ucp.Parse(b)
	if err != nil && len(modules) == 0 {
		return firmware.Archive{}, err
	}
	a := firmware.Archive{Used: size}
	if err != nil {
		a.Notes = append(a.Notes, doesNotHold("", "the list of modules ends early: "+err.Error()))
	}
	if !sum {
		a.Notes = append(a.Notes, doesNotHold("", "the sum over the file does not hold"))
	}
	for _, m := range modules {
		data := m.Data
		if m.Packed {
			if data, err = unpackEFI(m.Data, m.Expanded, limit); errors.Is(err, firmware.ErrLimit) {
				return firmware.Archive{}, err
			}
			if err != nil {
				limit -= len(data)
				a.Notes = append(a.Notes, doesNotHold(m.Tag, "the module cannot be expanded: "+err.Error()))
				data = m.Data
			}
		}
		if limit -= len(data); limit < 0 {
			return firmware.Archive{}, firmware.ErrLimit
		}
		if !m.Sum {
			a.Notes = append(a.Notes, doesNotHold(m.Tag, "the sum over the module does not hold"))
		}
		a.Files = append(a.Files, firmware.File{Path: m.Tag, Kind: firmware.Unknown, Type: "module", Name: m.Name, Content: data})
	}
	return a, nil
}

// unpackEFI tries both forms of UEFI's compression: neither says which it is,
// and only one gives the promised length in most cases. With an error it returns
// what cost as much to expand.
func unpackEFI(b []byte, want, limit int) ([]byte, error) {
	const lost = 16 // zeros that some streams end without
	if len(b) >= 8 {
		if short := int64(binary.LittleEndian.Uint32(b)) + 8 - int64(len(b)); short > 0 && short <= lost {
			b = append(bytes.Clone(b), make([]byte, short)...)
		}
	}
	var first error
	var most []byte
	for _, v := range []eficomp.Variant{eficomp.Tiano, eficomp.EFI} {
		out, _, err := eficomp.Decode(b, v, limit)
		if err == nil && len(out) == want {
			return out, nil
		}
		if errors.Is(err, eficomp.ErrLimit) {
			return nil, bounded(err, true)
		}
		if first == nil {
			first = err
		}
		if len(out) > len(most) {
			most = out
		}
	}
	if first == nil {
		first = errors.New("another length than the module says")
	}
	return most, first
}

// openPFS opens a volume of Dell's: its entries, or the image that they are
// together.
func openPFS(b []byte, limit int) (firmware.Archive, error) {
	v, err := pfs.Parse(b)
	if err != nil {
		return firmware.Archive{}, err
	}
	a := firmware.Archive{Used: v.Size}
	problems := v.Problems
	if v.Guarded() {
		image, more, err := v.Image(limit)
		if err != nil {
			return firmware.Archive{}, bounded(err, errors.Is(err, pfs.ErrLimit))
		}
		problems = append(problems, more...)
		a.Files = append(a.Files, firmware.File{Path: "image", Kind: firmware.Unknown, Type: typeMember, Name: fmt.Sprintf("reassembled from %d blocks, their signatures are not checked", len(v.Entries)), Content: image})
	} else {
		for i, e := range v.Entries {
			a.Files = append(a.Files, entryFiles(i, e)...)
		}
	}
	for _, p := range problems {
		a.Notes = append(a.Notes, doesNotHold("", "Dell's volume: "+p))
	}
	return a, nil
}

// entryFiles are the parts of one entry, by its GUID, which stays the same from
// version to version.
func entryFiles(i int, e pfs.Entry) []firmware.File {
	name := e.Name
	if e.Version != "" {
		name += " " + e.Version
	}
	out := []firmware.File{{Path: e.GUID, Kind: firmware.Unknown, Type: "entry", Name: name, Content: e.Data}}
	if len(e.Data) == 0 {
		out = nil
	}
	add := func(suffix, kind, name string, data []byte) {
		if len(data) > 0 {
			out = append(out, firmware.File{Path: e.GUID + suffix, Kind: firmware.Data, Type: kind, Name: name, Content: data})
		}
	}
	add(".signature", typeSignature, fmt.Sprintf("of entry %d, not checked", i+1), e.Signature)
	add(".metadata", typeMember, "", e.Metadata)
	add(".metadata.signature", typeSignature, fmt.Sprintf("of entry %d, not checked", i+1), e.MetadataSignature)
	return out
}

// openSections opens a run of Dell's compressed sections.
func openSections(b []byte, limit int) (firmware.Archive, error) {
	u := &updater{b: b, left: limit}
	u.sections(pfs.Sections(b))
	return u.archive()
}

// updater cuts a program into what is packed in it and what lies between.
type updater struct {
	b     []byte
	at    int
	left  int
	files []firmware.File
	notes []firmware.Note
	err   error
}

// piece adds what lies between the last part and the next.
func (u *updater) piece(end int) {
	if end <= u.at {
		return
	}
	kind, name := firmware.Data, "rest"
	if u.at == 0 {
		kind, name = firmware.Code, "program"
	}
	u.add(name, kind, "", u.b[u.at:end])
	u.at = end
}

func (u *updater) add(path string, kind firmware.Kind, name string, data []byte) {
	if u.left -= len(data); u.left < 0 {
		u.err = firmware.ErrLimit
		return
	}
	u.files = append(u.files, firmware.File{Path: path, Kind: kind, Type: typeMember, Name: name, Content: data})
}

func (u *updater) archive() (firmware.Archive, error) {
	u.piece(len(u.b))
	if u.err != nil {
		return firmware.Archive{}, u.err
	}
	return firmware.Archive{Files: u.files, Used: len(u.b), Notes: u.notes}, nil
}

func (u *updater) sections(list []pfs.Section) {
	for _, s := range list {
		u.piece(s.Offset)
		data, err := inflate(s.Stream, u.left)
		if errors.Is(err, firmware.ErrLimit) {
			u.err = err
			return
		}
		if err != nil {
			u.left -= len(data)
			u.notes = append(u.notes, doesNotHold(s.Kind, "a section cannot be expanded: "+err.Error()))
			data = s.Stream
		}
		u.add(s.Kind, firmware.Unknown, "", data)
		u.at = s.Offset + s.Length
	}
}

// inflate expands a zlib stream to at most limit bytes.
func inflate(b []byte, limit int) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(z, int64(limit)+1))
	if n > int64(limit) {
		return nil, fmt.Errorf("%w of %d bytes", firmware.ErrLimit, limit)
	}
	return buf.Bytes(), err
}

// beginsProgram reports whether b begins as a program for Windows does.
func beginsProgram(b []byte) bool {
	if len(b) < 0x40 || string(b[:2]) != "MZ" {
		return false
	}
	at := uint64(binary.LittleEndian.Uint32(b[0x3c:]))
	return at+4 <= uint64(len(b)) && string(b[at:at+4]) == "PE\x00\x00"
}
