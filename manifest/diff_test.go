package manifest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
)

func TestDiff(t *testing.T) {
	lines := func(cs []Change, err error) map[string][2]bool {
		require.NoError(t, err)
		out := map[string][2]bool{}
		for _, c := range cs {
			out[c.Line] = [2]bool{c.Old != "", c.New != ""}
		}
		return out
	}
	old, fresh := sample(), sample()
	require.Empty(t, lines(Diff(old, fresh)))
	fresh.Version, fresh.IssuedAt = 9, now
	require.Empty(t, lines(Diff(old, fresh)), "a new number alone changes no line")
	fresh.Components[0].Identity.PartNumber = "X"
	fresh.Components = append(fresh.Components[:1], bom.Reference{ID: "gpu", Class: bom.PCI})
	fresh.Boot[0].Note = "new"
	fresh.Firmware = append(fresh.Firmware, fresh.Firmware[0])
	delete(fresh.Classes, bom.USB)
	fresh.Environment.Revision = "B"
	require.Equal(t, map[string][2]bool{
		"component:dimm-a1": {true, true}, "component:gpu": {false, true}, "component:nic": {true, false}, "component:tpm": {true, false},
		"pcr:0": {true, true}, "firmware:bios": {true, true}, "class:usb": {true, false}, "environment": {true, true},
	}, lines(Diff(old, fresh)))

	delta := &Manifest{ID: old.ID, Version: 4, Environment: old.Environment, Delta: &Delta{Actor: "Integrator", Ticket: "RMA-17", Remove: []string{"nic"}}}
	swapped(delta)
	require.Equal(t, map[string][2]bool{"component:dimm-a1": {true, true}, "component:nic": {true, false}}, lines(Diff(old, delta)))
	require.Equal(t, "change RMA-17 by Integrator", Explained(old, delta))
	require.Equal(t, "version 9 follows version 3", Explained(old, fresh))
	require.Empty(t, Explained(fresh, old), "going back explains nothing")
	next := &Manifest{ID: "example/r2", Supersedes: []string{old.ID}}
	require.Equal(t, "example/r2 supersedes example/r1", Explained(old, next))
	require.Empty(t, Explained(old, &Manifest{ID: "other", Version: 9}))
}
