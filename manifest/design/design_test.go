package design_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest/design"
)

func TestBoard(t *testing.T) {
	b, err := board.Read("mb.csv", []byte("RefDes,Qty,Manufacturer,MPN,Value,Footprint,Description,DNP,Colour\n"+
		"U1,1,Winbond,W25Q256JVEIQ,,WSON8,flash,,black\n\"R1,R2\",2,Yageo,RC0402,10K,0402,,,\nR3,1,Yageo,RC0402,10K,0402,,DNP,\n,4,3M,SJ-5302,,,foot,,\n"), nil)
	require.NoError(t, err)
	m, lost, err := design.Import(b)
	require.NoError(t, err)
	require.Len(t, m.Components, 3)
	require.Equal(t, map[bom.Class]bom.Closure{bom.Electronic: bom.Open}, m.Classes)
	byID := map[string]bom.Reference{}
	for _, r := range m.Components {
		require.Equal(t, "physical-only", r.Verifiability)
		require.Equal(t, r.ID, r.Location.Designator)
		byID[r.ID] = r
	}
	u1 := byID["U1"]
	require.Equal(t, bom.Identity{Maker: "Winbond", PartNumber: "W25Q256JVEIQ"}, u1.Identity)
	require.Equal(t, "flash", u1.Note)
	require.Equal(t, map[string]string{"value": "10K", "footprint": "0402"}, byID["R2"].Attributes)
	text := fmt.Sprint(lost)
	for _, told := range []string{"R3: not fitted: Yageo RC0402 10K", "row 5: has no place: 3M SJ-5302 foot", "column Colour"} {
		require.Contains(t, text, told)
	}
}

func TestAlternatesOfIPC2581(t *testing.T) {
	b := &board.BOM{
		Name: "b", Assembly: "MB-1", Revision: "C", Parts: []board.Part{{Designator: "U1", Maker: "Winbond", PartNumber: "W25Q256JV"}},
		Alternates: map[string][]board.Alternate{"U1": {{Maker: "Macronix", PartNumber: "MX25L25645"}, {Maker: "Macronix", PartNumber: "MX25L25645"}, {}}},
	}
	m, lost, err := design.Import(b)
	require.NoError(t, err)
	require.Empty(t, lost)
	require.Equal(t, []bom.Identity{{Maker: "Macronix", PartNumber: "MX25L25645"}}, m.Components[0].Alternates)
	require.Equal(t, []string{"MB-1", "C"}, []string{m.Environment.Model, m.Environment.Revision})
}

// What stands twice is one line, and told.
func TestAPlaceThatStandsTwice(t *testing.T) {
	b := &board.BOM{Name: "b", Parts: []board.Part{{Designator: "U1", PartNumber: "A", Row: 2}, {Designator: "U1", PartNumber: "B", Row: 3}}}
	m, lost, err := design.Import(b)
	require.NoError(t, err)
	require.Len(t, m.Components, 1)
	require.Contains(t, fmt.Sprint(lost), "U1: stands in row 3 again: B")
	_, _, err = design.Import(&board.BOM{Name: "b"})
	require.ErrorContains(t, err, "no part has a place")
}

func TestPublicBoards(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "boards")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs shared/corpus/hardware/boards beside the checkout")
	}
	read := 0
	for _, pattern := range []string{"*/*.csv", "*/*.xlsx"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, n := range names {
			data, err := os.ReadFile(n)
			require.NoError(t, err)
			b, err := board.Read(filepath.Base(n), data, nil)
			if err != nil {
				require.ErrorContains(t, err, filepath.Base(n))
				t.Log(err)
				continue
			}
			m, lost, err := design.Import(b)
			require.NoError(t, err, n)
			read++
			fitted := map[string]bool{}
			for _, p := range b.Parts {
				fitted[p.Designator] = fitted[p.Designator] || !p.NotFitted
			}
			lines := 0
			for _, f := range fitted {
				if f {
					lines++
				}
			}
			require.Len(t, m.Components, lines, n)
			if !strings.Contains(n, "Pick") {
				t.Logf("%s: %d lines, %d lost", filepath.Base(n), len(m.Components), len(lost))
			}
		}
	}
	require.NotZero(t, read)
}
