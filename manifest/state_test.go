package manifest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
)

func TestRollback(t *testing.T) { // F07
	root := newRoot(t, "root")
	h, trust := root.issue(t), root.trust()
	version := func(n int64, model string) *Trusted {
		m := sample()
		m.Version, m.Environment.Model = n, model
		return opened(t, signed(t, m, h), trust)
	}
	v3, v4, other := version(3, "R1"), version(4, "R1"), version(3, "R1x")
	old := sample()
	old.ID, old.Supersedes = "example/r0", nil
	r0 := opened(t, signed(t, old, h), trust)

	var s State
	require.Empty(t, s.Check(v3))
	s = s.After(v3)
	require.Empty(t, s.Check(v3), "the same again")
	require.Empty(t, s.Check(v4), "a newer one")
	require.Equal(t, []finding.Code{finding.ManifestRollback}, codes(s.Check(other)), "the same version with other contents")
	require.Equal(t, []finding.Code{finding.ManifestRollback}, codes(s.Check(r0)), "superseded by v3")
	s = s.After(v4)
	require.Equal(t, []finding.Code{finding.ManifestRollback}, codes(s.Check(v3)), "an older one")
	require.Equal(t, s, s.After(v3), "memory never goes back")
	require.Empty(t, s.Check(v3, v4), "Combine says that v3 is old; v4 is what counts")
}

// Someone who hides a change record presents the base alone.
func TestHidingADeltaIsRollback(t *testing.T) {
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	d := opened(t, signed(t, change(base, "Integrator", swapped), s.integrator), s.trust)
	state := State{}.After(base, d)
	require.Empty(t, state.Check(base, d))
	require.Equal(t, []finding.Code{finding.ManifestRollback}, codes(state.Check(base)))
}

func TestStateOnDisk(t *testing.T) {
	root := newRoot(t, "root")
	tr := opened(t, signed(t, sample(), root.issue(t)), root.trust())
	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, State{}.After(tr).Save(dir))
	s, err := LoadState(dir)
	require.NoError(t, err)
	require.Equal(t, State{}.After(tr), s)

	// A run that knew less does not erase what another remembered.
	require.NoError(t, State{}.Save(dir))
	again, err := LoadState(dir)
	require.NoError(t, err)
	require.Equal(t, s, again)

	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// A damaged memory must not be taken for none: an old manifest would pass.
func TestDamagedStateIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"cut off":         `{"format":"assay.state/v1","manifests":{`,
		"other format":    `{"format":"assay.state/v2","manifests":{},"superseded":{}}`,
		"unknown key":     `{"format":"assay.state/v1","manifests":{},"superseded":{},"x":1}`,
		"duplicate entry": `{"format":"assay.state/v1","manifests":{"a":{"version":2,"sha256":"` + hexSum(nil) + `"},"a":{"version":1,"sha256":"` + hexSum(nil) + `"}},"superseded":{}}`,
		"no digest":       `{"format":"assay.state/v1","manifests":{"a":{"version":2,"sha256":""}},"superseded":{}}`,
		"version zero":    `{"format":"assay.state/v1","manifests":{"a":{"version":0,"sha256":"` + hexSum(nil) + `"}},"superseded":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := write(t, filepath.Join(dir, stateName), []byte(text))
			_, err := LoadState(dir)
			require.ErrorContains(t, err, file)
			require.Error(t, State{}.Save(dir), "a damaged file is not overwritten")
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, text, string(b))
		})
	}
	_, err := LoadState(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = LoadState(t.TempDir())
	require.NoError(t, err, "the first run has no memory")
}

func TestConcurrentSaves(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			id := string(rune('a' + i))
			errs[i] = State{seen: map[string]seen{id: {1, hexSum([]byte(id))}}}.Save(dir)
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	s, err := LoadState(dir)
	require.NoError(t, err)
	require.Len(t, s.seen, len(errs), "every run's memory was kept")
}

func TestMergeKeepsTheHigher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) State {
			s := State{seen: map[string]seen{}, superseded: map[string]string{}}
			for _, id := range []string{"a", "b", "c"} {
				if v := rapid.Int64Range(0, 5).Draw(t, label+id); v > 0 {
					s.seen[id] = seen{v, hexSum([]byte(label))}
				}
			}
			return s
		}
		x, y := draw("x"), draw("y")
		m := x.merge(y)
		for _, s := range []State{x, y} {
			for id, v := range s.seen {
				require.GreaterOrEqual(t, m.seen[id].Version, v.Version)
			}
		}
		require.Equal(t, m, m.merge(y))
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":"assay.state/v1","manifests":{"a":{"version":2,"sha256":"` + hexSum(nil) + `"}},"superseded":{"b":"a"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(b)
		if err != nil {
			return
		}
		for id, v := range s.seen {
			require.NotEmpty(t, id)
			require.Positive(t, v.Version)
		}
	})
}
