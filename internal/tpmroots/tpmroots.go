// Package tpmroots holds the certificates of TPM makers: roots and the
// intermediate authorities below them, as a public collection gathers them.
//
// It proves nothing about a key. A certificate here says who its maker claims
// to be; README.md names where the collection comes from.
package tpmroots

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/pem"
	"fmt"
	"io"
)

//go:embed data/roots.pem.gz
var roots []byte

//go:embed data/intermediates.pem.gz
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
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("TPM makers' certificates: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("TPM makers' certificates: %w", err)
	}
	var out [][]byte
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return out, nil
		}
		out = append(out, block.Bytes)
	}
}
