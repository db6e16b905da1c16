package oprom

import (
	"bytes"
	"crypto"
	_ "crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/internal/authenticode"
)

// image builds one image: header, PCI data structure at 0x1c, body.
func image(code CodeType, units int, last bool, edit func([]byte)) []byte {
	b := make([]byte, units*unit)
	b[0], b[1] = 0x55, 0xaa
	binary.LittleEndian.PutUint16(b[0x18:], 0x1c)
	d := b[0x1c:]
	copy(d, "PCIR")
	binary.LittleEndian.PutUint16(d[4:], 0x8086)
	binary.LittleEndian.PutUint16(d[6:], 0x10d3)
	d[0x0f] = 2
	binary.LittleEndian.PutUint16(d[0x10:], uint16(units))
	d[0x14] = byte(code)
	if last {
		d[0x15] = 0x80
	}
	if code == EFI {
		binary.LittleEndian.PutUint32(b[4:], efiMagic)
		binary.LittleEndian.PutUint16(b[8:], 11)
		binary.LittleEndian.PutUint16(b[0x0a:], 0x8664)
		binary.LittleEndian.PutUint16(b[0x16:], 0x38)
	}
	if edit != nil {
		edit(b)
	}
	return b
}

func TestChainOfLegacyAndEFIImages(t *testing.T) {
	rom := append(image(PCAT, 2, false, nil), image(EFI, 3, true, func(b []byte) { copy(b[0x38:], "MZ") })...)
	rom = append(rom, bytes.Repeat([]byte{0xff}, 512)...)
	ims, err := Parse(rom)
	require.NoError(t, err)
	require.Len(t, ims, 2)
	require.Equal(t, PCAT, ims[0].CodeType)
	require.Nil(t, ims[0].PE)
	require.Equal(t, 1024, ims[1].Offset)
	require.Equal(t, 1536, ims[1].Length)
	require.Equal(t, uint16(0x8664), ims[1].EFI.Machine)
	require.Equal(t, uint32(0x020000), ims[1].Class)
	require.True(t, ims[1].Last)
	require.Len(t, ims[1].PE, 1536-0x38, "the padded tail belongs to the file that firmware measures")
	require.Equal(t, "MZ", string(ims[1].PE[:2]))
}

// The stream was made by edk2's own encoder.
func TestCompressedImageIsExpanded(t *testing.T) {
	stream, err := os.ReadFile(filepath.Join("..", "eficomp", "testdata", "efi.bin"))
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join("..", "eficomp", "testdata", "plain.bin"))
	require.NoError(t, err)
	ims, err := Parse(image(EFI, (len(stream)+0x38)/512+1, true, func(b []byte) {
		b[0x0c] = 1
		copy(b[0x38:], stream)
	}))
	require.NoError(t, err)
	require.Equal(t, want, ims[0].PE)
}

func TestCompressedImageThatDoesNotExpandHasNoPE(t *testing.T) {
	ims, err := Parse(image(EFI, 1, true, func(b []byte) { b[0x0c] = 1 }))
	require.NoError(t, err)
	require.Nil(t, ims[0].PE)
	require.Equal(t, uint16(1), ims[0].EFI.Compression)
}

func TestBrokenTailKeepsTheImagesBeforeIt(t *testing.T) {
	first := image(PCAT, 2, false, nil)
	for name, tail := range map[string][]byte{
		"chain points past the end":     nil,
		"tail is not an image":          make([]byte, 600),
		"tail is too short":             {0x55, 0xaa},
		"data structure outside":        image(PCAT, 1, true, func(b []byte) { b[0x18], b[0x19] = 0xff, 0xff }),
		"data structure over header":    image(PCAT, 1, true, func(b []byte) { b[0x18] = 4 }),
		"no PCIR":                       image(PCAT, 1, true, func(b []byte) { b[0x1c] = 'X' }),
		"image without length":          image(PCAT, 1, true, func(b []byte) { b[0x2c] = 0 }),
		"image longer than the ROM":     image(PCAT, 1, true, func(b []byte) { b[0x2c] = 9 }),
		"PE offset outside the image":   image(EFI, 1, true, func(b []byte) { b[0x16], b[0x17] = 0xff, 0xff }),
		"PE offset inside the header":   image(EFI, 1, true, func(b []byte) { b[0x16] = 2 }),
		"never ending chain in the ROM": image(PCAT, 1, false, nil),
	} {
		t.Run(name, func(t *testing.T) {
			ims, err := Parse(append(bytes.Clone(first), tail...))
			require.ErrorIs(t, err, ErrMalformed)
			require.NotEmpty(t, ims)
			require.Equal(t, 0, ims[0].Offset)
		})
	}
}

func TestChainIsBounded(t *testing.T) {
	ims, err := Parse(bytes.Repeat(image(PCAT, 1, false, nil), MaxImages+10))
	require.ErrorIs(t, err, ErrMalformed)
	require.Len(t, ims, MaxImages)
}

func TestCodeTypeNames(t *testing.T) {
	require.Equal(t, "efi", EFI.String())
	require.Equal(t, "pc-at", PCAT.String())
	require.Equal(t, "open-firmware", OpenFirmware.String())
	require.Equal(t, "pa-risc", PARISC.String())
	require.Equal(t, "code-type-0x77", CodeType(0x77).String())
}

// The driver image in a network card's ROM hashes to what firmware extended
// into PCR 2 before it ran it.
func TestRealROMHashesToTheMeasuredDigest(t *testing.T) {
	rom := corpus(t, "debian-ipxe-efi-e1000e.rom")
	ims, err := Parse(rom)
	require.NoError(t, err)
	require.Len(t, ims, 2)
	require.Equal(t, 75264, ims[1].Offset)
	require.Equal(t, EFI, ims[1].CodeType)
	sum, err := authenticode.Digest(ims[1].PE, crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, "5fdd42d1b9ce2aa7", hex.EncodeToString(sum[:8]))
}

func TestImagesNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rom []byte
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			rom = append(rom, image(CodeType(rapid.IntRange(0, 4).Draw(t, "code")), rapid.IntRange(1, 4).Draw(t, "units"), rapid.Bool().Draw(t, "last"), nil)...)
		}
		for range rapid.IntRange(0, 4).Draw(t, "flips") {
			if len(rom) > 0 {
				rom[rapid.IntRange(0, len(rom)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bit"))
			}
		}
		ims, _ := Parse(rom)
		end := 0
		for _, im := range ims {
			require.Equal(t, end, im.Offset)
			require.Positive(t, im.Length)
			end = im.Offset + im.Length
			require.LessOrEqual(t, end, len(rom))
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(append(image(PCAT, 2, false, nil), image(EFI, 3, true, nil)...))
	f.Add(image(EFI, 1, true, func(b []byte) { b[0x0c] = 1 }))
	f.Add([]byte{0x55, 0xaa})
	f.Fuzz(func(t *testing.T, b []byte) {
		ims, err := Parse(b)
		if err == nil && len(ims) == 0 {
			t.Fatal("no images and no reason")
		}
		for _, im := range ims {
			if im.Offset+im.Length > len(b) {
				t.Fatal("image outside the ROM")
			}
			if len(im.PE) > im.Length && (im.EFI.Compression == 0 || len(im.PE) > expansion*im.Length) {
				t.Fatal("PE longer than its image may give")
			}
		}
	})
}

func corpus(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../../shared/corpus/firmware/pe-oprom/" + name)
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/pe-oprom/" + name)
	}
	return b
}
