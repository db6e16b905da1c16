package platformcert

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/manifest"
)

// seeds are certificates of every form, written here.
func seeds(t testing.TB) [][]byte {
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	m := sample()
	m.Components = m.Components[:7]
	base := make1(t, m, by, Options{EK: ek, Specs: []uint8{1, 3, 22, 0, 0, 0, 1}})
	out := [][]byte{base.Raw, base.PEM(), make1(t, m, by, Options{Profile: "1.1", EK: ek}).Raw, make1(t, m, by, Options{Form: PublicKeyForm, EK: ek, Key: ek.Key}).Raw}
	m.Components, m.IssuedAt = m.Components[1:], issued.AddDate(0, 1, 0)
	return append(out, make1(t, m, by, Options{EK: ek, Previous: []*Certificate{base}}).Raw, ek.DER)
}

// Whatever is read is written again byte by byte, and can be judged.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	by := newAuthority(f, "Maker Inc.", nil, nil)
	ek := endorsementKey(f, "TPM Maker", 0x77)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		again, err := c.Encode()
		require.NoError(t, err)
		require.True(t, bytes.Equal(c.Raw, again))
		_ = c.Lint()
		_, _ = c.Bound(ek)
		_, err = c.Verify(trust(by), now)
		require.Error(t, err, "nobody here signed that")
		build, _ := Draft(c, []*Certificate{c})
		if build == nil {
			return
		}
		m, _, err := Convert(build, ConvertOptions{})
		if err != nil {
			return
		}
		raw, err := manifest.Encode(m)
		require.NoError(t, err)
		if _, err = manifest.ReadUntrusted(raw); err != nil {
			require.ErrorContains(t, err, "parts in all", "a manifest of what was read can be read")
		}
	})
}

// A delta of any contents is refused, or gives parts that hold no status.
func FuzzAssemble(f *testing.F) {
	all := seeds(f)
	for _, s := range all {
		f.Add(all[0], s)
		f.Add(all[2], s)
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		base, err := Parse(x)
		if err != nil {
			return
		}
		delta, err := Parse(y)
		if err != nil {
			return
		}
		b, fs := Draft(base, []*Certificate{delta})
		if b == nil {
			require.NotEmpty(t, fs)
			return
		}
		require.True(t, len(b.Deltas) == 1 || len(fs) > 0)
		if len(b.Deltas) == 1 && delta.Kind == DeltaKind && delta.Configuration != nil {
			for _, c := range delta.Configuration.Components {
				require.NotEqual(t, Unchanged, c.Status)
			}
		}
		_, _, _ = Convert(b, ConvertOptions{})
	})
}
