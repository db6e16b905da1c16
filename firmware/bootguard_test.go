package firmware

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/bootguard"
)

const blockAt, policyAt = 0x8000, 0x5800

func TestBootGuardOfAnImage(t *testing.T) {
	b := recorded(t, "intel", "css-fake_intel_firmware.fd")
	m := Parse("bios", b)
	requirePartition(t, m)
	g, ok := m.BootGuard()
	require.True(t, ok)
	holds := bootguard.Check{State: bootguard.Holds}
	require.Equal(t, []bootguard.Check{holds, holds}, []bootguard.Check{g.Key, g.Block})
	require.Equal(t, int64(0x1000), g.BlockBytes)
	require.Len(t, g.Modules, 1)
	require.Equal(t, bootPart{
		Name: "startup ACM", Offset: 0x5000, Length: 0x800, Version: "header 3.0, chipset 0000 of 1122-33-44, TXT SVN 2, SE SVN 1",
		Signature: bootguard.Check{State: bootguard.NotChecked, Reason: "the module is not signed"},
	}, g.Modules[0])
	require.Equal(t, []string{"key manifest", "boot policy manifest"}, []string{g.Manifests[0].Name, g.Manifests[1].Name})
	require.Equal(t, []string{"2.1, SVN 0, id 0", "2.3, SVN 0, ACM SVN 0 or newer"}, []string{g.Manifests[0].Version, g.Manifests[1].Version})
	require.Equal(t, []bootguard.Check{holds, holds}, []bootguard.Check{g.Manifests[0].Signature, g.Manifests[1].Signature})
	require.Empty(t, m.Inside())
}

func TestBootGuardThatDoesNotHold(t *testing.T) {
	tests := map[string]struct {
		at   int
		want map[string]finding.Code
	}{
		"the initial boot block": {blockAt + 0x123, map[string]finding.Code{"firmware:bios/FIT/initial boot block": finding.VendorSignatureInvalid}},
		"the boot policy":        {policyAt + 0x12, map[string]finding.Code{"firmware:bios/FIT/boot policy manifest": finding.VendorSignatureInvalid}},
		"the key manifest":       {0x5411, map[string]finding.Code{"firmware:bios/FIT/key manifest": finding.VendorSignatureInvalid}},
		"the named key": {0x5424, map[string]finding.Code{
			"firmware:bios/FIT/key manifest": finding.VendorSignatureInvalid, "firmware:bios/FIT/boot policy key": finding.VendorSignatureInvalid,
		}},
		"a segment's address": {policyAt + 0xa4 + 3, map[string]finding.Code{
			"firmware:bios/FIT/boot policy manifest": finding.VendorSignatureInvalid, "firmware:bios/FIT/initial boot block 7fff8000 +1000": finding.ManagementEngineAnomaly,
		}},
		"beside all of them": {0x7000, map[string]finding.Code{}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			b := recorded(t, "intel", "css-fake_intel_firmware.fd")
			b[c.at] ^= 0x80
			m := Parse("bios", b)
			got := told(m.Inside())
			require.Equal(t, c.want, got)
			cut := Parse("bios", b)
			cut.Reason = "the read was not complete"
			require.Empty(t, cut.Inside())
		})
	}
}

// A verdict says it too, but not of a machine whose image is the declared one.
func TestBootGuardInAVerdict(t *testing.T) {
	b := recorded(t, "intel", "css-fake_intel_firmware.fd")
	refs := draft(b)
	require.Empty(t, compare(refs, b).Findings)
	b[blockAt+0x123] ^= 1
	require.Equal(t, finding.VendorSignatureInvalid, told(compare(refs, b).Findings)["firmware:bios/FIT/initial boot block"])
	require.Empty(t, compare(draft(b), b).Findings)
}

