package unpack_test

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
)

// What vendors ship, as BIOSUtilities describes it.

func u32(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

func pfatBlock(data []byte) []byte {
	h := make([]byte, 0x30)
	copy(h[4:], "BOARD")
	return guard(h, 0, data)
}

func guard(h []byte, at int, data []byte) []byte {
	script := slices.Concat([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0x51, 0, 0, 0}, u32(at), make([]byte, 8), []byte{0x51, 0, 2, 0}, u32(len(data)), []byte{0xff, 0, 0, 0, 0, 0, 0, 0})
	copy(h[0x1c:], u32(len(script)))
	copy(h[0x20:], u32(len(data)))
	return slices.Concat(h, script, data)
}

func pfatImage(list string, blocks ...[]byte) []byte {
	h := slices.Concat(make([]byte, 8), []byte("_AMIPFAT\x00AMI_BIOS_GUARD_FLASH_CONFIGURATIONS\n"+list+"\n"))
	copy(h, u32(len(h)))
	return append(h, slices.Concat(blocks...)...)
}

func ucpSeal(b []byte) []byte {
	copy(b[4:], u32(len(b)))
	var sum uint16
	for i := 0; i < len(b); i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	binary.LittleEndian.PutUint16(b[8:], -sum)
	return b
}

func ucpFile(tag string, data []byte) []byte {
	m := ucpSeal(slices.Concat([]byte(tag), make([]byte, 12), u32(len(data)), u32(len(data)), data))
	return ucpSeal(slices.Concat([]byte("@UAF"), make([]byte, 12), m))
}

// ucpPacked has one module of a stream with its header.
func ucpPacked(tag string, stream []byte) []byte {
	if len(stream)%2 == 1 {
		stream = append(stream, 0)
	}
	m := ucpSeal(slices.Concat([]byte(tag), make([]byte, 12), stream))
	return ucpSeal(slices.Concat([]byte("@UAF"), make([]byte, 12), m))
}

func pfsEntry(data, signature []byte, metadata ...byte) []byte {
	h := make([]byte, 0x48)
	id, _ := hex.DecodeString("00112233445566778899AABBCCDDEEFF")
	slices.Reverse(id)
	copy(h, id)
	h[16] = 1
	copy(h[0x28:], slices.Concat(u32(len(data)), u32(len(signature)), u32(len(metadata))))
	return slices.Concat(h, data, signature, metadata)
}

func pfsVolume(payload []byte) []byte {
	return slices.Concat([]byte("PFS.HDR.\x01\x00\x00\x00"), u32(len(payload)), payload, u32(len(payload)), u32(int(^crc32.ChecksumIEEE(payload))), []byte("PFS.FTR."))
}

// guardedEntries are two halves of an image, the second first.
func guardedEntries(image []byte) []byte {
	half := len(image) / 2
	var out []byte
	for _, at := range []int{half, 0} {
		h := make([]byte, 0x30)
		copy(h[4:], "DELL")
		data := image[at : at+half]
		metadata := slices.Concat(u32(at), u32(0), u32(at), u32(half), make([]byte, 9))
		out = append(out, pfsEntry(guard(h, at, data), []byte("signature"), metadata...)...)
	}
	return out
}

func pfsSection(stream []byte) []byte {
	seal := func(b []byte) []byte {
		var sum byte
		for _, c := range b {
			sum ^= c
		}
		return append(b, sum)
	}
	return slices.Concat(seal(append(u32(len(stream)), "\xaa\xee\xaa\x76\x1b\xec\xbb\x20\xf1\xe6\x51"[:11]...)), stream,
		seal(append(u32(len(stream)), "\xee\xaa\xee\x8f\x49\x1b\xe8\xae\x14\x37\x90"...)))
}

func iflashImage(data []byte) []byte {
	return slices.Concat([]byte("$_IFLASH_BIOSIMG"), u32(len(data)), u32(len(data)), data)
}

func tdkProgram(program, data []byte) []byte {
	e := make([]byte, 0x110)
	copy(e, "bios.bin")
	copy(e[0x100:], slices.Concat(u32(len(program)), u32(len(data))))
	return slices.Concat(program, data, []byte("$PACK\x00\x00\x00"), u32(16+0x200+len(e)), u32(1), make([]byte, 0x200), e)
}
