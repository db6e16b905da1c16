package assay_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// service is a base manifest of the recorded machine and a signed change of it that
// a service record stands behind.
type service struct {
	*lab
	base  *manifest.Manifest
	delta []byte
}

// serviced signs a base for one unit and a delta that makes the lines of the given
// subjects, and what more changes, those of another.
func serviced(t *testing.T, before, after files, more func(d, to *manifest.Manifest), subjects ...string) *service {
	t.Helper()
	s := &service{lab: newLab(t, before)}
	from, _, err := assay.Draft(bundles(t, before), assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	to, _, err := assay.Draft(bundles(t, after), assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	s.base = from
	s.golden = s.vendor.signManifest(t, from)
	base, _ := manifest.Open(s.golden, s.vendor.trust(t), labTime)
	require.NotNil(t, base)
	d := &manifest.Manifest{
		ID: from.ID, Version: from.Version + 1, IssuedAt: labTime, NotAfter: from.NotAfter, Environment: from.Environment,
		Delta: &manifest.Delta{BaseDigest: base.Digest(), Actor: "Assay Lab Computer Inc.", Ticket: "RMA-1"},
	}
	for _, subject := range subjects {
		i, j := lineOf(from, subject), lineOf(to, subject)
		require.NotNil(t, i, subject)
		require.NotNil(t, j, subject)
		require.False(t, reflect.DeepEqual(i, j), "%s does not change", subject)
		line := *j
		line.ID = i.ID
		d.Components = append(d.Components, line)
	}
	if more != nil {
		more(d, to)
	}
	s.delta = s.vendor.signManifest(t, d)
	return s
}

func (s *service) verify(t *testing.T, f files) *assay.Result {
	t.Helper()
	c := s.caseOf(t, f)
	c.Golden = append(c.Golden, s.delta)
	r, err := assay.Verify(c)
	require.NoError(t, err)
	for _, m := range r.Manifests {
		require.Equal(t, manifest.StatusTrusted, m.Status)
	}
	return r
}

func lineOf(m *manifest.Manifest, subject string) *bom.Reference {
	i := slices.IndexFunc(m.Components, func(r bom.Reference) bool { return r.Subject == subject })
	if i < 0 {
		return nil
	}
	return &m.Components[i]
}

// optionROM is one image for a device (PCI Firmware Specification 3.0, 5.1).
func optionROM(vendor, device uint16) []byte {
	b := make([]byte, 1024)
	copy(b, []byte{0x55, 0xaa, 2})
	b[0x18] = 0x1c
	copy(b[0x1c:], "PCIR")
	binary.LittleEndian.PutUint16(b[0x20:], vendor)
	binary.LittleEndian.PutUint16(b[0x22:], device)
	b[0x26], b[0x2c], b[0x30], b[0x31] = 0x18, 2, 0, 0x80
	return b
}

// counted lists what counts, as code and subject.
func counted(r *assay.Result) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity > finding.Low {
			out = append(out, string(f.Code)+" "+f.Subject)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// honest is a recorded machine whose modules say what the firmware says of them;
// the recording's emulator does not keep one byte of their serial numbers.
func honest(t *testing.T, name string) files {
	t.Helper()
	f := machine(t, name)
	n := 0
	for p, b := range f {
		if strings.HasSuffix(p, "/eeprom") && bytes.Contains(b, []byte{0x2f, 0, 0x11}) {
			f[p] = bytes.ReplaceAll(b, []byte{0x2f, 0, 0x11}, []byte{0x2f, 0x4a, 0x11})
			n++
		}
	}
	require.Equal(t, 4, n)
	return f
}

// newModule is a machine in which one module was replaced by another of its model.
func newModule(t *testing.T, f files, eeprom, old, serial string) files {
	t.Helper()
	replace(t, f, dmiPath, old, serial)
	from, err := hex.DecodeString(old)
	require.NoError(t, err)
	to, err := hex.DecodeString(serial)
	require.NoError(t, err)
	path := "sys/bus/i2c/devices/" + eeprom + "/eeprom"
	require.Contains(t, string(f[path]), string(from))
	f[path] = bytes.ReplaceAll(f[path], from, to)
	return f
}

// addCard puts the card of one recorded machine into another one.
func addCard(t *testing.T, f files) files {
	t.Helper()
	for p, b := range machine(t, "extra-nic-norom") {
		for _, dir := range []string{pciBase + "0000:09:00.0/", pciBase + "0000:00:07.0/", "sys/class/net/eth2/"} {
			if strings.HasPrefix(p, dir) {
				f[p] = b
			}
		}
	}
	return f
}

// A module was replaced under a service record, and somebody used the opportunity.
func TestCoveredModuleAndWhatCameAlong(t *testing.T) {
	one := func() files { return newModule(t, honest(t, "baseline"), "0-0052", "2F4A1103", "2F4A9903") }
	s := serviced(t, honest(t, "baseline"), one(), nil, "dimm:P1-DIMMC1")
	plain := newLab(t, honest(t, "baseline")).verify(t, one())
	require.Equal(t, []string{"HW-016 dimm:P1-DIMMC1"}, counted(plain), "without the record it is told")
	require.Empty(t, counted(s.verify(t, one())))
	require.Equal(t, assay.Pass, s.verify(t, one()).Verdict)

	r := s.verify(t, addCard(t, one()))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Equal(t, []string{"HW-001 pci:0000:09:00.0"}, counted(r))

	r = s.verify(t, newModule(t, one(), "0-0053", "2F4A1104", "2F4A9904"))
	require.Equal(t, []string{"HW-016 dimm:P1-DIMMD1"}, counted(r), "the record is about one module")

	r = s.verify(t, newModule(t, honest(t, "baseline"), "0-0052", "2F4A1103", "2F4A9905"))
	require.Equal(t, []string{"HW-016 dimm:P1-DIMMC1"}, counted(r), "and about this very one")

	r = s.verify(t, honest(t, "baseline"))
	require.Equal(t, []string{"HW-016 dimm:P1-DIMMC1"}, counted(r), "the replaced one is no longer expected")
}

// A BIOS update under a newer manifest, and a card's ROM patched with it.
func TestCoveredUpdateAndPatchedROM(t *testing.T) {
	rom := func(name string, patched bool) files {
		f := machine(t, name)
		image := optionROM(0x8086, 0x10d3)
		if patched {
			image[0x100] ^= 1
		}
		f[nicDir+"/rom"] = image
		return f
	}
	s := serviced(t, rom("baseline", false), rom("fw-patched-dxe", false), func(d, to *manifest.Manifest) { d.Boot, d.Firmware = to.Boot, to.Firmware })
	require.Equal(t, assay.Fail, newLab(t, rom("baseline", false)).verify(t, rom("fw-patched-dxe", false)).Verdict)
	require.Empty(t, counted(s.verify(t, rom("fw-patched-dxe", false))))

	r := s.verify(t, rom("fw-patched-dxe", true))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Equal(t, []string{"FW-011 pci:0000:01:00.0"}, counted(r))

	r = s.verify(t, rom("fw-patched-sec", false))
	require.Equal(t, assay.Fail, r.Verdict, "another change of the firmware is none of this update")
	r = s.verify(t, rom("baseline", false))
	require.Equal(t, assay.Fail, r.Verdict, "the firmware from before the update is no longer expected")
}

// A board was replaced under a service record, and the TPM is none of this
// manifest's.
func TestCoveredBoardAndAnotherTPM(t *testing.T) {
	board := func(name string) files {
		f := machine(t, name)
		replace(t, f, dmiPath, "LB19AS0042", "LB19AS0024")
		replace(t, f, "ipmi/fru-0.bin", "LB19AS0042", "LB19AS0024") // the checksum still holds
		return f
	}
	s := serviced(t, machine(t, "baseline"), board("baseline"), nil, "baseboard", "fru:0")
	require.Equal(t, []string{"HW-016 fru:0", "ID-002 baseboard"}, counted(newLab(t, machine(t, "baseline")).verify(t, board("baseline"))))
	require.Empty(t, counted(s.verify(t, board("baseline"))))

	r := s.verify(t, board("other-tpm"))
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotContains(t, counted(r), "ID-002 baseboard")
	require.NotEmpty(t, find(r, finding.TPMChanged), "%v", counted(r))
	require.Equal(t, counted(newLab(t, machine(t, "baseline")).verify(t, machine(t, "other-tpm"))), counted(r), "as much as without the record")
}
