package unpack

import (
	"bytes"
	"compress/zlib"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/assay-hw/assay/internal/lzma"
	"github.com/assay-hw/assay/internal/lzo"
	"github.com/assay-hw/assay/internal/squashfs"
)

// expander returns how the blocks of a squashfs are expanded.
func expander(c squashfs.Compression) squashfs.Decompress {
	switch c {
	case squashfs.Gzip:
		return expandZlib
	case squashfs.LZMA:
		return func(b []byte, limit int) ([]byte, error) {
			out, _, err := lzma.Decode(b, limit)
			return out, err
		}
	case squashfs.LZO:
		return func(b []byte, limit int) ([]byte, error) {
			out, _, err := lzo.Decode(b, limit)
			return out, err
		}
	case squashfs.XZ:
		return expandXZ
	case squashfs.LZ4:
		return expandLZ4
	case squashfs.Zstd:
		return expandZstd
	}
	return func([]byte, int) ([]byte, error) { return nil, fmt.Errorf("%s is not known", c) }
}

func expandZlib(b []byte, limit int) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return readAll(z, limit)
}

// maxDictionary is the longest that a block of squashfs has use for; the library
// takes what the header says.
const maxDictionary = 1 << 20

func expandXZ(b []byte, limit int) ([]byte, error) {
	if err := checkXZ(b); err != nil {
		return nil, err
	}
	r, err := xz.ReaderConfig{SingleStream: true}.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return readAll(r, limit)
}

// checkXZ looks at the header of the first block (The .xz File Format 1.2.1,
// 3.1): its filter has to be LZMA2 alone, with a dictionary in bounds.
func checkXZ(b []byte) error {
	const streamHeader = 12
	if len(b) < streamHeader+8 || b[streamHeader] == 0 {
		return fmt.Errorf("%d bytes are no xz stream", len(b))
	}
	h := b[streamHeader:]
	flags := h[1]
	at := 2
	for range int(flags>>6&1) + int(flags>>7) { // lengths, in bytes of seven bits
		for at < len(h) && h[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if flags&3 != 0 || at+3 > len(h) || h[at] != 0x21 {
		return fmt.Errorf("xz with the filter of a processor is not known")
	}
	bits := h[at+2]
	if dict := int64(2|bits&1) << (bits/2 + 11); bits > 40 || dict > maxDictionary {
		return fmt.Errorf("xz with a dictionary of %d bytes", dict)
	}
	return nil
}

func expandLZ4(b []byte, limit int) ([]byte, error) {
	out := make([]byte, limit)
	n, err := lz4.UncompressBlock(b, out)
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}

func expandZstd(b []byte, limit int) ([]byte, error) {
	d, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(1<<23), zstd.WithDecoderMaxWindow(1<<23))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return readAll(d, limit)
}
