package load

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/softtpm"
)

// No two machines have a number in common, whatever was done to them: one that had
// would rightly be named (FL-001). Machine 6553 has the address that the added card
// had where it was recorded.
func TestMachinesShareNoNumber(t *testing.T) {
	ca, err := softtpm.NewMaker("Load TPM maker", labTime)
	require.NoError(t, err)
	m, err := newMaker(planFor(1), ca)
	require.NoError(t, err)
	seen := map[string]int{}
	of := []int{6553, 0, 1, 99_999}
	for k := range int(kinds - 1) {
		of = append(of, 20*k+10)
	}
	for _, n := range of {
		r := m.reply(request{N: n, Nonce: []byte("x")})
		require.Empty(t, r.Err)
		b, err := evidence.OpenZip(r.Zip, "machine", evidence.Limits{})
		require.NoError(t, err)
		inv := bom.Read(b)
		had := map[string]bool{}
		for i := range inv.Parts {
			p := &inv.Parts[i]
			if p.Identity.Serial == "" || p.Volatile != "" || slices.Contains([]bom.Class{bom.USB, bom.Processor}, p.Class) { // these are the same in all, and no facts of a fleet
				continue
			}
			had[string(p.Class)+" "+p.Identity.Serial] = true
		}
		require.Greater(t, len(had), 8, "a machine has numbers")
		for s := range had {
			other, twice := seen[s]
			require.False(t, twice, "machines %d and %d (%s) both have %s", other, n, m.plan.tampered(n), s)
			seen[s] = n
		}
	}
}
