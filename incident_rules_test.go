package assay_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/knownbad"
)

// controller gives the recorded machine an image of its management controller.
func controller(t testing.TB, f files) files {
	return with(f, func(f files) {
		f["firmware/bmc.rom"] = append([]byte("U-Boot 2019.04 (lab)\x00"), f["firmware/bios.rom"][0x200000:0x240000]...)
	})
}

const labDIMM = "sys/bus/i2c/devices/0-0052/eeprom"

// aliased applies the published recipe to a module: one more bit of capacity per die
// in its identity memory (BadRAM, CVE-2024-21944), which the firmware believes.
func aliased(t testing.TB, f files) files {
	return with(f, func(f files) {
		b := bytes.Clone(f[labDIMM])
		b[4]++
		f[labDIMM] = b
	})
}

// believed doubles the size that the firmware lists for the module.
func believed(t testing.TB, f files) files {
	return with(f, func(f files) {
		f[dmiPath] = doubled(t, bytes.Clone(f[dmiPath]), "P1-DIMMC1")
	})
}

func TestIncidentRules(t *testing.T) {
	base := machine(t, "baseline")
	plain, withController := newLab(t, base), newLab(t, controller(t, base))
	for name, c := range map[string]struct {
		unit     files // nil: the manifest is of the recorded machine, and not with an image of its controller
		machine  files
		code     finding.Code
		severity finding.Severity
		not      []finding.Code
		none     bool // the incident must not be there
	}{
		"controller changed behind its version": {
			unit: controller(t, base), machine: with(controller(t, base), func(f files) {
				f["firmware/bmc.rom"] = bytes.Replace(f["firmware/bmc.rom"], []byte("(lab)"), []byte("(bad)"), 1)
			}),
			code: finding.IncidentBMCBehindVersion, severity: finding.Critical, not: []finding.Code{finding.IncidentFirmwareBehindVersion},
		},
		"controller changed with its version": {
			unit: controller(t, base), machine: with(controller(t, base), func(f files) {
				f["firmware/bmc.rom"] = bytes.Replace(f["firmware/bmc.rom"], []byte("(lab)"), []byte("(new)"), 1)
				f["ipmi/mc-info.txt"] = newerController(t, f["ipmi/mc-info.txt"])
			}),
			code: finding.IncidentBMCBehindVersion, none: true,
		},
		"host firmware changed behind its version is another story": {
			unit: controller(t, base), machine: controller(t, machine(t, "fw-patched-dxe")),
			code: finding.IncidentFirmwareBehindVersion, severity: finding.Critical, not: []finding.Code{finding.IncidentBMCBehindVersion},
		},
		"module that aliases": {
			machine: believed(t, aliased(t, base)), code: finding.IncidentMemoryLies, severity: finding.High,
		},
		"module that aliases, and memory controllers that drive more": {
			machine: with(believed(t, aliased(t, base)), func(f files) {
				for i := range 4 {
					f[fmt.Sprintf("sys/devices/system/edac/mc/mc0/dimm%d/size", i)] = []byte("2048\n")
				}
			}),
			code: finding.IncidentMemoryLies, severity: finding.Critical,
		},
		"checksum of a module damaged": {
			machine: with(base, func(f files) { b := bytes.Clone(f[labDIMM]); b[127] ^= 1; f[labDIMM] = b }),
			code:    finding.IncidentMemoryLies, none: true,
		},
		"module replaced by a larger one": {
			machine: machine(t, "dimm-swapped"), code: finding.IncidentMemoryLies, none: true,
		},
		"card that the listing leaves out": {
			machine: with(machine(t, "extra-nic-norom"), func(f files) { drop(f, pciBase+"0000:09:00.0/"); drop(f, "sys/class/net/eth2/") }),
			code:    finding.IncidentCollectorUnderRug, severity: finding.High,
		},
		"slot that says it is in use, and nothing else does": {
			machine: with(machine(t, "extra-nic-norom"), func(f files) {
				drop(f, pciBase+"0000:09:00.0/")
				drop(f, "sys/class/net/eth2/")
				f["proc/iomem"] = base["proc/iomem"]
			}),
			code: finding.IncidentCollectorUnderRug, none: true,
		},
		"copy of a card": {
			machine: with(base, func(f files) {
				b := bytes.Clone(f[nicDir+"/config"])
				b[int(b[0x34])+1] = 0
				f[nicDir+"/config"] = b
				f[nicDir+"/device"] = []byte("0x1533\n")
			}),
			code: finding.IncidentCounterfeit, severity: finding.Medium,
		},
		"card with another list of capabilities alone": {
			machine: with(base, func(f files) { b := bytes.Clone(f[nicDir+"/config"]); b[int(b[0x34])+1] = 0; f[nicDir+"/config"] = b }),
			code:    finding.IncidentCounterfeit, none: true,
		},
		"card and module that are odd each for itself": {
			machine: with(base, func(f files) {
				b := bytes.Clone(f[nicDir+"/config"])
				b[int(b[0x34])+1] = 0
				f[nicDir+"/config"] = b
				replace(t, f, dmiPath, "2F4A1103", "2F4A9999")
			}),
			code: finding.IncidentCounterfeit, none: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := plain
			if c.unit != nil {
				l = withController
			}
			r := l.verify(t, c.machine)
			in := incidentOf(r, c.code)
			for _, n := range c.not {
				require.NotContains(t, incidentCodes(r), n)
			}
			if c.none {
				require.Nil(t, in, "%v", codesOf(r))
				return
			}
			require.NotNil(t, in, "%v", codesOf(r))
			require.Equal(t, c.severity, in.Severity)
			require.NotEmpty(t, in.Disprove)
			require.Greater(t, len(in.Findings), 1, "several findings, one story")
			held := map[string]bool{}
			for _, f := range r.Findings {
				held[f.Fingerprint] = true
			}
			for _, p := range in.Findings {
				require.True(t, held[p])
			}
		})
	}
}

