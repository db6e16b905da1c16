package main

import (
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/brotli"
)

// firmwareDecoders are the encodings that need a library too large for the
// bootable scanner.
func firmwareDecoders() []firmware.Decoder {
	return []firmware.Decoder{{GUID: brotli.GUID, Name: "brotli", Decode: brotli.Decode}}
}
