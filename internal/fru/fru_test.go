package fru

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func lab(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/lab.fru")
	require.NoError(t, err)
	return b
}

func text(s string) []byte { return append([]byte{0xc0 | byte(len(s))}, s...) }

// area pads to a multiple of eight and adds the checksum.
func area(head []byte, fields ...[]byte) []byte {
	b := append([]byte{1, 0}, head...)
	for _, f := range fields {
		b = append(b, f...)
	}
	b = append(b, 0xc1)
	for len(b)%8 != 7 {
		b = append(b, 0)
	}
	b[1] = byte((len(b) + 1) / 8)
	return append(b, -sum(b))
}

func record(kind uint8, last bool, data []byte) []byte {
	b := []byte{kind, 2, byte(len(data)), -sum(data), 0}
	if last {
		b[1] |= 0x80
	}
	b[4] = -sum(b)
	return append(b, data...)
}

// image places areas and records one after the other.
func image(chassis, board, product, records []byte) []byte {
	b := make([]byte, 8)
	b[0] = 1
	for i, part := range [][]byte{chassis, board, product, records} {
		if part == nil {
			continue
		}
		b[2+i] = byte(len(b) / 8)
		b = append(b, part...)
	}
	b[7] = -sum(b[:7])
	return b
}

func board() []byte {
	return area([]byte{25, 0x10, 0x0e, 0x00}, text("Maker"), text("Board-X"), text("S1"), text("PN-1"), text("file"), text("custom"))
}

func product() []byte {
	return area([]byte{25}, text("Maker"), text("Server"), text("PN-2"), text("v1"), text("S2"), text("tag"), text("f1"))
}

func parse(t testing.TB, b []byte) *Inventory {
	t.Helper()
	v, err := Parse(b)
	require.NoError(t, err)
	return v
}

func whats(v *Inventory) string {
	var out []string
	for _, p := range v.Problems {
		out = append(out, p.What)
	}
	return strings.Join(out, "\n")
}

func TestLabInventory(t *testing.T) {
	v := parse(t, lab(t))
	require.Empty(t, v.Problems)
	require.True(t, v.HeaderOK)
	require.NotNil(t, v.Board)
	require.True(t, v.Board.ChecksumOK)
	require.NotEmpty(t, v.Board.Manufacturer.Text)
	require.NotEmpty(t, v.Board.Serial.Text)
}

func TestAllAreas(t *testing.T) {
	psu := make([]byte, 24)
	psu[0], psu[1], psu[2], psu[3], psu[17] = 0xee, 0x02, 0xff, 0xff, 8
	records := append(record(0, false, psu), record(0xc0, true, []byte{0xa2, 0x02, 0, 7})...)
	v := parse(t, image(area([]byte{0x17}, text("CPN"), text("CS")), board(), product(), records))
	require.Empty(t, v.Problems)
	require.EqualValues(t, 0x17, v.Chassis.Type)
	require.Equal(t, "CPN", v.Chassis.PartNumber.Text)
	require.Equal(t, time.Date(1996, 1, 1, 0, 0x0e10, 0, 0, time.UTC), v.Board.Made)
	require.Equal(t, "Board-X", v.Board.Product.Text)
	require.Equal(t, "custom", v.Board.Custom[0].Text)
	require.Equal(t, []string{"Maker", "Server", "PN-2", "v1", "S2", "tag", "f1"}, []string{
		v.Product.Manufacturer.Text, v.Product.Name.Text, v.Product.PartNumber.Text, v.Product.Version.Text,
		v.Product.Serial.Text, v.Product.AssetTag.Text, v.Product.FileID.Text,
	})
	require.Equal(t, PowerSupply{Capacity: 750, HotSwap: true}, *v.Records[0].PowerSupply)
	require.EqualValues(t, 674, v.Records[1].Manufacturer)
}

// An EEPROM with one bad area still says what the others hold.
func TestOneBadAreaHidesNoOther(t *testing.T) {
	b := image(nil, board(), product(), nil)
	b[8+10]++
	v := parse(t, b)
	require.False(t, v.Board.ChecksumOK)
	require.True(t, v.Product.ChecksumOK)
	require.Equal(t, "Server", v.Product.Name.Text)
	require.Contains(t, whats(v), "board area: checksum is wrong")
}

func TestDefects(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"header checksum":  {func(b []byte) []byte { b[7]++; return b }, "common header: checksum"},
		"pad":              {func(b []byte) []byte { b[6], b[7] = 1, b[7]-1; return b }, "pad byte"},
		"area version":     {func(b []byte) []byte { b[8] = 2; return b }, "board area: format version 2"},
		"area length":      {func(b []byte) []byte { b[9] = 255; return b }, "board area: length 2040"},
		"area length zero": {func(b []byte) []byte { b[9] = 0; return b }, "board area: length 0"},
		"area outside":     {func(b []byte) []byte { b[4], b[7] = 250, b[7]-250+b[4]; return b }, "product area: starts beyond"},
		"field too long":   {func(b []byte) []byte { b[14] = 0xff; return b }, "field of 63 bytes"},
		"overlap":          {func(b []byte) []byte { b[4], b[7] = b[3], b[7]+b[4]-b[3]; return b }, "overlaps the board area"},
		"no end marker":    {func(b []byte) []byte { return image(nil, endless(), nil, nil) }, "no end marker"},
		"internal outside": {func(b []byte) []byte { b[1] = 200; return b }, "internal use area at 1600"},
		"records outside":  {func(b []byte) []byte { b[5] = 200; return b }, "multirecord: header is beyond"},
	} {
		t.Run(name, func(t *testing.T) {
			v := parse(t, c.change(image(nil, board(), product(), nil)))
			require.Contains(t, whats(v), c.want)
		})
	}
	for _, b := range [][]byte{nil, make([]byte, 7), make([]byte, 64), {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrNoHeader)
	}
}

