package rim

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

const corpusDir = "../../../shared/corpus/platformcerts"

func corpus(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpusDir, name))
	if os.IsNotExist(err) {
		t.Skip("needs ../shared/corpus/platformcerts/" + name)
	}
	require.NoError(t, err)
	return b
}

func certificate(t testing.TB, b []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(b)
	require.NotNil(t, block)
	c, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return c
}

// trusting makes a trust of roots.
func trusting(t testing.TB, roots ...*x509.Certificate) *manifest.Trust {
	t.Helper()
	files := map[string][]byte{"trust.json": []byte("{}")}
	for i, c := range roots {
		files[fmt.Sprintf("root-%04d.der", i)] = c.Raw
	}
	trust := &manifest.Trust{}
	require.NoError(t, trust.Import(files))
	return trust
}

// corpusTrust is the authority of the field's example keys, and the signer.
func corpusTrust(t testing.TB) (*manifest.Trust, []*x509.Certificate) {
	return trusting(t, certificate(t, corpus(t, "rim-tool/pcrim/RIMCaCert.pem"))), []*x509.Certificate{certificate(t, corpus(t, "hirs-ci/setup/RimSignCert.pem"))}
}

var corpusNow = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// The verdict on every tag of the corpus is the one that was measured with
// another implementation of XML signatures.
func TestCorpusVerdicts(t *testing.T) {
	var index []struct{ File, Measured string }
	require.NoError(t, json.Unmarshal(corpus(t, "index.json"), &index))
	trust, given := corpusTrust(t)
	count := map[string]int{}
	for _, e := range index {
		raw, err := os.ReadFile(filepath.Join(corpusDir, e.File))
		if !strings.HasSuffix(e.File, ".swidtag") || err != nil || !IsRIM(raw) {
			continue
		}
		r, report := Open(raw, trust, given, corpusNow)
		got := string(report.Verdict)
		switch want := e.Measured; {
		case strings.HasPrefix(want, "standard"):
			require.Equal(t, Valid, report.Verdict, "%s: %s", e.File, report.Cause)
			require.NotNil(t, r, "%s: %v", e.File, report.Findings)
		case strings.Contains(want, "OK only after"):
			require.Equal(t, ValidNonstandard, report.Verdict, "%s: %s", e.File, report.Cause)
		case strings.HasPrefix(want, "FAIL"):
			require.Equal(t, Invalid, report.Verdict, e.File)
			require.Nil(t, r)
		case want == "no signature":
			require.Equal(t, finding.ManifestUnsigned, report.Findings[0].Code, e.File)
			got = "unsigned"
		default:
			t.Fatalf("%s: %s", e.File, want)
		}
		if r == nil && (report.Verdict == Valid || report.Verdict == ValidNonstandard) {
			t.Logf("%s: %s, not used: %s", e.File, report.Verdict, report.Findings[0].Why)
		}
		count[got]++
	}
	t.Log(count)
	require.Equal(t, map[string]int{"valid": 31, "valid-nonstandard": 54, "invalid": 4, "unsigned": 1}, count)
}

func open(t testing.TB, name string) (*RIM, Report) {
	t.Helper()
	trust, given := corpusTrust(t)
	return Open(corpus(t, name), trust, given, corpusNow)
}

// The default profile: the event log is bound, and all of its 29 events become
// references.
func TestCorpusDefaultProfile(t *testing.T) {
	const dir = "hirs-ci/laptop/default/"
	r, report := open(t, dir+"swidtags/laptop.default.1.swidtag")
	require.NotNil(t, r, report.Findings)
	b := r.Bind(map[string][]byte{"laptop.default.1.rimel": corpus(t, dir+"rims/laptop.default.1.rimel")})
	require.Empty(t, b.Findings)
	require.Empty(t, b.NotChecked)
	require.Equal(t, []string{"laptop.default.1.rimel"}, b.Bound)
	m, losses, err := Convert(r)
	require.NoError(t, err)
	require.Equal(t, manifest.Environment{Manufacturer: "Dell Inc.", Model: "Latitude 5580", Revision: "01"}, m.Environment)
	require.Equal(t, "12", m.Firmware[0].Version)
	events := 0
	for _, ref := range m.Boot {
		events += len(ref.Events)
		require.Empty(t, ref.Digests)
	}
	require.Equal(t, 29, events)
	for _, l := range losses {
		t.Log(l)
	}
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	_, err = manifest.ReadUntrusted(raw)
	require.NoError(t, err)
}

