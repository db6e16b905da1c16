package assay_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// appraise verifies files under a case that edit changed.
func (l *lab) appraise(t testing.TB, files map[string][]byte, edit func(*assay.Case)) *assay.Result {
	t.Helper()
	c := l.caseOf(t, files)
	edit(&c)
	r, err := assay.Verify(c)
	require.NoError(t, err)
	return r
}

func policyOf(t testing.TB, text string) *assay.Policy {
	t.Helper()
	p, err := assay.ParsePolicy([]byte(text))
	require.NoError(t, err)
	return p
}

// A base is old only as long as the change that follows it is withheld.
func TestBaseAndItsChangeAreNoRollbackTogether(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	trust := l.vendor.trust(t)
	base, _ := manifest.Open(l.golden, trust, labTime)
	require.NotNil(t, base)
	change := &manifest.Manifest{
		ID: base.Manifest().ID, Version: 2, IssuedAt: labTime, Environment: base.Manifest().Environment,
		Delta: &manifest.Delta{BaseDigest: base.Digest(), Actor: "Assay Lab Computer Inc.", Ticket: "RMA-1"},
	}
	raw := l.vendor.signManifest(t, change)
	delta, rep := manifest.Open(raw, trust, labTime)
	require.NotNil(t, delta, rep.Findings)
	state := manifest.State{}.After(base, delta)

	both := l.appraise(t, machine(t, "baseline"), func(c *assay.Case) { c.State, c.Golden = state, append(c.Golden, raw) })
	require.Equal(t, assay.Pass, both.Verdict, codesOf(both))
	for _, m := range both.Manifests {
		require.Equal(t, manifest.StatusTrusted, m.Status)
	}

	withheld := l.appraise(t, machine(t, "baseline"), func(c *assay.Case) { c.State = state })
	require.Equal(t, assay.Fail, withheld.Verdict)
	require.NotEmpty(t, find(withheld, finding.ManifestRollback))
	require.Equal(t, "rolled back", withheld.Manifests[0].Status)
}

// A side file that calls a tampered image incomplete must not make the
// difference go away.
func TestSideFileDoesNotHideTamperedFirmware(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, side := range map[string]string{
		"incomplete":   `{"source":"x","offset":0,"length":4194304,"complete":false}`,
		"other length": `{"source":"x","offset":0,"length":17,"complete":true}`,
		"malformed":    `{`,
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(machine(t, "fw-patched-sec"), func(f files) { f["firmware/bios.json"] = []byte(side) }))
			require.NotEqual(t, assay.Pass, r.Verdict)
			require.NotEmpty(t, append(find(r, finding.CodeRegionDiffers), find(r, finding.ForeignBytes)...))
		})
	}
}

// What reading a firmware image found is part of the result.
func TestMalformedSideFileIsAFinding(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "baseline"), func(f files) { f["firmware/bios.json"] = []byte("{") }))
	require.NotEmpty(t, find(r, finding.InputMalformed))
	require.NotEqual(t, assay.Pass, r.Verdict)
}

// Nothing may be taken for absent because nobody looked.
func TestAbsentClassNeedsEvidenceOfAbsence(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) {
		m.Classes[bom.USB] = bom.NoneThere
		m.Components = slices.DeleteFunc(m.Components, func(r bom.Reference) bool { return r.Class == bom.USB })
	}, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "baseline"), func(f files) { drop(f, "sys/bus/usb/") }))
	require.Equal(t, assay.Inconclusive, r.Verdict)
	require.Equal(t, assay.Fail, l.verify(t, machine(t, "baseline")).Verdict, "a device of a class that must have none")
}

// A policy may judge findings; it cannot make a manifest trusted, nor fitting.
func TestPolicyCannotMakeAManifestFit(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) { m.Environment.Model = "SYS-OTHER"; m.Environment.Serial = "" }, machine(t, "baseline"))
	p := policyOf(t, "id: soft\nseverity:\n- {code: MF-007, severity: info, reason: x}\n")
	r := l.appraise(t, machine(t, "baseline"), func(c *assay.Case) { c.Policy = p })
	require.NotEqual(t, assay.Pass, r.Verdict)
}

