package rim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

const maker = "Example Systems, Inc."

var (
	issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now    = issued.Add(24 * time.Hour)
)

// holder is a key with its certificate and the root above it.
type holder struct {
	key  crypto.Signer
	cert *x509.Certificate
	root *x509.Certificate
	ca   crypto.Signer
}

func newHolder(t testing.TB, key crypto.Signer) *holder {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	make := func(tmpl, parent *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, ca)
		require.NoError(t, err)
		c, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return c
	}
	top := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{maker}, CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: issued.AddDate(-1, 0, 0), NotAfter: issued.AddDate(9, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{9},
	}
	root := make(top, top, ca.Public())
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Organization: []string{maker}, CommonName: "RIM signer"}, SubjectKeyId: []byte{7, 7},
		NotBefore: issued, NotAfter: issued.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	return &holder{key, make(leaf, root, key.Public()), root, ca}
}

func ecHolder(t testing.TB) *holder {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return newHolder(t, k)
}

func sum(s string) string {
	d := sha256.Sum256([]byte(s))
	return hex.EncodeToString(d[:])
}

func event(typ, label, digest string) attest.EventReference {
	return attest.EventReference{Type: typ, Label: label, Digests: map[string][]string{"sha256": {digest}}}
}

// sample is a manifest of which everything has a place in a RIM.
func sample() *manifest.Manifest {
	return &manifest.Manifest{
		ID: "rim:tag-1", Version: 3, IssuedAt: issued,
		Environment: manifest.Environment{Manufacturer: maker, Model: `R<1> & "co"`, Revision: "B"},
		Components:  []bom.Reference{}, Classes: map[bom.Class]bom.Closure{},
		Boot: []attest.Reference{
			{PCR: 0, Events: []attest.EventReference{event("EV_S_CRTM_VERSION", "", sum("crtm")), event("EV_POST_CODE", "ACPI DATA", sum("post"))}},
			{PCR: 1, Digests: map[string][]string{"sha256": {sum("one")}}},
			{PCR: 7, Events: []attest.EventReference{event("EV_EFI_VARIABLE_DRIVER_CONFIG", "", sum("sb")), event("EV_SEPARATOR", "separator", sum("\x00\x00\x00\x00"))}},
		},
		Firmware: []firmware.Reference{{Name: "bios", Version: "1.2"}},
	}
}

func export(t testing.TB, m *manifest.Manifest, h *holder) *Exported {
	t.Helper()
	out, _, err := Export(m, Options{Key: h.key, Chain: []*x509.Certificate{h.cert}, FirmwareManufacturer: maker, FirmwareModel: "R1"})
	require.NoError(t, err)
	return out
}

func TestRoundTrip(t *testing.T) {
	big, err := rsa.GenerateKey(rand.Reader, 3072)
	require.NoError(t, err)
	wide, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	for _, h := range []*holder{ecHolder(t), newHolder(t, big), newHolder(t, wide)} {
		m := sample()
		out := export(t, m, h)
		require.True(t, IsRIM(out.Base))
		xmlsec(t, out.Base, h)
		r, report := Open(out.Base, trusting(t, h.root), nil, now)
		require.NotNil(t, r, report.Findings)
		require.Equal(t, Valid, report.Verdict)
		require.Empty(t, report.Findings)
		b := r.Bind(out.Supports)
		require.Empty(t, b.Findings)
		require.Equal(t, []string{"platform.rimel", "platform.rimpcr"}, b.Bound)
		got, losses, err := Convert(r)
		require.NoError(t, err)
		want := sample()
		want.Firmware[0].Note = got.Firmware[0].Note
		want.Boot[2].Events[1].Derived = "separator"
		require.Equal(t, want, got, losses)
		trusted, accepted := trusting(t, h.root).Accept(got, out.Base, r.Chain(), now)
		require.NotNil(t, trusted, accepted.Findings)
	}
}

