package blob

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func directory(t testing.TB) *Directory {
	t.Helper()
	d, err := OpenDirectory(filepath.Join(t.TempDir(), "blobs"))
	require.NoError(t, err)
	return d
}

func TestWhatIsPutIsGot(t *testing.T) {
	d, ctx := directory(t), context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(rt, "data")
		digest, err := d.Put(ctx, data)
		require.NoError(rt, err)
		require.Equal(rt, Digest(data), digest)
		got, err := d.Get(ctx, digest)
		require.NoError(rt, err)
		require.True(rt, bytes.Equal(data, got))
	})
}

func TestDamageIsFound(t *testing.T) {
	d, ctx := directory(t), context.Background()
	digest, err := d.Put(ctx, []byte("evidence"))
	require.NoError(t, err)
	path, err := d.path(digest)
	require.NoError(t, err)
	for name, raw := range map[string][]byte{"other bytes": d.encoder.EncodeAll([]byte("edited"), nil), "no bytes": nil, "not compressed": []byte("evidence")} {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		_, err = d.Get(ctx, digest)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
	bomb := d.encoder.EncodeAll(make([]byte, MaxBytes+1), nil)
	require.NoError(t, os.WriteFile(path, bomb, 0o600))
	_, err = d.Get(ctx, digest)
	require.ErrorIs(t, err, ErrDamaged)
	for _, bad := range []string{"", "../../etc/passwd", digest[:63], "G" + digest[1:], "A" + digest[1:]} {
		_, err = d.Get(ctx, bad)
		require.ErrorContains(t, err, "is no digest")
	}
	_, err = d.Get(ctx, Digest([]byte("never put")))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSweep(t *testing.T) {
	d, ctx := directory(t), context.Background()
	kept, err := d.Put(ctx, []byte("kept"))
	require.NoError(t, err)
	old, err := d.Put(ctx, []byte("old"))
	require.NoError(t, err)
	again, err := d.Put(ctx, []byte("put again"))
	require.NoError(t, err)
	for _, digest := range []string{kept, old, again} {
		p, err := d.path(digest)
		require.NoError(t, err)
		past := time.Now().Add(-48 * time.Hour)
		require.NoError(t, os.Chtimes(p, past, past))
	}
	_, err = d.Put(ctx, []byte("put again"))
	require.NoError(t, err)
	n, err := d.Sweep(ctx, time.Now().Add(-24*time.Hour), func(digest string) bool { return digest == kept })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = d.Get(ctx, old)
	require.Error(t, err)
	for _, digest := range []string{kept, again} {
		_, err = d.Get(ctx, digest)
		require.NoError(t, err)
	}
}

// What is stored again between the look at a file and its removal stays.
func TestSweepBesidePut(t *testing.T) {
	d, ctx := directory(t), context.Background()
	digest, err := d.Put(ctx, []byte("stored again"))
	require.NoError(t, err)
	p, err := d.path(digest)
	require.NoError(t, err)
	past := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(p, past, past))
	n, err := d.Sweep(ctx, time.Now().Add(-24*time.Hour), func(string) bool {
		_, err := d.Put(ctx, []byte("stored again"))
		require.NoError(t, err)
		return false
	})
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = d.Get(ctx, digest)
	require.NoError(t, err)

	require.NoError(t, os.Rename(p, p+aside)) // a sweep that was killed half way
	_, err = d.Sweep(ctx, past, func(string) bool { return false })
	require.NoError(t, err)
	_, err = d.Get(ctx, digest)
	require.NoError(t, err)
}