func TestNoManifestIsNoPass(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	p := policyOf(t, "id: thin\nrequire: [quote]\n")
	quiet := files{dmiPath: machine(t, "baseline")[dmiPath]}
	r := l.appraise(t, quiet, func(c *assay.Case) { c.Policy, c.Golden = p, nil })
	require.Equal(t, assay.Inconclusive, r.Verdict)
}

// An override without a severity would silently mean "informational".
func TestOverrideNamesItsSeverity(t *testing.T) {
	_, err := assay.ParsePolicy([]byte("id: typo\nseverity:\n- {code: HW-001, reason: forgot it}\n"))
	require.ErrorContains(t, err, "severity")
}

// sealedBy adds an index over the files, as a collector would, or a liar.
func sealedBy(t testing.TB, f files, edit func(*evidence.Index)) files {
	t.Helper()
	b := bundle(t, f)
	ix := evidence.Index{Format: evidence.Format, Collector: evidence.Collector{Name: "assay", Version: "1"}, CollectedAt: labTime, Artifacts: b.Artifacts()}
	if edit != nil {
		edit(&ix)
	}
	raw, err := json.Marshal(ix)
	require.NoError(t, err)
	out := maps.Clone(f)
	out[evidence.IndexName] = raw
	return out
}

// Evidence from the future is as little fresh as old evidence.
func TestEvidenceFromTheFutureIsNotYoung(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	p := policyOf(t, "id: young\nextends: inventory\nmaxEvidenceAge: 24h\n")
	at := func(when time.Time) *assay.Result {
		f := sealedBy(t, machine(t, "baseline"), func(ix *evidence.Index) { ix.CollectedAt = when })
		return l.appraise(t, f, func(c *assay.Case) { c.Policy, c.Nonce = p, nil })
	}
	age := func(r *assay.Result) assay.Required {
		return r.Required[slices.IndexFunc(r.Required, func(q assay.Required) bool { return q.What == "age" })]
	}
	require.True(t, age(at(labTime)).Proved)
	require.False(t, age(at(labTime.AddDate(0, 0, -3))).Proved)
	future := at(labTime.AddDate(1, 0, 0))
	require.False(t, age(future).Proved)
	require.NotEmpty(t, find(future, finding.EvidenceTime))
}

// Anybody can sign with a key of their own making; only an enrolled or pinned
// key is a TPM's.
func TestStatementDoesNotCallAnUnboundKeyATPM(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	require.Contains(t, l.verify(t, machine(t, "baseline")).Assurance.Statement, "the TPM signed")
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) { m.Endorsements = nil }, machine(t, "baseline"))
	r := l.verify(t, machine(t, "baseline"))
	require.True(t, r.Assurance.Quoted)
	require.False(t, r.Assurance.KeyBound)
	require.NotContains(t, r.Assurance.Statement, "the TPM signed")
	require.Contains(t, r.Assurance.Statement, "not proved to be in a TPM")
}

// L3 is a quote whose log explains it, not any quote.
func TestLevelNeedsAnExplainedQuote(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	require.Equal(t, "L4", l.verify(t, machine(t, "baseline")).Assurance.Level)
	r := l.verify(t, with(machine(t, "baseline"), func(f files) { delete(f, eventLogPath); drop(f, "firmware/") }))
	require.True(t, r.Assurance.Quoted)
	require.Equal(t, "L2", r.Assurance.Level)
}

// What a policy makes milder keeps its reason beside it.
func TestMilderFindingSaysWhoMadeItMilder(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	p := policyOf(t, "id: soft\nseverity:\n- {code: HW-001, severity: low, reason: known card}\n")
	r := l.appraise(t, machine(t, "extra-nic-norom"), func(c *assay.Case) { c.Policy = p })
	for _, f := range find(r, finding.UnexpectedComponent) {
		require.Equal(t, "policy soft, low instead of critical: known card", f.CoveredBy)
	}
}

