package unpack

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fdt"
)

// hashes is a tree of one image with n hash nodes.
func hashes(n, length int) []byte {
	var s, strs []byte
	be := binary.BigEndian
	name := func(x string) uint32 {
		at := len(strs)
		strs = append(append(strs, x...), 0)
		return uint32(at)
	}
	algo, value, size, off := name("algo"), name("value"), name("data-size"), name("data-offset")
	pad := func() {
		for len(s)%4 != 0 {
			s = append(s, 0)
		}
	}
	begin := func(x string) { s = be.AppendUint32(s, 1); s = append(append(s, x...), 0); pad() }
	end := func() { s = be.AppendUint32(s, 2) }
	prop := func(k uint32, v []byte) {
		s = be.AppendUint32(be.AppendUint32(be.AppendUint32(s, 3), uint32(len(v))), k)
		s = append(s, v...)
		pad()
	}
	begin("")
	begin("images")
	begin("k")
	prop(size, be.AppendUint32(nil, uint32(length)))
	prop(off, be.AppendUint32(nil, 0))
	for i := range n {
		begin(fmt.Sprintf("hash%d", i))
		prop(algo, []byte("sha512\x00"))
		prop(value, []byte{1})
		end()
	}
	end()
	end()
	end()
	s = be.AppendUint32(s, 9)
	h := make([]byte, 56)
	be.PutUint32(h, 0xd00dfeed)
	be.PutUint32(h[8:], 56)
	be.PutUint32(h[12:], uint32(56+len(s)))
	be.PutUint32(h[16:], 40)
	be.PutUint32(h[20:], 17)
	be.PutUint32(h[24:], 16)
	be.PutUint32(h[32:], uint32(len(strs)))
	be.PutUint32(h[36:], uint32(len(s)))
	b := append(append(h, s...), strs...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	be.PutUint32(b[4:], uint32(len(b)))
	b = append(b, make([]byte, length)...)
	return b
}

// Hashes that a tree gives are computed once for each image.
func TestManyHashesOfOneImage(t *testing.T) {
	b := hashes(4000, 1<<20)
	start := worked(t)
	a := opened(t, b)
	took := worked(t) - start
	require.Len(t, a.Notes, 4000, "none of them holds")
	require.Less(t, took.Seconds(), 1.0*float64(slower))
	require.Equal(t, finding.InputMalformed, a.Notes[0].Code)
	left := 1 << 20
	d := &digests{data: make([]byte, 1<<20), left: &left}
	for i, algorithm := range []string{"sha512", "sha512", "sha256"} {
		_, _, err := checkHash(&fdt.Node{Name: "hash", Properties: map[string][]byte{"algo": []byte(algorithm + "\x00")}}, d)
		require.Equal(t, i == 2, err != nil, algorithm)
	}
}
