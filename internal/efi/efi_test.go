package efi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

var global = GUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}

func utf16le(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

func variable(name string, data []byte) []byte {
	b := append([]byte{}, global[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(utf16le(name))/2))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	return append(append(b, utf16le(name)...), data...)
}

func TestVariable(t *testing.T) {
	v, rest, err := ParseVariable(append(variable("SecureBoot", []byte{1}), 9))
	require.NoError(t, err)
	require.Equal(t, 1, rest)
	require.Equal(t, []byte{1}, v.Data)
	require.True(t, v.Is(GlobalVariable, "SecureBoot"))
	require.False(t, v.Is(ImageSecurity, "SecureBoot"), "the GUID counts as much as the name")
	v.GUID = GUID{}
	require.False(t, v.Is(GlobalVariable, "SecureBoot"))
	for name, b := range map[string][]byte{
		"short":     make([]byte, 31),
		"long name": append(append(append([]byte{}, global[:]...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), make([]byte, 8)...),
		"long data": append(append(append([]byte{}, global[:]...), make([]byte, 8)...), 2, 0, 0, 0, 0, 0, 0, 0, 1),
	} {
		_, _, err := ParseVariable(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func list(head, size uint32, entries ...[]byte) []byte {
	b := append([]byte{}, global[:]...)
	body := bytes.Join(entries, nil)
	b = binary.LittleEndian.AppendUint32(b, 28+head+uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, head)
	b = binary.LittleEndian.AppendUint32(b, size)
	return append(append(b, bytes.Repeat([]byte{0xee}, int(head))...), body...)
}

// S5: the header of a signature list is no signature (GO-2026-5298).
func TestS5SignatureHeaderIsSkipped(t *testing.T) {
	entry := append(append([]byte{}, global[:]...), bytes.Repeat([]byte{7}, 32)...)
	sigs, err := ParseSignatures(append(list(48, 48, entry), list(0, 48, entry, entry)...))
	require.NoError(t, err)
	require.Len(t, sigs, 3)
	for _, s := range sigs {
		require.Equal(t, bytes.Repeat([]byte{7}, 32), s.Data)
		require.Equal(t, global, s.Owner)
		require.Equal(t, GlobalVariable, s.Type)
	}
}

// S5: every length of a signature list is a claim.
func TestS5SignatureListArithmetic(t *testing.T) {
	good := list(0, 48, make([]byte, 48))
	edit := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"list beyond the end":          edit(16, 1000),
		"list shorter than its header": edit(16, 20),
		"header beyond the list":       edit(20, 0xffffffff),
		"entries of nothing":           edit(24, 0),
		"entries without owner":        edit(24, 15),
		"half an entry":                edit(24, 47),
		"trailing bytes":               append(bytes.Clone(good), 1, 2, 3),
	} {
		_, err := ParseSignatures(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestPublicSignatureLists(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/corpus/firmware/nvram/*.siglist")
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/firmware/nvram")
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		sigs, err := ParseSignatures(b)
		bad := strings.Contains(f, "invalid") || strings.Contains(f, "inconsistent")
		require.Equal(t, bad, err != nil, f)
		if !bad {
			require.NotEmpty(t, sigs, f)
		}
	}
}

func loadOption(path []byte) []byte {
	b := []byte{1, 0, 0, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(path)))
	b = append(b, utf16le("UEFI OS")...)
	return append(append(append(b, 0, 0), path...), "optional"...)
}

var diskPath = []byte{
	2, 1, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0,
	1, 1, 6, 0, 2, 0x1f,
	3, 18, 10, 0, 1, 0, 0xff, 0xff, 0, 0,
	4, 4, 12, 0, '\\', 0, 'E', 0, 'F', 0, 0, 0,
	0x7f, 0xff, 4, 0,
}

func TestLoadOption(t *testing.T) {
	o, err := ParseLoadOption(loadOption(diskPath))
	require.NoError(t, err)
	require.Equal(t, "UEFI OS", o.Description)
	require.Equal(t, `PciRoot(0x0)/Pci(0x1f,0x2)/Sata(0x1,0xffff,0x0)/\EF`, o.Path)
	require.Equal(t, "optional", string(o.Optional))
	for _, b := range [][]byte{nil, {1, 0, 0, 0, 0xff, 0xff, 'a', 0, 0, 0}, {1, 0, 0, 0, 0, 0, 'a', 0, 'b', 0}} {
		_, err := ParseLoadOption(b)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestDevicePathIsBounded(t *testing.T) {
	require.Equal(t, "Path(9,9,0102)", DevicePath([]byte{9, 9, 6, 0, 1, 2}))
	require.Equal(t, "/(malformed)", DevicePath([]byte{1, 1, 0, 0}), "a node of no length makes no progress")
	require.Equal(t, "/(malformed)", DevicePath([]byte{1, 1, 200, 0}))
	require.Contains(t, DevicePath(bytes.Repeat([]byte{9, 9, 4, 0}, 1000)), "(malformed)")
	require.Less(t, len(DevicePath(bytes.Repeat(append([]byte{9, 9, 0x44, 0}, make([]byte, 64)...), 60))), 1200)
	require.Equal(t, "Pci(0x0,0x1),Pci(0x0,0x2)", DevicePath([]byte{1, 1, 6, 0, 1, 0, 0x7f, 1, 4, 0, 1, 1, 6, 0, 2, 0})[:25])
}

func TestDevicePathNodes(t *testing.T) {
	for want, b := range map[string][]byte{
		"USB(0x1,0x0)":                     {3, 5, 6, 0, 1, 0},
		"Acpi(PNP0501,0x0)":                {2, 1, 12, 0, 0xd0, 0x41, 0x01, 0x05, 0, 0, 0, 0},
		"PcieRoot(0x1)":                    {2, 1, 12, 0, 0xd0, 0x41, 0x08, 0x0a, 1, 0, 0, 0},
		"MAC(525400123456,0x1)":            append(append([]byte{3, 11, 37, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56}, make([]byte, 26)...), 1),
		"NVMe(0x1,0000000000000000)":       {3, 23, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"Fv(" + GlobalVariable + ")":       append([]byte{4, 7, 20, 0}, global[:]...),
		"FvFile(" + GlobalVariable + ")":   append([]byte{4, 6, 20, 0}, global[:]...),
		"VenHw(" + GlobalVariable + ")":    append([]byte{1, 4, 20, 0}, global[:]...),
		"VenMsg(" + GlobalVariable + ")":   append([]byte{3, 10, 20, 0}, global[:]...),
		"VenMedia(" + GlobalVariable + ")": append([]byte{4, 3, 20, 0}, global[:]...),
		"Uri(http://x)":                    append([]byte{3, 24, 12, 0}, "http://x"...),
		"Offset(0x1,0x2)":                  {4, 8, 24, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0},
		"MemoryMapped(11,0x1,0x2)":         {1, 3, 24, 0, 11, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0},
		"Scsi(0x1,0x2)":                    {3, 2, 8, 0, 1, 0, 2, 0},
		"IPv4()":                           {3, 12, 4, 0},
		"HD(1," + GlobalVariable + ")":     append(append(append([]byte{4, 1, 42, 0, 1, 0, 0, 0}, make([]byte, 16)...), global[:]...), 2, 2),
	} {
		require.Equal(t, want, DevicePath(b))
	}
}

func TestImageLoadAndGPT(t *testing.T) {
	b := append(make([]byte, 24), byte(len(diskPath)), 0, 0, 0, 0, 0, 0, 0)
	im, err := ParseImageLoad(append(b, diskPath...))
	require.NoError(t, err)
	require.Contains(t, im.Path, "Sata")
	_, err = ParseImageLoad(b)
	require.ErrorIs(t, err, ErrMalformed)
	_, err = ParseImageLoad(b[:20])
	require.ErrorIs(t, err, ErrMalformed)

	g := make([]byte, 100)
	copy(g, "EFI PART")
	copy(g[56:], global[:])
	g[92] = 1
	entry := make([]byte, 128)
	copy(entry, global[:])
	entry[32] = 34
	copy(entry[56:], utf16le("ESP"))
	got, err := ParseGPT(append(bytes.Clone(g), entry...))
	require.NoError(t, err)
	require.Equal(t, GlobalVariable, got.Disk.String())
	require.Equal(t, "ESP", got.Partitions[0].Name)
	require.Equal(t, uint64(34), got.Partitions[0].First)
	for _, bad := range [][]byte{nil, g, append(bytes.Clone(g[:99]), 0xff)} {
		_, err := ParseGPT(bad)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestTextCannotMoveATerminal(t *testing.T) {
	require.Equal(t, "a\ufffd[2Jb", Text(utf16le("a\x1b[2Jb\x00hidden")))
	require.Equal(t, "x\ufffdy\ufffd", Printable("x\u202ey\xff"))
}

func TestSplitName(t *testing.T) {
	name, guid, ok := SplitName("Boot0001-" + strings.ToUpper(GlobalVariable))
	require.True(t, ok)
	require.Equal(t, "Boot0001", name)
	require.Equal(t, GlobalVariable, guid)
	for _, bad := range []string{"", "Boot0001", GlobalVariable, "-" + GlobalVariable} {
		_, _, ok := SplitName(bad)
		require.False(t, ok, bad)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(variable("SecureBoot", []byte{1}))
	f.Add(loadOption(diskPath))
	f.Add(list(48, 48, make([]byte, 48)))
	f.Add(diskPath)
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, rest, err := ParseVariable(b); err == nil && len(v.Data)+rest > len(b) {
			t.Fatal("variable larger than its event")
		}
		if sigs, err := ParseSignatures(b); err == nil && len(b) > 0 && len(sigs) > len(b)/16 {
			t.Fatal("more signatures than bytes")
		}
		_, _ = ParseLoadOption(b)
		_, _ = ParseImageLoad(b)
		_, _ = ParseGPT(b)
		if s := DevicePath(b); len(s) > 2*maxText {
			t.Fatal("unbounded text")
		}
	})
}

// The GUIDs that are known by heart are written as all others are.
func TestKnownGUIDs(t *testing.T) {
	known := 0
	for _, text := range []string{GlobalVariable, ImageSecurity, CertX509, CertSHA256, Shim, LoaderInterface} {
		b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		require.NoError(t, err)
		slices.Reverse(b[:4])
		slices.Reverse(b[4:6])
		slices.Reverse(b[6:8])
		require.Equal(t, text, GUID(b).String())
		require.Equal(t, text, GUID(b).text())
		if testing.AllocsPerRun(1, func() { _ = GUID(b).String() }) == 0 {
			known++
		}
	}
	require.Equal(t, 4, known)
}
