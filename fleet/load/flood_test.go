package load

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softtpm"
)

// TestH15Flood is attack H15: whoever has one token of agents asks to enrol a hundred
// thousand machines, with keys that a maker did certify. The quota of the token is
// what it costs, and other tokens go on.
func TestH15Flood(t *testing.T) {
	const quota, flood = 50, 100_000
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	maker, err := softtpm.NewMaker("Load TPM maker", labTime)
	require.NoError(t, err)
	ca, err := ekcert.Parse(maker.Certificate.Raw)
	require.NoError(t, err)
	s := server.New(server.Config{Store: store, EKRoots: []*ekcert.Certificate{ca}, Now: func() time.Time { return labTime }, Enrolments: quota})
	tpm, err := maker.TPM(1)
	require.NoError(t, err)
	files := tpm.Files()
	e := server.Enrolment{Name: "node", EK: files["tpm/ek.pub"], AK: files["tpm/ak.pub"], Certificates: [][]byte{files["tpm/ek-0x01c0000a.crt"]}}

	var begun, refused atomic.Int64
	errs := make(chan error, 4)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range flood / 4 {
				_, _, err := s.Begin(t.Context(), e, "token:flood")
				var r *server.Refusal
				switch {
				case err == nil:
					begun.Add(1)
				case errors.As(err, &r) && r.Status == server.TooMany && r.Retry == 16*time.Hour:
					refused.Add(1)
				default:
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.EqualValues(t, quota, begun.Load())
	require.EqualValues(t, flood-quota, refused.Load(), "and is told to come again tomorrow")
	_, _, err = s.Begin(t.Context(), e, "token:rack-7")
	require.NoError(t, err, "another token")
	require.NoError(t, store.View(t.Context(), func(r fleet.Reader) error {
		n, err := r.Spent("token:flood", "enrolments", labTime)
		require.EqualValues(t, quota, n)
		hosts, err2 := r.Count()
		require.Zero(t, hosts.Hosts)
		return errors.Join(err, err2)
	}))
	size, _, _ := disk(t, dir)
	t.Logf("%d enrolments, %d begun, %d bytes in the store", flood, quota, size)
}

// Evidence that nobody judges is taken in up to a bound, and costs nothing beyond.
func TestH15QueueIsBounded(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	blobs, err := blob.OpenDirectory(filepath.Join(dir, "evidence"))
	require.NoError(t, err)
	now := labTime
	s := server.New(server.Config{Store: store, Blobs: blobs, Now: func() time.Time { return now }, MaxQueue: 5})
	require.NoError(t, store.Update(t.Context(), func(tx fleet.Tx) error {
		return tx.PutHost(&fleet.Host{ID: "h1", Name: "node-1", Mode: fleet.ByAgent, Interval: time.Hour, NextDue: now, State: fleet.Enrolled})
	}))
	taken := 0
	for i := range 20 {
		now = now.Add(time.Minute)
		c, err := s.Nonce(t.Context(), "h1")
		require.NoError(t, err)
		before, _, _ := disk(t, filepath.Join(dir, "evidence"))
		_, err = s.Intake(t.Context(), "h1", c.Nonce, small(t, i), "")
		if err == nil {
			taken++
			continue
		}
		var r *server.Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, server.Busy, r.Status)
		require.Positive(t, r.Retry)
		after, _, _ := disk(t, filepath.Join(dir, "evidence"))
		require.Equal(t, before, after, "what is refused is not kept")
	}
	require.Equal(t, 5, taken)

	before, _, _ := disk(t, filepath.Join(dir, "evidence"))
	s.MaxQueue = 100
	_, err = s.Intake(t.Context(), "h1", []byte("nobody asked"), small(t, 99), "")
	require.Error(t, err)
	after, _, _ := disk(t, filepath.Join(dir, "evidence"))
	require.Equal(t, before, after, "nothing is kept that nobody asked for")
}

func small(t *testing.T, n int) []byte {
	t.Helper()
	zip, err := fixture.Zip(map[string][]byte{"proc/uptime": fmt.Appendf(nil, "%d.00 1.00\n", n)})
	require.NoError(t, err)
	return zip
}
