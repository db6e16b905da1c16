package nvram

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// vssOf is a store of the given mark with room behind its records.
func vssOf(mark string, records ...[]byte) []byte {
	body := append(slices.Concat(records...), bytes.Repeat([]byte{0xff}, 40)...)
	h := make([]byte, vssHeader)
	copy(h, mark)
	binary.LittleEndian.PutUint32(h[4:], uint32(vssHeader+len(body)))
	h[8], h[9] = formatted, 0xfe
	return append(h, body...)
}

// vssRecord is a record with the header that its attributes and state ask for.
func vssRecord(state byte, attributes uint32, name, data string) []byte {
	h := make([]byte, 32)
	binary.LittleEndian.PutUint16(h, startID)
	h[2] = state
	binary.LittleEndian.PutUint32(h[4:], attributes)
	binary.LittleEndian.PutUint32(h[8:], uint32(len(utf16le(name))))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(data)))
	copy(h[16:], ownerBytes())
	switch {
	case attributes&attributeApple != 0:
		h = binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE([]byte(data)))
	case attributes&attributesSecure != 0:
		h = slices.Concat(h[:8], make([]byte, 28), h[8:])
	case state == stateIntel:
		h = slices.Concat(h[:12], h[16:])
		binary.LittleEndian.PutUint32(h[8:], uint32(28+len(utf16le(name))+len(data)))
	}
	return slices.Concat(h, utf16le(name), []byte(data))
}

func evsaEntry(kind byte, parts ...[]byte) []byte {
	b := append([]byte{kind, 0, 0, 0}, slices.Concat(parts...)...)
	binary.LittleEndian.PutUint16(b[2:], uint16(len(b)))
	for _, c := range b[2:] {
		b[1] -= c
	}
	return b
}

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func evsaOf(entries ...[]byte) []byte {
	body := append(slices.Concat(entries...), bytes.Repeat([]byte{0xff}, 20)...)
	return append(evsaEntry(evsaTypeStore, []byte("EVSA"), u32(7), u32(uint32(evsaHeader+len(body))), u32(0)), body...)
}

func ftwOf(header, queue int, mark string) []byte {
	b := bytes.Repeat([]byte{0xff}, header+queue)
	copy(b, mark)
	binary.LittleEndian.PutUint32(b[24:], uint32(queue))
	if header == 32 {
		binary.LittleEndian.PutUint64(b[24:], uint64(queue))
	}
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[:header]))
	b[20] = 0xfe
	return b
}

func fsysOf(mark string, entries ...string) []byte {
	b := append([]byte(mark), make([]byte, 7)...)
	for i := 0; i < len(entries); i += 2 {
		b = append(b, byte(len(entries[i])))
		b = append(append(append(b, entries[i]...), u16(uint16(len(entries[i+1])))...), entries[i+1]...)
	}
	b = append(b, "\x03EOF\x00\x00\x00\x00"...)
	binary.LittleEndian.PutUint16(b[9:], uint16(len(b)+4))
	return append(b, u32(crc32.ChecksumIEEE(b))...)
}

// fdcOf is a volume with a store that takes all of it.
func fdcOf(store []byte) []byte {
	const header = 72
	v := make([]byte, header)
	copy(v[16:], guidVolume)
	binary.LittleEndian.PutUint64(v[32:], uint64(header+len(store)))
	copy(v[40:], "_FVH")
	binary.LittleEndian.PutUint16(v[48:], header)
	v[55] = 2
	binary.LittleEndian.PutUint32(v[56:], 1)
	binary.LittleEndian.PutUint32(v[60:], uint32(header+len(store)))
	var sum uint16
	for i := 0; i < header; i += 2 {
		sum += binary.LittleEndian.Uint16(v[i:])
	}
	binary.LittleEndian.PutUint16(v[50:], -sum)
	return slices.Concat([]byte("_FDC"), u32(uint32(8+header+len(store)+16)), v, store, make([]byte, 16))
}

func named(variables []Variable) []string {
	var out []string
	for _, v := range variables {
		n := v.Name + "=" + string(v.Data)
		if !v.Live {
			n += " deleted"
		}
		out = append(out, n)
	}
	return out
}

