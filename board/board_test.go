package board

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"
)

func recorded(t testing.TB, name string) *BOM {
	t.Helper()
	p := filepath.Join("..", "..", "shared", "corpus", "hardware", "boards", name)
	b, err := os.ReadFile(p)
	if err != nil {
		t.Skip("needs ../shared/corpus/hardware/boards/" + name)
	}
	m, err := Read(filepath.Base(name), b, nil)
	require.NoError(t, err)
	return m
}

func counts(cs []Change) map[string]int {
	out := map[string]int{}
	for _, c := range cs {
		out[c.Change]++
	}
	return out
}

// Revisions of real boards, with four layouts of headers, are read without a
// mapping. The numbers were counted by hand or by another program.
func TestRealBoards(t *testing.T) {
	tests := map[string]struct{ parts, warnings int }{
		"antmicro-dc-scm/artix-dc-scm-bom.csv":                           {544, 0},
		"antmicro-dc-scm/ecp5-dc-scm-bom.csv":                            {506, 0},
		"ocp-time-card/Archive_V0_BOM.csv":                               {163, 8},
		"ocp-time-card/Archive_V0_BOM.xlsx":                              {163, 8},
		"ocp-time-card/Archive_V7_Timingcard_PROJECT_BOMv7.xlsx":         {181, 0},
		"ocp-time-card/Latest_V9_TimeCardV9_BOM_8-28-2023.xlsx":          {382, 0},
		"ocp-time-card/Archive_V8_Pick_Place_for_TimeCard-DC-V8_EXP.csv": {288, 0},
		"ocp-ocxo-alternates/OCXO_DaughterCard_SiT5711.xlsx":             {73, 0},
		"ocp-ocxo-alternates/SA45_DaughterCard-RevX1_bom.xlsx":           {38, 0},
		"ocp-ocxo-alternates/Pick_Place_for_OCXO_DaughterCard.csv":       {88, 0},
		"ocp-time-card/Latest_V9_Pick_Place_for_TimeCard-DC-V9_EXP.csv":  {399, 0},
		"ocp-time-card/Archive_V7_Pick_Place_for_TimeCard-DC-V7_EXP.csv": {160, 0},
		"ocp-ocxo-alternates/OCXO_DaughterCard_NoOscillator.xlsx":        {72, 0},
		"ocp-ocxo-alternates/OCXO_DaughterCard_AbraconAOCJYR.xlsx":       {73, 0},
		"ocp-ocxo-alternates/OCXO_DaughterCard_RakonRFP045.xlsx":         {73, 0},
		"ocp-ocxo-alternates/OCXO_DaughterCard_RakonROD2522.xlsx":        {73, 0},
		"ocp-ocxo-alternates/OCXO_DaughterCard_SiT5501.xlsx":             {73, 0},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			m := recorded(t, name)
			require.Len(t, m.Parts, want.parts)
			require.Len(t, m.Warnings, want.warnings, "%v", m.Warnings)
			require.Empty(t, Diff(m, m))
		})
	}
}

// The two files of the first revision are one list; variants of a daughter card
// differ in the oscillator alone.
func TestRevisionsOfRealBoards(t *testing.T) {
	require.Empty(t, Diff(recorded(t, "ocp-time-card/Archive_V0_BOM.csv"), recorded(t, "ocp-time-card/Archive_V0_BOM.xlsx")))
	none := recorded(t, "ocp-ocxo-alternates/OCXO_DaughterCard_NoOscillator.xlsx")
	cs := Diff(none, recorded(t, "ocp-ocxo-alternates/OCXO_DaughterCard_SiT5711.xlsx"))
	require.Equal(t, map[string]int{"added": 1}, counts(cs))
	require.Contains(t, cs[0].New.Value, "SiT5711")
	v7, v9 := recorded(t, "ocp-time-card/Archive_V7_Timingcard_PROJECT_BOMv7.xlsx"), recorded(t, "ocp-time-card/Latest_V9_TimeCardV9_BOM_8-28-2023.xlsx")
	cs = Diff(v7, v9)
	require.Equal(t, map[string]int{"added": 205, "removed": 4, "substituted": 75, "revalued": 1, "fitted": 2}, counts(cs))
}

