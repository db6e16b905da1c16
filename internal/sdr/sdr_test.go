package sdr

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// record puts a header before a body and a text behind it. Bodies begin at byte
// 6 of the tables in chapter 43.
func record(kind uint8, body []byte, text []byte) []byte {
	all := append(append([]byte{}, body...), text...)
	return append([]byte{1, 0, 0x51, kind, byte(len(all))}, all...)
}

func ascii(s string) []byte { return append([]byte{0xc0 | byte(len(s))}, s...) }

func repository() []byte {
	full := make([]byte, 42)
	copy(full, []byte{0x20, 0, 0x30, 7, 1, 0, 0, 1}) // owner, lun, number, entity, instance, -, -, type
	compact := make([]byte, 26)
	copy(compact, []byte{0x20, 0, 0x31, 10, 1, 0, 0, 8})
	var b []byte
	b = append(b, record(0x01, full, ascii("Inlet Temp"))...)
	b = append(b, record(0x02, compact, ascii("PSU1 Status"))...)
	b = append(b, record(0x11, []byte{0x20, 3, 0x80, 0x00, 0, 0x10, 0, 10, 1, 0}, ascii("PSU1 FRU"))...)
	b = append(b, record(0x11, []byte{0x20, 0xa2, 0x02, 0x60, 0, 0x0e, 0, 32, 2, 0}, ascii("DIMM"))...)
	b = append(b, record(0x12, []byte{0x2c, 0x06, 0, 0x3f, 0, 0, 0, 46, 1, 0}, ascii("ME"))...)
	b = append(b, record(0x10, []byte{0x21, 0x90, 0x41, 0, 0, 0x08, 0, 7, 1, 0}, []byte{0x83, 0x29, 0xdc, 0xa6})...)
	b = append(b, record(0xc0, []byte{1, 2, 3}, nil)...)
	return b
}

func TestRecordsAreSortedByType(t *testing.T) {
	r := Parse(repository())
	require.Empty(t, r.Problems)
	require.Equal(t, 1, r.Others)
	require.Equal(t, Sensor{Offset: 0, Length: 58, Owner: 0x20, Number: 0x30, Type: 1, Entity: Entity{7, 1}, Name: "Inlet Temp"}, r.Sensors[0])
	require.Equal(t, "PSU1 Status", r.Sensors[1].Name)
	for i, want := range []Device{
		{Kind: FRU, Address: 0x20, ID: 3, Logical: true, Type: 0x10, Entity: Entity{10, 1}, Name: "PSU1 FRU"},
		{Kind: FRU, Address: 0x20, ID: 0xa2, Bus: 2, Channel: 6, Type: 0x0e, Entity: Entity{32, 2}, Name: "DIMM"},
		{Kind: Controller, Address: 0x2c, Channel: 6, Entity: Entity{46, 1}, Name: "ME"},
		{Kind: Generic, Address: 0x20, ID: 0x90, Channel: 10, Bus: 1, Type: 8, Entity: Entity{7, 1}, Name: "IPMI"},
	} {
		got := r.Devices[i]
		got.Offset, got.Length = 0, 0
		require.Equal(t, want, got)
	}
}

func TestBrokenRecordsAreTold(t *testing.T) {
	good := repository()
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"cut in a header":      {good[:3], "3 bytes are no record"},
		"cut in a record":      {good[:20], "a record of 58 bytes, 20 left"},
		"too short a record":   {record(0x12, []byte{0x20}, nil), "a record of type 0x12 has only 6 bytes"},
		"a text without bytes": {record(0x12, make([]byte, 10), []byte{0xdf, 'x'}), "a text of 31 bytes, 1 left"},
	} {
		r := Parse(c.b)
		require.Len(t, r.Problems, 1, name)
		require.Equal(t, c.want, r.Problems[0].What, name)
	}
	long := make([]byte, 5*(maxRecords+10))
	r := Parse(long)
	require.Equal(t, maxRecords, r.Others)
	require.Contains(t, r.Problems[0].What, "more than")
	require.Empty(t, Parse(nil).Problems)
}

func FuzzParse(f *testing.F) {
	f.Add(repository())
	f.Add(repository()[:40])
	f.Add(record(0x11, make([]byte, 10), []byte{0x1f, 'x'}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Parse(b)
		require.LessOrEqual(t, len(r.Sensors)+len(r.Devices)+r.Others, len(b)/header)
		require.LessOrEqual(t, len(r.Problems), maxProblems)
		for _, d := range r.Devices {
			require.LessOrEqual(t, d.Offset+d.Length, len(b))
			require.LessOrEqual(t, d.Channel, uint8(15))
			require.NotEmpty(t, d.Kind.String())
		}
		for _, s := range r.Sensors {
			require.LessOrEqual(t, s.Offset+s.Length, len(b))
		}
	})
}
