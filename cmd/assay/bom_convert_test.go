package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/board"
)

// A board that was written as a table or as JSON has the same parts again,
// whatever is in its cells: separators, quotes, formulas, apostrophes.
func TestABoardComesBack(t *testing.T) {
	cell := rapid.Custom(func(t *rapid.T) string {
		s := rapid.StringOfN(rapid.SampledFrom([]rune(`aZ9=+-@'";,:|µ Ω./#`)), 0, 12, -1).Draw(t, "cell")
		return strings.TrimSpace(s)
	})
	rapid.Check(t, func(t *rapid.T) {
		b := &board.BOM{Name: "x.csv", Parts: []board.Part{}, Loose: []board.Part{}}
		for i := range rapid.IntRange(2, 8).Draw(t, "parts") {
			b.Parts = append(b.Parts, board.Part{
				Designator: fmt.Sprintf("U%d", i+1), Maker: cell.Draw(t, "maker"), PartNumber: cell.Draw(t, "number"), Value: cell.Draw(t, "value"),
				Footprint: cell.Draw(t, "footprint"), Description: cell.Draw(t, "description"), NotFitted: rapid.Bool().Draw(t, "fitted"),
				X: float64(rapid.IntRange(-9999, 9999).Draw(t, "x")) / 8, Layer: rapid.SampledFrom([]string{"", "TOP", "BOTTOM"}).Draw(t, "layer"),
			})
		}
		var w bytes.Buffer
		require.NoError(t, boardCSV(&w, b))
		got, err := board.Read("x.csv", w.Bytes(), nil)
		require.NoError(t, err)
		for i := range got.Parts {
			got.Parts[i].Row = 0
		}
		require.Equal(t, b.Parts, got.Parts)
		require.Empty(t, got.Warnings)
		for line := range strings.SplitSeq(w.String(), "\n") {
			for _, start := range []string{`"=`, `"+`, `"@`} {
				require.False(t, strings.HasPrefix(line, start) || strings.Contains(line, ","+start), "a formula: %s", line)
			}
		}

		j, err := json.Marshal(b)
		require.NoError(t, err)
		var again board.BOM
		require.NoError(t, json.Unmarshal(j, &again))
		require.Equal(t, b.Parts, again.Parts)
	})
}
