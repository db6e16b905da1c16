// Package tpmroots holds the certificates of TPM makers: roots and the
// intermediate authorities below them, as a public collection gathers them.
//
// It proves nothing about a key. A certificate here says who its maker claims
// to be; README.md names where the collection comes from.
package tpmroots

import (
	_ "embed"
	"encoding/asn1"
	"fmt"

	"github.com/assay-hw/assay/internal/lzma"
)

//go:embed data/roots.der.lzma
var roots []byte

//go:embed data/intermediates.der.lzma
var intermediates []byte

// Roots returns the DER form of the makers' trust anchors. A few are no
// self-signed roots: some makers publish an authority without the one above it.
func Roots() ([][]byte, error) { return unpack(roots) }

// Intermediates returns the DER form of the authorities below them. They are
// believed only as far as a root vouches for them.
func Intermediates() ([][]byte, error) { return unpack(intermediates) }

// maxBytes bounds the unpacked collection; it is our own data, but a truncated
// or swapped file should fail and not grow.
const maxBytes = 4 << 20

func unpack(packed []byte) ([][]byte, error) {
	rest, _, err := lzma.Decode(packed, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("TPM makers' certificates: %w", err)
	}
	var out [][]byte
	for len(rest) > 0 {
		var one asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &one); err != nil {
			return nil, fmt.Errorf("TPM makers' certificates: %w", err)
		}
		out = append(out, one.FullBytes)
	}
	return out, nil
}
