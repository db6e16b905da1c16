package assay_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
)

// quirkBench is a lab whose trust lets its vendor sign lists of quirks.
type quirkBench struct {
	*lab
	trust *manifest.Trust
}

func newQuirkBench(t *testing.T, classes string) *quirkBench {
	t.Helper()
	l := newLab(t, machine(t, "baseline"))
	grantQuirks(t, l.vendor, "Assay Lab Computer Inc.", classes)
	return &quirkBench{lab: l, trust: l.vendor.trust(t)}
}

func (b *quirkBench) verify(t *testing.T, f files, lists ...[]byte) *assay.Result {
	t.Helper()
	c := b.caseOf(t, f)
	c.Trust = b.trust
	if len(lists) > 0 {
		c.Quirks = quirk.Lists(lists)
	}
	r, err := assay.Verify(c)
	require.NoError(t, err)
	return r
}

func grantQuirks(t *testing.T, v *labVendor, manufacturer, classes string) {
	t.Helper()
	grant := fmt.Sprintf("  - signer: {organization: %q}\n    manufacturers: [%q]\n", manufacturer, manufacturer)
	grants := "grants:\n" + grant
	if classes != "" {
		grants += grant + "    classes: [" + classes + "]\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(v.root), "trust.yaml"), []byte(grants), 0o600))
}

// listFor explains exactly one finding of a result, on this machine.
func listFor(t *testing.T, r *assay.Result, f finding.Finding, firmware string) *quirk.List {
	t.Helper()
	at := labTime.AddDate(0, -1, 0)
	return &quirk.List{
		Format: quirk.Format, ID: "lab-quirks", Version: 3, Manufacturer: r.Platform.Manufacturer, IssuedAt: at, NotAfter: at.AddDate(1, 0, 0),
		Entries: []quirk.Entry{{
			ID: "labels", Reason: "The controller has a number of its own.", Citations: []string{"https://example.com/advisory"},
			Scope:    quirk.Scope{Manufacturer: r.Platform.Manufacturer, Models: []string{r.Platform.Model}, Firmware: quirk.Versions{From: firmware, Through: firmware}},
			Explains: []quirk.Explained{{Code: f.Code, Subject: f.Subject, Want: f.Want, Got: f.Got}}, Issued: at, Expires: at.AddDate(1, 0, 0),
		}},
	}
}

func (b *quirkBench) signed(t *testing.T, l *quirk.List) []byte {
	t.Helper()
	raw, err := json.Marshal(l)
	require.NoError(t, err)
	out, err := quirk.Sign(raw, b.vendor.key, b.vendor.chain)
	require.NoError(t, err)
	return out
}

// relabelled is a machine whose inventory memory names another board: a
// contradiction between labels, which some honest machines have.
func relabelled(t *testing.T, from string) files {
	t.Helper()
	f := machine(t, from)
	replace(t, f, "ipmi/fru-0.bin", "LB19AS0042", "LB19AS0024")
	return f
}

func biosVersion(t *testing.T, f files) string {
	t.Helper()
	m, _, err := assay.Draft(bundles(t, f), assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	return versionIn(m)
}

func versionIn(m *manifest.Manifest) string {
	for _, c := range m.Components {
		if c.Subject == "firmware:bios" {
			return c.Identity.Firmware
		}
	}
	return ""
}

// An implant behind a quirk is still found: what the quirk does not name stands,
// whatever comes along with it.
func TestImplantBehindAQuirk(t *testing.T) {
	b := newQuirkBench(t, "quirks")
	plain := b.verify(t, relabelled(t, "baseline"))
	contradiction := find(plain, finding.SourcesContradict)
	require.NotEmpty(t, contradiction)
	require.Equal(t, assay.Fail, plain.Verdict)
	list := b.signed(t, listFor(t, plain, contradiction[0], biosVersion(t, machine(t, "baseline"))))
	covered := func(r *assay.Result) {
		t.Helper()
		for _, f := range find(r, finding.SourcesContradict) {
			require.NotEqual(t, contradiction[0].Subject, f.Subject)
		}
		hit := false
		for _, f := range find(r, finding.KnownQuirk) {
			hit = hit || f.CoveredBy == "quirk list lab-quirks version 3, entry labels until 2026-12-15" && f.Severity == finding.Info
		}
		require.True(t, hit, "%v", find(r, finding.KnownQuirk))
		require.Equal(t, []assay.ManifestUse{{ID: "lab-quirks", Version: 3, SHA256: r.Quirks[0].SHA256, Signers: r.Quirks[0].Signers, Status: manifest.StatusTrusted}}, r.Quirks)
	}
	for set, code := range map[string]finding.Code{
		"extra-nic-norom": finding.UnexpectedComponent, "extra-pci-with-optionrom": finding.UnexpectedEvent, "dimm-swapped": finding.ComponentReplaced,
		"fw-patched-dxe": finding.CodeRegionDiffers, "fw-patched-sec": "", "other-tpm": "", "different-kernel": "", "stale-nonce": finding.QuoteNonce, "eventlog-edited": finding.LogDoesNotReplay,
	} {
		t.Run(set, func(t *testing.T) {
			with, without := b.verify(t, relabelled(t, set), list), b.verify(t, relabelled(t, set))
			require.Equal(t, assay.Fail, with.Verdict)
			if code != "" {
				require.NotEmpty(t, find(with, code))
			}
			covered(with)
			require.Equal(t, serious(without, contradiction[0]), serious(with, contradiction[0]), "only what the entry names is explained")
		})
	}
	covered(b.verify(t, relabelled(t, "baseline"), list))
}

// serious lists what counts against a machine, but one finding and what names it.
func serious(r *assay.Result, but finding.Finding) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity > finding.Low && !(f.Code == but.Code && f.Subject == but.Subject) {
			out = append(out, string(f.Code)+" "+f.Subject+" "+f.Want+" "+f.Got)
		}
	}
	return out
}

