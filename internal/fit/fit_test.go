package fit

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func corpus(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "intel", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/intel/" + name)
	}
	return b
}

// update is a microcode update whose words add up to zero.
func update(length int) []byte {
	b := make([]byte, length)
	put := binary.LittleEndian.PutUint32
	put(b, 1)
	put(b[4:], 0xb4)
	put(b[8:], 0x09202018)
	put(b[12:], 0x806ea)
	put(b[20:], 1)
	put(b[28:], uint32(length-updateHeader))
	put(b[32:], uint32(length))
	copy(b[updateHeader:], "code")
	var sum uint32
	for at := 0; at < length; at += 4 {
		sum += word(b, at)
	}
	put(b[16:], -sum)
	return b
}

// image is 64 KiB with a table of one entry of each form.
func image() []byte {
	b := make([]byte, 0x10000)
	copy(b[0x1000:], update(0x400))
	table := b[0x8000:]
	copy(table, signature)
	table[8], table[14] = 4, 0x80
	put := func(i int, address uint64, size int, typ EntryType) {
		e := table[16*i:]
		binary.LittleEndian.PutUint64(e, address)
		e[8], e[9], e[10] = byte(size), byte(size>>8), byte(size>>16)
		e[13], e[14] = 1, byte(typ)
	}
	put(1, 0xffff1000, 0, Microcode)
	put(2, 0xffff2000, 0x10, StartupModule)
	put(3, 0xff000000, 1, StartupModule)
	var sum byte
	for _, c := range table[:64] {
		sum += c
	}
	table[15] = -sum
	binary.LittleEndian.PutUint64(b[len(b)-pointerAt:], 0xffff8000)
	return b
}

func TestTable(t *testing.T) {
	got, ok := Parse(image())
	require.True(t, ok)
	require.Equal(t, Table{Offset: 0x8000, Entries: []Entry{
		{Type: Microcode, Address: 0xffff1000, Offset: 0x1000, Length: 0x400, Version: 0x100, Name: "processor 806EA revision B4 of 2018-09-20"},
		{Type: StartupModule, Address: 0xffff2000, Offset: 0x2000, Length: 0x100, Version: 0x100},
		{Type: StartupModule, Address: 0xff000000, Offset: -1, Length: 16, Version: 0x100},
	}}, got)
	b := image()
	b[0x8020]++
	got, ok = Parse(b)
	require.True(t, ok)
	require.True(t, got.Damaged)
	raw, err := json.Marshal(got.Entries[0])
	require.NoError(t, err)
	require.Contains(t, string(raw), `"type":"microcode"`)
}

func TestWhatIsNoTable(t *testing.T) {
	for name, edit := range map[string]func([]byte){
		"pointer outside": func(b []byte) { b[len(b)-pointerAt+7] = 1 },
		"signature":       func(b []byte) { b[0x8000] = 'X' },
		"no entries":      func(b []byte) { b[0x8008] = 0 },
		"too many":        func(b []byte) { b[0x800a] = 1 },
	} {
		b := image()
		edit(b)
		_, ok := Parse(b)
		require.False(t, ok, name)
	}
	_, ok := Parse(make([]byte, pointerAt-1))
	require.False(t, ok)
}

func TestUpdate(t *testing.T) {
	u, ok := ParseUpdate(append(update(0x400), "behind"...))
	require.True(t, ok)
	require.Equal(t, Update{Processor: 0x806ea, Revision: 0xb4, Date: "2018-09-20", Length: 0x400}, u)
	for name, edit := range map[string]func([]byte){
		"checksum":      func(b []byte) { b[60]++ },
		"longer":        func(b []byte) { b[33]++ },
		"date":          func(b []byte) { b[11] = 0x13 },
		"not BCD":       func(b []byte) { b[10] = 0x2a },
		"other version": func(b []byte) { b[0] = 2 },
	} {
		b := update(0x400)
		edit(b)
		_, ok := ParseUpdate(b)
		require.False(t, ok, name)
	}
}

// An image made with the tools of another project, with test keys.
func TestTableOfAnotherTool(t *testing.T) {
	got, ok := Parse(corpus(t, "css-fake_intel_firmware.fd"))
	require.True(t, ok)
	require.Len(t, got.Entries, 4)
	require.Equal(t, Entry{Type: StartupACM, Address: 0xffff5000, Offset: 0x5000, Length: 0x800, Version: 0x1000, Name: "chipset 0000 of 1122-33-44, TXT SVN 2, SE SVN 1"}, got.Entries[0])
	require.Equal(t, Entry{Type: KeyManifest, Address: 0xffff5400, Offset: 0x5400, Length: 0x255, Version: 0x1000, Name: "key manifest 2.1, SVN 0"}, got.Entries[1])
	require.Equal(t, Entry{Type: StartupModule, Address: 0xffff8000, Offset: 0x8000, Length: 0x1000, Version: 0x1000}, got.Entries[2])
	require.Equal(t, "boot policy manifest 2.3, SVN 0", got.Entries[3].Name)
}

func TestManifests(t *testing.T) {
	for name, want := range map[string]string{
		"fiano-bg-km.bin": "key manifest 1.0, SVN 0", "fiano-bg-bpm.bin": "boot policy manifest 1.0, SVN 0",
		"fiano-cbnt-km.bin": "key manifest 2.1, SVN 0", "fiano-main-bpm21.bin": "boot policy manifest 2.5, SVN 1",
	} {
		require.Equal(t, want, manifestName(corpus(t, name)), name)
	}
	require.Empty(t, manifestName([]byte("__KEYM__")))
}

func FuzzParse(f *testing.F) {
	f.Add(image())
	f.Add(update(0x400))
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, ok := ParseUpdate(b); ok && u.Length > len(b) {
			t.Fatalf("update of %d bytes in %d", u.Length, len(b))
		}
		if m, ok := ParseModule(b); ok && m.Length > len(b) {
			t.Fatalf("module of %d bytes in %d", m.Length, len(b))
		}
		tab, _ := Parse(b)
		for _, e := range tab.Entries {
			if e.Offset >= 0 && e.Offset+e.Length > len(b) || e.Length < 0 {
				t.Fatalf("entry %v in %d bytes", e, len(b))
			}
		}
	})
}
