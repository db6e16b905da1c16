package board

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func placement(t testing.TB, name string) *Placement {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "corpus", "hardware", "boards", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/hardware/boards/" + name)
	}
	p, err := ReadPlacement(filepath.Base(name), b)
	require.NoError(t, err)
	return p
}

func TestRealPlacements(t *testing.T) {
	for name, want := range map[string]struct {
		places, bottom int
	}{
		"ocp-time-card/Latest_V9_Pick_Place_for_TimeCard-DC-V9_EXP.csv":  {399, 148},
		"ocp-time-card/Archive_V8_Pick_Place_for_TimeCard-DC-V8_EXP.csv": {288, 10},
		"ocp-time-card/Archive_V7_Pick_Place_for_TimeCard-DC-V7_EXP.csv": {160, 10},
		"ocp-ocxo-alternates/Pick_Place_for_OCXO_DaughterCard.csv":       {88, 54},
	} {
		p := placement(t, name)
		bottom := 0
		for _, x := range p.Places {
			require.NotEmpty(t, x.Side, x.Designator)
			if x.Side == "bottom" {
				bottom++
			}
		}
		require.Equal(t, "mil", p.Unit, name)
		require.Equal(t, []int{want.places, want.bottom}, []int{len(p.Places), bottom}, name)
		require.Empty(t, p.Warnings, name)
	}
	p := placement(t, "ocp-time-card/Latest_V9_Pick_Place_for_TimeCard-DC-V9_EXP.csv")
	for _, x := range p.Places {
		if x.Designator == "U34" {
			require.Equal(t, Placed{Designator: "U34", X: 5677.823, Y: -2795.343, Side: "bottom", Footprint: "IC_TPS2116", Value: "TPS2116DRLR", Row: x.Row}, x)
		}
	}
	require.InDelta(t, 144.217, p.Millimetres(5677.823), 0.001)
}

func TestFormsOfPlacements(t *testing.T) {
	for name, c := range map[string]struct{ text, unit string }{
		"KiCad, separated":   {"Ref,Val,Package,PosX,PosY,Rot,Side\n\"U1\",\"W25Q\",\"SOIC-8\",10.5,-20.25,90.0,top\n\"C1\",\"1u\",\"0402\",1,2,0,bottom\n", "mm"},
		"KiCad, text":        {"### Footprint positions - created on 2024\n## Unit = mm, Angle = deg.\n## Side : All\n# Ref     Val       Package    PosX       PosY       Rot  Side\nU1  W25Q  SOIC-8  10.5  -20.25  90.0  top\nC1 1u 0402 1 2 0 bottom\n## End\n", "mm"},
		"units in the cells": {"RefDes\tX\tY\tRotation\tLayer\nU1\t10.5mm\t-20.25mm\t90\tTopLayer\nC1\t1mm\t2mm\t0\tB\n", "mm"},
		"a plain table":      {"Designator;Mid X;Mid Y;Rotation;Layer\nU1;10.5;-20.25;90;T\nC1;1;2;0;B\n", ""},
		"a unit in brackets": {"Designator,Center-X(mm),Center-Y(mm),Rotation,Layer\nU1,10.5,-20.25,90,Top\nC1,1,2,0,Bottom\n", "mm"},
	} {
		p, err := ReadPlacement(name, []byte(c.text))
		require.NoError(t, err, name)
		require.Equal(t, c.unit, p.Unit, name)
		require.Len(t, p.Places, 2, name)
		u := p.Places[1]
		require.Equal(t, []any{"U1", 10.5, -20.25, 90.0, "top"}, []any{u.Designator, u.X, u.Y, u.Rotation, u.Side}, name)
		require.Equal(t, "bottom", p.Places[0].Side, name)
		require.Equal(t, c.unit == "", len(p.Warnings) == 1, "%s: %v", name, p.Warnings)
	}
}

func TestPlacementsThatDoNotHold(t *testing.T) {
	for name, text := range map[string]string{
		"no headers": "a,b,c\n1,2,3\n", "no rows": "Designator,X,Y\n", "nothing": "", "no part placed": "Designator,X(mm),Y(mm)\nU1,here,there\n",
	} {
		_, err := ReadPlacement(name, []byte(text))
		require.ErrorContains(t, err, name, name)
	}
	_, err := ReadPlacement("big", make([]byte, MaxBytes+1))
	require.ErrorContains(t, err, "limit")
	p, err := ReadPlacement("odd", []byte("Designator,X(mm),Y(mm),Layer\nU1,1,2,Top\nU1,3,4,Top\nU2,1mil,2,Top\nU3,1e9,2,Top\nU4,NaN,2,Top\n?!,5,6,Inner1\n"))
	require.NoError(t, err)
	require.Len(t, p.Places, 2)
	var all []string
	for _, w := range p.Warnings {
		all = append(all, w.Why)
	}
	for _, want := range []string{"U1 stands in row 2 too", "is in mil, the file in mm", "out of range", "is no number", "is no designator", "neither the top nor the bottom"} {
		require.Contains(t, strings.Join(all, "\n"), want)
	}
}

func FuzzReadPlacement(f *testing.F) {
	f.Add([]byte("Ref,Val,Package,PosX,PosY,Rot,Side\nU1,W25Q,SOIC-8,10.5,-20.25,90.0,top\n"))
	f.Add([]byte("Altium Designer Pick and Place Locations\nUnits used: mil\n\n\"Designator\",\"Comment\",\"Layer\",\"Footprint\",\"Center-X(mil)\",\"Center-Y(mil)\",\"Rotation\",\"Description\"\n\"R186\",\"10K\",\"BottomLayer\",\"R\",\"454.014\",\"-1543.654\",\"0\",\"\"\n"))
	f.Add([]byte("### x\n## Unit = mm\n# Ref Val Package PosX PosY Rot Side\nU1 a b 1 2 3 top\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := ReadPlacement("x", in)
		if err != nil {
			return
		}
		require.NotEmpty(t, p.Places)
		for _, x := range p.Places {
			require.Less(t, p.Millimetres(x.X), 1e9)
			require.Contains(t, []string{"", "top", "bottom"}, x.Side)
		}
	})
}
