package boardmap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

var update = flag.Bool("update", false, "write golden files")

const list = "Designator,Manufacturer,MPN,DNP\nU1,ASPEED,AST2600A3,\nU2,Winbond,W25Q256JVEIQ,\nU3,Intel,WGI350AM2,\nU4,Texas Instruments,TPS1,\nU5,Winbond,W25Q256JVEIQ,DNP\n\"R1,R2\",Yageo,RC0402,\nJ1,Molex,DDR4,\nU6,Nuvoton,NPCT750AAAYX,\nU7,Texas Instruments,INA219BIDR,\n"

func bomOf(t testing.TB, text string) *board.BOM {
	t.Helper()
	b, err := board.Read("board.csv", []byte(text), nil)
	require.NoError(t, err)
	return b
}

// machine is an inventory with the parts of the list.
func machine() *bom.Inventory {
	k3 := map[string]bom.Value{"model": {Source: finding.SiliconAnswered}}
	part := func(c bom.Class, subject, path, model string, makers ...string) bom.Part {
		return bom.Part{Class: c, Subject: subject, Location: finding.Location{Path: path}, Identity: bom.Identity{Model: model, MakerIDs: makers}, Values: k3}
	}
	whole := bom.Observation{Observed: true, Whole: true}
	return &bom.Inventory{
		Parts: []bom.Part{
			part(bom.Flash, "flash:spi0.0", "spi/spi0.0", "ef4019"),
			part(bom.PCI, "pci:0000:02:00.0", "pci0000:00/1c.0/00.0", "1a03:2000 1a03:2000"),
			part(bom.PCI, "pci:0000:03:00.0", "pci0000:00/1c.1/00.0", "8086:1521 8086:0001"),
			part(bom.PCI, "pci:0000:03:00.1", "pci0000:00/1c.1/00.1", "8086:1521 8086:0001"),
			part(bom.TPM, "tpm", "", "NPCT75x", "tpm:NTC"),
		},
		Places:  []bom.Place{{Designator: "J1", Kind: "dimm"}},
		Classes: map[bom.Class]bom.Observation{bom.PCI: whole, bom.Flash: whole, bom.TPM: whole, bom.I2C: {}},
	}
}

func states(r *Report) map[string]State {
	out := map[string]State{}
	for _, p := range r.Places {
		out[p.Designator] = p.State
	}
	return out
}

func handleOf(t testing.TB, m *Map, d string) *Handle {
	t.Helper()
	for i := range m.Packages {
		if m.Packages[i].Designators[0] == d {
			require.Len(t, m.Packages[i].Handles, 1, d)
			return &m.Packages[i].Handles[0]
		}
	}
	t.Fatalf("%s is not in the map", d)
	return nil
}

// A draft takes from evidence what leaves no choice, is read again as it was
// written, and holds on the unit that it was made of.
func TestDraftFromAGoodUnit(t *testing.T) {
	b, inv := bomOf(t, list), machine()
	m := Draft(b, inv)
	require.Equal(t, "pci0000:00/1c.0/00.0", handleOf(t, m, "U1").At)
	require.Equal(t, 2, handleOf(t, m, "U3").Functions)
	require.Equal(t, []string{"8086:1521"}, handleOf(t, m, "U3").IDs)
	require.Equal(t, []string{"ef??19"}, handleOf(t, m, "U2").IDs)
	require.Equal(t, Handle{Kind: DIMM, At: "J1", Says: "presence", Source: "the machine's own tables"}, *handleOf(t, m, "J1"))
	raw, err := m.Encode()
	require.NoError(t, err)
	again, err := Read(raw)
	require.NoError(t, err)
	require.Equal(t, m, again)
	r := Compare(Input{BOM: b, Map: m, Inventory: inv})
	require.Equal(t, map[string]State{
		"U1": Matched, "U2": Matched, "U3": Matched, "U4": NotObservable, "U5": NotFitted, "R1": NotObservable, "R2": NotObservable, "J1": NotChecked, "U6": Matched, "U7": NotChecked,
	}, states(r), "the class of modules is not in this evidence, nor are I2C clients")
	require.Equal(t, map[Level]int{Observed: 4}, r.Coverage.Confirmed)
	require.Equal(t, []int{9, 1, 444}, []int{r.Coverage.Fitted, r.Coverage.NotFitted, r.Coverage.Ratio})
}