func xmlsec(t *testing.T, doc []byte, h *holder) {
	t.Helper()
	bin, err := exec.LookPath("xmlsec1")
	if err != nil {
		t.Log("not checked with xmlsec1, which is not installed")
		return
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "root.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.root.Raw}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rim.xml"), doc, 0o600))
	out, err := exec.Command(bin, "--verify", "--trusted-pem", filepath.Join(dir, "root.pem"), "--verification-gmt-time", "2026-03-02 12:00:00+00:00", filepath.Join(dir, "rim.xml")).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// What a RIM has no place for is named.
func TestExportNamesWhatIsLost(t *testing.T) {
	m := sample()
	m.Components = []bom.Reference{{ID: "x", Class: bom.PCI}}
	m.Environment.Serial = "S1"
	m.Boot[0].Order = "any"
	m.Boot[0].Events[0].Optional = true
	m.Boot[0].Events[0].Derived = "component:x"
	m.Boot[0].Events[1].Digests["sha256"] = append(m.Boot[0].Events[1].Digests["sha256"], sum("other"))
	m.Boot[2].Events = append(m.Boot[2].Events, attest.EventReference{Type: "EV_ACTION", Label: "no digest"})
	m.Firmware[0].SHA256 = sum("image")
	_, losses, err := Export(m, Options{Key: ecHolder(t).key})
	require.NoError(t, err)
	all := fmt.Sprint(losses)
	for _, want := range []string{"components: 1 parts", "serial number", "any order", "may be missing", "derived from, component:x", "1 of its digests", `"no digest", which has no digest`, "firmware:bios: digests"} {
		require.Contains(t, all, want)
	}
	m.Delta = &manifest.Delta{}
	_, _, err = Export(m, Options{Key: ecHolder(t).key})
	require.ErrorIs(t, err, ErrUnsupported)
}

func codes(r Report) []finding.Code {
	var out []finding.Code
	for _, f := range r.Findings {
		out = append(out, f.Code)
	}
	return out
}

// Pretty-printing after signing is told apart from a changed document.
func TestVerdicts(t *testing.T) {
	h := ecHolder(t)
	doc := string(export(t, sample(), h).Base)
	trust := trusting(t, h.root)
	pretty := strings.ReplaceAll(doc, "><", ">\n  <")
	for name, c := range map[string]struct {
		doc     string
		trust   *manifest.Trust
		at      time.Time
		verdict Verdict
		codes   []finding.Code
		opens   bool
	}{
		"as signed":               {doc, trust, now, Valid, nil, true},
		"pretty-printed":          {pretty, trust, now, ValidNonstandard, []finding.Code{finding.ManifestAmbiguous}, true},
		"changed":                 {strings.Replace(doc, "tag-1", "tag-2", 1), trust, now, Invalid, []finding.Code{finding.ManifestBadSignature}, false},
		"changed, pretty-printed": {strings.Replace(pretty, "tag-1", "tag-2", 1), trust, now, Invalid, []finding.Code{finding.ManifestBadSignature}, false},
		"space inside of a value": {strings.Replace(doc, `name="platform.rimel"`, `name="platform .rimel"`, 1), trust, now, Invalid, []finding.Code{finding.ManifestBadSignature}, false},
		"another root":            {doc, trusting(t, ecHolder(t).root), now, Valid, []finding.Code{finding.ManifestUntrustedSigner}, false},
		"nobody is trusted":       {doc, nil, now, Valid, []finding.Code{finding.ManifestUntrustedSigner}, false},
		"too late":                {doc, trust, now.AddDate(2, 0, 0), Valid, []finding.Code{finding.ManifestTime}, false},
		"too early":               {doc, trust, issued.AddDate(0, -1, 0), Valid, []finding.Code{finding.ManifestTime}, false},
		"unsigned":                {doc[:strings.Index(doc, "<Signature ")] + "</SoftwareIdentity>", trust, now, Invalid, []finding.Code{finding.ManifestUnsigned}, false},
		"no certificate":          {doc[:strings.Index(doc, "<KeyInfo>")] + doc[strings.Index(doc, "</KeyInfo>")+len("</KeyInfo>"):], trust, now, Unverified, []finding.Code{finding.ManifestUntrustedSigner}, false},
		"a document type":         {"<!DOCTYPE SoftwareIdentity>" + doc, trust, now, Invalid, []finding.Code{finding.ManifestAmbiguous}, false},
		"depth":                   {strings.Repeat("<a>", 10_000), trust, now, Invalid, []finding.Code{finding.InputLimit}, false},
		"HMAC":                    {strings.Replace(doc, "xmldsig-more#ecdsa-sha256", "xmldsig-more#hmac-sha256", 1), trust, now, Invalid, []finding.Code{finding.ManifestAlgorithm}, false},
	} {
		r, report := Open([]byte(c.doc), c.trust, nil, c.at)
		require.Equal(t, c.verdict, report.Verdict, "%s: %v", name, report.Findings)
		require.Equal(t, c.codes, codes(report), "%s: %v", name, report.Findings)
		require.Equal(t, c.opens, r != nil, name)
		if c.verdict != Valid {
			require.NotEmpty(t, report.Cause, name)
		}
	}
	// The certificate may be given beside, and is found by the name of the key.
	bare := doc[:strings.Index(doc, "<X509Data>")] + doc[strings.Index(doc, "</X509Data>")+len("</X509Data>"):]
	r, report := Open([]byte(bare), trust, []*x509.Certificate{ecHolder(t).cert, h.cert}, now)
	require.NotNil(t, r, report.Findings)
}