func TestListsThatExplainNothing(t *testing.T) {
	b := newQuirkBench(t, "quirks")
	f := relabelled(t, "baseline")
	plain := b.verify(t, f)
	it := find(plain, finding.SourcesContradict)[0]
	bios := biosVersion(t, machine(t, "baseline"))
	edit := func(change func(*quirk.List)) []byte {
		l := listFor(t, plain, it, bios)
		change(l)
		return b.signed(t, l)
	}
	unsigned, err := json.Marshal(listFor(t, plain, it, bios))
	require.NoError(t, err)
	ungranted := newQuirkBench(t, "")
	good := edit(func(*quirk.List) {})
	for name, tt := range map[string]struct {
		bench *quirkBench
		list  []byte
		why   string // in what was not checked
		code  finding.Code
	}{
		"entry that expired": {b, edit(func(l *quirk.List) { l.Entries[0].Expires = labTime.AddDate(0, 0, -1) }), "the entry expired 2026-01-14", ""},
		"list that expired":  {b, edit(func(l *quirk.List) { l.NotAfter = labTime.AddDate(0, 0, -1) }), "the list expired 2026-01-14", ""},
		"another model":      {b, edit(func(l *quirk.List) { l.Entries[0].Scope.Models = []string{"Other"} }), "it is for Assay Lab Computer Inc. Other", ""},
		"another firmware": {b, edit(func(l *quirk.List) {
			l.Entries[0].Scope.Firmware = quirk.Versions{From: bios + "9", Through: bios + "9"}
		}), "it is for firmware", ""},
		"another value":  {b, edit(func(l *quirk.List) { l.Entries[0].Explains[0].Got += "x" }), "other values", ""},
		"unsigned":       {b, unsigned, "", finding.ManifestUnsigned},
		"no list at all": {b, []byte("{}"), "", finding.ManifestUnsigned},
		"nobody granted": {ungranted, ungranted.signed(t, listFor(t, plain, it, bios)), "", finding.ManifestUntrustedSigner},
		"foreign signer": {ungranted, good, "", finding.ManifestUntrustedSigner},
	} {
		t.Run(name, func(t *testing.T) {
			r := tt.bench.verify(t, f, tt.list)
			require.NotEmpty(t, find(r, finding.SourcesContradict))
			if tt.code != "" {
				require.NotEmpty(t, find(r, tt.code))
				return
			}
			hit := false
			for _, n := range r.NotChecked {
				hit = hit || n.What == "quirk lab-quirks/labels for ID-001 "+it.Subject && len(n.Reason) > 0
				if hit {
					require.Contains(t, n.Reason, "covers nothing: ")
					require.Contains(t, n.Reason, tt.why)
					break
				}
			}
			require.True(t, hit, "%v", r.NotChecked)
		})
	}
}

// A register that its log does not give stays unproved when the reason is known:
// never a pass (BN31).
func TestKnownLogIsNoPass(t *testing.T) {
	b := newQuirkBench(t, "quirks")
	f := machine(t, "eventlog-edited")
	r := b.verify(t, f)
	it := find(r, finding.LogDoesNotReplay)
	require.NotEmpty(t, it)
	l := listFor(t, r, it[0], biosVersion(t, machine(t, "baseline")))
	raw, err := json.Marshal(l)
	require.NoError(t, err)
	_, err = quirk.Sign(raw, b.vendor.key, b.vendor.chain)
	require.Error(t, err, "only PCR 0 has quirks of its log")

	m, _, err := assay.Draft([]*evidence.Bundle{realMachine(t, "good-1")}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	v := newVendor(t, m.Environment.Manufacturer)
	grantQuirks(t, v, m.Environment.Manufacturer, "quirks")
	c := assay.Case{Evidence: realMachine(t, "failed-1"), Golden: [][]byte{v.signManifest(t, m)}, Trust: v.trust(t), Now: labTime}
	plain, err := assay.Verify(c)
	require.NoError(t, err)
	it = find(plain, finding.LogDoesNotReplay)
	require.NotEmpty(t, it)
	require.Equal(t, "pcr:0", it[0].Subject)
	b.vendor = v
	c.Quirks = quirk.Lists{b.signed(t, listFor(t, plain, it[0], versionIn(m)))}
	known, err := assay.Verify(c)
	require.NoError(t, err)
	require.Empty(t, find(known, finding.LogDoesNotReplay))
	require.NotEmpty(t, find(known, finding.LevelTooLow))
	require.NotEqual(t, assay.Pass, known.Verdict)
}
