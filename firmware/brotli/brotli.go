// Package brotli expands the Brotli streams of firmware sections (edk2
// BrotliCustomDecompressLib). It is apart from package firmware because the
// library that it stands on brings a dictionary of 120 KiB and a client for
// HTTP, which a bootable scanner has no room for.
package brotli

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
)

// GUID is that of the sections whose contents are stored so.
const GUID = "3D532050-5CDA-4FD0-879E-0F7F630D5AFB"

const header = 16 // length of the result, and of memory that firmware needs for it

// Decode expands a stream with its header and returns how many bytes of it were
// read. A result longer than limit is cut one byte behind it. The header's
// lengths are claims: the result grows with what comes, and the library's
// window is at most 16 MiB (RFC 7932, 9.1).
func Decode(stream []byte, limit int) (out []byte, used int, err error) {
	if len(stream) < header {
		return nil, 0, fmt.Errorf("brotli: %d bytes are too few for a header", len(stream))
	}
	r := bytes.NewReader(stream[header:])
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(brotli.NewReader(r), int64(limit)+1))
	if err != nil {
		return buf.Bytes(), len(stream) - r.Len(), fmt.Errorf("brotli: after %d bytes of the result: %w", n, err)
	}
	if want := binary.LittleEndian.Uint64(stream); n <= int64(limit) && want != uint64(n) {
		return buf.Bytes(), len(stream) - r.Len(), fmt.Errorf("brotli: header says %d bytes, the stream has %d", want, n)
	}
	return buf.Bytes(), len(stream) - r.Len(), nil
}
