package server

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// G14, IC-17: a batch that was altered alike has no outlier, but deviates from other
// lots, which is no chance.
func TestG14LotDeviation(t *testing.T) {
	s := newSite(t)
	p := fleet.Profile{ID: "board", Name: "Example R1"}
	features := func(i int) []string {
		out := []string{"part nic x1", "part dimm x8", "firmware bios: " + map[bool]string{true: "2", false: "1"}[i >= 30]}
		if i >= 30 {
			out[0] = "part nic x2" // the fourth lot
		}
		if i == 3 {
			out = append(out, "part gpu x1") // one machine of the first
		}
		return out
	}
	var found map[int][]finding.Finding
	s.update(func(tx fleet.Tx) error {
		for i := range 40 {
			h := &fleet.Host{ID: fmt.Sprintf("h%02d", i), Name: "n", Mode: fleet.ByAgent, Profile: "board", Lot: fmt.Sprint("L", i/10), NextDue: s.clock}
			if err := tx.PutHost(h); err != nil {
				return err
			}
			q := p
			q.Lot = h.Lot
			if err := tx.PutFeatures(h.ID, q, features(i)); err != nil {
				return err
			}
		}
		return nil
	})
	s.update(func(tx fleet.Tx) error {
		found = map[int][]finding.Finding{}
		for _, i := range []int{3, 5, 35} {
			h, err := tx.Host(fmt.Sprintf("h%02d", i))
			require.NoError(t, err)
			if found[i], err = lotDeviations(tx, h, features(i)); err != nil {
				return err
			}
		}
		return nil
	})
	require.Empty(t, found[3], "one machine is no lot")
	require.Empty(t, found[5])
	require.Len(t, found[35], 2, "it has another count of a part, and lacks the usual one: %+v", found[35])
	require.Contains(t, found[35][0].Why, "10 of 10 machines of lot L3, and 0 of 30")
	in := batches(&fleet.Host{Lot: "L3"}, found[35])
	require.Len(t, in, 1)
	require.Equal(t, finding.IncidentBatch, in[0].Code)
	require.Contains(t, in[0].Narrative, "part nic x2 (has it)")

	// A machine that turns out to be of another lot is counted there.
	s.update(func(tx fleet.Tx) error {
		q := p
		q.Lot = "L0"
		return tx.PutFeatures("h35", q, features(35))
	})
	s.update(func(tx fleet.Tx) error {
		lot, has, err := tx.Lot("board", "L3")
		require.NoError(t, err)
		require.Equal(t, 9, lot.Hosts)
		for _, f := range has {
			require.LessOrEqual(t, f.Hosts, 9)
		}
		all, err := tx.Profile("board")
		require.NoError(t, err)
		require.Equal(t, 40, all.Hosts)
		profiles, err := tx.Profiles("", 0)
		require.Len(t, profiles, 1, "lots are no boards")
		return err
	})
}