// A module of Intel's with other contents.
func TestForgedCodeModule(t *testing.T) {
	acm := recorded(t, "intel", "css-biosacm_cbnt_fake.bin")
	b := bytes.Repeat([]byte{0xff}, 1<<20)
	copy(b, acm)
	table := b[0xf0000:]
	clear(table[:32])
	copy(table, "_FIT_   ")
	table[8] = 2
	binary.LittleEndian.PutUint64(table[16:], 0xfff00000)
	table[30] = 2
	binary.LittleEndian.PutUint64(b[len(b)-0x40:], 0xffff0000)
	m := Parse("bios", b)
	require.Equal(t, map[string]finding.Code{"firmware:bios/FIT/startup ACM": finding.VendorSignatureInvalid}, told(m.Inside()))
	g, ok := m.BootGuard()
	require.True(t, ok)
	require.Contains(t, g.Modules[0].Version, "of 2020-12-17, TXT SVN 3, SE SVN 8")
	require.Equal(t, bootguard.NotChecked, g.Key.State)
	_, err := g.PCR0Data(crypto.SHA256, 0)
	require.Error(t, err)
	_, err = g.PCR0Length(crypto.SHA256)
	require.Error(t, err)
}

// The digest is computed here from the bytes of the image by their places.
func TestPCR0Data(t *testing.T) {
	b := recorded(t, "intel", "css-fake_intel_firmware.fd")
	m := Parse("bios", b)
	g, ok := m.BootGuard()
	require.True(t, ok)
	const status = 0x200108080 | 1<<4 | 1<<36
	const acm, key = 0x5000, 384
	data := func(block []byte) []byte {
		return slices.Concat(
			binary.LittleEndian.AppendUint64(nil, status), b[acm+28:acm+30], b[acm+128+key:acm+128+2*key],
			b[0x5655-256:0x5655], b[0x5af1-256:0x5af1], block,
		)
	}
	block1, block256 := sha1.Sum(b[blockAt:blockAt+0x1000]), sha256.Sum256(b[blockAt:blockAt+0x1000])
	want1, want256 := sha1.Sum(data(block1[:])), sha256.Sum256(data(block256[:]))
	for bank, want := range map[crypto.Hash][]byte{crypto.SHA1: want1[:], crypto.SHA256: want256[:]} {
		got, err := g.PCR0Data(bank, status)
		require.NoError(t, err)
		require.Equal(t, want, got)
		found, ok := g.ExplainPCR0Data(bank, want)
		require.True(t, ok)
		require.Equal(t, uint64(status), found)
	}
	_, err := g.PCR0Data(crypto.SHA384, status)
	require.EqualError(t, err, "the boot policy has no SHA-384 digest of the initial boot block")
	_, ok = g.ExplainPCR0Data(crypto.SHA256, []byte("too short"))
	require.False(t, ok)
	n, err := g.PCR0Length(crypto.SHA256)
	require.NoError(t, err)
	require.Len(t, data(block256[:]), n)
}

// Values that machines had (converged-security-suite, tests) are tried, and
// each once.
func TestPlausibleStatuses(t *testing.T) {
	missing := map[uint64]bool{0x200108681: true, 0x200108081: true}
	n, last := 0, uint64(0)
	for s := range statuses(1) {
		n++
		delete(missing, s)
		last = s
	}
	require.Equal(t, 1<<22, n)
	require.Empty(t, missing)
	require.NotZero(t, last)
}

// A board without Boot Guard: its table has microcode only.
func TestBoardWithoutBootGuard(t *testing.T) {
	m := Parse("bios", recorded(t, "uefi", "css-GALAGOPRO3.fd.xz"))
	require.Equal(t, int64(6160384), m.Size)
	table, ok := m.FIT()
	require.True(t, ok)
	require.Equal(t, 0x5dce40, table.Offset) // FFFFCE40
	require.False(t, table.Damaged)
	require.Len(t, table.Entries, 4)
	_, ok = m.BootGuard()
	require.False(t, ok)
	_, ok = m.AMD()
	require.False(t, ok)
	_, ok = m.ManagementEngine()
	require.False(t, ok)
	require.Empty(t, m.Findings)
	require.Empty(t, m.Inside())
}
