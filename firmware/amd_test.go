package firmware_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/measured"
)

// What AMD's security processor measures is named and not predicted. The image
// has an embedded firmware structure with one directory of each kind.
func TestPredictionOfAMD(t *testing.T) {
	p := measured.Predict(firmware.Parse("bios", firmware.AMDFlash()))
	var what []string
	for _, n := range p.NotPredicted {
		if strings.Contains(n.Reason, "not specified in public") {
			what = append(what, n.What)
		}
	}
	require.Equal(t, []string{"PCR 0: bios/BIOS", "PCR 0: psp/PSP_BOOTLOADER"}, what)
}
