package server

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
)

// What is older than it has to be goes, with its bytes. The last of a machine stays
// readable.
func TestPrune(t *testing.T) {
	s := newSite(t)
	s.host()
	_, old := s.audit("h1", "baseline")
	s.clock = s.clock.Add(24 * time.Hour)
	_, last := s.audit("h1", "baseline-reboot")
	s.update(func(tx fleet.Tx) error {
		return tx.PutChallenge(fleet.Challenge{Nonce: []byte("nobody answers"), Host: "h1", Deadline: s.clock})
	})
	// Bytes have the age of the file system's clock, which is that of the test.
	s.clock = time.Now().Add(keepResult + sweepMargin + 48*time.Hour)
	_, err := s.prune(t.Context(), fleet.Job{})
	require.NoError(t, err)
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
		_, err := r.Result(old.ID)
		require.ErrorIs(t, err, fleet.ErrNotFound)
		_, err = r.Evidence(old.Evidence)
		require.ErrorIs(t, err, fleet.ErrNotFound)
		_, err = r.Result(last.ID)
		require.NoError(t, err)
		e, err := r.Evidence(last.Evidence)
		require.NoError(t, err)
		_, err = s.Bundle(t.Context(), e.Blob)
		return err
	}))
	_, err = s.Blobs.Get(t.Context(), last.Blob)
	require.NoError(t, err)
	_, err = s.Blobs.Get(t.Context(), old.Blob)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Bundle(t.Context(), old.Evidence)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, s.Store.Update(t.Context(), func(tx fleet.Tx) error {
		_, err := tx.TakeChallenge([]byte("nobody answers"))
		return err
	}), fleet.ErrNotFound)
}

// A bundle that was damaged does not end the sweep, and its bytes stay to be looked
// at.
func TestPruneWithDamage(t *testing.T) {
	s := newSite(t)
	s.host()
	broken, err := s.Blobs.Put(t.Context(), []byte("no pack"))
	require.NoError(t, err)
	s.update(func(tx fleet.Tx) error {
		return errors.Join(
			tx.PutEvidence(&fleet.Evidence{Digest: broken, Host: "h1", Received: labTime, Blob: broken, Status: fleet.Accepted}),
			tx.PutResult(&fleet.Result{ID: "r-1", Host: "h1", Evidence: broken, At: labTime, Blob: "00"}))
	})
	s.clock = time.Now().Add(keepResult + sweepMargin + 48*time.Hour)
	_, err = s.prune(t.Context(), fleet.Job{})
	require.NoError(t, err)
	_, err = s.Blobs.Get(t.Context(), broken)
	require.NoError(t, err)
}
