package imalog

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	_ "crypto/sha256"
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func write(pcr uint32, template string, data []byte, violation bool) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcr)
	sum := sha1.Sum(data)
	if violation {
		sum = [20]byte{}
	}
	b = append(b, sum[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(template)))
	b = append(b, template...)
	if template != "ima" {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	}
	return append(b, data...)
}

func TestReplay(t *testing.T) {
	list := append(write(10, "ima-ng", []byte("first"), false), write(10, "ima-sig", []byte("second"), true)...)
	list = append(list, write(11, "ima-ng", []byte("elsewhere"), false)...)
	es, err := Parse(list)
	require.NoError(t, err)
	require.Len(t, es, 3)
	require.Equal(t, "ima-sig", es[1].Template)
	require.Equal(t, bytes.Repeat([]byte{0xff}, 32), es[1].Extended(crypto.SHA256, false), "a violation extends all ones")
	first := crypto.SHA256.New()
	first.Write([]byte("first"))
	require.Equal(t, first.Sum(nil), es[0].Extended(crypto.SHA256, false))
	sum := sha1.Sum([]byte("first"))
	require.Equal(t, append(sum[:], make([]byte, 12)...), es[0].Extended(crypto.SHA256, true), "older kernels padded")
	require.Equal(t, sum[:], es[0].Extended(crypto.SHA1, true))
	v, n := Replay(es, 10, crypto.SHA1, false)
	require.Equal(t, 2, n)
	require.Len(t, v, 20)
	other, _ := Replay(es, 10, crypto.SHA256, true)
	same, _ := Replay(es, 10, crypto.SHA256, false)
	require.NotEqual(t, other, same)
}

func TestFirstTemplateHasNoLength(t *testing.T) {
	data := append(make([]byte, 20), 4, 0, 0, 0, 'f', 'i', 'l', 'e')
	es, err := Parse(append(write(10, "ima", data, false), write(10, "ima-ng", []byte("x"), false)...))
	require.NoError(t, err)
	require.Len(t, es, 2)
}

func TestBrokenTailKeepsWhatCameBefore(t *testing.T) {
	good := write(10, "ima-ng", []byte("first"), false)
	for name, tail := range map[string][]byte{
		"cut":              good[:30],
		"no template name": append(make([]byte, 24), 0, 0, 0, 0),
		"long name":        append(make([]byte, 24), 0xff, 0xff, 0, 0),
		"long data":        append(append(make([]byte, 24), 6, 0, 0, 0), []byte("ima-ng\xff\xff\xff\xff")...),
		"no length":        append(append(make([]byte, 24), 6, 0, 0, 0), []byte("ima-ng")...),
		"short ima":        append(append(make([]byte, 24), 3, 0, 0, 0), []byte("ima")...),
		"long file name":   append(append(append(make([]byte, 24), 3, 0, 0, 0), []byte("ima")...), append(make([]byte, 20), 9, 0, 0, 0)...),
	} {
		es, err := Parse(append(bytes.Clone(good), tail...))
		require.ErrorIs(t, err, ErrMalformed, name)
		require.Len(t, es, 1, name)
	}
}

func TestPublicLists(t *testing.T) {
	b, err := os.ReadFile("../../../shared/corpus/eventlogs/ima/guard-oss_sr630.binary_measurements")
	if err != nil {
		t.Skip("needs ../shared/corpus/eventlogs/ima")
	}
	es, err := Parse(b)
	require.NoError(t, err)
	require.NotEmpty(t, es)
	for i := range es {
		if len(bytes.Trim(es[i].Digest, "\x00")) == 0 {
			continue // a violation
		}
		sum := sha1.Sum(es[i].Data)
		require.Equal(t, sum[:], es[i].Digest, "entry %d: the template digest is over the data", i)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(write(10, "ima-ng", []byte("first"), false))
	f.Add(write(10, "ima", append(make([]byte, 20), 4, 0, 0, 0, 'f', 'i', 'l', 'e'), false))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := Parse(b)
		if err == nil && len(b) > 0 && len(es) == 0 {
			t.Fatal("nothing read and no reason")
		}
		Replay(es, 10, crypto.SHA256, false)
	})
}
