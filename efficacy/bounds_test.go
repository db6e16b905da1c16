package efficacy_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/efficacy"
)

func TestBoundsAreThePublishedOnes(t *testing.T) {
	for _, c := range []struct {
		hits, n   int
		low, high float64
	}{
		// Newcombe, Statistics in Medicine 17 (1998), table I: the exact method.
		{81, 263, 0.2527, 0.3676},
		{15, 148, 0.0578, 0.1617},
		{0, 20, 0, 0.1684},
		{1, 29, 0.0009, 0.1776},
		// Closed forms at the ends: 1-(tail)^(1/n).
		{0, 10, 0, 0.3085},
		{10, 10, 0.6915, 1},
		{0, 100, 0, 0.0362},
		{5, 10, 0.1871, 0.8129},
	} {
		low, high := efficacy.Bounds(c.hits, c.n, 0.95)
		require.InDelta(t, c.low, low, 5e-5, "%d of %d", c.hits, c.n)
		require.InDelta(t, c.high, high, 5e-5, "%d of %d", c.hits, c.n)
	}
	_, high := efficacy.Bounds(0, 1000, 0.95)
	require.InDelta(t, 1-math.Pow(0.025, 1.0/1000), high, 1e-9)
	low, high := efficacy.Bounds(3, 0, 0.95)
	require.Equal(t, []float64{0, 1}, []float64{low, high}, "no trial says nothing")
}
