package assay_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

// What no software evidence shows is told with every verdict (Z1 to Z13 of the
// threat model).
var always = []string{
	"dormant or passive part", "flash interposer", "TPM bus before the operating system", "measurer that lies", "code below the scanner", "device firmware without read-back",
	"genuine die altered", "perfect clone", "altered lot", "signer's key", "after the scan", "beside the buses", "parts without an address",
}

// Each level of evidence has blind spots of its own, which the next one takes back;
// every report names them all, whatever the verdict.
func TestBlindSpotsOfEachLevel(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, tt := range map[string]struct {
		change func(f files)
		level  string
		own    []string
	}{
		"image and quote": {func(files) {}, "L4", []string{"one view", "controller firmware"}},
		"quote":           {func(f files) { drop(f, "firmware/") }, "L3", []string{"one view", "controller firmware", "host firmware"}},
		"inventory": {func(f files) {
			drop(f, "firmware/")
			drop(f, "tpm/")
			drop(f, "sys/class/tpm/")
			drop(f, "sys/kernel/security/")
		}, "L2", []string{"one view", "controller firmware", "host firmware", "boot"}},
		"nothing": {func(f files) {
			maps.DeleteFunc(f, func(p string, _ []byte) bool { return p != "proc/version" })
			f["proc/version"] = []byte("Linux\n")
		}, "L0", []string{"one view", "host firmware", "boot"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := machine(t, "baseline")
			tt.change(f)
			r := l.verify(t, f)
			require.Equal(t, tt.level, r.Assurance.Level)
			require.ElementsMatch(t, append(tt.own, always...), report.BlindSpots(r))
			for format, write := range map[string]func(*bytes.Buffer) error{
				"text": func(b *bytes.Buffer) error { return report.Text(b, r, report.Style{Width: 4000}) },
				"json": func(b *bytes.Buffer) error { return report.JSON(b, r) }, "html": func(b *bytes.Buffer) error { return html.Write(b, r, nil) },
				"markdown": func(b *bytes.Buffer) error { return report.Markdown(b, r, nil) },
			} {
				var b bytes.Buffer
				require.NoError(t, write(&b))
				text := strings.ReplaceAll(b.String(), "&#39;", "'")
				for _, s := range append(tt.own, always...) {
					require.Contains(t, text, s, format)
				}
			}
		})
	}
}

func TestHowFarTheListOfPartsCanBeVerified(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	whole := l.verify(t, machine(t, "baseline")).Verifiability
	require.Positive(t, whole.Observed)
	require.Positive(t, whole.Claimed)
	require.Equal(t, 1, whole.Cryptographic, "the TPM signed")
	require.Equal(t, whole.Lines, whole.Cryptographic+whole.Observed+whole.Claimed+whole.PhysicalOnly+whole.Unseen)
	f := machine(t, "baseline")
	drop(f, "tpm/")
	drop(f, "sys/bus/pci/")
	less := l.verify(t, f).Verifiability
	require.Equal(t, whole.Lines, less.Lines)
	require.Zero(t, less.Cryptographic)
	require.Greater(t, less.Unseen, whole.Unseen)
	r, err := assay.Verify(assay.Case{Evidence: bundle(t, f), Now: labTime})
	require.NoError(t, err)
	require.Zero(t, r.Verifiability.Lines)
	require.NotEmpty(t, find(r, finding.BlindSpot), "without a manifest too")
}
