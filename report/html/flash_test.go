package html_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/report/html"
)

func flash(t *testing.T, name string) *firmware.Image {
	t.Helper()
	files, err := fixture.Machine("../..", name)
	require.NoError(t, err)
	return firmware.Parse(name, files["firmware/bios.rom"])
}

func page(t *testing.T, f html.Flash) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, html.WriteFlash(&b, f))
	return b.String()
}

var rect = regexp.MustCompile(`<rect x="([0-9.]+)" y="(\d+)" width="([0-9.]+)" height="18" fill="(?:hsl|#f0)`)

// Every byte of the image has its place on the map.
func TestMapIsToScale(t *testing.T) {
	m := flash(t, "baseline")
	area := 0.0
	for _, r := range rect.FindAllStringSubmatch(page(t, html.Only(m)), -1) {
		w, err := strconv.ParseFloat(r[3], 64)
		require.NoError(t, err)
		area += w
	}
	const row = 128 << 10
	require.InDelta(t, float64(m.Size)/row*1024, area, 1)
}

func TestPageOfADifference(t *testing.T) {
	a, b := flash(t, "baseline"), flash(t, "fw-patched-dxe")
	p := page(t, html.Flash{Title: "a < b", Images: []*firmware.Image{a, b}, Changes: firmware.Diff(a, b), Compared: true})
	require.Contains(t, p, "a &lt; b")
	require.Contains(t, p, "DXE driver UefiPxeBcDxe")
	require.Equal(t, 2, strings.Count(p, `<strong class="changed">changed</strong>`), "one part of each image")
	require.NotContains(t, p, "<script")
	require.Contains(t, page(t, html.Flash{Title: "same", Images: []*firmware.Image{a}, Compared: true}), "No differences.")
}

// Names in an image are an attacker's.
func TestHostileNamesStayText(t *testing.T) {
	m := firmware.Parse(`<img src=x onerror=alert(1)>`, []byte("no firmware"))
	m.Artifact = `"><script>alert(1)</script>`
	p := page(t, html.Only(m))
	require.NotContains(t, p, "<script")
	require.NotContains(t, p, "<img")
	d := xml.NewDecoder(strings.NewReader(p[strings.Index(p, "<svg") : strings.Index(p, "</svg>")+6]))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
	}
}
