package blob

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
)

// bucket is one of a server that speaks the protocol.
func bucket(t *testing.T) (*S3, *s3mem.Backend) {
	t.Helper()
	back := s3mem.New()
	require.NoError(t, back.CreateBucket("evidence"))
	srv := httptest.NewServer(gofakes3.New(back).Server())
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "assay")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret word")
	s, err := OpenS3(t.Context(), "s3://evidence/fleet?region=eu-1&endpoint="+srv.URL)
	require.NoError(t, err)
	return s, back
}

func TestBucket(t *testing.T) {
	s, back := bucket(t)
	ctx := context.Background()
	digest, err := s.Put(ctx, []byte("evidence"))
	require.NoError(t, err)
	again, err := s.Put(ctx, []byte("evidence"))
	require.NoError(t, err)
	require.Equal(t, digest, again)
	got, err := s.Get(ctx, digest)
	require.NoError(t, err)
	require.Equal(t, "evidence", string(got))
	_, err = s.Get(ctx, Digest([]byte("never put")))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = s.Get(ctx, "../secret")
	require.ErrorContains(t, err, "is no digest")

	name, err := s.object(digest)
	require.NoError(t, err)
	require.Equal(t, "fleet/"+digest[:2]+"/"+digest+".zst", name)
	edited := []byte("edited")
	_, err = back.PutObject("evidence", name, map[string]string{}, bytes.NewReader(edited), int64(len(edited)), nil)
	require.NoError(t, err)
	_, err = s.Get(ctx, digest)
	require.ErrorIs(t, err, ErrDamaged, "whoever can write to the bucket cannot change evidence")
}

func TestBucketSweep(t *testing.T) {
	s, _ := bucket(t)
	ctx := context.Background()
	kept, err := s.Put(ctx, []byte("kept"))
	require.NoError(t, err)
	gone, err := s.Put(ctx, []byte("gone"))
	require.NoError(t, err)
	n, err := s.Sweep(ctx, time.Now().Add(-time.Hour), func(string) bool { return false })
	require.NoError(t, err)
	require.Zero(t, n, "what is young stays")
	n, err = s.Sweep(ctx, time.Now().Add(time.Hour), func(d string) bool { return d == kept })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = s.Get(ctx, kept)
	require.NoError(t, err)
	_, err = s.Get(ctx, gone)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestBucketAddresses(t *testing.T) {
	for _, bad := range []string{"", "s3://", "http://bucket", "s3://user:pw@bucket", "s3://bucket?endpoint=http://storage.example", "s3://bucket?endpoint=ftp://x"} {
		_, err := OpenS3(t.Context(), bad)
		require.Error(t, err, bad)
	}
}
