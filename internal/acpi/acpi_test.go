package acpi

import (
	"archive/zip"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

func parse(t testing.TB, b []byte) *Table {
	t.Helper()
	x, err := Parse(b)
	require.NoError(t, err)
	return x
}

func table(signature string, body []byte) []byte {
	b := make([]byte, 36, 36+len(body))
	copy(b, signature)
	copy(b[10:], "LABOEM")
	copy(b[16:], "LABTABLE")
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	var sum uint8
	for _, x := range b {
		sum += x
	}
	b[9] = -sum
	return b
}

func TestLabTables(t *testing.T) {
	for name, volatile := range map[string]bool{"FACP": true, "FACS": true, "TPM2": true, "BGRT": true, "MCFG": false, "WAET": false} {
		x := parse(t, read(t, "lab."+name))
		require.Equal(t, name, x.Signature)
		require.True(t, x.ChecksumOK, name)
		require.Empty(t, x.Problems, name)
		require.Equal(t, volatile, x.Volatile, name)
		require.Len(t, x.StableDigest, 64)
	}
	require.Equal(t, "BOCHS", parse(t, read(t, "lab.MCFG")).OEMID)
}

// Two boots of one machine place tables at other addresses.
func TestMovedTablesKeepTheirDigest(t *testing.T) {
	for _, name := range []string{"TPM2", "BGRT"} {
		a, b := read(t, "lab."+name), read(t, "lab-moved."+name)
		require.NotEqual(t, a, b, name)
		require.Equal(t, parse(t, a).StableDigest, parse(t, b).StableDigest, name)
	}
}

// Other firmware has another FACP, not merely a moved one.
func TestChangedTableChangesItsDigest(t *testing.T) {
	require.NotEqual(t, parse(t, read(t, "lab.FACP")).StableDigest, parse(t, read(t, "lab-moved.FACP")).StableDigest)
	b := read(t, "lab.FACP")
	before := parse(t, b).StableDigest
	b[40]++
	b[9]--
	require.Equal(t, before, parse(t, b).StableDigest, "the address of the DSDT moves")
	b[46]++
	b[9]--
	require.NotEqual(t, before, parse(t, b).StableDigest, "the SCI interrupt does not")
}

// Firmware that has the operating system run an executable announces it.
func TestPlatformBinary(t *testing.T) {
	body := make([]byte, 16)
	binary.LittleEndian.PutUint32(body, 4096)
	binary.LittleEndian.PutUint64(body[4:], 0x7f000000)
	body[12], body[13] = 1, 1
	for _, r := range "/q run\x00" {
		body = binary.LittleEndian.AppendUint16(body, uint16(r))
	}
	binary.LittleEndian.PutUint16(body[14:], uint16(len(body)-16))
	x := parse(t, table("WPBT", body))
	require.Equal(t, WPBT{Size: 4096, Address: 0x7f000000, Layout: 1, Type: 1, Arguments: "/q run"}, *x.WPBT)
	require.Empty(t, x.Problems)
	binary.LittleEndian.PutUint16(body[14:], 9999)
	require.Contains(t, parse(t, table("WPBT", body)).Problems[0].What, "arguments of 9999 bytes")
	x = parse(t, table("WPBT", body[:4]))
	require.Nil(t, x.WPBT)
	require.NotEmpty(t, x.Problems)
}

func TestDefects(t *testing.T) {
	b := table("SSDT", []byte("code"))
	b[38]++
	x := parse(t, b)
	require.False(t, x.ChecksumOK)
	require.Equal(t, []Problem{{9, "checksum is wrong"}}, x.Problems)
	x = parse(t, table("SSDT", []byte("code"))[:38])
	require.Contains(t, x.Problems[0].What, "length 40, 38 bytes were read")
	for _, b := range [][]byte{nil, make([]byte, 7), make([]byte, 35)} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrShort)
	}
}

// Every table of the captured machines has a right checksum and length.
func TestRealTables(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "corpus", "machines", "*.zip"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/machines")
	}
	read, volatile := 0, 0
	for _, file := range files {
		z, err := zip.OpenReader(file)
		require.NoError(t, err)
		defer z.Close()
		tables, err := fs.Glob(z, "sys/firmware/acpi/tables/*")
		require.NoError(t, err)
		for _, name := range tables {
			b, err := fs.ReadFile(z, name)
			require.NoError(t, err)
			x, err := Parse(b)
			require.NoError(t, err, "%s %s", file, name)
			for _, p := range x.Problems {
				t.Logf("%s %s: %d: %s", filepath.Base(file), name, p.Offset, p.What)
			}
			read++
			if x.Volatile {
				volatile++
			}
		}
	}
	require.Greater(t, read, 100)
	t.Logf("%d tables, %d volatile", read, volatile)
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"FACP", "FACS", "TPM2", "BGRT", "MCFG"} {
		f.Add(read(f, "lab."+name))
	}
	f.Add(table("WPBT", make([]byte, 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Parse(b)
		if err != nil {
			return
		}
		require.Len(t, x.StableDigest, 64)
		require.LessOrEqual(t, len(x.Problems), 8)
	})
}