func TestRevokedSigner(t *testing.T) {
	h := ecHolder(t)
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: issued, NextUpdate: issued.AddDate(1, 0, 0),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: h.cert.SerialNumber, RevocationTime: issued}},
	}, h.root, h.ca)
	require.NoError(t, err)
	trust := &manifest.Trust{}
	require.NoError(t, trust.Import(map[string][]byte{"trust.json": []byte("{}"), "root-0000.der": h.root.Raw, "list-0000.crl": crl}))
	r, report := Open(export(t, sample(), h).Base, trust, nil, now)
	require.Nil(t, r)
	require.Equal(t, []finding.Code{finding.ManifestRevoked}, codes(report))
}

// tagged signs a tag of its own.
func tagged(t testing.TB, h *holder, attrs, meta, payload string) []byte {
	t.Helper()
	m := sample()
	e := &exporter{manifest: m}
	doc := string(e.tag(nil))
	doc = strings.Replace(doc, `patch="false" supplemental="false"`, attrs, 1)
	doc = strings.Replace(doc, ` rim:platformVersion`, " "+meta+" rim:platformVersion", 1)
	doc = strings.Replace(doc, `</Directory>`, payload+`</Directory>`, 1)
	out, err := signTag([]byte(doc), h)
	require.NoError(t, err)
	return out
}

func fileLine(name string, b []byte) string {
	d := sha256.Sum256(b)
	return fmt.Sprintf(`<File xmlns:SHA256="http://www.w3.org/2001/04/xmlenc#sha256" SHA256:hash="%x" name="%s" size="%d"></File>`, d, name, len(b))
}

func opened(t testing.TB, raw []byte, h *holder) *RIM {
	t.Helper()
	r, report := Open(raw, trusting(t, h.root), nil, now)
	require.NotNil(t, r, report.Findings)
	return r
}

