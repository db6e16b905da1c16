package server

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
)

// One of forty machines with one board has a function more: it comes first, and
// nothing else is named but the machine that lacks a part, which its last audit
// told.
func TestOutliers(t *testing.T) {
	s := newSite(t)
	p, other := fleet.Profile{ID: "p", Name: "Example R1"}, fleet.Profile{ID: "q", Name: "Example R2"}
	add := func(n int, p fleet.Profile, keys ...string) {
		h := &fleet.Host{ID: fmt.Sprintf("%s-%02d", p.ID, n), Name: fmt.Sprintf("node-%02d", n), Mode: fleet.ByAgent, State: fleet.Pass, Profile: p.ID, Since: s.clock}
		h.Identity.EKSHA256 = h.ID
		s.update(func(tx fleet.Tx) error {
			if err := tx.PutHost(h); err != nil {
				return err
			}
			return tx.PutFeatures(h.ID, p, keys)
		})
	}
	for i := range 38 {
		add(i, p, "part nic x1", "part raid x1", fmt.Sprintf("firmware bios: %d", i%2))
	}
	add(38, p, "part nic x1", "part raid x1", "firmware bios: 1", "part 1d6a:00b1 x1")
	add(39, p, "part nic x1", "firmware bios: 0")
	for i := range 4 {
		add(i, other, fmt.Sprintf("part %d x1", i))
	}
	odd, err := s.Outliers(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, odd, 1, "%+v", odd)
	require.Equal(t, "p-38", odd[0].Host)
	require.Equal(t, "part 1d6a:00b1 x1", odd[0].Odd[0].Feature)
	require.Equal(t, 1, odd[0].Odd[0].Hosts)

	var found []fleet.Open
	s.update(func(tx fleet.Tx) error {
		h, err := tx.Host("p-39")
		if err != nil {
			return err
		}
		fs, err := outlier(tx, h, p)
		for _, f := range fs {
			f.Seal()
			found = append(found, fleet.Open{Host: h.ID, Finding: f, FirstSeen: s.clock, LastSeen: s.clock})
		}
		if err != nil {
			return err
		}
		return tx.PutOpen(h.ID, found)
	})
	require.Len(t, found, 1)
	odd, err = s.Outliers(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, odd, 2)
	odd, err = s.Outliers(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, odd, 1)
}
