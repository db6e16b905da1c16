package server

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/report"
)

// A manifest from the library gives the result that the same manifest gives as it was
// signed, however many machines are held against it at the same time.
func TestLibraryChangesNoResult(t *testing.T) {
	s := newSite(t)
	var b *book
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
		books, err := s.library.all(r, "golden")
		if err != nil {
			return err
		}
		require.Len(t, books, 1)
		b = books[0]
		return nil
	}))
	result := func(bundle *evidence.Bundle, shared bool) []byte {
		c := assay.Case{Evidence: bundle, Trust: s.Trust, EKRoots: s.EKDER, Nonce: nonce, Now: labTime}
		if shared {
			trusted, rep := b.golden.Open(s.Trust, labTime)
			c.Statements = []assay.Statement{{Trusted: trusted, Report: rep}}
		} else {
			c.Golden = [][]byte{b.raw}
		}
		r, err := assay.Verify(c)
		require.NoError(t, err)
		var out bytes.Buffer
		require.NoError(t, report.JSON(&out, r))
		return out.Bytes()
	}
	names := []string{"baseline", "extra-nic-norom", "dimm-swapped", "boot-order"}
	want := map[string][]byte{}
	for _, n := range names {
		want[n] = result(s.bundle(n), false)
	}
	var wg sync.WaitGroup
	for range 2 {
		for _, n := range names {
			bundle := s.bundle(n)
			wg.Go(func() { require.Equal(t, string(want[n]), string(result(bundle, true)), n) })
		}
	}
	wg.Wait()
}

// A machine that does not say what it is, is held against what it was enrolled as.
func TestTopics(t *testing.T) {
	s := newSite(t)
	inv := bom.Read(s.bundle("baseline"))
	p, ok := inv.Part("system")
	require.True(t, ok)
	known := fleet.Chassis{Product: "other", Serial: "S-1"}
	require.Equal(t, []string{"model:" + p.Identity.Model + "\x01", "model:" + p.Identity.Model + "\x01" + p.Identity.Serial}, topics(inv, known))
	require.Equal(t, []string{"model:other\x01", "model:other\x01S-1"}, topics(&bom.Inventory{}, known))
}

// The library holds what was asked for last, up to its bound.
func TestLibraryIsBounded(t *testing.T) {
	l := &library{}
	for i := range 5 {
		l.turn++
		l.put(fmt.Sprint(i), &book{raw: make([]byte, maxLibrary/4)})
	}
	require.Len(t, l.books, 4)
	require.NotContains(t, l.books, "0")
	l.turn++
	l.books["1"].turn = l.turn // somebody asked for it
	l.turn++
	l.put("large", &book{raw: make([]byte, maxLibrary/2)})
	require.Contains(t, l.books, "1")
	require.Contains(t, l.books, "large")
	require.LessOrEqual(t, l.bytes, maxLibrary)
}