// Supplements add, patches replace; both must belong to the base.
func TestSupplementsAndPatches(t *testing.T) {
	h := ecHolder(t)
	out := export(t, sample(), h)
	base := opened(t, out.Base, h)
	base.Bind(out.Supports)
	other := sample()
	other.Boot = []attest.Reference{{PCR: 7, Events: []attest.EventReference{event("EV_EFI_VARIABLE_AUTHORITY", "", sum("authority"))}}}
	log := export(t, other, h).Supports["platform.rimel"]
	hash := sha256.Sum256(out.Base)
	link := fmt.Sprintf(`rim:rimLinkHash="%x"`, hash)

	more := opened(t, tagged(t, h, `patch="false" supplemental="true"`, link, fileLine("x.rimel", log)), h)
	require.Equal(t, "hash", more.LinkedTo(base))
	more.Bind(map[string][]byte{"x.rimel": log})
	m, _, err := Convert(base, more)
	require.NoError(t, err)
	require.Len(t, m.Boot[2].Events, 3)
	require.Equal(t, "any", m.Boot[2].Order)

	patch := opened(t, tagged(t, h, `patch="true" supplemental="false"`, link, fileLine("x.rimel", log)), h)
	patch.Bind(map[string][]byte{"x.rimel": log})
	m, _, err = Convert(base, patch)
	require.NoError(t, err)
	require.Len(t, m.Boot[2].Events, 1)
	require.Len(t, m.Boot[0].Events, 2)

	m, _, err = Convert(base) // what was converted before does not stick
	require.NoError(t, err)
	require.Len(t, m.Boot[2].Events, 2)

	dangling := strings.Replace(link, link[len(link)-5:len(link)-1], "0000", 1)
	stray := opened(t, tagged(t, h, `patch="true" supplemental="false"`, dangling, fileLine("x.rimel", log)), h)
	_, _, err = Convert(base, stray)
	require.ErrorIs(t, err, ErrUnrelated)
	loose := opened(t, tagged(t, h, `patch="false" supplemental="true"`, dangling, fileLine("x.rimel", log)), h)
	_, losses, err := Convert(base, loose)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(losses), "rimLinkHash is no digest of the base RIM")

	untrusted, err := ReadUntrusted(out.Base)
	require.NoError(t, err)
	_, _, err = Convert(base, untrusted)
	require.ErrorIs(t, err, ErrUnrelated)
}

// A support RIM counts when its bytes are those of the tag, whatever its name.
func TestBind(t *testing.T) {
	h := ecHolder(t)
	out := export(t, sample(), h)
	r := opened(t, out.Base, h)
	log := out.Supports["platform.rimel"]

	b := r.Bind(map[string][]byte{"renamed": log})
	require.Equal(t, []string{"renamed"}, b.Bound)
	require.Len(t, b.NotChecked, 1)

	changed := append([]byte(nil), log...)
	changed[len(changed)-1] ^= 1
	b = r.Bind(map[string][]byte{"platform.rimel": changed})
	require.Empty(t, b.Bound)
	require.Equal(t, finding.ManifestBadSignature, b.Findings[0].Code)
	_, losses, err := Convert(r)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(losses), "no support RIM was given")

	junk := []byte("no log")
	r = opened(t, tagged(t, h, `patch="false" supplemental="false"`, "", fileLine("x", junk)), h)
	b = r.Bind(map[string][]byte{"x": junk})
	require.Equal(t, finding.InputMalformed, b.Findings[0].Code)
}

func TestListsOfRegisters(t *testing.T) {
	v := strings.Repeat("ab", 32)
	refs, err := parsePCRs([]byte("pcrs:\n  sha256:\n    0 : 0x" + strings.ToUpper(v) + "\n    17: " + v + "\r\n"))
	require.NoError(t, err)
	require.Equal(t, []attest.Reference{{PCR: 0, Digests: map[string][]string{"sha256": {v}}}, {PCR: 17, Digests: map[string][]string{"sha256": {v}}}}, refs)
	for _, bad := range []string{"", "sha256:\n 0: 0xabcd", "sha256:\n 24: " + v, "0: " + v, "sha256:\n0: " + v + "\n0: " + v, "hello", strings.Repeat("\n", 5000)} {
		_, err := parsePCRs([]byte(bad))
		require.Error(t, err, bad)
	}
}

