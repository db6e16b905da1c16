package assay_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/corim"
	"github.com/assay-hw/assay/manifest/platformcert"
	"github.com/assay-hw/assay/manifest/rim"
	"github.com/assay-hw/assay/manifest/vendor"
)

// artefacts are what the maker of the recorded machine would ship by the
// standards of the TCG and the IETF: written from a draft of the good unit.
func artefacts(t testing.TB, v *labVendor) map[string]vendor.File {
	t.Helper()
	files := machine(t, "baseline")
	m, _, err := assay.Draft([]*evidence.Bundle{bundle(t, files)}, assay.DraftOptions{Scope: assay.Machine, Now: labTime})
	require.NoError(t, err)
	ek, err := ekcert.Parse(files["tpm/ek-0x01c00002.crt"])
	require.NoError(t, err)
	c, lost, err := platformcert.FromManifest(m, platformcert.Options{EK: ek})
	require.NoError(t, err)
	require.NotEmpty(t, lost, "a platform certificate has no place for the boot")
	require.NoError(t, c.Sign(v.key, v.chain[0]))
	e, _, err := rim.Export(m, rim.Options{Key: v.key, Chain: v.chain})
	require.NoError(t, err)
	co, _, err := corim.Export(m, corim.Signer{Key: v.key, Chain: v.chain})
	require.NoError(t, err)
	return map[string]vendor.File{
		"base.cer": {Name: "base.cer", Data: c.Raw}, "issuer.pem": {Name: "issuer.pem", Data: v.chain[0].Raw}, "rim.swidtag": {Name: "rim.swidtag", Data: e.Base},
		"rim.rimel": {Name: "rim.rimel", Data: e.Supports["platform.rimel"]}, "rim.rimpcr": {Name: "rim.rimpcr", Data: e.Supports["platform.rimpcr"]}, "x.corim": {Name: "x.corim", Data: co},
	}
}

// shipped appraises a machine with a vendor's documents alone.
func shipped(t *testing.T, v *labVendor, name string, files ...vendor.File) (*assay.Result, vendor.Set) {
	t.Helper()
	set := vendor.Open(files, v.trust(t), labTime)
	c := assay.Case{Evidence: bundle(t, machine(t, name)), Golden: set.Native, Trust: v.trust(t), Now: labTime}
	for _, s := range set.Statements {
		c.Statements = append(c.Statements, assay.Statement(s))
	}
	r, err := assay.Verify(c)
	require.NoError(t, err)
	return r, set
}

// inDoubt are the findings above low but for what such documents have no way to
// accept: that the unit is a virtual machine whose strings contradict each other.
func inDoubt(r *assay.Result) []finding.Code {
	var out []finding.Code
	for _, f := range r.Findings {
		own := slices.Contains([]finding.Code{finding.SourcesContradict, finding.IntegrityBroken, finding.SoftwareTPM, finding.CollectorUntrusted}, f.Code)
		if f.Severity >= finding.Medium && !own && !slices.Contains(out, f.Code) {
			out = append(out, f.Code)
		}
	}
	return out
}

func TestVendorsDocumentsAlone(t *testing.T) {
	v := newVendor(t, "Assay Lab Computer Inc.")
	a := artefacts(t, v)
	all := []vendor.File{a["base.cer"], a["issuer.pem"], a["rim.swidtag"], a["rim.rimel"], a["rim.rimpcr"]}
	for name, want := range map[string][]finding.Code{
		"baseline": nil, "baseline-reboot": nil,
		"extra-nic-norom": {finding.UnexpectedComponent},
	} {
		r, set := shipped(t, v, name, all...)
		require.Len(t, set.Statements, 2)
		require.Empty(t, set.Unused)
		got := inDoubt(r)
		if name == "extra-nic-norom" {
			require.Contains(t, got, finding.UnexpectedComponent)
			require.Equal(t, assay.Fail, r.Verdict)
			continue
		}
		require.Equal(t, want, got, name)
		for _, m := range r.Manifests {
			require.Equal(t, "trusted", m.Status, m.ID)
		}
	}
	r, _ := shipped(t, v, "fw-patched-dxe", all...)
	require.Contains(t, inDoubt(r), finding.UnexpectedEvent)
	r, set := shipped(t, v, "fw-patched-dxe", a["x.corim"])
	require.Len(t, set.Statements, 1)
	require.NotEmpty(t, inDoubt(r))
}

