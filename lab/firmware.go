package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"

	"github.com/ulikunitz/xz/lzma"
)

// PatchDriver changes one letter in the text of a DXE driver inside OVMF, as an
// implant in a driver would change code. The drivers are in a firmware volume
// that is compressed inside another one (UEFI PI 1.7, volume 3).
func PatchDriver(code []byte) ([]byte, error) {
	at, err := lzmaSection(code)
	if err != nil {
		return nil, err
	}
	size := get24(code[at:])
	body := code[at+24 : at+size]
	r, err := lzma.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("firmware: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("firmware: %w", err)
	}
	if err := changeText(plain, "QEMU Video PCI Adapter"); err != nil {
		return nil, err
	}
	packed, err := compress(plain, body[:5])
	if err != nil {
		return nil, err
	}
	return replaceSection(code, at, size, packed)
}

// lzmaGUID marks sections that are compressed with LZMA.
var lzmaGUID = []byte{0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf}

// lzmaSection finds the only compressed section.
func lzmaSection(code []byte) (int, error) {
	i := bytes.Index(code, lzmaGUID)
	if i < 4 || code[i-1] != 2 || binary.LittleEndian.Uint16(code[i+16:]) != 24 {
		return 0, errors.New("firmware: no section that is compressed with LZMA")
	}
	return i - 4, nil
}

func get24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func put24(b []byte, n int) { b[0], b[1], b[2] = byte(n), byte(n>>8), byte(n>>16) }

func changeText(plain []byte, text string) error {
	var wide []byte
	for _, c := range utf16.Encode([]rune(text)) {
		wide = binary.LittleEndian.AppendUint16(wide, c)
	}
	i := bytes.Index(plain, wide)
	if i < 0 {
		return fmt.Errorf("firmware: no driver says %q", text)
	}
	plain[i] ^= 0x20
	return nil
}

func compress(plain, properties []byte) ([]byte, error) {
	var b bytes.Buffer
	p := properties[0]
	cfg := lzma.WriterConfig{
		Properties:   &lzma.Properties{LC: int(p) % 9, LP: int(p) / 9 % 5, PB: int(p) / 45},
		DictCap:      int(binary.LittleEndian.Uint32(properties[1:])),
		SizeInHeader: true, Size: int64(len(plain)), EOSMarker: false,
	}
	w, err := cfg.NewWriter(&b)
	if err != nil {
		return nil, fmt.Errorf("firmware: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("firmware: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("firmware: %w", err)
	}
	return b.Bytes(), nil
}

// replaceSection puts new contents into the section at an offset, which must be
// the only one of its file, with free space behind the file.
func replaceSection(code []byte, at, size int, packed []byte) ([]byte, error) {
	file := at - 24
	if file < 0 || get24(code[file+20:]) != 24+size {
		return nil, errors.New("firmware: the compressed section does not fill its file")
	}
	end, grown := file+24+size, at+24+len(packed)
	free := code[end:min(len(code), max(end, (grown+7)&^7))]
	if len(bytes.Trim(free, "\xff")) > 0 || grown > len(code) {
		return nil, fmt.Errorf("firmware: %d bytes more do not fit", grown-end)
	}
	out := bytes.Clone(code)
	copy(out[at+24:], packed)
	for i := grown; i < end; i++ {
		out[i] = 0xff
	}
	put24(out[at:], 24+len(packed))
	put24(out[file+20:], 48+len(packed))
	out[file+16] = 0 // checksum of the header, without the file's own and its state
	var sum byte
	for i, c := range out[file : file+23] {
		if i != 17 {
			sum += c
		}
	}
	out[file+16] = -sum
	if out[file+19]&0x40 != 0 {
		return nil, errors.New("firmware: the file's contents have a checksum of their own")
	}
	return out, nil
}
