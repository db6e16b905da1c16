package report_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/doctor"
	"github.com/assay-hw/assay/report"
)

var padding = regexp.MustCompile(` +\n`) // blanks behind a coloured text

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Whoever sees no colours reads the same: taking them away leaves the report that is
// written without any.
func TestColourCarriesNothingAlone(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer, report.Style) error{
		"text":  func(b *bytes.Buffer, s report.Style) error { return report.Text(b, result(), s) },
		"check": func(b *bytes.Buffer, s report.Style) error { return report.Check(b, result(), s) },
		"doctor": func(b *bytes.Buffer, s report.Style) error {
			return report.Doctor(b, &doctor.Diagnosis{Level: "L2", Checks: []doctor.Check{{Name: "tpm", State: doctor.Missing, Why: "no", Step: "do"}, {Name: "pci", State: doctor.Ready, Found: "5"}}}, s)
		},
	} {
		var plain, coloured bytes.Buffer
		require.NoError(t, write(&plain, report.Style{}))
		require.NoError(t, write(&coloured, report.Style{Color: true}))
		assert.NotEqual(t, plain.String(), coloured.String(), name)
		assert.Equal(t, padding.ReplaceAllString(plain.String(), "\n"), padding.ReplaceAllString(ansi.ReplaceAllString(coloured.String(), ""), "\n"), name)
	}
}

// A report that is read aloud has whole statements: one to a line, ended, with letters
// that a voice can say, and no blanks that stand for a table.
func TestSpokenReport(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, report.Spoken(&b, result(), report.Style{All: true}))
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	assert.True(t, strings.HasPrefix(lines[0], "Verdict: FAIL."), lines[0])
	assert.Contains(t, lines[len(lines)-1], "Verdict: FAIL.")
	for _, l := range lines {
		assert.NotEmpty(t, strings.TrimSpace(l))
		assert.NotContains(t, l, "  ", "columns")
		assert.NotRegexp(t, `^\s|[\x00-\x1f\x7f]|[#=*_-]{4,}`, l)
	}
	assert.Contains(t, b.String(), "SLOT7 PCIe x8")
}
