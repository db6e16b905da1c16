package manifest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A manifest that was taken apart once is the same each time it is opened: what one
// trust leaves out, another one finds, and what has expired is refused.
func TestDecodedOpensAnew(t *testing.T) {
	root := newRoot(t, "root")
	labs := root.issue(t, by("Labs"))
	narrow, err := LoadTrust([]string{trustDir(t, root, `grants: [{signer: {organization: Labs}, manufacturers: ["*"], classes: [memory]}]`)})
	require.NoError(t, err)
	wide, err := LoadTrust([]string{trustDir(t, root, `grants: [{signer: {organization: Labs}, manufacturers: ["*"]}]`)})
	require.NoError(t, err)
	raw := signed(t, sample(), labs)
	d := Decode(raw)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, trust := range []*Trust{narrow, wide, nil, root.trust(), narrow, wide} {
				for _, at := range []time.Time{now, now.AddDate(5, 0, 0), issued.AddDate(-5, 0, 0)} {
					want, wantReport := Open(raw, trust, at)
					got, gotReport := d.Open(trust, at)
					require.Equal(t, wantReport, gotReport)
					require.Equal(t, want == nil, got == nil)
					if want != nil {
						require.Equal(t, want.Manifest(), got.Manifest())
						require.Equal(t, want.Digest(), got.Digest())
					}
				}
			}
		})
	}
	wg.Wait()
	tr, _ := d.Open(wide, now)
	require.NotNil(t, tr)
	g, _ := Combine(tr)
	require.NotEmpty(t, g.Components)
	clear(g.Classes)
	again, _ := d.Open(wide, now)
	require.NotEmpty(t, again.Manifest().Classes, "who changes what was combined changes nobody's manifest")

	_, report := Decode([]byte("{}")).Open(wide, now)
	_, want := Open([]byte("{}"), wide, now)
	require.Equal(t, want, report)
	_, err = Decode([]byte("{}")).Environment()
	require.Error(t, err)
}