// A maker's RIM and a supplement of whoever installed the software: together
// they assert what the default profile's log has, but for one event.
func TestCorpusSupplement(t *testing.T) {
	const dir = "hirs-ci/laptop/badOemInstall/"
	oem, report := open(t, dir+"swidtags/laptop_badOemInstall_oem.1.swidtag")
	require.NotNil(t, oem, report.Findings)
	vendor, report := open(t, dir+"swidtags/laptop_badOemInstall_var.1.swidtag")
	require.NotNil(t, vendor, report.Findings)
	files := map[string][]byte{
		"oem": corpus(t, dir+"rims/laptop_badOemInstall_oem.1.rimel"),
		"var": corpus(t, dir+"rims/laptop_badOemInstall_var.1.rimel"),
	}
	require.Equal(t, []string{"oem"}, oem.Bind(files).Bound)
	require.Equal(t, []string{"var"}, vendor.Bind(files).Bound)
	m, _, err := Convert(oem, vendor)
	require.NoError(t, err)

	whole, _ := open(t, "hirs-ci/laptop/default/swidtags/laptop.default.1.swidtag")
	whole.Bind(map[string][]byte{"log": corpus(t, "hirs-ci/laptop/default/rims/laptop.default.1.rimel")})
	d, _, err := Convert(whole)
	require.NoError(t, err)
	have := map[string]bool{}
	for _, ref := range m.Boot {
		for _, e := range ref.Events {
			have[fmt.Sprint(ref.PCR, e.Digests["sha256"])] = true
		}
	}
	var missing []string
	for _, ref := range d.Boot {
		for _, e := range ref.Events {
			if !have[fmt.Sprint(ref.PCR, e.Digests["sha256"])] {
				missing = append(missing, fmt.Sprintf("PCR %d %s %.16s", ref.PCR, e.Type, e.Digests["sha256"][0]))
			}
		}
	}
	require.Equal(t, []string{"PCR 1 EV_EFI_HANDOFF_TABLES fd662842e607c580"}, missing)
}

// A name with a path in it is a finding although the signature holds.
func TestCorpusNameOfSupportRIM(t *testing.T) {
	r, report := open(t, "rim-tool/pcrim/laptop.default.bad-support-name.swidtag")
	require.NotNil(t, r)
	require.Equal(t, ValidNonstandard, report.Verdict)
	f := report.Findings[0]
	require.Equal(t, finding.High, f.Severity)
	require.Contains(t, f.Why, "path separator")
	b := r.Bind(map[string][]byte{"TpmLog.bin": corpus(t, "rim-tool/pcrim/TpmLog.bin")})
	require.Len(t, b.Bound, 1)
	require.Equal(t, "7459 bytes", b.Findings[0].Want)
	require.Equal(t, "7549 bytes", b.Findings[0].Got)
}

func TestCorpusTimeStamp(t *testing.T) {
	r, report := open(t, "hirs-unit/tools/generated_timestamp_rfc3339.swidtag")
	require.NotNil(t, r, report.Findings)
	require.False(t, r.SignedAt.IsZero())
	r, report = open(t, "hirs-unit/tools/generated_timestamp_rfc3852.swidtag")
	require.NotNil(t, r, report.Findings)
	require.True(t, r.SignedAt.IsZero())
	require.Contains(t, report.NotChecked[0].What, "time stamp")
}

// appraise holds a log against what the RIMs assert and returns what concerns
// events.
func appraise(t *testing.T, log []byte, rims ...*RIM) []string {
	t.Helper()
	m, _, err := Convert(rims[0], rims[1:]...)
	require.NoError(t, err)
	bundle, err := evidence.FromFiles(map[string][]byte{"sys/kernel/security/tpm0/binary_bios_measurements": log}, "log", evidence.DefaultLimits())
	require.NoError(t, err)
	var out []string
	for _, f := range attest.Observe(bundle).Appraise(attest.Params{References: m.Boot, Now: corpusNow}).Findings {
		switch f.Code {
		case finding.UnexpectedEvent, finding.MissingEvent, finding.ReorderedEvent, finding.PCRDiffers, finding.UnknownBootComponent:
			out = append(out, fmt.Sprintf("%s %s want %s got %s", f.Code, f.Subject, f.Want, f.Got))
		}
	}
	return out
}

// The field's scenarios: the machine's log is what the maker's RIM asserts; it
// differs at one event from that of another maker's RIM.
func TestCorpusScenarios(t *testing.T) {
	log := corpus(t, "hirs-ci/laptop/default/laptop_default_binary_bios_measurements")
	bound := func(tag, file string) *RIM {
		r, report := open(t, "hirs-ci/laptop/"+tag)
		require.NotNil(t, r, report.Findings)
		require.Len(t, r.Bind(map[string][]byte{"log": corpus(t, "hirs-ci/laptop/"+file)}).Bound, 1)
		return r
	}
	require.Empty(t, appraise(t, log, bound("default/swidtags/laptop.default.1.swidtag", "default/rims/laptop.default.1.rimel")))
	differs := appraise(t, log,
		bound("badOemInstall/swidtags/laptop_badOemInstall_oem.1.swidtag", "badOemInstall/rims/laptop_badOemInstall_oem.1.rimel"),
		bound("badOemInstall/swidtags/laptop_badOemInstall_var.1.swidtag", "badOemInstall/rims/laptop_badOemInstall_var.1.rimel"))
	t.Log(differs)
	require.NotEmpty(t, differs)
	for _, d := range differs {
		require.Contains(t, d, "pcr:1/")
	}
	require.Contains(t, fmt.Sprint(differs), "fd662842e607c580")
	require.Contains(t, fmt.Sprint(differs), "23e49177e52b0c21")
}

// A patch names its base by the digest of the base's file.
func TestCorpusLinks(t *testing.T) {
	base, _ := open(t, "rim-tool/pcrim/laptop.default.1@078d847.swidtag")
	for name, want := range map[string]string{"laptop.patch.1": "hash", "laptop.supplemental.1": "hash", "laptop.patch.badRimLinkHash@078d847": "", "laptop.default.3": ""} {
		r, report := open(t, "rim-tool/pcrim/"+name+".swidtag")
		require.NotNil(t, r, report.Findings)
		require.Equal(t, want, r.LinkedTo(base), name)
	}
}