const small = "Ref,Qty,MPN,Value\nU1,1,AST2600,\n\"C1, C2\",2,GRM155,100n\n"

func read(t testing.TB, csv string) *BOM {
	t.Helper()
	m, err := Read("x.csv", []byte(csv), nil)
	require.NoError(t, err)
	return m
}

func TestChanges(t *testing.T) {
	tests := map[string]struct {
		now  string
		want []string
	}{
		"nothing":          {small, nil},
		"another order":    {"Value,MPN,Ref,Qty\n100n,GRM155,C2,1\n100n,grm-155,C1,1\n,AST2600,U1,1\n", nil},
		"added":            {small + "U2,1,W25Q256,\n", []string{"added U2"}},
		"removed":          {"Ref,Qty,MPN,Value\n\"C1, C2\",2,GRM155,100n\n", []string{"removed U1"}},
		"substituted":      {strings.Replace(small, "AST2600", "AST2500", 1), []string{"substituted U1"}},
		"renumbered":       {strings.Replace(small, "U1,", "U7,", 1), []string{"renumbered U1 U7"}},
		"number re-used":   {strings.Replace(small, "U1,1,AST2600,", "U2,1,AST2600,\nU1,1,W25Q256,", 1), []string{"added U1", "renumbered U1 U2"}},
		"other letters":    {strings.Replace(small, "U1,", "IC1,", 1), []string{"added IC1", "removed U1"}},
		"one of two moved": {strings.Replace(small, "C1, C2", "C1, C9", 1), []string{"renumbered C2 C9"}},
		"not fitted":       {"Ref,Qty,MPN,Value,DNP\nU1,1,AST2600,,yes\n\"C1, C2\",2,GRM155,100n,no\n", []string{"left out U1"}},
		"fitted column":    {"Ref,Qty,MPN,Value,Fitted\nU1,1,AST2600,,Not Fitted\n\"C1, C2\",2,GRM155,100n,Fitted\n", []string{"left out U1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range Diff(read(t, small), read(t, tt.now)) {
				got = append(got, strings.Join(strings.Fields(c.Change+" "+c.From+" "+c.Designator), " "))
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestNumbersThatChangedPlaces(t *testing.T) {
	old := read(t, "Ref,MPN\nU1,AST2600\nU2,W25Q256\nU3,SHT40\n")
	now := read(t, "Ref,MPN\nU1,W25Q256\nU2,AST2600\nU3,ATTINY85\n")
	var got []string
	for _, c := range Diff(old, now) {
		got = append(got, strings.Join(strings.Fields(c.Change+" "+c.From+" "+c.Designator), " "))
	}
	require.Equal(t, []string{"renumbered U2 U1", "renumbered U1 U2", "substituted U3"}, got)
}

func TestListsAsPeopleWriteThem(t *testing.T) {
	for s, want := range map[string]string{
		"C3, C4":              "C3 C4",
		"R10-R12,R5":          "R10 R11 R12 R5",
		"TIME CARD - C3, C67": "C3 C67",
		"TIME CARD-C[5-7,1]":  "C5 C6 C7 C1",
		"PROG_B1":             "PROG_B1",
		"u10b":                "U10B",
		"":                    "",
		"cable":               "",
	} {
		got, damaged := designators(s)
		require.Equal(t, want, strings.Join(got, " "), s)
		require.Empty(t, damaged, s)
	}
	for _, s := range []string{"R[10-16, R32", "R9-R1", "C1-R5", "C1-C99999", "1-1-1"} {
		_, damaged := designators(s)
		require.NotEmpty(t, damaged, s)
	}
}

func TestWarnings(t *testing.T) {
	m := read(t, "Ref,Qty,MPN\nC1,2,A\nC1,1,B\n")
	require.Len(t, m.Warnings, 2)
	require.Equal(t, 2, m.Warnings[0].Row)
	require.Contains(t, m.Warnings[1].Why, "stands in row 2 too")
}

func TestMapping(t *testing.T) {
	file := []byte("Where;What;Menge\nU1;AST2600;1\n")
	_, err := Read("x", file, nil)
	require.ErrorContains(t, err, "--map")
	m, err := ParseMapping([]byte(`{"designator":"Where","partNumber":"What","quantity":"Menge"}`))
	require.NoError(t, err)
	b, err := Read("x", file, m)
	require.NoError(t, err)
	require.Equal(t, "AST2600", b.Parts[0].PartNumber)
	_, err = Read("x", file, Mapping{"designator": "Nowhere"})
	require.Error(t, err)
	_, err = ParseMapping([]byte(`{"colour":"x"}`))
	require.ErrorContains(t, err, "unknown field")
}

func TestFilesThatAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": nil, "no table": []byte("hello"), "no header": []byte("a,b\nc,d\n"), "broken workbook": []byte("PK\x03\x04nothing"), "too long": make([]byte, MaxBytes+1),
	} {
		_, err := Read(name, b, nil)
		require.Error(t, err, name)
		require.Contains(t, err.Error(), name)
	}
}

// A file that is small and wants to become large is refused for what it is.
func TestBombs(t *testing.T) {
	wide := func(ref string, rows int) []byte {
		empty, err := excelize.NewFile().WriteToBuffer()
		require.NoError(t, err)
		in, err := zip.NewReader(bytes.NewReader(empty.Bytes()), int64(empty.Len()))
		require.NoError(t, err)
		var b bytes.Buffer
		out := zip.NewWriter(&b)
		for _, f := range in.File {
			if f.Name != "xl/worksheets/sheet1.xml" {
				require.NoError(t, out.Copy(f))
			}
		}
		w, err := out.Create("xl/worksheets/sheet1.xml")
		require.NoError(t, err)
		_, err = io.WriteString(w, `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>`+strings.Repeat(`<row><c r="`+ref+`"><v>1</v></c></row>`, rows)+`</sheetData></worksheet>`)
		require.NoError(t, err)
		require.NoError(t, out.Close())
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"a workbook of very wide rows": {wide("XFD1", 90_000), "more than 1000 columns"},
		"a workbook of many rows":      {wide("A1", 600_000), "more than 100000 rows"},
		"a workbook that expands":      {wide("A1"+strings.Repeat(" ", 140<<20), 1), "exceeds"},
		"a very wide line":             {[]byte("Ref,MPN\n" + strings.Repeat(",", 1<<20)), "line 2: more than 1000 columns"},
		"very many cells":              {[]byte("Ref,MPN\n" + strings.Repeat(strings.Repeat(",", 999)+"\n", 5000)), "4000000 cells"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read("bomb", tt.file, nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// Whatever the order of lines and columns, the list is the same.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.Permutation([]string{"U1,1,AST2600,x", "\"C1, C2\",2,GRM155,100n", "R1-R3,3,ERJ2,10k", "J1,1,,conn"}).Draw(t, "lines")
		a, err := Read("a", []byte("Ref,Qty,MPN,Value\n"+strings.Join(lines, "\n")+"\n"), nil)
		require.NoError(t, err)
		b, err := Read("b", []byte("Ref,Qty,MPN,Value\nU1,1,AST2600,x\n\"C1, C2\",2,GRM155,100n\nR1-R3,3,ERJ2,10k\nJ1,1,,conn\n"), nil)
		require.NoError(t, err)
		require.Empty(t, Diff(a, b))
		require.Len(t, a.Parts, 7)
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(small), []byte(`{"designator":"Ref"}`))
	f.Add([]byte("\xff\xfeR\x00e\x00f\x00"), []byte("{}"))
	f.Add([]byte(ipc), []byte("{}"))
	f.Add([]byte("Ref\tQty\nR[1-5,7]\t6\n"), []byte("{}"))
	f.Fuzz(func(t *testing.T, b, mapping []byte) {
		m, err := ParseMapping(mapping)
		if err != nil {
			m = nil
		}
		if bom, err := Read("x", b, m); err == nil {
			require.Empty(t, Diff(bom, bom))
			v := bom.Coverage()
			require.Equal(t, v.Fitted, v.Identity+v.Presence+v.Unknown+v.Silent)
		}
	})
}
