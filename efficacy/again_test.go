package efficacy

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
)

// A Verifier that has seen a machine gives what one gives that has not, to the byte:
// for the machine as it was, for the machine when it signed anew, and for the
// machine after what a vector does to it. One vector in six is tried, or all with
// ASSAY_VECTORS=all.
func TestAVerifierThatRemembersSaysTheSame(t *testing.T) {
	vectors, err := Load("..")
	require.NoError(t, err)
	bench, err := NewBench("..")
	require.NoError(t, err)
	v := &assay.Verifier{Machines: 1000}
	for _, vector := range vectors {
		if os.Getenv("ASSAY_VECTORS") != "all" && crc32.ChecksumIEEE([]byte(vector.File))%6 != 0 {
			continue
		}
		t.Run(vector.File, func(t *testing.T) {
			clean, changed := pair(t, bench, vector)
			first := caseOf(t, clean)
			for _, later := range []time.Duration{0, time.Minute, 5 * time.Minute, 24 * time.Hour} {
				goesOn(clean, later)
				c := caseOf(t, clean)
				c.Statements, c.Trust, c.Policy = first.Statements, first.Trust, first.Policy
				c.Decoders = first.Decoders
				same(t, v, c)
				same(t, v, c)
				attacked := caseOf(t, changed)
				own := *attacked
				same(t, v, &own)
				attacked.Statements, attacked.Trust, attacked.Policy, attacked.State, attacked.KnownBad = c.Statements, c.Trust, c.Policy, c.State, c.KnownBad
				attacked.Decoders = c.Decoders
				same(t, v, attacked) // as the attacker would have it: nothing else moved
				same(t, v, c)
			}
		})
	}
	whole, again := v.Counts()
	t.Logf("%d whole, %d of machines that had only signed anew", whole, again)
	require.Greater(t, again, whole/8, "nothing was remembered, so that nothing was tried")
}

// pair is the machine of a vector, and the machine after what the vector does.
func pair(t *testing.T, b *Bench, v *Vector) (clean, changed *scene) {
	ref, err := b.reference(v)
	if errors.Is(err, ErrNotHere) {
		t.Skip(err)
	}
	require.NoError(t, err)
	clean = b.newScene(v, maps.Clone(ref.files))
	clean.draft, err = copyManifest(ref.draft)
	require.NoError(t, err)
	changed, err = b.scene(v)
	require.NoError(t, err)
	return clean, changed
}

// goesOn lets time pass for a machine, and asks it anew.
func goesOn(s *scene, later time.Duration) {
	s.asked = []byte("another nonce of sixteen bytes, " + later.String())
	s.quoted = s.asked
	s.clock.Milliseconds += uint64(later.Milliseconds())
	s.age += uint64(later.Milliseconds())
	s.now, s.collectedAt = s.now.Add(later), s.collectedAt.Add(later)
	if s.files["proc/uptime"] != nil {
		s.files["proc/uptime"] = fmt.Appendf(nil, "%d.00 1.00\n", s.age/1000-50)
	}
}

func caseOf(t *testing.T, s *scene) *assay.Case {
	c, err := s.appraisal(s.vector.Level)
	require.NoError(t, err)
	return c
}

func same(t *testing.T, v *assay.Verifier, c *assay.Case) {
	t.Helper()
	want, err := assay.Verify(*c)
	require.NoError(t, err)
	got, err := v.Verify(*c)
	require.NoError(t, err)
	x, err := json.Marshal(want)
	require.NoError(t, err)
	y, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(x), string(y))
	require.Equal(t, string(x), string(y))
}
