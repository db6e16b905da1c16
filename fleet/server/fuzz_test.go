package server

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/internal/fixture"
)

// bare is a server without any manifest, with one machine.
func bare(f *testing.F) *Server {
	f.Helper()
	st, err := sqlite.Open(context.Background(), filepath.Join(f.TempDir(), "fleet.db"))
	require.NoError(f, err)
	f.Cleanup(func() { _ = st.Close() })
	blobs, err := blob.OpenDirectory(f.TempDir())
	require.NoError(f, err)
	s := New(Config{Store: st, Blobs: blobs, Limits: evidence.Limits{ArtifactBytes: 1 << 20, BundleBytes: 4 << 20, Entries: 100, Expansion: 200}})
	require.NoError(f, st.Update(context.Background(), func(tx fleet.Tx) error {
		return tx.PutHost(&fleet.Host{ID: "h1", Name: "node-1", Mode: fleet.ByAgent, Interval: time.Hour, NextDue: labTime, State: fleet.Enrolled})
	}))
	return s
}

// FuzzIntake: what is taken in can be read back as it was sent; the rest is
// refused.
func FuzzIntake(f *testing.F) {
	s := bare(f)
	small, err := fixture.Zip(map[string][]byte{"proc/uptime": []byte("1.00 1.00\n"), "proc/cmdline": []byte("quiet\n")})
	require.NoError(f, err)
	f.Add(small)
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, zip []byte) {
		c, err := s.Nonce(t.Context(), "h1")
		require.NoError(t, err)
		e, err := s.Intake(t.Context(), "h1", c.Nonce, zip, "")
		if err != nil {
			var r *Refusal
			require.ErrorAs(t, err, &r, "hostile bytes are refused, and are no failure of the server")
			return
		}
		got, err := s.Bundle(t.Context(), e.Blob)
		require.NoError(t, err)
		sent, err := evidence.OpenZip(zip, "sent", s.Limits)
		require.NoError(t, err)
		require.Equal(t, files(sent), files(got))
		for _, p := range files(sent) {
			a, errA := sent.Read(p)
			b, errB := got.Read(p)
			require.NoError(t, errors.Join(errA, errB))
			require.Equal(t, a, b, p)
		}
	})
}

// FuzzStored: a list of a bundle that somebody else wrote where evidence is stored.
func FuzzStored(f *testing.F) {
	s := bare(f)
	for _, l := range []string{`{"host":"h1","nonce":"AA==","packs":["` + blob.Digest(nil) + `"]}`, `{"packs":["../00"]}`, `{"cut":true}`} {
		f.Add(pack([]file{{listName, []byte(l)}, {"proc/uptime", []byte("1.00")}, {"../../etc/passwd", nil}}))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1})
	_, err := s.Blobs.Put(context.Background(), nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, list []byte) {
		digest, err := s.Blobs.Put(t.Context(), list)
		require.NoError(t, err)
		b, err := s.Bundle(t.Context(), digest)
		if err == nil {
			_ = files(b)
		}
	})
}