// endless is a board area whose fields fill it to the last byte.
func endless() []byte {
	b := []byte{1, 3, 25, 0, 0, 0}
	b = append(b, text("0123456789abcde")...)
	b = append(b, 0xc0)
	b = append(b, -sum(b))
	return b
}

// The internal use area ends where the next area begins.
func TestInternalUse(t *testing.T) {
	b := image(nil, board(), nil, nil)
	inner := append([]byte{1, 'x', 'y'}, make([]byte, 5)...)
	b = append(b[:8:8], append(inner, b[8:]...)...)
	b[1], b[3] = 1, 2
	b[7] = 0
	b[7] = -sum(b[:7])
	v := parse(t, b)
	require.Empty(t, v.Problems)
	require.Equal(t, []byte("xy\x00\x00\x00\x00\x00"), v.Internal)
}

func TestBadRecords(t *testing.T) {
	good := record(0xc0, false, []byte{1, 2, 3})
	bad := record(0xc1, true, []byte{1, 2, 3})
	bad[5]++
	v := parse(t, image(nil, nil, nil, append(append([]byte{}, good...), bad...)))
	require.Len(t, v.Records, 2)
	require.False(t, v.Records[1].ChecksumOK)
	bad[4]++
	v = parse(t, image(nil, nil, nil, append(append([]byte{}, good...), bad...)))
	require.Len(t, v.Records, 1)
	require.Contains(t, whats(v), "header checksum is wrong")
	v = parse(t, image(nil, nil, nil, append(append([]byte{}, good...), make([]byte, 4096)...)))
	require.Len(t, v.Records, 1, "erased bytes are no records")
	require.Contains(t, whats(v), "no end mark")
}

// 0xC1 is the end mark and never a text of one character: what stands behind it
// is no field.
func TestEndMarkIsNoText(t *testing.T) {
	v := parse(t, image(nil, nil, area([]byte{25}, text("Maker"), []byte{0xc1, 'x'}, text("Hidden")), nil))
	require.Equal(t, "Maker", v.Product.Manufacturer.Text)
	require.Empty(t, v.Product.Name.Text)
	require.Empty(t, v.Product.Custom)
	require.Contains(t, whats(v), "bytes behind the end mark")
}

func TestTextTypes(t *testing.T) {
	for _, c := range []struct {
		field []byte
		want  string
	}{
		{[]byte{0x02, 0xab, 0xcd}, "abcd"},
		{[]byte{0x42, 0x12, 0xa3}, "12 3"},
		{[]byte{0x83, 0x29, 0xdc, 0xa6}, "IPMI"},
		{text("plain"), "plain"},
		{[]byte{0xc2, 0xe4, 0xb5}, "äµ"},
	} {
		v := parse(t, image(nil, nil, area([]byte{25}, c.field), nil))
		require.Equal(t, c.want, v.Product.Manufacturer.Text)
		require.Equal(t, 8+3, v.Product.Manufacturer.Offset)
		require.Equal(t, len(c.field), v.Product.Manufacturer.Length)
	}
	wide := parse(t, image(nil, nil, area([]byte{12}, []byte{0xc4, 0xe4, 0x00, 0x42, 0x30}), nil))
	require.Equal(t, "\u00e4\u3042", wide.Product.Manufacturer.Text)
	plain := parse(t, image(nil, nil, area([]byte{12}, text("Fujitsu1")), nil))
	require.Equal(t, "Fujitsu1", plain.Product.Manufacturer.Text, "plain ASCII under another language")
}

func FuzzParse(f *testing.F) {
	f.Add(lab(f))
	f.Add(image(area([]byte{1}, text("a")), board(), product(), record(0, true, make([]byte, 24))))
	f.Add(image(nil, endless(), nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(v.Problems), maxProblems)
		require.LessOrEqual(t, len(v.Records), maxRecords)
		if v.Board != nil {
			require.LessOrEqual(t, v.Board.Offset+v.Board.Length, len(b))
			require.LessOrEqual(t, v.Board.Serial.Offset+v.Board.Serial.Length, len(b))
		}
	})
}

// Board inventories of real carriers and servers.
func TestRealImages(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "fru")
	if _, err := os.Stat(root); err != nil {
		t.Skip("needs ../shared/corpus/hardware/fru")
	}
	files, err := filepath.Glob(filepath.Join(root, "bin-*", "*.bin"))
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	identified, clean := 0, 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		v, err := Parse(b)
		require.NoError(t, err, file)
		if v.Board != nil && v.Board.Product.Text != "" || v.Product != nil && v.Product.Name.Text != "" {
			identified++
		}
		if len(v.Problems) == 0 {
			clean++
		} else {
			t.Logf("%s: %v", filepath.Base(file), v.Problems)
		}
	}
	require.Equal(t, len(files), identified)
	t.Logf("%d images, %d without a defect", len(files), clean)
}