// Two flash chips that answer alike are not told apart by guessing.
func TestADraftDoesNotGuess(t *testing.T) {
	two := strings.ReplaceAll(list, "W25Q256JVEIQ,DNP", "W25Q256JVEIQ,")
	inv := machine()
	second := inv.Parts[0]
	second.Subject, second.Location.Path = "flash:spi0.1", "spi/spi0.1"
	inv.Parts = append([]bom.Part{second}, inv.Parts...)
	m := Draft(bomOf(t, two), inv)
	require.Empty(t, handleOf(t, m, "U2").At)
	require.Equal(t, NotChecked, states(Compare(Input{BOM: bomOf(t, two), Map: m, Inventory: inv}))["U2"])
}

func TestWhatContradictsAMap(t *testing.T) {
	b := bomOf(t, list)
	m := Draft(b, machine())
	for name, c := range map[string]struct {
		change func(*bom.Inventory)
		at     string
		want   State
		why    string
	}{
		"another chip answers":  {func(i *bom.Inventory) { i.Parts[1].Identity.Model = "1a03:1150 1a03:2000" }, "U1", Contradicted, "answers as 1a03:1150"},
		"another flash answers": {func(i *bom.Inventory) { i.Parts[0].Identity.Model = "c22019" }, "U2", Contradicted, "c22019"},
		"nothing answers":       {func(i *bom.Inventory) { i.Parts = append(i.Parts[:1], i.Parts[2:]...) }, "U1", Contradicted, "nothing answers"},
		"nobody looked everywhere": {func(i *bom.Inventory) {
			i.Parts = append(i.Parts[:1], i.Parts[2:]...)
			i.Classes[bom.PCI] = bom.Observation{Observed: true}
		}, "U1", NotChecked, "completely"},
		"a function is gone":    {func(i *bom.Inventory) { i.Parts = append(i.Parts[:3], i.Parts[4:]...) }, "U3", Contradicted, "1 functions"},
		"another maker's TPM":   {func(i *bom.Inventory) { i.Parts[4].Identity.MakerIDs = []string{"tpm:IFX"} }, "U6", Contradicted, "ifx"},
		"no TPM":                {func(i *bom.Inventory) { i.Parts = i.Parts[:4] }, "U6", Contradicted, "nothing answers"},
		"a chip without a name": {func(i *bom.Inventory) { i.Parts[0].Identity.Model = "" }, "U2", Present, "does not say"},
	} {
		inv := machine()
		c.change(inv)
		r := Compare(Input{BOM: b, Map: m, Inventory: inv})
		for _, p := range r.Places {
			if p.Designator == c.at {
				require.Equal(t, c.want, p.State, name)
				require.Contains(t, p.Why, c.why, name)
			}
		}
	}
}

func TestMapsThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"another format":  `{"format":"x","board":{},"packages":[]}`,
		"an unknown key":  `{"format":"assay.board-map/v1","board":{},"packages":[],"more":1}`,
		"twice":           `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1"]},{"designators":["U1"]}]}`,
		"no designator":   `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["<b>"]}]}`,
		"none":            `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":[]}]}`,
		"unknown kind":    `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1"],"handles":[{"kind":"smoke"}]}]}`,
		"everything fits": `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1"],"handles":[{"kind":"pci","ids":["????:????"]}]}]}`,
		"a whole maker":   `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1"],"handles":[{"kind":"pci","ids":["8086:????"]}]}]}`,
		"two at one":      `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1","U2"],"handles":[{"kind":"pci","at":"x"}]}]}`,
		"capitals":        `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1"],"handles":[{"kind":"pci","ids":["8086:10D3"]}]}]}`,
		"an odd word":     `{"format":"assay.board-map/v1","board":{},"packages":[{"designators":["U1"],"handles":[{"kind":"pci","says":"maybe"}]}]}`,
	} {
		_, err := Read([]byte(text))
		require.Error(t, err, name)
	}
}

