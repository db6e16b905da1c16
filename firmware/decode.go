package firmware

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/assay-hw/assay/internal/eficomp"
	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/lzma"
)

// encoding names how the contents of a section are stored.
type encoding string

const (
	plain       encoding = ""             // the contents stand as they are
	unknown     encoding = "unknown"      // to be processed in a way that is not known here
	lzmaPlain   encoding = "lzma"         // edk2 LzmaCustomDecompressLib
	lzmaX86     encoding = "lzma-x86"     // the same behind the filter for x86 code
	efiStandard encoding = "efi"          // UEFI 2.10, 19.2
	tiano       encoding = "tiano"        // the same with a larger window
	zlibAMD     encoding = "zlib"         // AMD, behind a header of 256 bytes
	standard    encoding = "efi or tiano" // the section does not say which
)

// guided lists the GUIDs of sections whose contents are compressed.
func guided(g ffs.GUID) encoding {
	switch g {
	case "EE4E5898-3914-4259-9D6E-DC7BD79403CF", "0ED85E23-F253-413F-A03C-901987B04397", "BD9921EA-ED91-404A-8B2F-B4D724747C8C":
		return lzmaPlain
	case "D42AE6BD-1352-4BFB-909A-CA72A6EAE889":
		return lzmaX86
	case "A31280AD-481E-41B6-95E8-127F4C984779":
		return tiano
	case "CE3233F5-2CD6-4D87-9152-4A238BB6D1C4", "991EFAC0-E260-416B-A4B8-3B153072B804":
		return zlibAMD
	case "FC1BCDB0-7D31-49AA-936A-A4600D9DD083", // CRC32
		"A7717414-C616-4977-9420-844712A735BF", // RSA-2048 with SHA-256
		"0F9D89E8-9259-4F76-A5AF-0C89E34023DF": // signed contents
		return plain // checked by firmware, not changed
	}
	return unknown
}

// encodingOf says how the contents of a section that holds others are stored.
func encodingOf(s ffs.Section) encoding {
	switch {
	case s.Type == ffs.Compression && s.Method == ffs.StandardCompressed:
		return standard
	case s.Type == ffs.Compression && s.Method == ffs.CustomCompressed:
		return lzmaPlain
	case s.Type == ffs.Compression && s.Method != ffs.NotCompressed:
		return unknown
	case s.Type == ffs.GUIDDefined:
		if e := guided(s.GUID); e != unknown || s.Attributes&ffs.ProcessingRequired != 0 {
			return e
		}
	}
	return plain
}

// errNotKnown is wrapped where bytes are stored in a way that is not known.
var errNotKnown = errors.New("encoding not known")

// tooLong reports whether an error says that the result would exceed a limit.
func tooLong(err error) bool {
	return errors.Is(err, lzma.ErrLimit) || errors.Is(err, ErrLimit) || errors.Is(err, eficomp.ErrLimit)
}

// decode expands a stream to at most limit bytes. It returns the encoding that
// it found, and how many bytes of the stream were needed.
func decode(e encoding, b []byte, limit int) (out []byte, used int, found encoding, err error) {
	switch e {
	case lzmaPlain, lzmaX86:
		out, used, err = lzma.Decode(b, limit)
		if e == lzmaX86 && err == nil {
			lzma.DecodeX86(out)
		}
		return out, used, e, err
	case standard, tiano, efiStandard:
		return decodeEither(e, b, limit)
	case zlibAMD:
		out, used, err = inflate(b, limit)
	default:
		err = errNotKnown
	}
	return out, used, e, err
}

// decodeEither tries both forms of UEFI's compression where the section does
// not say which it is: only the right one gives sections.
func decodeEither(e encoding, b []byte, limit int) (out []byte, used int, found encoding, err error) {
	order := []encoding{efiStandard, tiano}
	if e == tiano {
		order = []encoding{tiano, efiStandard}
	}
	for _, form := range order {
		v := eficomp.EFI
		if form == tiano {
			v = eficomp.Tiano
		}
		out, used, err = eficomp.Decode(b, v, limit)
		if err == nil && sectionsHold(out) || tooLong(err) {
			return out, used, form, err
		}
	}
	if err == nil {
		err = fmt.Errorf("neither form of the UEFI compression gives sections: %w", eficomp.ErrMalformed)
	}
	return nil, 0, e, err
}

// sectionsHold reports whether b is a run of sections up to its end.
func sectionsHold(b []byte) bool {
	at := 0
	for len(b)-at >= 4 && !uniform(b[at:]) {
		s, ok := ffs.ParseSection(b[at:])
		if !ok {
			return false
		}
		at = min((at+s.Length+ffs.SectionAlign-1)&^(ffs.SectionAlign-1), len(b))
	}
	return at > 0
}

const zlibHeader = 256 // zeros and the stream's length

// inflate reads AMD's streams through a bounded reader: the result grows with
// what comes.
func inflate(b []byte, limit int) (out []byte, used int, err error) {
	if len(b) < zlibHeader {
		return nil, 0, fmt.Errorf("%d bytes are too few for a header of %d", len(b), zlibHeader)
	}
	r := bytes.NewReader(b[zlibHeader:])
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, 0, err
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(z, int64(limit)+1))
	if n > int64(limit) {
		return nil, 0, fmt.Errorf("%w of %d bytes", ErrLimit, limit)
	}
	return buf.Bytes(), len(b) - r.Len(), err
}

// Decoder expands what GUID-defined sections of one kind hold, or opens bytes
// that begin as an archive of one format does. A program brings those that need
// a library or have no place in the bootable scanner: what has no decoder is
// compared as it stands.
type Decoder struct {
	Name string

	GUID string // of sections, upper case; empty for archives
	// Decode returns the result, cut one byte behind the limit when it is longer,
	// and how many bytes of the stream it takes.
	Decode func(stream []byte, limit int) (out []byte, used int, err error)

	// Begins reports whether b may be an archive of this format. It looks at a
	// header only, and is asked of every run of bytes that is not understood.
	Begins func(b []byte) bool
	// Open opens an archive. Contents of more than limit bytes in all are an error
	// that wraps ErrLimit; anything else that does not hold is a note beside the
	// files that could be read, or an error when there are none.
	Open func(b []byte, limit int) (Archive, error)

	// Verify checks a PKCS#7 signature over content with the certificates in it:
	// it names the signer, or says what is wrong. It says nothing about trust. An
	// error means that the signature is made in a way that is not known.
	Verify func(signature, content []byte) (signer, wrong string, err error)
}

// decoder returns the decoder that was brought for a kind of section, or nil.
func (o *opener) decoder(g ffs.GUID) *Decoder {
	if i := slices.IndexFunc(o.decoders, func(d Decoder) bool { return d.Decode != nil && ffs.GUID(d.GUID) == g }); i >= 0 {
		return &o.decoders[i]
	}
	return nil
}

// decode expands the contents of a section.
func (o *opener) decode(s ffs.Section, stream []byte, limit int) (out []byte, used int, found encoding, err error) {
	d := o.decoder(s.GUID)
	if d == nil {
		return decode(encodingOf(s), stream, limit)
	}
	if out, used, err = d.Decode(stream, limit); len(out) > limit {
		out, err = nil, fmt.Errorf("%w of %d bytes", ErrLimit, limit)
	}
	return out, used, encoding(d.Name), err
}
