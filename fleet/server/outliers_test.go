package server

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/cohort"
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

// real puts a machine of its own into the store, with what was read of a real one.
func (s *site) real(id, name string, inv *bom.Inventory) {
	s.t.Helper()
	p, ok := profileOf(inv)
	if !ok {
		return
	}
	s.update(func(tx fleet.Tx) error {
		h := &fleet.Host{ID: id, Name: name, Mode: fleet.ByAgent, State: fleet.Pass, Profile: p.ID, Since: s.clock}
		h.Identity.EKSHA256 = id
		if err := tx.PutHost(h); err != nil {
			return err
		}
		return tx.PutFeatures(id, p, features(inv, nil))
	})
}

// An inserted function in one of forty machines, all as they were recorded, is what
// is odd about them, and the only thing.
func TestInsertedFunctionInOneOfForty(t *testing.T) {
	s := newSite(t)
	for i := range 40 {
		name := "baseline"
		if i == 17 {
			name = "extra-nic-norom"
		}
		s.real(fmt.Sprintf("h%02d", i), name, bom.Read(s.bundle(name)))
	}
	odd, err := s.Outliers(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, odd, 1)
	require.Equal(t, "h17", odd[0].Host)
	require.False(t, odd[0].Odd[0].Lacks, "what it has comes before what it lacks, with the same surprise")
	require.True(t, slices.ContainsFunc(odd[0].Odd, func(o cohort.Oddity) bool { return !o.Lacks && strings.Contains(o.Feature, "8086:") }), "%+v", odd[0].Odd)
}

// The published dumps of real servers, as one fleet: what is listed is of boards
// with enough machines, rare there, and in words that say what to look at.
func TestOutliersOfRealServers(t *testing.T) {
	dumps, _ := filepath.Glob(cmp.Or(os.Getenv("ASSAY_DUMPS"), "../../../shared/corpus/hardware/dmidecode/linuxhw/*.txt"))
	if len(dumps) == 0 {
		t.Skip("needs ../shared/corpus/hardware/dmidecode")
	}
	s := newSite(t)
	for i, d := range dumps {
		raw, err := os.ReadFile(d)
		require.NoError(t, err)
		inv, err := bom.ReadDump("dmidecode.txt", raw)
		require.NoError(t, err, d)
		s.real(fmt.Sprintf("h%03d", i), filepath.Base(d), inv)
	}
	var profiles []fleet.Profile
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { profiles, err = r.Profiles("", 0); return err }))
	compared, boards := 0, 0
	for _, p := range profiles {
		if p.Hosts >= cohort.Least {
			boards++
			compared += p.Hosts
		}
	}
	odd, err := s.Outliers(t.Context(), 0)
	require.NoError(t, err)
	require.LessOrEqual(t, 5*len(odd), compared, "most machines are like others of their board, whatever was bought for each")
	t.Logf("%d machines, %d boards; %d machines of %d boards compared, %d unlike the others", len(dumps), len(profiles), compared, boards, len(odd))
	for i, o := range odd {
		for _, x := range o.Odd {
			require.GreaterOrEqual(t, x.Of, cohort.Least)
			n := x.Hosts
			if x.Lacks {
				n = x.Of - x.Hosts
			}
			require.True(t, cohort.Few(n, x.Of), "%s %+v", o.Name, x)
		}
		if i < 12 {
			t.Logf("%5.1f bits %s (%s): %d oddities, first %v %q, %d of %d", o.Score, o.Name, o.Profile, len(o.Odd), o.Odd[0].Lacks, o.Odd[0].Feature, o.Odd[0].Hosts, o.Odd[0].Of)
		}
	}
}
