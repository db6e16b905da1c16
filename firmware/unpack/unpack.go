// Package unpack is what a program with room for it brings to package firmware:
// decoders that need a library, file systems of management controllers, and the
// containers in which vendors ship updates. The bootable scanner goes without.
package unpack

import (
	"slices"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/brotli"
)

// Decoders returns all of them.
func Decoders() []firmware.Decoder {
	out := []firmware.Decoder{{GUID: brotli.GUID, Name: "brotli", Decode: brotli.Decode}}
	return slices.Concat(out, containerDecoders(), controllerDecoders())
}
