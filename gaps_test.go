package assay_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

const (
	eventLogPath = "sys/kernel/security/tpm0/binary_bios_measurements"
	dmiPath      = "sys/firmware/dmi/tables/DMI"
)

// The tests below are the gaps found in the field's reference verifier, each
// named after one. Every gap is a way to pass that must not exist here.

// A loop over declared components never looks at what is on the device only.
func TestGapDeviceOnlyComponentsAreReported(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, machine(t, "extra-nic-norom"))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Len(t, find(r, finding.UnexpectedComponent), 1)
	require.Equal(t, "pci:0000:09:00.0", find(r, finding.UnexpectedComponent)[0].Subject)
}

// A set of hashes lets one part stand for several identical declared ones, and
// lets two parts with one hash stand for each other.
func TestGapOnePartDoesNotStandForSeveral(t *testing.T) {
	anonymous := func(m *manifest.Manifest) {
		for i := range m.Components {
			if m.Components[i].Class == bom.Memory {
				m.Components[i].Identity.Serial = ""
			}
		}
	}
	l := newLab(t, machine(t, "baseline"))
	l.golden = l.vendor.sign(t, anonymous, machine(t, "baseline"))
	r := l.verify(t, machine(t, "missing-dimm"))
	require.Equal(t, assay.Fail, r.Verdict)
	lost := find(r, finding.WrongCount)
	require.Len(t, lost, 1)
	require.Equal(t, "4 of Micron Technology 9ASF1G72PZ-2G9E1", lost[0].Want)
	require.Equal(t, "3", lost[0].Got)
}

func TestGapStringsWithOneHashAreNotOnePart(t *testing.T) {
	// "Aa" and "BB" have one 32-bit Java string hash; the reference verifier
	// keys its parts by such a hash.
	part := func(pn string) bom.Part {
		return bom.Part{Class: bom.FRU, Subject: "fru:0", Identity: bom.Identity{Maker: "m", Model: pn}}
	}
	inv := &bom.Inventory{Parts: []bom.Part{part("BB")}, Classes: map[bom.Class]bom.Observation{bom.FRU: {Observed: true, Whole: true}}}
	c := bom.Match([]bom.Reference{{ID: "1", Class: bom.FRU, Identity: part("Aa").Identity}}, map[bom.Class]bom.Closure{bom.FRU: bom.Closed}, inv)
	require.Len(t, c.Findings, 2)
}

// A class without any part on the device was skipped, and a second difference
// hid the first.
func TestGapMissingClassAndReplacedPartAreBothReported(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	files := with(machine(t, "dimm-swapped"), func(f map[string][]byte) {
		for p := range f {
			if strings.HasPrefix(p, "sys/class/nvme/") || strings.HasPrefix(p, "sys/class/block/") && !strings.HasPrefix(p, "sys/class/block/sdb") {
				delete(f, p)
			}
		}
	})
	r := l.verify(t, files)
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.ComponentReplaced))
	require.Len(t, find(r, finding.MissingComponent), 2, "the drives that are gone")
}

// A policy that tolerates revisions turned a missing part into a pass.
func TestGapToleratedRevisionDoesNotHideAMissingPart(t *testing.T) {
	files := with(machine(t, "missing-dimm"), func(f map[string][]byte) {
		// The board's revision is edited in the table, at equal length.
		f[dmiPath] = bytes.Replace(f[dmiPath], []byte("X11LAB-DRi\x001.02"), []byte("X11LAB-DRi\x001.99"), 1)
	})
	l := newLab(t, machine(t, "baseline"))
	c := l.caseOf(t, files)
	policy, err := assay.ParsePolicy([]byte("id: tolerant\nseverity:\n- {code: HW-003, subject: baseboard, severity: info, reason: revisions are tolerated}\n"))
	require.NoError(t, err)
	c.Policy = policy
	r, err := assay.Verify(c)
	require.NoError(t, err)
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.MissingComponent))
	require.Equal(t, finding.Info, find(r, finding.ComponentReplaced)[0].Severity)
}