// A picture says with a shape and a letter what its colours say, holds no script,
// and is the same every time.
func TestPicture(t *testing.T) {
	b := bomOf(t, list)
	p, err := board.ReadPlacement("<script>.csv", []byte("Designator,Center-X(mm),Center-Y(mm),Rotation,Layer,Comment\nU1,10,10,0,Top,\nU2,30,12,90,Top,\nU3,50,30,0,Top,\nU4,20,30,0,Bottom,\nU5,25,5,0,Top,\nR1,12,14,0,Top,\nR2,14,14,0,Bottom,\nJ1,60,20,0,Top,\nU6,70,40,0,Top,\nU9,35,35,0,Top,\"DNI_</title><script>alert(1)</script>\"\n"))
	require.NoError(t, err)
	inv := machine()
	m := Draft(b, inv)
	m.Board = Board{Manufacturer: "Example & Sons", PartNumber: "<X1>", Revision: "A\u202e"}
	inv.Parts[1].Identity.Model = "1a03:1150"
	r := Compare(Input{BOM: b, Map: m, Inventory: inv, Placement: p})
	var one, two bytes.Buffer
	require.NoError(t, r.SVG(&one))
	require.NoError(t, r.SVG(&two))
	require.Equal(t, one.String(), two.String())
	require.NotContains(t, one.String(), "<script")
	for _, word := range []string{">!<", ">M<", ">?<", "1 contradicted: open this one", `role="img"`, "Bottom, as seen from below", ">U9<"} {
		require.Contains(t, one.String(), word)
	}
	d := xml.NewDecoder(bytes.NewReader(one.Bytes()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
	golden := filepath.Join("testdata", "board.svg")
	if *update {
		require.NoError(t, os.WriteFile(golden, one.Bytes(), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), one.String())
	var walk []string
	for _, p := range r.Inspect {
		walk = append(walk, p.Designator)
	}
	require.Equal(t, []string{"U9", "U1", "U5", "U4", "U7"}, walk, "rows of the top from the upper edge down, then the bottom, then what has no position")
	require.ErrorIs(t, Compare(Input{BOM: b}).SVG(io.Discard), ErrNoPositions)
}

// The boards of the corpus give their statements without any mapping.
func TestRealBoards(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "corpus", "hardware", "boards")
	for _, c := range []struct {
		bom, placement                        string
		fitted, observed, presence, undecided int
		positions                             int
	}{
		{"antmicro-dc-scm/artix-dc-scm-bom.csv", "", 544, 10, 0, 16, 0},
		{"antmicro-dc-scm/ecp5-dc-scm-bom.csv", "", 500, 10, 0, 13, 0},
		{"ocp-time-card/Latest_V9_TimeCardV9_BOM_8-28-2023.xlsx", "ocp-time-card/Latest_V9_Pick_Place_for_TimeCard-DC-V9_EXP.csv", 377, 3, 6, 20, 399},
	} {
		raw, err := os.ReadFile(filepath.Join(dir, c.bom))
		if err != nil {
			t.Skip("needs ../shared/corpus/hardware/boards")
		}
		b, err := board.Read(c.bom, raw, nil)
		require.NoError(t, err)
		in := Input{BOM: b}
		if c.placement != "" {
			raw, err := os.ReadFile(filepath.Join(dir, c.placement))
			require.NoError(t, err)
			in.Placement, err = board.ReadPlacement(c.placement, raw)
			require.NoError(t, err)
		}
		r := Compare(in)
		k := r.Coverage.Can
		require.Equal(t, []int{c.fitted, c.observed, c.presence, c.undecided}, []int{r.Coverage.Fitted, k[Observed], k[Presence], k[Undecided]}, c.bom)
		raw, err = Draft(b, nil).Encode()
		require.NoError(t, err)
		_, err = Read(raw)
		require.NoError(t, err, c.bom)
		n := 0
		for _, p := range r.Places {
			if p.Position != nil {
				n++
			}
		}
		require.Equal(t, c.positions, n)
		if n > 0 {
			var w bytes.Buffer
			require.NoError(t, r.SVG(&w))
			require.Less(t, w.Len(), 200_000)
		}
	}
}

func FuzzRead(f *testing.F) {
	raw, err := Draft(bomOf(f, list), machine()).Encode()
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"format":"assay.board-map/v1","board":{"partNumber":"X"},"packages":[{"designators":["U1"],"handles":[{"kind":"i2c","at":"0-0050","says":"presence"}],"open":"?"}]}`))
	b, inv := bomOf(f, list), machine()
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Read(in)
		if err != nil {
			return
		}
		raw, err := m.Encode()
		require.NoError(t, err)
		_, err = Read(raw)
		require.NoError(t, err)
		r := Compare(Input{BOM: b, Map: m, Inventory: inv})
		n := 0
		for _, k := range r.Coverage.States {
			n += k
		}
		require.Len(t, r.Places, n, "every place has one state")
	})
}