func TestVendorsDocumentsThatDoNotCount(t *testing.T) {
	v, other := newVendor(t, "Assay Lab Computer Inc."), newVendor(t, "Somebody Else")
	a := artefacts(t, v)
	broken := a["base.cer"]
	broken.Data = bytes.Replace(broken.Data, []byte("SYS-6029LAB"), []byte("SYS-6028LAB"), 1)
	require.NotEqual(t, a["base.cer"].Data, broken.Data)
	foreign := artefacts(t, other)
	for name, c := range map[string]struct {
		files []vendor.File
		trust *labVendor
		want  finding.Code
	}{
		"a changed certificate":          {[]vendor.File{broken, a["issuer.pem"]}, v, finding.ManifestBadSignature},
		"an issuer that is not at hand":  {[]vendor.File{a["base.cer"]}, v, finding.ManifestUntrustedSigner},
		"another root":                   {[]vendor.File{a["base.cer"], a["issuer.pem"]}, other, finding.ManifestUntrustedSigner},
		"a tag of another root":          {[]vendor.File{a["rim.swidtag"], a["rim.rimel"]}, other, finding.ManifestUntrustedSigner},
		"another maker's certificate":    {[]vendor.File{foreign["base.cer"], foreign["issuer.pem"]}, other, finding.ManifestUntrustedSigner},
		"another maker's tag":            {[]vendor.File{foreign["rim.swidtag"], foreign["rim.rimel"]}, other, finding.ManifestUntrustedSigner},
		"another maker's concise record": {[]vendor.File{foreign["x.corim"]}, other, finding.ManifestUntrustedSigner},
		"two bases":                      {[]vendor.File{a["base.cer"], a["base.cer"], a["issuer.pem"]}, v, finding.ManifestDelta},
	} {
		r, set := shipped(t, c.trust, "baseline", c.files...)
		require.NotEqual(t, assay.Pass, r.Verdict, name)
		require.Contains(t, codesOf(r), c.want, name)
		for _, s := range set.Statements {
			require.Nil(t, s.Trusted, name)
		}
	}
}

// A support RIM counts only when a RIM that holds lists it, and one that is not
// given is not checked.
func TestSupportRIMs(t *testing.T) {
	v := newVendor(t, "Assay Lab Computer Inc.")
	a := artefacts(t, v)
	changed := a["rim.rimel"]
	changed.Data = append(bytes.Clone(changed.Data), 0)
	_, set := shipped(t, v, "baseline", a["rim.swidtag"], changed, a["rim.rimpcr"])
	require.Equal(t, []string{"rim.rimel"}, set.Unused)
	r, set := shipped(t, v, "baseline", a["rim.swidtag"], a["rim.rimpcr"])
	require.Empty(t, set.Unused)
	require.True(t, slices.ContainsFunc(r.NotChecked, func(n assay.NotChecked) bool { return n.What == "support RIM platform.rimel" }))
	set = vendor.Open([]vendor.File{{Name: "x", Data: []byte("no document")}}, v.trust(t), labTime)
	require.Len(t, set.Native, 1, "what is nothing else is refused as a manifest")
}

// A RIM that was refused is what the result is about, not the files that it may
// list.
func TestSupportOfARefusedRIM(t *testing.T) {
	v, other := newVendor(t, "Assay Lab Computer Inc."), newVendor(t, "Somebody Else")
	a := artefacts(t, v)
	r, set := shipped(t, other, "baseline", a["rim.swidtag"], a["rim.rimel"])
	require.Empty(t, set.Unused)
	require.Contains(t, codesOf(r), finding.ManifestUntrustedSigner)
	require.True(t, slices.ContainsFunc(r.NotChecked, func(n assay.NotChecked) bool { return n.What == "rim.rimel" }))
	set = vendor.Open([]vendor.File{a["base.cer"], a["rim.swidtag"], a["x.corim"]}, nil, labTime)
	require.Len(t, set.Statements, 3)
	for _, s := range set.Statements {
		require.Nil(t, s.Trusted, "nobody is trusted")
	}
}