func TestEveryStoreIsFound(t *testing.T) {
	simple := append([]byte(guidVSS2), make([]byte, 12)...)
	binary.LittleEndian.PutUint32(simple[16:], uint32(Header+64))
	simple[20], simple[21] = formatted, 0xfe
	simple = append(simple, bytes.Repeat([]byte{0xff}, 64)...)
	phoenixMap := slices.Concat([]byte("_FLASH_MAP"), u16(2), make([]byte, 4+72))
	cmdb := append(append([]byte("CMDB"), u32(12)...), make([]byte, 0x100-8)...)
	key := append(append(slices.Concat(u32(0), u32(0x9c), make([]byte, 8)), "RSA1"...), make([]byte, 0x9c-20)...)
	marker := append(append(slices.Concat(u32(1), u32(0xb6), make([]byte, 18)), "WINDOWS "...), make([]byte, 0xb6-34)...)
	parts := map[string][]byte{
		"vss": vssOf("$VSS", vssRecord(0x3f, 7, "A", "1")), "svs": vssOf("$SVS"), "nss": vssOf("$NSS"), "vss2": simple,
		"ftw": ftwOf(32, 0x40, guidWork), "evsa": evsaOf(), "fsys": fsysOf("Fsys", "ssn", "C02"), "gaid": fsysOf("Gaid"),
		"flashmap": phoenixMap, "cmdb": cmdb, "slic-key": key, "slic-marker": marker, "fdc": fdcOf(vssOf("$VSS")),
	}
	names := slices.Sorted(maps.Keys(parts))
	for _, last := range names { // nothing behind a store may be needed to know it
		order := append(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == last }), last)
		requireStores(t, parts, order)
	}
	for _, b := range [][]byte{ftwOf(28, 0x44, guidVolume), ftwOf(32, 0x40, guidOldWork)} {
		require.Len(t, Find(b), 1)
	}
}

func requireStores(t *testing.T, parts map[string][]byte, want []string) {
	t.Helper()
	var all []byte
	for _, name := range want {
		b := parts[name]
		all = append(append(all, 1, 2, 3, 4), b...)
		for len(all)%4 != 0 {
			all = append(all, 0)
		}
	}
	var got []string
	end := 0
	for _, s := range Find(all) {
		require.GreaterOrEqual(t, s.Offset, end)
		end = s.Offset + s.Length
		got = append(got, s.Name)
		require.Equal(t, !slices.Contains([]string{"flashmap", "cmdb", "slic-key", "slic-marker"}, s.Name), s.Volatile, s.Name)
	}
	require.Equal(t, want, got)
}

// A mark is no store: what follows it has to hold.
func TestMarksAreNoStores(t *testing.T) {
	for name, c := range map[string]struct {
		b  []byte
		at int
	}{
		"vss not formatted":    {vssOf("$VSS"), 8},
		"vss longer than that": {vssOf("$VSS"), 7},
		"vss with code":        {vssOf("$VSS", vssRecord(0x3f, 7, "A", "1")), vssHeader},
		"ftw checksum":         {ftwOf(32, 0x40, guidWork), 24},
		"evsa checksum":        {evsaOf(), 9},
		"fsys checksum":        {fsysOf("Fsys", "ssn", "C02"), 15},
		"fdc without a volume": {fdcOf(vssOf("$VSS")), 60},
	} {
		require.Len(t, Find(c.b), 1, name)
		c.b[c.at] ^= 0x40
		for _, s := range Find(c.b) {
			require.NotZero(t, s.Offset, name)
		}
	}
}

func TestRecords(t *testing.T) {
	b := vssOf("$VSS",
		vssRecord(0x3f, 7, "Plain", "one"), vssRecord(0x3c, 7, "Plain", "old"), vssRecord(0x3f, 0x27, "Secure", "two"),
		vssRecord(0x3f, 7|attributeApple, "Apple", "three"), vssRecord(stateIntel, 7, "Intel", "four"))
	got := Parse(VSS, b[vssHeader:])
	require.Equal(t, []string{"Plain=one", "Plain=old deleted", "Secure=two", "Apple=three", "Intel=four"}, named(got))
	for _, v := range got {
		require.Equal(t, "8BE4DF61-93CA-11D2-AA0D-00E098032B8C", v.GUID)
	}
	apple := vssRecord(0x3f, 7|attributeApple, "Apple", "three")
	apple[32] ^= 1
	require.False(t, Parse(VSS, apple)[0].Live, "the checksum of the data")

	broken := evsaEntry(evsaTypeData, u16(1), u16(2), u32(7), []byte("broken"))
	broken[1]++
	e := evsaOf(
		evsaEntry(evsaTypeGUID, u16(1), ownerBytes()), evsaEntry(evsaTypeName, u16(2), utf16le("Setup")),
		evsaEntry(evsaTypeData, u16(1), u16(2), u32(7), []byte("on")), evsaEntry(evsaTypeDeleted, u16(1), u16(2), u32(7), []byte("off")), broken,
		slices.Concat(evsaEntry(evsaTypeData, u16(1), u16(2), u32(7|evsaExtended), u32(5)), []byte("large")))
	got = Parse(EVSA, e[evsaHeader:])
	require.Equal(t, []string{"Setup=on", "Setup=off deleted", "Setup=broken deleted", "Setup=large"}, named(got))
	require.Equal(t, "8BE4DF61-93CA-11D2-AA0D-00E098032B8C", got[0].GUID)

	f := fsysOf("Fsys", "ssn", "C02", "hwc", "X1")
	require.Equal(t, []string{"ssn=C02", "hwc=X1"}, named(Parse(Fsys, f[fsysHeader:])))
}