// Membership of a digest in a set says nothing about order, register or what is
// missing.
func TestGapEventsAreHeldAgainstOrderRegisterAndCount(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	base := machine(t, "baseline")
	log, err := tcglog.Parse(base[eventLogPath], tcglog.DefaultLimits())
	require.NoError(t, err)
	raw := base[eventLogPath]
	record := func(e tcglog.Event) []byte { return raw[e.Offset : e.Offset+e.Length] }
	for name, edit := range map[string]func() []byte{
		"truncated": func() []byte {
			last := log.Events[len(log.Events)-1]
			return raw[:last.Offset]
		},
		"reordered": func() []byte {
			for i := 1; i < len(log.Events); i++ {
				a, b := log.Events[i-1], log.Events[i]
				if a.PCR == b.PCR && a.PCR == 0 && !bytes.Equal(record(a), record(b)) {
					return slices.Concat(raw[:a.Offset], record(b), record(a), raw[b.Offset+b.Length:])
				}
			}
			panic("no neighbours in PCR 0")
		},
		"copied to another register": func() []byte {
			for _, e := range log.Events {
				if e.PCR == 2 {
					moved := bytes.Clone(record(e))
					binary.LittleEndian.PutUint32(moved, 6)
					return slices.Concat(raw, moved)
				}
			}
			panic("no event in PCR 2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(base, func(f map[string][]byte) { f[eventLogPath] = edit() }))
			require.Equal(t, assay.Fail, r.Verdict)
			require.NotEmpty(t, find(r, finding.LogDoesNotReplay))
		})
	}
}

// A log that could not be parsed was logged and passed.
func TestGapBrokenLogIsNoPass(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, log := range map[string][]byte{"empty": {}, "noise": []byte("this is no event log at all, but long enough to look at"), "cut": machine(t, "baseline")[eventLogPath][:1000]} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(machine(t, "baseline"), func(f map[string][]byte) { f[eventLogPath] = log }))
			require.Contains(t, []assay.Verdict{assay.Fail, assay.Inconclusive}, r.Verdict)
		})
	}
	t.Run("absent", func(t *testing.T) {
		r := l.verify(t, with(machine(t, "baseline"), func(f map[string][]byte) { delete(f, eventLogPath) }))
		require.Equal(t, assay.Inconclusive, r.Verdict)
	})
}

// A quote was optional, its signature never checked, its nonce a substring.
func TestGapQuoteIsCheckedAndNeeded(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	base := machine(t, "baseline")
	flip := func(path string, at int) map[string][]byte {
		return with(base, func(f map[string][]byte) {
			f[path] = bytes.Clone(f[path])
			f[path][(at+len(f[path]))%len(f[path])] ^= 1
		})
	}
	bad := l.verify(t, flip("tpm/quote-sha256.sig", -1))
	require.Equal(t, assay.Fail, bad.Verdict)
	require.NotEmpty(t, find(bad, finding.QuoteSignature))

	edited := l.verify(t, flip("tpm/quote-sha256.attest", -1))
	require.Equal(t, assay.Fail, edited.Verdict)

	stale := l.verify(t, machine(t, "stale-nonce"))
	require.Equal(t, assay.Fail, stale.Verdict)
	require.NotEmpty(t, find(stale, finding.QuoteNonce))

	none := l.verify(t, with(base, func(f map[string][]byte) {
		maps.DeleteFunc(f, func(p string, _ []byte) bool { return strings.HasPrefix(p, "tpm/quote-") })
	}))
	require.Equal(t, assay.Inconclusive, none.Verdict)

	noKey := l.verify(t, with(base, func(f map[string][]byte) { delete(f, "tpm/ak.pub") }))
	require.NotEqual(t, assay.Pass, noKey.Verdict, "a signature that nobody can check proves nothing")
}

