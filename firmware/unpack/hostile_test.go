package unpack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
)

// within takes an image apart and reports its findings. It fails when that takes
// more than two seconds or 300 MB.
func within(t *testing.T, what string, b []byte) map[finding.Code]int {
	t.Helper()
	runtime.GC()
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	start := worked(t)
	m := parse(b)
	m.Open()
	took := worked(t) - start
	close(done)
	most := <-peak
	t.Logf("%s: %d bytes, %v, %d MB", what, len(b), took.Round(time.Millisecond), most>>20)
	require.Less(t, took, 2*time.Second*slower, what)
	require.Less(t, most, uint64(300<<20), what)
	out := map[finding.Code]int{}
	for _, f := range m.Inside() {
		out[f.Code]++
	}
	return out
}

// worked is how long the process had a processor: the machine may be busy.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sparse is a squashfs in which names stand for one file of holes.
func sparse(names int, size uint64) []byte {
	le := binary.LittleEndian
	const block = 1 << 20
	meta := func(b []byte) (out []byte, starts []int) {
		for len(b) > 0 {
			n := min(len(b), 8192)
			starts = append(starts, len(out))
			out = append(append(le.AppendUint16(out, uint16(n)|0x8000), b[:n]...), nil...)
			b = b[n:]
		}
		return out, starts
	}
	var dir []byte
	for i := 0; i < names; i += 256 {
		run := min(256, names-i)
		dir = le.AppendUint32(le.AppendUint32(le.AppendUint32(dir, uint32(run-1)), 0), 1)
		for j := range run {
			dir = append(le.AppendUint16(dir, 40), 0, 0, 2, 0, 7, 0)
			dir = fmt.Appendf(dir, "%08d", i+j)
		}
	}
	inodes := make([]byte, 40+16+40+4*int(size/block))
	le.PutUint16(inodes, 8) // a directory of the long form
	le.PutUint32(inodes[16+4:], uint32(len(dir)+3))
	file := inodes[40:]
	le.PutUint16(file, 9)
	le.PutUint64(file[16+8:], size)
	le.PutUint32(file[16+28:], 0xffffffff)
	b := make([]byte, 96)
	copy(b, "hsqs")
	le.PutUint32(b[12:], block)
	le.PutUint16(b[20:], 1)
	le.PutUint16(b[22:], 20)
	le.PutUint16(b[26:], 1)
	le.PutUint16(b[28:], 4)
	put := func(at int, part []byte) {
		le.PutUint64(b[at:], uint64(len(b)))
		m, _ := meta(part)
		b = append(b, m...)
	}
	put(64, inodes)
	put(72, dir)
	ids := uint64(len(b))
	m, _ := meta(make([]byte, 4))
	b = append(b, m...)
	le.PutUint64(b[48:], uint64(len(b)))
	b = append(le.AppendUint64(b, ids), make([]byte, 1<<20)...)
	le.PutUint64(b[40:], uint64(len(b)))
	return b
}

func TestHostileImagesAreBounded(t *testing.T) {
	room := make([]byte, 2<<20)
	require.Empty(t, within(t, "one file of holes", append(sparse(1, 120<<20), room...)))
	require.Positive(t, within(t, "names of one file", append(sparse(60000, 60<<20), room...))[finding.InputBomb])
	require.Positive(t, within(t, "more names than may be", append(sparse(70000, 0), room...))[finding.InputBomb])

	w := &jffs2Writer{}
	w.file(1, 2, "holes", 0o100644, "x")
	inode := w.b[len(w.b)-72:]
	binary.LittleEndian.PutUint32(inode[28:], 1<<26)
	binary.LittleEndian.PutUint32(inode[64:], ^crc32.Update(0xffffffff, crc32.IEEETable, inode[:60]))
	require.Empty(t, within(t, "a size that nothing fills", append(w.b, room...)))
	w = &jffs2Writer{}
	for i := range 100000 {
		w.file(1, uint32(i+2), fmt.Sprintf("%x", i), 0o40755, "")
		if len(w.b) > 24<<20 {
			break
		}
	}
	require.Positive(t, within(t, "nodes", w.b)[finding.InputBomb])

	ubi := bytes.Repeat([]byte{0xff}, 4<<20)
	for at := 0; at < len(ubi); at += 4096 {
		h := ubi[at : at+128]
		clear(h)
		copy(h, "UBI#\x01")
		binary.BigEndian.PutUint32(h[16:], 64)
		binary.BigEndian.PutUint32(h[20:], 128)
		binary.BigEndian.PutUint32(h[60:], ^crc32.ChecksumIEEE(h[:60]))
		copy(h[64:], "UBI!\x01\x01")
		binary.BigEndian.PutUint32(h[72:], uint32(at/4096%100))
		binary.BigEndian.PutUint32(h[76:], 60000)
		binary.BigEndian.PutUint32(h[124:], ^crc32.ChecksumIEEE(h[64:124]))
	}
	require.Positive(t, within(t, "volumes of holes", ubi)[finding.InputBomb])

	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for i := range 70000 {
		require.NoError(t, tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Mode: 0o644, Format: tar.FormatUSTAR}))
	}
	require.NoError(t, tw.Close())
	require.Positive(t, within(t, "entries of a tar", b.Bytes())[finding.InputBomb])
	require.NotNil(t, within(t, "trees", bytes.Repeat(append(made(t, "fit.itb"), make([]byte, 4096-len(made(t, "fit.itb"))%4096)...), 100)))

	deep := []byte("payload")
	for range 50 { // archives inside of each other
		b.Reset()
		tw = tar.NewWriter(&b)
		require.NoError(t, tw.WriteHeader(&tar.Header{Name: "image-a", Mode: 0o644, Size: int64(len(deep)), Format: tar.FormatUSTAR}))
		_, err := tw.Write(deep)
		require.NoError(t, err)
		require.NoError(t, tw.Close())
		deep = bytes.Clone(b.Bytes())
	}
	require.Positive(t, within(t, "archives inside of archives", deep)[finding.InputLimit])
}
