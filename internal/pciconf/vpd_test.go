package pciconf

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func large(tag byte, body []byte) []byte {
	return append([]byte{tag | 0x80, byte(len(body)), byte(len(body) >> 8)}, body...)
}

func keyword(name, value string) []byte {
	return append([]byte{name[0], name[1], byte(len(value))}, value...)
}

// vpd builds data with a right checksum.
func vpd() []byte {
	b := large(0x02, []byte("Ethernet Adapter"))
	var fields []byte
	for _, f := range [][2]string{{"PN", "X710-DA2  "}, {"EC", "A3"}, {"SN", "LAB0001"}, {"MN", "1028"}, {"V0", "x"}} {
		fields = append(fields, keyword(f[0], f[1])...)
	}
	fields = append(fields, keyword("RV", "\x00\x00\x00")...)
	b = append(b, large(0x10, fields)...)
	b[len(b)-3] = -sum(b[:len(b)-2])
	b = append(b, large(0x11, keyword("Y1", "asset"))...)
	return append(b, 0x78)
}

func TestVPD(t *testing.T) {
	b := vpd()
	v, err := ParseVPD(append(b, make([]byte, 100)...))
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	require.Equal(t, "Ethernet Adapter", v.Name)
	require.Equal(t, "X710-DA2", v.Field("PN"))
	require.Equal(t, "LAB0001", v.Field("SN"))
	require.Empty(t, v.Field("ZZ"))
	require.Equal(t, VPDChecksumGood, v.Checksum)
	require.Equal(t, len(b), v.Length)
	last := v.Fields[len(v.Fields)-1]
	require.True(t, last.Write)
	require.Equal(t, "asset", string(b[last.Offset:last.Offset+5]))
}

// One changed digit of a serial number breaks the checksum.
func TestVPDChecksumFindsAnEdit(t *testing.T) {
	b := vpd()
	v, err := ParseVPD(b)
	require.NoError(t, err)
	for _, f := range v.Fields {
		if f.Keyword == "SN" {
			b[f.Offset]++
		}
	}
	v, err = ParseVPD(b)
	require.NoError(t, err)
	require.Equal(t, VPDChecksumBad, v.Checksum)
	require.Contains(t, whats(v.Problems), "checksum is wrong")
}

func TestHostileVPD(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want string
		none bool
	}{
		"erased":           {make([]byte, 256), "no resource", true},
		"all ones":         {[]byte{0xff, 0xff, 0xff, 0xff}, "no resource", true},
		"header cut":       {[]byte{0x82, 1}, "cut off", true},
		"empty":            {nil, "no end tag", true},
		"resource too big": {[]byte{0x82, 0xff, 0xff, 'N'}, "cut off after 1", false},
		"keyword too big":  {large(0x10, []byte{'P', 'N', 200, 'x'}), "cut off after 1", false},
		"keyword cut":      {append(large(0x02, []byte("N")), large(0x10, []byte{'P'})...), "keyword header", false},
		"unknown resource": {append(large(0x02, []byte("N")), large(0x20, []byte{1, 2})...), "unknown large resource", false},
		"endless":          {make([]byte, 1<<16), "at most 32768", true},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := ParseVPD(c.b)
			if c.none {
				require.ErrorIs(t, err, ErrNoVPD)
			} else {
				require.NoError(t, err)
			}
			require.Contains(t, whats(v.Problems), c.want)
		})
	}
}

func FuzzParseVPD(f *testing.F) {
	f.Add(vpd())
	f.Add([]byte{0x82, 0xff, 0xff, 'N'})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _ := ParseVPD(b)
		require.LessOrEqual(t, len(v.Fields), 1024)
		for _, x := range v.Fields {
			require.Equal(t, x.Value, string(b[x.Offset:x.Offset+len(x.Value)]))
		}
	})
}
