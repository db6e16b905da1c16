package jcat

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func zip(t testing.TB, s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

const catalogue = `{"JcatVersionMajor":0,"JcatVersionMinor":1,"Items":[{"Id":"firmware.bin","AliasIds":[],"Blobs":[
{"Kind":1,"Flags":1,"Timestamp":1,"Data":"a196504d09871da4f7d83b874b500f8ee6e0619ab799f074814b316d88f96f7f"},
{"Kind":3,"Target":1,"Flags":1,"Data":"-----BEGIN PKCS7-----"},{"Kind":77,"Flags":0,"Data":"aGVsbG8="}]}]}`

func TestCatalogue(t *testing.T) {
	got, err := Parse(zip(t, catalogue))
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "firmware.bin", got[0].ID)
	require.True(t, got[0].Blobs[0].Kind.Digest())
	require.Equal(t, Blob{PKCS7, SHA256, []byte("-----BEGIN PKCS7-----")}, got[0].Blobs[1])
	require.Equal(t, "hello", string(got[0].Blobs[2].Data))
	require.Equal(t, []string{"sha256", "pkcs7", "kind-77"}, []string{got[0].Blobs[0].Kind.String(), got[0].Blobs[1].Kind.String(), got[0].Blobs[2].Kind.String()})
}

func TestWhatIsNoCatalogue(t *testing.T) {
	for name, b := range map[string][]byte{
		"no gzip":    []byte(catalogue),
		"cut off":    zip(t, catalogue)[:40],
		"no JSON":    zip(t, catalogue[:90]),
		"not base64": zip(t, strings.Replace(catalogue, "aGVsbG8=", "?", 1)),
		"bomb":       zip(t, strings.Repeat(" ", maxSize+1)),
		"items":      zip(t, `{"Items":[`+strings.Repeat("{},", maxItems)+`{}]}`),
		"blobs":      zip(t, `{"Items":[{"Blobs":[`+strings.Repeat("{},", maxBlobs)+`{}]}]}`),
	} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(catalogue))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := Parse(zip(t, string(b)))
		if err == nil && len(items) > maxItems {
			t.Fatal(len(items))
		}
		_, _ = Parse(b)
	})
}