// The certificates that the field's own tests use are trusted when somebody
// grants their maker that right, and only then.
func TestPlatformCertificatesOfTheField(t *testing.T) {
	root := filepath.Join("..", "shared", "corpus", "platformcerts", "hirs-ci", "laptop")
	read := func(name string) vendor.File {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Skip("needs ../shared/corpus/platformcerts")
		}
		return vendor.File{Name: name, Data: b}
	}
	ca := read("default/trustcerts/ca.crt")
	base, delta := read("deltaPlatMem/platformcerts/laptop_base_platform_cert_addMem.crt"), read("deltaPlatMem/platformcerts/laptop_deltaPlatCert_addMem.crt")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.crt"), ca.Data, 0o600))
	open := func(files ...vendor.File) vendor.Statement {
		trust, err := manifest.LoadTrust([]string{dir})
		require.NoError(t, err)
		set := vendor.Open(files, trust, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
		require.Len(t, set.Statements, 1)
		return set.Statements[0]
	}
	require.Nil(t, open(read("default/platformcerts/laptop.default.1.base.cer")).Trusted, "its organisation is not the manufacturer")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trust.yaml"), []byte("grants:\n  - signer: {organization: org}\n    manufacturers: [\"Dell Inc.\"]\n"), 0o600))
	plain, changed := open(base), open(delta, base)
	for _, s := range []vendor.Statement{plain, changed, open(read("default/platformcerts/laptop.default.1.base.cer"))} {
		require.NotNil(t, s.Trusted)
		for _, f := range s.Report.Findings {
			require.Equal(t, finding.Low, f.Severity, "%s %s", f.Code, f.Why)
		}
	}
	require.Equal(t, int64(2), changed.Report.Version)
	require.Greater(t, parts(changed), parts(plain), "the delta adds memory")
}

func parts(s vendor.Statement) (n int) {
	for _, r := range s.Trusted.Manifest().Components {
		n += max(1, r.Quantity)
	}
	return n
}

// FuzzVendorDocuments replaces one of a vendor's files. Whatever it becomes, what
// is believed is what the vendor signed, and no file is passed over in silence.
func FuzzVendorDocuments(f *testing.F) {
	v := newVendor(f, "Assay Lab Computer Inc.")
	trust, a := v.trust(f), artefacts(f, v)
	names := []string{"base.cer", "issuer.pem", "rim.swidtag", "rim.rimel", "rim.rimpcr", "x.corim"}
	var files []vendor.File
	for _, n := range names {
		files = append(files, a[n])
	}
	signed := map[string]bool{}
	for _, s := range vendor.Open(files, trust, labTime).Statements {
		require.NotNil(f, s.Trusted, s.Report.ID)
		signed[encoded(f, s)] = true
	}
	require.Len(f, signed, 3)
	for i := range names {
		f.Add(uint8(i), files[i].Data)
		f.Add(uint8(i), files[(i+1)%len(files)].Data)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		fs := slices.Clone(files)
		i := int(which) % len(fs)
		fs[i] = vendor.File{Name: fs[i].Name, Data: b}
		set := vendor.Open(fs, trust, labTime)
		support := i == 3 || i == 4 // without its log, a RIM says less
		for _, s := range set.Statements {
			require.False(t, s.Trusted != nil && !support && !signed[encoded(t, s)], "%s", s.Report.ID)
		}
		require.GreaterOrEqual(t, len(set.Native)+len(set.Statements)+len(set.Unused), 2)
	})
}

func encoded(t testing.TB, s vendor.Statement) string {
	t.Helper()
	raw, err := manifest.Encode(s.Trusted.Manifest())
	require.NoError(t, err)
	return string(raw)
}
