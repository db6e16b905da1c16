package cab

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

type source struct {
	name   string
	folder int
	offset int // -1 behind the one before
	data   []byte
}

// blockOf is one CFDATA with its checksum.
func blockOf(data []byte, size int) []byte {
	b := make([]byte, blockHeader, blockHeader+len(data))
	binary.LittleEndian.PutUint16(b[4:], uint16(len(data)))
	binary.LittleEndian.PutUint16(b[6:], uint16(size))
	binary.LittleEndian.PutUint32(b, checksum(b[4:8], checksum(data, 0)))
	return append(b, data...)
}

// zip compresses one block behind what came before it.
func zip(t testing.TB, data, before []byte) []byte {
	var buf bytes.Buffer
	w, err := flate.NewWriterDict(&buf, 9, before[max(0, len(before)-window):])
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return append([]byte("CK"), buf.Bytes()...)
}

// build writes a cabinet of one folder per method.
func build(t testing.TB, methods []uint16, files []source) []byte {
	var list []byte
	contents := make([][]byte, len(methods))
	for _, f := range files {
		h := make([]byte, fileSize)
		binary.LittleEndian.PutUint32(h, uint32(len(f.data)))
		at := f.offset
		if at < 0 {
			at = len(contents[f.folder])
			contents[f.folder] = append(contents[f.folder], f.data...)
		}
		binary.LittleEndian.PutUint32(h[4:], uint32(at))
		binary.LittleEndian.PutUint16(h[8:], uint16(f.folder))
		list = append(append(list, h...), f.name+"\x00"...)
	}
	at := fixedHeader + folderSize*len(methods) + len(list)
	var heads, data []byte
	for i, m := range methods {
		h := make([]byte, folderSize)
		binary.LittleEndian.PutUint32(h, uint32(at+len(data)))
		binary.LittleEndian.PutUint16(h[6:], m)
		n := uint16(0)
		for c := 0; c < len(contents[i]); c += window {
			part := contents[i][c:min(c+window, len(contents[i]))]
			body := part
			if m == mszip {
				body = zip(t, part, contents[i][:c])
			}
			data = append(data, blockOf(body, len(part))...)
			n++
		}
		binary.LittleEndian.PutUint16(h[4:], n)
		heads = append(heads, h...)
	}
	b := make([]byte, fixedHeader)
	copy(b, "MSCF")
	binary.LittleEndian.PutUint32(b[16:], uint32(fixedHeader+len(heads)))
	b[24], b[25] = 3, 1
	binary.LittleEndian.PutUint16(b[26:], uint16(len(methods)))
	binary.LittleEndian.PutUint16(b[28:], uint16(len(files)))
	b = slices.Concat(b, heads, list, data)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*i>>7 ^ i>>3)
	}
	return b
}

func TestFoldersAndMethods(t *testing.T) {
	b := build(t, []uint16{stored, mszip}, []source{{"a.bin", 0, -1, text(70000)}, {"b.bin", 1, -1, text(100000)}, {"dir\\c", 1, -1, []byte("c")}})
	got, err := Open(append(b, "behind"...), 1<<20)
	require.NoError(t, err)
	require.Empty(t, got.Problems)
	require.Equal(t, len(b), got.Size)
	require.Equal(t, []string{"a.bin", "b.bin", "dir\\c"}, []string{got.Files[0].Name, got.Files[1].Name, got.Files[2].Name})
	require.Equal(t, text(70000), got.Files[0].Data)
	require.Equal(t, text(100000), got.Files[1].Data)
	require.Equal(t, "c", string(got.Files[2].Data))
}

func TestReservedRoomAndNeighbours(t *testing.T) {
	b := build(t, []uint16{stored}, []source{{"a", 0, -1, []byte("data")}})
	b[30] = flagReserve | flagNext
	extra := slices.Concat([]byte{2, 0, 0, 0}, []byte("xx"), []byte("next.cab\x00disk\x00"))
	b = slices.Insert(b, fixedHeader, extra...)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[16:], binary.LittleEndian.Uint32(b[16:])+uint32(len(extra)))
	folder := b[fixedHeader+len(extra):]
	binary.LittleEndian.PutUint32(folder, binary.LittleEndian.Uint32(folder)+uint32(len(extra)))
	got, err := Open(b, 100)
	require.NoError(t, err)
	require.Equal(t, "data", string(got.Files[0].Data))
}