// Removing evidence that the policy requires never leaves a pass.
func TestLessEvidenceNeverHelps(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	base := machine(t, "baseline")
	for name, prefix := range map[string]string{
		"no SMBIOS": "sys/firmware/dmi/", "no PCI": "sys/bus/pci/", "no USB": "sys/bus/usb/", "no ACPI": "sys/firmware/acpi/", "no storage": "sys/class/",
		"no FRU": "ipmi/", "no I2C": "sys/bus/i2c/", "no TPM at all": "tpm/", "no log": "sys/kernel/security/tpm0/",
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(base, func(f map[string][]byte) {
				maps.DeleteFunc(f, func(p string, _ []byte) bool {
					return strings.HasPrefix(p, prefix) || prefix == "sys/bus/i2c/" && strings.HasPrefix(p, "i2c/")
				})
			}))
			require.NotEqual(t, assay.Pass, r.Verdict)
		})
	}
}

// Whatever artefact disappears, an unexpected part stays unexpected as long as
// it is listed.
func TestDroppingOtherArtefactsKeepsTheUnexpectedPart(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	files := machine(t, "extra-nic-norom")
	names := slices.Sorted(maps.Keys(files))
	rapid.Check(t, func(rt *rapid.T) {
		drop := rapid.SliceOfN(rapid.SampledFrom(names), 0, 40).Draw(rt, "drop")
		r := l.verify(t, with(files, func(f map[string][]byte) {
			for _, d := range drop {
				if !strings.Contains(d, "0000:09:00.0") {
					delete(f, d)
				}
			}
		}))
		require.NotEqual(rt, assay.Pass, r.Verdict)
		require.NotEmpty(rt, find(r, finding.UnexpectedComponent))
	})
}

// The order in which a bundle was written says nothing.
func TestUntrustedManifestIsNeverUsed(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	c := l.caseOf(t, machine(t, "baseline"))
	stranger := newVendor(t, "Assay Lab Computer Inc.")
	c.Trust = stranger.trust(t)
	r, err := assay.Verify(c)
	require.NoError(t, err)
	require.Equal(t, assay.Fail, r.Verdict)
	require.Equal(t, "untrusted", r.Manifests[0].Status)
	require.Zero(t, r.Coverage[0].Declared, "nothing of an untrusted manifest is compared")

	other := newVendor(t, "Another Maker Ltd.")
	c.Golden = [][]byte{other.sign(t, nil, machine(t, "baseline"))}
	c.Trust = other.trust(t)
	r, err = assay.Verify(c)
	require.NoError(t, err)
	require.Equal(t, assay.Fail, r.Verdict, "a maker speaks for its own machines only")
	require.NotEmpty(t, find(r, finding.ManifestUntrustedSigner))
}

func TestManifestOfAnotherMachine(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) { m.Environment.Model = "SYS-OTHER" }, machine(t, "baseline"))
	r := l.verify(t, machine(t, "baseline"))
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.ManifestWrongSubject))

	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) { m.Environment.Serial = "S-LAB-0002" }, machine(t, "baseline"))
	r = l.verify(t, machine(t, "baseline"))
	require.Equal(t, assay.Fail, r.Verdict)
}

func TestVirtualMachinePosingAsPhysical(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) { m.Environment.Virtual = "" }, machine(t, "baseline"))
	r := l.verify(t, machine(t, "baseline"))
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.CollectorUntrusted))
	require.NotEmpty(t, find(r, finding.SoftwareTPM))
}

func TestResultKeepsItsFormat(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	var b bytes.Buffer
	require.NoError(t, report.JSON(&b, l.verify(t, machine(t, "extra-nic-norom"))))
	var v map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &v))
	for _, k := range []string{"format", "verdict", "at", "platform", "assurance", "manifests", "evidence", "policy", "findings", "incidents", "coverage", "notChecked", "summary"} {
		require.Contains(t, v, k)
	}
	require.Equal(t, "assay.result/v1", v["format"])
}
