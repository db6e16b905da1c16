package bom_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fixture"
)

// A port is held against the organisation that its declared address belongs to.
func TestOrganisationOfAPort(t *testing.T) {
	want := []bom.Reference{line("network port", "1", func(r *bom.Reference) {
		r.Class, r.Identity.MakerIDs = bom.Network, []string{"oui:ac1f6b"} // Super Micro Computer
	})}
	for name, c := range map[string]struct{ address, got string }{
		"of its maker":                 {"ac:1f:6b:00:42:01", ""},
		"of its maker's other block":   {"3c:ec:ef:00:42:01", ""},
		"of another maker":             {"00:1b:21:00:42:01", "Intel Corporate: 00:1b:21:00:42:01"},
		"of nobody":                    {"52:54:00:12:34:56", "nobody: 52:54:00:12:34:56"},
		"of nobody that the table has": {"fc:ff:fc:00:00:01", ""},
		"no address":                   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inv := whole(card("network port", "1", func(p *bom.Part) { p.Class, p.Identity.Serial = bom.Network, c.address }))
			fs := bom.Match(want, map[bom.Class]bom.Closure{bom.Network: bom.Closed}, inv).Findings
			if c.got == "" {
				require.Empty(t, fs)
				return
			}
			require.Len(t, fs, 1)
			require.Equal(t, finding.MACNotOfMaker, fs[0].Code)
			require.Equal(t, "Super Micro Computer, Inc.", fs[0].Want)
			require.Equal(t, c.got, fs[0].Got)
		})
	}
}

// Units whose ports have addresses of different organisations declare none.
func TestOrganisationsOfSeveralUnits(t *testing.T) {
	for _, class := range []bom.Class{bom.Network, bom.LAN} {
		unit := func(oui, name string) []bom.Reference {
			return []bom.Reference{line("network port", "1", func(r *bom.Reference) {
				r.Class, r.Identity.MakerIDs, r.Identity.Name = class, []string{"oui:" + oui}, name
			})}
		}
		lines, _ := bom.Merge([][]bom.Reference{unit("ac1f6b", "Super Micro Computer, Inc."), unit("001b21", "Intel Corporate")})
		require.Empty(t, lines[0].Identity.MakerIDs, class)
		lines, _ = bom.Merge([][]bom.Reference{unit("ac1f6b", "Super Micro Computer, Inc."), unit("3cecef", "Super Micro Computer, Inc.")})
		require.Len(t, lines[0].Identity.MakerIDs, 1, class)
	}
}

// Makers number their modules alike; a number of another form is not theirs.
func TestNumbersOfModules(t *testing.T) {
	base, err := fixture.Machine("..", "baseline")
	require.NoError(t, err)
	const spd = "sys/bus/i2c/devices/0-0050/eeprom"
	at := bytes.Index(base[spd], []byte("9ASF1G72PZ-2G9E1"))
	require.Positive(t, at)
	for name, c := range map[string]struct {
		maker  [2]byte
		number string
		odd    bool
	}{
		"as it is":                {[2]byte{0x80, 0x2c}, "9ASF1G72PZ-2G9E1", false},
		"Micron in full":          {[2]byte{0x80, 0x2c}, "MT36JSZF51272PZ ", false},
		"Micron as Crucial":       {[2]byte{0x80, 0x2c}, "CT51264BF160B.M ", false},
		"Micron with Hynix's":     {[2]byte{0x80, 0x2c}, "HMT42GR7AMR4C-PB", true},
		"Samsung":                 {[2]byte{0x80, 0xce}, "M393B2G70BH0-CK0", false},
		"Samsung, small letters":  {[2]byte{0x80, 0xce}, "m393b2g70bh0-ck0", false},
		"Samsung with a broker's": {[2]byte{0x80, 0xce}, "WL3UE808G13LSD  ", true},
		"Hynix":                   {[2]byte{0x80, 0xad}, "HMT42GR7AFR4C-RD", false},
		"Hynix with Samsung's":    {[2]byte{0x80, 0xad}, "M393B2G70BH0-CK0", true},
		"a maker of many brands":  {[2]byte{0x01, 0x98}, "99U5471-052.A00L", false},
		"a number never written":  {[2]byte{0x80, 0xce}, "                ", false},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := fixture.Machine("..", "baseline")
			require.NoError(t, err)
			b := bytes.Clone(f[spd])
			copy(b[117:], c.maker[:])
			copy(b[at:], c.number)
			f[spd] = b
			bundle, err := evidence.FromFiles(f, "test", evidence.Limits{})
			require.NoError(t, err)
			inv := bom.Read(bundle)
			n := 0
			for _, x := range inv.Findings {
				if x.Code == finding.PartNumberGrammar {
					n++
					require.Equal(t, "dimm:P1-DIMMA1", x.Subject)
				}
			}
			require.Equal(t, c.odd, n == 1, "%d", n)
		})
	}
}