// UEFIExtract finds the same stores and records at the same places.
func TestUEFIExtractAgrees(t *testing.T) {
	if _, err := exec.LookPath("UEFIExtract"); err != nil {
		t.Skip("needs UEFIExtract (Debian package uefitool-cli)")
	}
	parts := [][]byte{
		vssOf("$VSS", vssRecord(0x3f, 7, "Plain", "one"), vssRecord(0x3c, 7, "Plain", "old"), vssRecord(0x3f, 0x27, "Secure", "two"),
			vssRecord(0x3f, 7|attributeApple, "Apple", "three"), vssRecord(stateIntel, 7, "Intel", "four")),
		vssOf("$SVS", vssRecord(0x3f, 7, "Svs", "x")), ftwOf(32, 0x40, guidWork), ftwOf(28, 0x44, guidVolume), fsysOf("Fsys", "ssn", "C02", "hwc", "X1"),
		evsaOf(evsaEntry(evsaTypeGUID, u16(1), ownerBytes()), evsaEntry(evsaTypeName, u16(2), utf16le("Setup")), evsaEntry(evsaTypeData, u16(1), u16(2), u32(7), []byte("on")),
			evsaEntry(evsaTypeDeleted, u16(1), u16(2), u32(7), []byte("off")), slices.Concat(evsaEntry(evsaTypeData, u16(1), u16(2), u32(7|evsaExtended), u32(5)), []byte("large"))),
		slices.Concat([]byte("_FLASH_MAP"), u16(2), make([]byte, 4+72)), fdcOf(vssOf("$VSS", vssRecord(0x3f, 7, "InFdc", "y"))),
	}
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
		for len(body)%16 != 0 {
			body = append(body, 0xff)
		}
	}
	body = append(body, bytes.Repeat([]byte{0xff}, 0x4000-72-len(body))...)
	image := fdcOf(body)[8 : 8+0x4000]
	path := filepath.Join(t.TempDir(), "nvram.rom")
	require.NoError(t, os.WriteFile(path, image, 0o644))
	out, err := exec.Command("UEFIExtract", path, "report").CombinedOutput()
	require.NoError(t, err, string(out))
	report, err := os.ReadFile(path + ".report.txt")
	require.NoError(t, err)
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^ (VSS|FTW|EVSA|Fsys|FlashMap|FDC) (store|entry) +\| *([^|\s]*)[^|]*\| ([0-9A-F]{8}) `).FindAllStringSubmatch(string(report), -1) {
		if m[1] == "FlashMap" && m[2] == "entry" || m[3] == "GUID" || m[3] == "Name" {
			continue // parts of the map, and of variables
		}
		want = append(want, m[4])
		if m[1] == "FDC" {
			break // of what is inside it prints offsets that are 8 too high
		}
	}
	var got []string
	for _, s := range Find(image[72:]) {
		at := func(offset int) string { return fmt.Sprintf("%08X", 72+s.Offset+offset) }
		got = append(got, at(0))
		if s.Name == "fdc" {
			break
		}
		for _, v := range Parse(s.Format, image[72+s.Offset+s.Header:72+s.Offset+s.Length]) {
			got = append(got, at(s.Header+v.Offset))
		}
		if s.Format == Fsys {
			got = append(got, at(s.Length-4-4-4)) // the end mark
		}
	}
	require.Equal(t, want, got)
}

func FuzzFind(f *testing.F) {
	f.Add(slices.Concat(vssOf("$VSS", vssRecord(0x3f, 7, "A", "1"), vssRecord(stateIntel, 7, "I", "2")), ftwOf(32, 0x40, guidWork)))
	f.Add(evsaOf(evsaEntry(evsaTypeGUID, u16(1), ownerBytes()), evsaEntry(evsaTypeData, u16(1), u16(2), u32(7), []byte("on"))))
	f.Add(slices.Concat(fdcOf(vssOf("$VSS")), fsysOf("Fsys", "ssn", "C02")))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := 0
		for _, s := range Find(b) {
			if s.Offset < end || s.Length <= 0 || s.Header < 0 || s.Header > s.Length || s.Offset+s.Length > len(b) {
				t.Fatalf("%+v in %d bytes", s, len(b))
			}
			end = s.Offset + s.Length
			last := 0
			for _, v := range Parse(s.Format, b[s.Offset+s.Header:end]) {
				if v.Offset < last || v.Length <= 0 || v.Offset+v.Length > s.Length-s.Header {
					t.Fatalf("record at %d of %d", v.Offset, v.Length)
				}
				last = v.Offset + v.Length
			}
		}
	})
}
