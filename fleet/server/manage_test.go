package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
)

// An inventory finds machines by what it has of them, and says which rows it did
// not use.
func TestImport(t *testing.T) {
	s := newSite(t)
	s.update(func(tx fleet.Tx) error {
		for id, c := range map[string]fleet.Chassis{"a": {Manufacturer: "Example", Serial: "S-1", UUID: "11111111-1111-1111-1111-111111111111"}, "b": {Manufacturer: "Example", Serial: "S-2"}, "c": {Manufacturer: "Other", Serial: "S-2"}} {
			h := &fleet.Host{ID: id, Name: id, State: fleet.Pass, Identity: fleet.Identity{EKSHA256: id, Chassis: c}}
			if err := tx.PutHost(h); err != nil {
				return err
			}
			if err := tx.PutFacts(id, identityFacts(h.Identity)); err != nil {
				return err
			}
		}
		h, err := tx.Host("a")
		h.Site, h.Placed = "north", "a ticket"
		require.NoError(t, err)
		return tx.PutHost(h)
	})
	_, err := s.Import(t.Context(), Who{"vera", fleet.Viewer}, []Record{{ID: "a"}})
	require.Error(t, err)
	got, err := s.Import(t.Context(), operator, []Record{
		{Serial: " s-1 ", Name: "rack-1"}, {UUID: "11111111-1111-1111-1111-11111111111A"}, {Serial: "S-2", Name: "which"}, {ID: "a", Site: "south"}, {ID: "b", Site: "south", Lot: "L7"}, {ID: "nobody"},
	})
	require.NoError(t, err)
	require.Equal(t, []Imported{
		{Host: "a"},
		{Why: "no machine has this serial number or UUID"},
		{Why: "2 machines have this serial number or UUID"},
		{Why: "a signed ticket says that the machine is at north"},
		{Host: "b"},
		{Why: "no machine has this id"},
	}, got)
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
		a, err := r.Host("a")
		require.NoError(t, err)
		require.Equal(t, []string{"rack-1", "north"}, []string{a.Name, a.Site})
		b, err := r.Host("b")
		require.Equal(t, []string{"b", "south", "L7"}, []string{b.Name, b.Site, b.Lot})
		return err
	}))
}
