package bom_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/drvinfo"
)

// driven is the reference machine with what the driver of one port says.
func driven(t *testing.T, firmware, bus string) (f tree, subject string) {
	t.Helper()
	f = lab(t)
	for name := range f {
		dir, ok := strings.CutSuffix(name, "/path")
		if !ok || !strings.HasPrefix(dir, "sys/class/net/") || !strings.Contains(string(f[name]), ":05:00.0") {
			continue
		}
		b := make([]byte, drvinfo.Size)
		copy(b[4:], "igb")
		copy(b[drvinfo.FirmwareOffset:], firmware)
		copy(b[drvinfo.BusOffset:], bus)
		f[dir+"/ethtool"] = b
		return f, "network:0000:05:00.0"
	}
	require.Fail(t, "the reference machine has no such port")
	return nil, ""
}

func TestFirmwareOfAPortIsCompared(t *testing.T) {
	f, subject := driven(t, "3.25, 0x800004d1", "0000:05:00.0")
	inv := read(t, f)
	require.Equal(t, "3.25, 0x800004d1", part(t, inv, subject).Identity.Firmware)
	require.Equal(t, findings(read(t, lab(t)), finding.SourcesContradict), findings(inv, finding.SourcesContradict))
	refs, closures := bom.Draft(inv, true)

	same := bom.Match(refs, closures, inv).Findings
	f, _ = driven(t, "3.30, 0x80000a49", "0000:05:00.0")
	other := bom.Match(refs, closures, read(t, f)).Findings
	require.Len(t, other, len(same)+1)
	i := slices.IndexFunc(other, func(x finding.Finding) bool { return x.Code == finding.DeviceFirmwareDiffers })
	require.Equal(t, subject, other[i].Subject)
	require.Equal(t, finding.Medium, other[i].Severity)

	// A captured tree has none; a driver may have nothing to say.
	require.Len(t, bom.Match(refs, closures, read(t, lab(t))).Findings, len(same))
	f, _ = driven(t, "N/A", "")
	require.Len(t, bom.Match(refs, closures, read(t, f)).Findings, len(same))
}

func TestADriverOfAnotherDevice(t *testing.T) {
	quiet := len(findings(read(t, lab(t)), finding.SourcesContradict))
	for bus, want := range map[string]int{"0000:09:00.0": 1, "usb-0000:00:14.0-3": 0, "virtio0": 0, "": 0} {
		f, _ := driven(t, "", bus)
		require.Len(t, findings(read(t, f), finding.SourcesContradict), quiet+want, bus)
	}
}
