package firmware

import (
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/authenticode"
	"github.com/assay-hw/assay/internal/ffs"
)

// What is compared has its digests in any case, and all else has them when it is
// asked for: the same ones, whoever asks first.
func TestDigestsOnDemand(t *testing.T) {
	images := map[string][]byte{
		"nested":  nested(named(driverA, "FirstDxe", "one"), buildFile(driverB, 0x07, append(section(ffs.PE32, program()), ui("SecondDxe")...))),
		"board":   board(driver(driverA, "one")),
		"program": buildVolume(string(ffs.FileSystem2), 0x2000, buildFile(driverA, 0x07, section(ffs.PE32, program()))),
	}
	for name, raw := range images {
		t.Run(name, func(t *testing.T) {
			m := Parse("bios", raw)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { m.Open() })
				wg.Go(func() { requireCompared(t, m.Parts()) })
			}
			wg.Wait()
			programs := 0
			for _, l := range everything(m.Open()) {
				require.False(t, l.owed)
				if len(l.Inside) == 0 || l.file != nil {
					require.Equal(t, digest(l.content), l.SHA256, l.Path)
				}
				if l.section != nil && l.section.Type == ffs.PE32 {
					sum, err := authenticode.Digest(l.content[l.section.Data:], crypto.SHA256)
					require.Equal(t, err == nil, l.Authenticode != "", l.Path)
					require.Equal(t, hex.EncodeToString(sum), l.Authenticode)
					programs += len(sum)
				}
			}
			require.Equal(t, name != "board", programs > 0)
			sameTree(t, m.Open(), m.Parts())
			want, err := json.Marshal(Parse("bios", raw).Open())
			require.NoError(t, err)
			got, err := json.Marshal(m.Open())
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

// program is the least that has an Authenticode digest.
func program() []byte {
	const optional = 0x70 + 16*8
	b := make([]byte, 0x40+24+optional+40)
	copy(b, peImage()[:0x40+20])
	at := 0x40 + 24
	binary.LittleEndian.PutUint16(b[at-4:], optional)
	copy(b[at:], "\x0b\x02")
	binary.LittleEndian.PutUint32(b[at+60:], uint32(len(b)))
	return b
}

// requireCompared demands the digest of every module.
func requireCompared(t *testing.T, ls []Leaf) {
	for _, l := range ls {
		l.eachModule(func(c Leaf) {
			if c.SHA256 != digest(c.content) { // of other goroutines, where require may not be called
				t.Errorf("%s has digest %q", c.Path, c.SHA256)
			}
		})
	}
}

// sameTree demands the same leaves but for digests.
func sameTree(t *testing.T, a, b []Leaf) {
	require.Len(t, b, len(a))
	for i := range a {
		require.Equal(t, a[i].Path, b[i].Path)
		if b[i].SHA256 != "" {
			require.Equal(t, a[i].SHA256, b[i].SHA256)
		}
		require.Empty(t, b[i].Authenticode)
		sameTree(t, a[i].Inside, b[i].Inside)
	}
}