// Comparisons that nobody could make are said.
func TestMissingCrossChecksAreSaid(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "baseline"), func(f files) { delete(f, "proc/iomem"); delete(f, "proc/meminfo") }))
	require.Contains(t, r.NotChecked, assay.NotChecked{What: "devices that own memory and are not listed", Reason: "proc/iomem is not in the evidence"})
	require.Contains(t, r.NotChecked, assay.NotChecked{What: "memory beyond what the modules declare", Reason: "proc/meminfo is not in the evidence"})

	silent := l.verify(t, with(machine(t, "baseline"), func(f files) { delete(f, "proc/cpuinfo") }))
	require.Equal(t, assay.Inconclusive, silent.Verdict, "the processors were not asked, and nobody looked for a hypervisor")
}

// A letter of the board's number is no number of the board.
func TestShortSerialNumberDoesNotAgreeWithAnything(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "baseline"), func(f files) {
		b := slices.Clone(f["ipmi/fru-0.bin"])
		at := strings.Index(string(b), "LB19AS0042")
		require.Positive(t, at)
		sum := byte(0)
		for i, c := range []byte("LB        ") {
			sum += b[at+i] - c
			b[at+i] = c
		}
		start := 8 * int(b[3])
		b[start+8*int(b[start+1])-1] += sum // the checksum of the board area still holds
		f["ipmi/fru-0.bin"] = b
	}))
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.SourcesContradict))
}

// The vendor's manifest and the one of an operating system make one; each is
// needed for what it owns.
func TestVendorAndSystemManifestsCombine(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	software := func(pcr int) bool { return pcr == 4 || pcr == 5 || pcr >= 8 && pcr <= 14 }
	keep := func(boot []attest.Reference, want bool) []attest.Reference {
		return slices.DeleteFunc(slices.Clone(boot), func(r attest.Reference) bool { return software(r.PCR) != want })
	}
	var system *manifest.Manifest
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) {
		system = &manifest.Manifest{
			ID: "stick", Version: 1, IssuedAt: labTime, Environment: manifest.Environment{Manufacturer: manifest.AnyPlatform, Model: "stick"}, Boot: keep(m.Boot, true),
		}
		m.Boot = keep(m.Boot, false)
	}, machine(t, "baseline"))
	maker := newVendor(t, "Scanner Ltd.")
	stick := maker.signManifest(t, system)
	trust := filepath.Join(t.TempDir(), "trust")
	require.NoError(t, os.Mkdir(trust, 0o700))
	for name, from := range map[string]string{"vendor.pem": l.vendor.root, "scanner.pem": maker.root} {
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(trust, name), b, 0o600))
	}
	grants := "grants:\n- signer: {organization: Scanner Ltd.}\n  manufacturers: ['*']\n  classes: ['boot:software']\n"
	require.NoError(t, os.WriteFile(filepath.Join(trust, "trust.yaml"), []byte(grants), 0o600))
	both, err := manifest.LoadTrust([]string{trust})
	require.NoError(t, err)
	verdict := func(set string, golden ...[]byte) *assay.Result {
		return l.appraise(t, machine(t, set), func(c *assay.Case) { c.Trust, c.Golden = both, golden })
	}
	require.Equal(t, assay.Pass, verdict("baseline", l.golden, stick).Verdict)
	require.Equal(t, assay.Pass, verdict("baseline", stick, l.golden).Verdict, "in any order")
	require.Equal(t, assay.Fail, verdict("different-kernel", l.golden, stick).Verdict)
	require.Equal(t, assay.Fail, verdict("fw-patched-dxe", l.golden, stick).Verdict)
	require.NotEqual(t, assay.Pass, verdict("baseline", stick).Verdict, "software alone says nothing of the machine")
	require.NotEqual(t, assay.Pass, verdict("different-kernel", l.golden).Verdict, "a loader that no reference covers")
}
