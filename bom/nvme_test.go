package bom_test

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/nvmeid"
)

const drive = "sys/class/nvme/nvme0"

// identified is the reference machine with what its drive answers to Identify
// Controller.
func identified(t *testing.T, change func([]byte)) tree {
	t.Helper()
	f := lab(t)
	b := slices.Repeat([]byte{' '}, nvmeid.Size)
	clear(b[72:])
	copy(b[nvmeid.SerialOffset:], trimmed(f[drive+"/serial"]))
	copy(b[nvmeid.ModelOffset:], trimmed(f[drive+"/model"]))
	copy(b[nvmeid.FirmwareOffset:], trimmed(f[drive+"/firmware_rev"]))
	binary.LittleEndian.PutUint16(b, 0x1b36)
	binary.LittleEndian.PutUint16(b[2:], 0x1af4)
	copy(b[73:], []byte{0x00, 0x54, 0x52})
	change(b)
	f[drive+"/identify"] = b
	return f
}

func trimmed(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == ' ') {
		b = b[:len(b)-1]
	}
	return b
}

func TestADriveIsHeldAgainstItsOwnAnswer(t *testing.T) {
	quiet := findings(read(t, lab(t)), finding.SourcesContradict)
	for name, c := range map[string]struct {
		change   func([]byte)
		got      string
		severity finding.Severity
	}{
		"the same":                 {change: func([]byte) {}},
		"another model":            {func(b []byte) { copy(b[nvmeid.ModelOffset:], "X") }, `in Identify`, finding.High},
		"another serial number":    {func(b []byte) { b[nvmeid.SerialOffset] ^= 1 }, `in Identify`, finding.High},
		"another firmware":         {func(b []byte) { b[nvmeid.FirmwareOffset] ^= 1 }, `in Identify`, finding.Medium},
		"another vendor":           {func(b []byte) { b[0] = 0x4d; b[1] = 0x14 }, "vendor 144d in Identify", finding.High},
		"another subsystem vendor": {func(b []byte) { b[2] = 0x28; b[3] = 0x10 }, "subsystem vendor 1028 in Identify", finding.Medium},
	} {
		t.Run(name, func(t *testing.T) {
			inv := read(t, identified(t, c.change))
			fs := findings(inv, finding.SourcesContradict)
			if c.got == "" {
				require.Equal(t, quiet, fs)
				require.Equal(t, "525400", part(t, inv, driveOf(inv)).Attributes["oui"])
				return
			}
			require.Len(t, fs, len(quiet)+1)
			i := slices.IndexFunc(fs, func(f finding.Finding) bool { return f.Subject == driveOf(inv) })
			require.Contains(t, fs[i].Got, c.got)
			require.Equal(t, c.severity, fs[i].Severity)
		})
	}
}

// driveOf is the subject of the drive.
func driveOf(inv *bom.Inventory) string {
	for _, p := range inv.ByClass(bom.Storage) {
		if strings.HasPrefix(p.Subject, "storage:nvme ") {
			return p.Subject
		}
	}
	return ""
}

// What was captured before drives were asked reads as before, and what the
// kernel prints stays the identity.
func TestIdentifyOnlyAdds(t *testing.T) {
	before, after := read(t, lab(t)), read(t, identified(t, func([]byte) {}))
	x, err := json.Marshal(part(t, before, driveOf(before)).Identity)
	require.NoError(t, err)
	y, err := json.Marshal(part(t, after, driveOf(after)).Identity)
	require.NoError(t, err)
	require.JSONEq(t, string(x), string(y))

	f := identified(t, func([]byte) {})
	delete(f, drive+"/serial")
	require.NotEmpty(t, part(t, read(t, f), driveOf(after)).Identity.Serial, "an answer fills in what the kernel does not print")

	f[drive+"/identify"] = f[drive+"/identify"][:100]
	require.NotEmpty(t, findings(read(t, f), finding.InputMalformed))
}

// One model, another controller inside: 4 of 373 drive models have that.
func TestASecondSourceUnderOneModelIsTold(t *testing.T) {
	refs, closures := bom.Draft(read(t, identified(t, func([]byte) {})), false)
	other := read(t, identified(t, func(b []byte) { copy(b[73:], []byte{0x38, 0x25, 0x00}) }))
	fs := bom.Match(refs, closures, other).Findings
	i := slices.IndexFunc(fs, func(f finding.Finding) bool { return f.Code == finding.UnlikeItsModel })
	require.GreaterOrEqual(t, i, 0)
	require.Equal(t, "oui=525400", fs[i].Want)
	require.Equal(t, finding.Medium, fs[i].Severity)
	require.Empty(t, slices.DeleteFunc(bom.Match(refs, closures, read(t, lab(t))).Findings, func(f finding.Finding) bool { return f.Severity < finding.Low }), "a scan without rights only checks less")
}
