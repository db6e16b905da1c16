package board

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCoverageOfRealBoards(t *testing.T) {
	for _, c := range []struct {
		file                                          string
		fitted, identity, presence, unknown, inspects int
		fpga, idcode                                  string
	}{
		{"antmicro-dc-scm/artix-dc-scm-bom.csv", 544, 10, 0, 16, 16, "U14", "03631093"},
		{"antmicro-dc-scm/ecp5-dc-scm-bom.csv", 500, 10, 0, 13, 13, "U21", "81113043"},
	} {
		b := recorded(t, c.file)
		v := b.Coverage()
		require.Equal(t, []int{c.fitted, c.identity, c.presence, c.unknown, c.inspects}, []int{v.Fitted, v.Identity, v.Presence, v.Unknown, len(v.Inspect)}, c.file)
		require.Equal(t, v.Fitted, v.Identity+v.Presence+v.Unknown+v.Silent)
		require.Equal(t, "integrated circuits", v.Classes[0].Name, "what can answer stands first")
		var fpga Answer
		for _, a := range v.Classes[0].Answers {
			if a.Designator == c.fpga {
				fpga = a
			}
		}
		require.Contains(t, fpga.ID, c.idcode)
	}
}

func TestCoverageCountsWhatIsFittedOnce(t *testing.T) {
	b, err := Read("b.csv", []byte("Designator,Manufacturer,MPN,DNP\nU1,Winbond,W25Q32JWSSIQ,\nU2,Texas Instruments,INA219BIDR,\nU3,,UNHEARD-OF,\nU4,Winbond,W25Q32JWSSIQ,DNP\nR1,Yageo,RC0402,\nU1,Winbond,W25Q32JWSSIQ,\nZZ9,,THING,\n"), nil)
	require.NoError(t, err)
	v := b.Coverage()
	require.Equal(t, []int{5, 1, 1, 2, 1, 1}, []int{v.Fitted, v.Identity, v.Presence, v.Unknown, v.Silent, v.NotFitted})
	var left []string
	for _, p := range v.Inspect {
		left = append(left, p.Designator)
	}
	require.Equal(t, []string{"U2", "U3", "ZZ9"}, left, "what cannot tell its type is for eyes, strange letters too")
}

func TestDictionary(t *testing.T) {
	for _, e := range dictionary() {
		require.NotEmpty(t, e.source, e.part)
		require.Contains(t, []string{"identity", "presence"}, e.says, e.part)
		require.Equal(t, strings.ToUpper(e.part), e.part)
		require.NotContains(t, e.part, "-")
	}
}
