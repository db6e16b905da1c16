package usbdesc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func lab(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.descriptors")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		out[filepath.Base(f)] = b
	}
	return out
}

func parse(t testing.TB, b []byte) *Device {
	t.Helper()
	d, err := Parse(b)
	require.NoError(t, err)
	return d
}

func whats(d *Device) string {
	var out []string
	for _, p := range d.Problems {
		out = append(out, p.What)
	}
	return strings.Join(out, "\n")
}

func TestLabDevices(t *testing.T) {
	for name, b := range lab(t) {
		d := parse(t, b)
		require.Empty(t, d.Problems, name)
		require.Len(t, d.Configurations, 1, name)
		require.NotEmpty(t, d.Configurations[0].Interfaces[0].Endpoints, name)
	}
	hub := parse(t, lab(t)["lab-usb1.descriptors"])
	require.EqualValues(t, 0x1d6b, hub.Vendor)
	require.Equal(t, "hub", ClassName(hub.Class))
}

// A keyboard that is also a disk says so in its interfaces, whatever its device
// class is.
func TestHiddenInterfaceIsSeen(t *testing.T) {
	d := parse(t, composite())
	require.Empty(t, d.Problems)
	i := d.Configurations[0].Interfaces
	require.Len(t, i, 3)
	require.Equal(t, []string{"human interface", "mass storage", "mass storage"}, []string{ClassName(i[0].Class), ClassName(i[1].Class), ClassName(i[2].Class)})
	require.EqualValues(t, 0x21, i[0].Other[0].Type)
	require.EqualValues(t, 0x81, i[0].Endpoints[0].Address)
	require.EqualValues(t, 1, i[2].Alternate)
	require.Equal(t, 100, d.Configurations[0].MaxPower)
}

func composite() []byte {
	device := []byte{18, 1, 0, 2, 0, 0, 0, 64, 0x6b, 0x04, 0x10, 0xff, 0, 1, 1, 2, 3, 1}
	body := []byte{
		9, 4, 0, 0, 1, 3, 1, 1, 0, 9, 0x21, 0x11, 1, 0, 1, 0x22, 63, 0, 7, 5, 0x81, 3, 8, 0, 10,
		9, 4, 1, 0, 0, 8, 6, 80, 0, 9, 4, 1, 1, 0, 8, 6, 98, 0,
	}
	config := []byte{9, 2, byte(9 + len(body)), 0, 2, 1, 0, 0x80, 50}
	return append(append(device, config...), body...)
}

func TestDefects(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"length zero":          {func(b []byte) []byte { b[27] = 0; return b }, "descriptor of 0 bytes"},
		"length beyond":        {func(b []byte) []byte { b[27] = 255; return b }, "descriptor of 255 bytes"},
		"cut":                  {func(b []byte) []byte { return b[:len(b)-1] }, "left"},
		"interface count":      {func(b []byte) []byte { b[22] = 3; return b }, "3 interfaces announced, 2 present"},
		"configuration count":  {func(b []byte) []byte { b[17] = 4; return b }, "4 configurations announced"},
		"total length":         {func(b []byte) []byte { b[20], b[21] = 0xff, 0xff; return b }, "configuration of 65535"},
		"interface first":      {func(b []byte) []byte { b[19] = 4; return b }, "before the first configuration"},
		"endpoint first":       {func(b []byte) []byte { b[28] = 5; return b }, "endpoint before the first interface"},
		"short endpoint":       {func(b []byte) []byte { b[45], b[52] = 3, 4; return b[:48] }, "has only 3 bytes"},
		"more interfaces than": {func(b []byte) []byte { return append(b, flood()...) }, "more than 1024 interfaces"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, whats(parse(t, c.change(composite()))), c.want)
		})
	}
	for _, b := range [][]byte{nil, make([]byte, 18), composite()[:17]} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrNoDevice)
	}
}

// An association descriptor stands before its interfaces and is no defect.
func TestAssociationBeforeInterfaces(t *testing.T) {
	b := composite()
	b = append(b[:27:27], append([]byte{8, 11, 0, 2, 8, 6, 80, 0}, b[27:]...)...)
	b[20] += 8
	require.Empty(t, parse(t, b).Problems)
}

func flood() []byte {
	var b []byte
	for range maxInterfaces {
		b = append(b, 9, 4, 1, 2, 0, 8, 6, 80, 0)
	}
	return b
}

func FuzzParse(f *testing.F) {
	for _, b := range lab(f) {
		f.Add(b)
	}
	f.Add(composite())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(d.Problems), maxProblems)
		for _, c := range d.Configurations {
			require.Less(t, c.Offset, len(b))
		}
	})
}