func TestWhatDoesNotHoldIsNamed(t *testing.T) {
	files := []source{{"a", 0, -1, text(100)}, {"b", 1, -1, text(100)}}
	plain := build(t, []uint16{stored, mszip}, files)
	for name, c := range map[string]struct {
		edit  func([]byte) []byte
		files int
		what  Kind
		why   string
	}{
		"one bit of the data": {func(b []byte) []byte { b[fixedHeader+16+36+8+50] ^= 1; return b }, 1, Malformed, "checksum of block 0"},
		"LZX":                 {func(b []byte) []byte { b[fixedHeader+folderSize+6] = lzx; return b }, 1, Unsupported, "LZX"},
		"Quantum":             {func(b []byte) []byte { b[fixedHeader+6] = quantum; return b }, 1, Unsupported, "Quantum"},
		"in the next cabinet": {func(b []byte) []byte { b[fixedHeader+16+8], b[fixedHeader+16+9] = 0xfe, 0xff; return b }, 1, Unsupported, "another cabinet"},
		"no such folder":      {func(b []byte) []byte { b[fixedHeader+16+8] = 7; return b }, 1, Malformed, "folder 7"},
		"longer than folder":  {func(b []byte) []byte { b[fixedHeader+16] = 101; return b }, 1, Malformed, "101 bytes"},
		"blocks behind it":    {func(b []byte) []byte { b[fixedHeader+2] = 9; return b }, 1, Malformed, "begins outside"},
		"shared bytes": {func([]byte) []byte {
			return build(t, []uint16{stored}, []source{{"a", 0, -1, text(100)}, {"b", 0, 50, text(50)}})
		}, 2, Contradicted, "bytes of the one before"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Open(c.edit(bytes.Clone(plain)), 1<<20)
			require.NoError(t, err)
			require.Len(t, got.Files, c.files)
			require.NotEmpty(t, got.Problems)
			require.Equal(t, c.what, got.Problems[0].What)
			require.Contains(t, got.Problems[0].Why, c.why)
		})
	}
	for name, at := range map[string]int{"list of files": 18, "length": 11, "folders": 27} {
		b := bytes.Clone(plain)
		b[at] = 0xff
		_, err := Open(b, 1<<20)
		require.Error(t, err, name)
	}
}

// Many folders and files over the same bytes expand no further than one limit.
func TestBombs(t *testing.T) {
	zeros := build(t, []uint16{mszip}, []source{{"zeros", 0, -1, make([]byte, 20<<20)}})
	_, err := Open(zeros, 8<<20)
	require.ErrorIs(t, err, ErrLimit)
	shared := []source{{"a", 0, -1, text(1 << 16)}}
	for range 1000 {
		shared = append(shared, source{"b", 0, 0, text(1 << 16)})
	}
	_, err = Open(build(t, []uint16{stored}, shared), 8<<20)
	require.ErrorIs(t, err, ErrLimit)
	folders := build(t, slices.Repeat([]uint16{mszip}, 1000), []source{{"zeros", 0, -1, make([]byte, 6<<20)}})
	for i := range 1000 {
		copy(folders[fixedHeader+i*folderSize:], folders[fixedHeader:fixedHeader+folderSize])
	}
	_, err = Open(folders, 8<<20)
	require.ErrorIs(t, err, ErrLimit)
}

// gcab is the other implementation.
func TestOtherTools(t *testing.T) {
	if _, err := exec.LookPath("gcab"); err != nil {
		t.Skip("needs gcab (Debian package gcab)")
	}
	dir := t.TempDir()
	for name, n := range map[string]int{"firmware.bin": 300000, "x.metainfo.xml": 900, "empty": 0} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text(n), 0o644))
	}
	for _, args := range [][]string{{"-c", "-z"}, {"-c"}} {
		out := filepath.Join(t.TempDir(), "x.cab")
		c := exec.Command("gcab", append(args, "-n", out, "firmware.bin", "x.metainfo.xml", "empty")...)
		c.Dir = dir
		msg, err := c.CombinedOutput()
		require.NoError(t, err, string(msg))
		b, err := os.ReadFile(out)
		require.NoError(t, err)
		got, err := Open(b, 1<<20)
		require.NoError(t, err)
		require.Empty(t, got.Problems)
		require.Len(t, got.Files, 3)
		for _, f := range got.Files {
			want, err := os.ReadFile(filepath.Join(dir, f.Name))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, f.Data), f.Name)
		}
	}
	ours, to := filepath.Join(t.TempDir(), "ours.cab"), t.TempDir()
	require.NoError(t, os.WriteFile(ours, build(t, []uint16{stored, mszip}, []source{{"a", 0, -1, text(70000)}, {"b", 1, -1, text(100001)}}), 0o644))
	c := exec.Command("gcab", "-x", "-C", to, ours)
	msg, err := c.CombinedOutput()
	require.NoError(t, err, string(msg))
	for name, n := range map[string]int{"a": 70000, "b": 100001} {
		got, err := os.ReadFile(filepath.Join(to, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(text(n), got), name)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(f, []uint16{stored, mszip}, []source{{"a", 0, -1, text(100)}, {"b", 1, -1, text(40000)}, {"c", 1, 5, text(50)}}))
	f.Add(build(f, []uint16{lzx}, []source{{"a", 0, -1, text(100)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 20
		got, err := Open(b, limit)
		n := 0
		for _, c := range got.Files {
			n += len(c.Data)
		}
		if n > limit || err == nil && got.Size > len(b) {
			t.Fatalf("%d bytes of files, cabinet of %d in %d", n, got.Size, len(b))
		}
	})
}