// What has two meanings in a tag is refused, what has no place is told.
func TestTags(t *testing.T) {
	h := ecHolder(t)
	for name, c := range map[string][3]string{
		"patch and supplement": {`patch="true" supplemental="true"`, "", ""},
		"not a boolean":        {`patch="maybe" supplemental="true"`, "", ""},
		"one name twice":       {`patch="false" supplemental="false"`, `rim:PlatformModel="x"`, ""},
		"digest":               {`patch="false" supplemental="false"`, "", `<File xmlns:S="http://www.w3.org/2001/04/xmlenc#sha256" S:hash="zz" name="x"></File>`},
		"size":                 {`patch="false" supplemental="false"`, "", `<File name="x" size="-1"></File>`},
		"no name":              {`patch="false" supplemental="false"`, "", `<File size="1"></File>`},
		"hashes":               {`patch="false" supplemental="false"`, "", `<Resource type="Measurement" index="1" Hash1="ab"></Resource>`},
	} {
		r, report := Open(tagged(t, h, c[0], c[1], c[2]), trusting(t, h.root), nil, now)
		require.Nil(t, r, name)
		require.Equal(t, []finding.Code{finding.ManifestAmbiguous}, codes(report), name)
	}
	r := opened(t, tagged(t, h, `patch="false" supplemental="false" media="x"`, `rim:rimLinkHash="x" n8060:summary="y"`,
		`<Resource type="Measurement" index="1" Hash0="ab" Hash1="CD" size="1"></Resource><Process name="x"></Process>`), h)
	require.Equal(t, []Measurement{{Index: 1, Active: true, Values: []string{"ab", "cd"}}}, r.Measurements)
	require.Equal(t, []string{"attribute media of SoftwareIdentity", "element <Process> of the payload"}, r.Lost)
	_, losses, err := Convert(r)
	require.NoError(t, err)
	for _, want := range []string{"media", "Process", "summary", "1 measurements in the tag"} {
		require.Contains(t, fmt.Sprint(losses), want)
	}
}

func TestIsRIM(t *testing.T) {
	require.True(t, IsRIM([]byte("<?xml version='1.0'?><!-- x -->\n<a:SoftwareIdentity\nx='y'>")))
	require.True(t, IsRIM([]byte("<SoftwareIdentity>")))
	for _, s := range []string{"", "{}", "<a/>", "<", "<SoftwareIdentityX>", "PK"} {
		require.False(t, IsRIM([]byte(s)), s)
	}
}

// No input makes a RIM out of what its signer did not sign.
func FuzzOpen(f *testing.F) {
	h := ecHolder(f)
	trust := trusting(f, h.root)
	out := export(f, sample(), h)
	f.Add(out.Base)
	f.Add([]byte(strings.ReplaceAll(string(out.Base), "><", ">\n<")))
	f.Add(tagged(f, h, `patch="false" supplemental="true"`, "", `<Resource type="Measurement" index="1" Hash0="ab"></Resource>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		IsRIM(b)
		if r, err := ReadUntrusted(b); err == nil {
			r.Bind(out.Supports)
			if m, _, err := Convert(r); err == nil {
				raw, err := manifest.Encode(m)
				require.NoError(t, err)
				_, err = manifest.ReadUntrusted(raw)
				require.NoError(t, err, "%s", raw)
			}
		}
		r, report := Open(b, trust, nil, now)
		if r != nil {
			require.Equal(t, "tag-1", r.TagID)
			require.Equal(t, manifest.StatusTrusted, report.Status)
		}
	})
}

func FuzzPCRs(f *testing.F) {
	f.Add([]byte("sha256:\n  0: 0x" + strings.Repeat("ab", 32)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if refs, err := parsePCRs(b); err == nil {
			require.NotEmpty(t, refs)
		}
	})
}