// locked gives the recorded machine a chipset of which the BIOS control register is
// closed: lock enable and SMM write protection set, write enable clear.
func locked(f files, register byte) files {
	const lpc = pciBase + "0000:00:1f.0/config"
	return with(f, func(f files) {
		b := bytes.Clone(f[lpc])
		b[0xdc] = register
		f[lpc] = b
	})
}

// Open locks and weak firmware are one story only together, and none beside a change
// that was seen.
func TestOpenDoor(t *testing.T) {
	base := locked(machine(t, "baseline"), 0x22)
	l := newLab(t, base)
	weak := knownbad.Entry{Kind: knownbad.Version, Class: "firmware", Maker: "American Megatrends Inc.", Equals: "3.2", Title: "authentication can be passed by"}
	for name, c := range map[string]struct {
		machine files
		bad     bool
		open    bool
	}{
		"open, and weak":                  {locked(base, 0x01), true, true},
		"open":                            {locked(base, 0x01), false, false},
		"weak":                            {base, true, false},
		"open, weak, and somebody was in": {locked(machine(t, "fw-patched-dxe"), 0x01), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.appraise(t, c.machine, func(k *assay.Case) {
				if c.bad {
					k.KnownBad = [][]byte{signedList(t, l.vendor, weak)}
				}
			})
			require.Equal(t, c.bad, len(find(r, finding.KnownVulnerable)) > 0)
			in := incidentOf(r, finding.IncidentOpenDoor)
			require.Equal(t, c.open, in != nil, "%v", codesOf(r))
			if in != nil {
				require.Equal(t, finding.High, in.Severity)
				require.Greater(t, len(in.Findings), 1)
			}
		})
	}
}

// A broken seal alone is a question; with a trace in the machine it is a story.
func TestInterdiction(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	seal := b.opened(func(r *inspection.Record) {
		r.ID, r.Technique, r.Result = "SEAL", inspection.TamperSeal, inspection.Deviates
	})
	photo := b.opened(func(r *inspection.Record) {
		r.ID, r.Technique, r.Result = "PHOTO", inspection.Photo, inspection.Deviates
	})
	stranger := inspection.Open(b.signed(func(r *inspection.Record) {
		r.ID, r.Technique, r.Result = "SEAL", inspection.TamperSeal, inspection.Deviates
	}), b.vendor.trust(t), labTime)
	run := func(f files, r *inspection.Opened) *assay.Result {
		c := b.caseWith(r)
		c.Evidence = bundle(t, f)
		return b.verify(c)
	}
	in := incidentOf(run(machine(t, "extra-nic-norom"), seal), finding.IncidentInterdiction)
	require.NotNil(t, in)
	require.Equal(t, finding.High, in.Severity)
	require.Greater(t, len(in.Findings), 1)
	require.Nil(t, incidentOf(run(machine(t, "baseline"), seal), finding.IncidentInterdiction), "a seal alone")
	require.Nil(t, incidentOf(run(machine(t, "extra-nic-norom"), photo), finding.IncidentInterdiction), "no seal")
	require.Nil(t, incidentOf(run(machine(t, "extra-nic-norom"), stranger), finding.IncidentInterdiction), "nobody trusts the record")
}

// doubled doubles the size in the memory device with this locator (DSP0134, 7.18:
// size at offset 0Ch).
func doubled(t testing.TB, dmi []byte, locator string) []byte {
	t.Helper()
	for at := 0; at+4 < len(dmi) && dmi[at+1] >= 4; {
		end := at + int(dmi[at+1])
		next := end + bytes.Index(dmi[end:], []byte{0, 0}) + 2
		if dmi[at] == 17 && bytes.Contains(dmi[end:next], []byte(locator)) {
			size := uint16(dmi[at+12]) | uint16(dmi[at+13])<<8
			size *= 2
			dmi[at+12], dmi[at+13] = byte(size), byte(size>>8)
			return dmi
		}
		at = next
	}
	require.Fail(t, "no memory device "+locator)
	return nil
}

// newerController counts the controller's version up.
func newerController(t testing.TB, text []byte) []byte {
	t.Helper()
	lines := bytes.Split(text, []byte("\n"))
	for i, l := range lines {
		if bytes.HasPrefix(l, []byte("Firmware Revision")) {
			lines[i] = append(bytes.Clone(l[:bytes.IndexByte(l, ':')+2]), "9.99"...)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}
