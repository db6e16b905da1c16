package revision

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

func unitOf(parts ...bom.Reference) *manifest.Manifest {
	return &manifest.Manifest{
		ID: "unit", Version: 3, Environment: manifest.Environment{Manufacturer: "Acme", Model: "R1", Serial: "7"},
		Components: parts, Classes: map[bom.Class]bom.Closure{bom.Memory: bom.Closed},
	}
}

func partOf(id string, class bom.Class, at, serial string) bom.Reference {
	return bom.Reference{ID: id, Class: class, Subject: string(class) + ":" + at, Identity: bom.Identity{Maker: "M", Model: "X", Serial: serial}, Location: finding.Location{Designator: at}}
}

// A delta that was drafted of a machine as it is now turns the base's parts into that
// machine's, says who did it, and leaves out what is not of the classes that are meant.
func TestDraftDelta(t *testing.T) {
	base := unitOf(partOf("memory-1", bom.Memory, "A1", "1"), partOf("memory-2", bom.Memory, "B1", "2"), partOf("storage-1", bom.Storage, "d0", "9"))
	now := unitOf(partOf("memory-1", bom.Memory, "A1", "1"), partOf("memory-2", bom.Memory, "B1", "22"), partOf("memory-3", bom.Memory, "C1", "3"))
	o := DeltaOptions{Base: "d1", Actor: "Example Repairs", Ticket: "RMA-17", Now: time.Unix(0, 0)}

	d, left, err := DraftDelta(base, now, o)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Equal(t, &manifest.Delta{BaseDigest: "d1", Actor: "Example Repairs", Ticket: "RMA-17", Remove: []string{"storage-1"}}, d.Delta)
	assert.EqualValues(t, 4, d.Version)
	assert.Equal(t, []bom.Reference{partOf("memory-2", bom.Memory, "B1", "22"), partOf("memory-3", bom.Memory, "C1", "3")}, d.Components)
	_, err = manifest.Encode(d)
	require.NoError(t, err)

	o.Classes = []bom.Class{bom.Memory}
	d, left, err = DraftDelta(base, now, o)
	require.NoError(t, err)
	assert.Equal(t, []string{"component:storage-1"}, left)
	assert.Empty(t, d.Delta.Remove)
}

// A new line never takes the name of one that the base has for another part.
func TestDraftDeltaNamesNewLines(t *testing.T) {
	base := unitOf(partOf("memory-2", bom.Memory, "A1", "1"))
	now := unitOf(partOf("memory-1", bom.Memory, "A1", "1"), partOf("memory-2", bom.Memory, "B1", "5"))
	d, _, err := DraftDelta(base, now, DeltaOptions{Base: "d", Actor: "A", Ticket: "T"})
	require.NoError(t, err)
	for _, r := range d.Components {
		if r.Identity.Serial == "5" {
			assert.NotEqual(t, "memory-2", r.ID)
		}
	}
}

func TestDraftDeltaRefuses(t *testing.T) {
	base := unitOf(partOf("memory-1", bom.Memory, "A1", "1"))
	other := unitOf(partOf("memory-1", bom.Memory, "A1", "2"))
	other.Environment.Serial = "8"
	for name, c := range map[string]struct {
		now *manifest.Manifest
		o   DeltaOptions
		why string
	}{
		"another machine": {other, DeltaOptions{Actor: "A", Ticket: "T"}, "the evidence is of"},
		"nobody":          {base, DeltaOptions{Ticket: "T"}, "an actor and a ticket"},
		"nothing":         {base, DeltaOptions{Actor: "A", Ticket: "T"}, "no part that is meant has changed"},
	} {
		_, _, err := DraftDelta(base, c.now, c.o)
		assert.ErrorContains(t, err, c.why, name)
	}
}
