package pfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/pfat"
)

// ErrLimit is wrapped when an image would be longer than allowed.
var ErrLimit = errors.New("image longer than the limit")

// Guarded reports whether the entries of a volume are blocks for Intel BIOS
// Guard, which are an image only together.
func (v Volume) Guarded() bool {
	if len(v.Entries) == 0 {
		return false
	}
	b, err := pfat.ParseBlock(v.Entries[0].Data)
	return err == nil && strings.HasPrefix(strings.ToUpper(b.Platform), "DELL")
}

// piece is a block at its place.
type piece struct {
	at, address uint32
	data        []byte
}

// Image puts blocks together, each where its description says or else its
// script, with erased bytes between them. Where two begin at one offset, the
// lower address of the flash comes first. Both may be anything: the result takes
// at most limit bytes.
func (v Volume) Image(limit int) (image []byte, problems []string, err error) {
	const metadata = 0x19
	var all []piece
	for i, e := range v.Entries {
		b, err := pfat.ParseBlock(e.Data)
		if err != nil {
			problems = append(problems, fmt.Sprintf("block %d: %v", i+1, err))
			continue
		}
		p := piece{data: b.Data}
		p.at, _ = b.Offset()
		p.address = p.at
		if len(e.Metadata) >= metadata {
			at, size := binary.LittleEndian.Uint32(e.Metadata[8:]), binary.LittleEndian.Uint32(e.Metadata[12:])
			if at != p.at || uint64(size) != uint64(len(b.Data)) {
				problems = append(problems, fmt.Sprintf("block %d: its description says %d bytes at 0x%x, its script %d at 0x%x", i+1, size, at, len(b.Data), p.at))
			}
			p.at, p.address = at, binary.LittleEndian.Uint32(e.Metadata)
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(x, y piece) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.address, y.address)) })
	for _, p := range all {
		gap := max(0, int64(p.at)-int64(len(image)))
		if int64(len(image))+gap+int64(len(p.data)) > int64(limit) {
			return nil, problems, fmt.Errorf("%w of %d bytes", ErrLimit, limit)
		}
		image = append(append(image, bytes.Repeat([]byte{0xff}, int(gap))...), p.data...)
	}
	return image, problems, nil
}
