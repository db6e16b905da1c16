package cohort

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOdd(t *testing.T) {
	counts := map[string]int{"nic": 40, "bios 1": 38, "bios 2": 2, "implant": 1, "raid": 39}
	require.Empty(t, Odd(40, counts, []string{"nic", "bios 1", "raid"}))
	got := Odd(40, counts, []string{"nic", "bios 2", "implant"})
	var names []string
	for _, o := range got {
		names = append(names, o.Feature)
	}
	require.Equal(t, []string{"implant", "raid", "bios 2", "bios 1"}, names, "what one machine has comes first")
	require.True(t, got[1].Lacks)
	require.InDelta(t, math.Log2(40), got[0].Bits, 1e-9)
	require.Empty(t, Odd(4, map[string]int{"implant": 1}, []string{"implant"}), "four machines are no fleet")
	require.Empty(t, Odd(40, map[string]int{"serial 1": 20, "serial 2": 20}, []string{"serial 1"}), "two halves have no outlier")
}

// Memory that each machine has of its own is what they have in common; a function
// that one has is not.
func TestVarietyIsNoOddity(t *testing.T) {
	counts := map[string]int{"part pci 1d6a:00b1 x1": 1, "part pci 8086:1533 x2": 30}
	for i := range 30 {
		counts[fmt.Sprintf("part memory M%d x2", i)] = 1
	}
	got := Odd(30, counts, []string{"part memory M3 x2", "part pci 1d6a:00b1 x1", "part pci 8086:1533 x2"})
	require.Len(t, got, 1)
	require.Equal(t, "part pci 1d6a:00b1 x1", got[0].Feature)
	require.Empty(t, Odd(30, counts, []string{"part memory M4 x2", "part pci 8086:1533 x2"}))
	// Two machines that differ, each in its own way, are both odd.
	counts = map[string]int{"part pci a x1": 1, "part pci b x1": 1}
	require.Len(t, Odd(10, counts, []string{"part pci a x1"}), 1)
	require.Len(t, Odd(10, counts, []string{"part pci b x1"}), 1)
}

// The values of the lady tasting tea and of a table in R's fisher.test
// (alternative "greater").
func TestFisherExact(t *testing.T) {
	for _, tc := range []struct {
		a, b, c, d int
		want       float64
	}{
		{3, 1, 1, 3, 0.2428571}, {4, 0, 0, 4, 1.0 / 70}, {0, 4, 4, 0, 1}, {10, 2, 3, 15, 0.0004651809}, {5, 5, 5, 5, 0.6718591}, {0, 0, 0, 0, 1}, {8, 0, 0, 0, 1},
	} {
		require.InDelta(t, tc.want, FisherExact(tc.a, tc.b, tc.c, tc.d), 1e-6, "%v", tc)
	}
}

// Exact: the sum over all tables with these margins is one.
func TestFisherIsADistribution(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row, rest := rapid.IntRange(0, 30).Draw(t, "lot"), rapid.IntRange(0, 60).Draw(t, "rest")
		col := rapid.IntRange(0, row+rest).Draw(t, "deviating")
		low := max(0, col-rest)
		require.InDelta(t, 1, FisherExact(low, row-low, col-low, rest-(col-low)), 1e-9)
		last := 1.0
		for a := low; a <= min(row, col); a++ {
			p := FisherExact(a, row-a, col-a, rest-(col-a))
			require.LessOrEqual(t, p, last+1e-12)
			last = p
		}
	})
}

func TestByLot(t *testing.T) {
	lot := map[string]int{"nic": 12, "implant": 9, "bios 2": 3}
	rest := map[string]int{"nic": 100, "bios 2": 20}
	got := ByLot("L7", lot, 12, rest, 100)
	require.Len(t, got, 1)
	require.Equal(t, "implant", got[0].Feature)
	require.Less(t, got[0].P, 1e-8)
	require.True(t, math.IsInf(got[0].Lift, 1))
	require.Empty(t, ByLot("L7", map[string]int{"implant": 1}, 12, rest, 100), "one of a lot is an outlier, no lot")
	require.Empty(t, ByLot("L7", lot, 12, nil, 0), "with nothing to compare")
}
