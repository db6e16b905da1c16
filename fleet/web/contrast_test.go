package web

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every colour of text is read on every colour that it may stand on, in light, in
// dark and on paper: 4.5 to 1 (WCAG 2.2, 1.4.3); what shows the focus and what
// plots draw, 3 to 1 (1.4.11).
func TestContrast(t *testing.T) {
	raw, err := os.ReadFile("assets/assay.css")
	require.NoError(t, err)
	schemes := schemesOf(t, string(raw))
	require.Len(t, schemes, 3)
	for name, c := range schemes {
		for _, under := range []string{"bg", "panel", "tint"} {
			for _, text := range []string{"fg", "dim", "link", "pass", "fail", "error", "stale", "inconclusive", "review"} {
				require.GreaterOrEqual(t, ratio(t, c[text], c[under]), 4.5, "%s: --%s on --%s", name, text, under)
			}
			require.GreaterOrEqual(t, ratio(t, c["focus"], c[under]), 3.0, "%s: the focus on --%s", name, under)
		}
		require.GreaterOrEqual(t, ratio(t, c["bg"], c["link"]), 4.5, "%s: buttons", name)
		require.GreaterOrEqual(t, ratio(t, c["bg"], c["fail"]), 4.5, "%s: buttons that take something away", name)
	}
}

// No colour of text is written anywhere but in the lists that are checked.
func TestColoursStandInOnePlace(t *testing.T) {
	raw, err := os.ReadFile("assets/assay.css")
	require.NoError(t, err)
	rules := regexp.MustCompile(`(?s):root \{.*?\}`).ReplaceAllString(string(raw), "")
	for _, m := range regexp.MustCompile(`[a-z-]*color: *[^;]+`).FindAllString(rules, -1) {
		require.Regexp(t, `: *(var\(--[a-z]+\)|inherit|currentColor)`, m)
	}
}

// schemesOf reads the variables of each list of colours. One that changes a few
// has the others of the first.
func schemesOf(t *testing.T, css string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	blocks := regexp.MustCompile(`(?s)(@media \([a-z-]+: dark\) \{\s*|@media print \{\s*)?:root \{(.*?)\}`).FindAllStringSubmatch(css, -1)
	for _, b := range blocks {
		name := "light"
		if strings.Contains(b[1], "dark") {
			name = "dark"
		} else if b[1] != "" {
			name = "print"
		}
		out[name] = map[string]string{}
		for k, v := range out["light"] {
			out[name][k] = v
		}
		for _, v := range regexp.MustCompile(`--([a-z]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(b[2], -1) {
			out[name][v[1]] = v[2]
		}
	}
	return out
}

// ratio is the contrast of two colours (WCAG 2.2, relative luminance).
func ratio(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, c string) float64 {
	t.Helper()
	require.Len(t, c, 7, "no colour")
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(c[1+2*i:3+2*i], 16, 8)
		require.NoError(t, err)
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
