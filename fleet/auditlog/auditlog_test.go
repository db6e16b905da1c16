package auditlog

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// written makes a log of a few lines.
func written() (out []Entry) {
	prev := ""
	for i := range int64(5) {
		e := Entry{Seq: i + 1, At: time.Date(2026, 1, 1, 0, 0, int(i), 0, time.UTC), Actor: "anna", Action: "enrol", Subject: "h1", Prev: prev}
		e.Hash = e.Sum()
		prev = e.Hash
		out = append(out, e)
	}
	return out
}

// G16: a line that was changed, removed, inserted or moved shows.
func TestG16EditedLog(t *testing.T) {
	require.NoError(t, Check(0, "", written()))
	require.NoError(t, Check(2, written()[1].Hash, written()[2:]))
	for name, edit := range map[string]func([]Entry) []Entry{
		"changed":              func(es []Entry) []Entry { es[2].Actor = "otto"; return es },
		"changed and rehashed": func(es []Entry) []Entry { es[2].Actor = "otto"; es[2].Hash = es[2].Sum(); return es },
		"removed":              func(es []Entry) []Entry { return append(es[:2], es[3:]...) },
		"moved":                func(es []Entry) []Entry { es[1], es[2] = es[2], es[1]; return es },
		"first removed":        func(es []Entry) []Entry { return es[1:] },
	} {
		require.ErrorIs(t, Check(0, "", edit(written())), ErrBroken, name)
	}
}

func TestCheckpoint(t *testing.T) {
	secret, err := NewKey(rand.Reader, "fleet.example")
	require.NoError(t, err)
	k, err := ReadKey(secret + "\n")
	require.NoError(t, err)
	c := Checkpoint{Seq: 5, Hash: written()[4].Hash, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	raw, err := k.Checkpoint(c)
	require.NoError(t, err)
	got, err := Open(raw, k.Public)
	require.NoError(t, err)
	require.Equal(t, &c, got)

	for i := range raw {
		edited := append([]byte{}, raw...)
		edited[i] ^= 1
		if got, err = Open(edited, k.Public); err == nil { // the last bits of base64 mean nothing
			require.Equal(t, &c, got, "byte %d", i)
		}
	}
	other, err := NewKey(rand.Reader, "fleet.example")
	require.NoError(t, err)
	stranger, err := ReadKey(other)
	require.NoError(t, err)
	_, err = Open(raw, stranger.Public)
	require.Error(t, err)

	sig, err := k.Sign([]byte("a result"))
	require.NoError(t, err)
	require.NoError(t, Verify(k.Public, []byte("a result"), sig))
	require.Error(t, Verify(k.Public, []byte("another"), sig))
	require.Error(t, Verify(stranger.Public, []byte("a result"), sig))
	for _, bad := range []string{"", "PRIVATE+KEY+x", "PRIVATE+KEY+x+00000000+AAAA"} {
		_, err = ReadKey(bad)
		require.Error(t, err)
	}
}

func FuzzOpen(f *testing.F) {
	secret, err := NewKey(rand.Reader, "fleet.example")
	require.NoError(f, err)
	k, err := ReadKey(secret)
	require.NoError(f, err)
	raw, err := k.Checkpoint(Checkpoint{Seq: 1, Hash: "ab", At: time.Unix(0, 0)})
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Open(b, k.Public); err == nil {
			require.GreaterOrEqual(t, c.Seq, int64(0))
		}
	})
}
