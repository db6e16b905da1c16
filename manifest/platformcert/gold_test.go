package platformcert

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
)

// The scenarios that a study of the field collected, with the verdict that is
// right and its cause. Where the field's own tests say something else, that is
// said here.

func gold(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpus(t), name))
	if err != nil {
		t.Skip("needs " + name)
	}
	return b
}

func goldCertificate(t *testing.T, name string) *Certificate {
	t.Helper()
	c, err := Parse(gold(t, name))
	require.NoError(t, err, name)
	return c
}

func goldTrust(t *testing.T, names ...string) *Trust {
	t.Helper()
	tr := &Trust{}
	for _, n := range names {
		_, err := tr.Add(gold(t, n), true)
		require.NoError(t, err, n)
	}
	return tr
}

func goldKey(t *testing.T, name string) *ekcert.Certificate {
	t.Helper()
	var tr Trust
	if raw := gold(t, name); strings.Contains(string(raw), "-----BEGIN") {
		_, err := tr.Add(raw, true)
		require.NoError(t, err, name)
		return tr.Roots[0]
	}
	c, err := ekcert.Parse(gold(t, name))
	require.NoError(t, err, name)
	return c
}

// inventory reads what the field's collector writes about a device.
func inventory(t *testing.T, name string) []Component {
	t.Helper()
	var doc struct {
		Components []struct {
			Class struct {
				Registry string `json:"COMPONENTCLASSREGISTRY"`
				Value    string `json:"COMPONENTCLASSVALUE"`
			} `json:"COMPONENTCLASS"`
			Maker    string `json:"MANUFACTURER"`
			Model    string `json:"MODEL"`
			Serial   string `json:"SERIAL"`
			Revision string `json:"REVISION"`
		} `json:"COMPONENTS"`
	}
	require.NoError(t, json.Unmarshal(gold(t, name), &doc), name)
	var out []Component
	for _, c := range doc.Components {
		out = append(out, Component{Registry: c.Class.Registry, Class: c.Class.Value, Maker: c.Maker, Model: c.Model, Serial: c.Serial, Revision: c.Revision})
	}
	require.NotEmpty(t, out)
	return out
}

// matched compares a build with a device the way a verifier does.
func matched(t *testing.T, b *Build, device []Component) []finding.Finding {
	t.Helper()
	m, _, err := Convert(b, ConvertOptions{})
	require.NoError(t, err)
	seen, _, err := Convert(&Build{Base: b.Base, Platform: b.Platform, Components: device}, ConvertOptions{})
	require.NoError(t, err)
	inv := &bom.Inventory{Classes: map[bom.Class]bom.Observation{}}
	for i, r := range seen.Components {
		inv.Parts = append(inv.Parts, bom.Part{Class: r.Class, Subject: fmt.Sprintf("part:%d", i), Identity: r.Identity, Attributes: map[string]string{}, Values: map[string]bom.Value{}})
		inv.Classes[r.Class] = bom.Observation{Observed: true, Whole: true}
	}
	return bom.Match(m.Components, m.Classes, inv).Findings
}

const laptop = "hirs-ci/laptop/"

var laptopTime = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)

func TestGold1TheLaptopAsItWasMade(t *testing.T) {
	c := goldCertificate(t, laptop+"default/platformcerts/laptop.default.1.base.cer")
	v, err := c.Verify(goldTrust(t, "hirs-ci/setup/ca.crt"), laptopTime)
	require.NoError(t, err)
	bound(t, c, goldKey(t, "hirs-ci/setup/ek_cert.der"))
	a, fs := Assemble(v, nil, nil)
	require.Empty(t, fs)
	require.Len(t, a.Build().Components, 6)
	device := inventory(t, laptop+"default/laptop_default_hw.json")
	missing, unexpected := a.Build().Difference(device)
	require.Empty(t, missing)
	require.Empty(t, unexpected)
	require.Empty(t, matched(t, a.Build(), device))
}

func addMemory(t *testing.T) (base, delta *Verified) {
	tr := goldTrust(t, laptop+"default/trustcerts/ca.crt")
	base, err := goldCertificate(t, laptop+"deltaPlatMem/platformcerts/laptop_base_platform_cert_addMem.crt").Verify(tr, laptopTime)
	require.NoError(t, err)
	delta, err = goldCertificate(t, laptop+"deltaPlatMem/platformcerts/laptop_deltaPlatCert_addMem.crt").Verify(tr, laptopTime)
	require.NoError(t, err)
	return base, delta
}

func TestGold2ADeltaAddsAModule(t *testing.T) {
	base, delta := addMemory(t)
	a, fs := Assemble(base, []*Verified{delta}, nil)
	require.NotNil(t, a)
	for _, f := range fs {
		t.Log(f.Severity, f.Why)
		require.Equal(t, finding.Low, f.Severity, f.Why)
	}
	require.Len(t, a.Build().Deltas, 1)
	require.Len(t, a.Build().Components, 6)
	device := inventory(t, laptop+"default/laptop_default_hw.json")
	missing, unexpected := a.Build().Difference(device)
	require.Empty(t, missing)
	require.Empty(t, unexpected)
	require.Empty(t, matched(t, a.Build(), device))
}

// The origin's script says pass, its own description fail.
func TestGold3OneModuleMoreThanTheCertificateLists(t *testing.T) {
	c := goldCertificate(t, laptop+"platCertLight/platformcerts/laptop_platCertLight_base_platform.crt")
	b, fs := Draft(c, nil)
	require.Empty(t, fs)
	require.Len(t, b.Components, 5)
	device := inventory(t, laptop+"default/laptop_default_hw.json")
	missing, unexpected := b.Difference(device)
	require.Empty(t, missing)
	require.Len(t, unexpected, 1)
	require.Equal(t, "HMA81GS6AFR8N-UH", unexpected[0].Model)
	all := matched(t, b, device)
	require.Len(t, all, 1)
	require.Equal(t, finding.UnexpectedComponent, all[0].Code)
	require.Equal(t, finding.Critical, all[0].Severity)
}

// The origin's delta is bad for two reasons at once, and its test cannot tell
// which one it found; both are told here. The files are no longer public, so that
// these are like them.
func TestGold4ADeltaThatIsOlderAndNamesAnotherModule(t *testing.T) {
	c := newChain(t)
	tr := trust(c.by)
	other := part("9001", Added)
	other.Model = "HMA84GR7MFR4N-UH"
	old := c.delta(c.by, func(d *Certificate) {
		d.NotBefore = issued.AddDate(-1, 0, 0)
		d.Configuration.Components = []Component{other}
	})
	_, fs := c.assemble(tr, nil, old)
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Why, "precedes that of")
	b, fs := c.assemble(tr, nil, c.delta(c.by, with(other)))
	require.Empty(t, fs)
	missing, _ := b.Difference(c.base.Configuration.Components)
	require.Len(t, missing, 1)
	require.Equal(t, "HMA84GR7MFR4N-UH", missing[0].Model)
}

// The origin's unit test passes the device with one part more.
func TestGold9OnePartMoreInAnInventory(t *testing.T) {
	const dir = "hirs-unit/HIRS_AttestationCA/hirs/validation/"
	declared, device := inventory(t, dir+"sample_paccor_output.txt"), inventory(t, dir+"sample_paccor_output_with_extra_component.txt")
	missing, unexpected := (&Build{Components: declared}).Difference(device)
	require.Empty(t, missing)
	require.Len(t, unexpected, 1)
	require.Equal(t, "BQKP52840678", unexpected[0].Serial)
	require.Equal(t, "platform2018", unexpected[0].Model)
}

func TestGold10AVendorsCertificateWithoutParts(t *testing.T) {
	c := goldCertificate(t, "guard-oss/intel-tsc-J101WYR1/LENOVO_DCG_126061_J101WYR1_PAC__J101WYR1_PCD_INTC_Platform_Cert_RSA.cer")
	v, err := c.Verify(goldTrust(t, "guard-oss/TSC_IssuingCALENOVO_DCG.cer"), laptopTime)
	require.NoError(t, err)
	// The TPM maker's name is one set of three values; the platform maker wrote
	// three sets.
	ek := goldKey(t, "guard-oss/sr630EK.pem")
	tolerated, err := c.Bound(ek)
	require.NoError(t, err)
	require.Len(t, tolerated, 1)
	a, fs := Assemble(v, nil, nil)
	require.Empty(t, fs)
	m, lost, err := Convert(a.Build(), ConvertOptions{EK: ek})
	require.NoError(t, err)
	require.Empty(t, m.Components)
	require.Empty(t, m.Classes, "no class is closed: nothing was vouched for")
	require.Contains(t, lost, Loss{Where: "components", What: "the certificate lists no component: it vouches for no part"})
	require.Equal(t, "19f560344986d95d7f05", m.Endorsements[0].Number)
}

// The Supermicro board's own certificate is not public any more; another
// machine's has to be refused in the same way.
func TestGold11AnotherMachinesTPM(t *testing.T) {
	c := goldCertificate(t, "guard-oss/intel-tsc-J101WYR1/LENOVO_DCG_126061_J101WYR1_PAC__J101WYR1_PCD_INTC_Platform_Cert_RSA.cer")
	name := "guard-oss/h12sslEK.pem"
	if _, err := os.Stat(filepath.Join(corpusDir, name)); err != nil {
		name = "hirs-unit/HIRS_AttestationCA/certificates/nuc-2/tpmcert.pem"
	}
	unbound(t, c, goldKey(t, name), "the platform certificate is about another TPM")
}

// The origin passes this one by the serial number alone. The holder's issuer is
// "CN=STMicro", which is not who issued that certificate, so that it is refused
// for that reason and no other.
func TestGold12AnOldCertificateOverSHA1(t *testing.T) {
	c := goldCertificate(t, "go-attestation/Intel_pc2.cer")
	ek := "hirs-unit/HIRS_AttestationCA/certificates/"
	unbound(t, c, goldKey(t, ek+"nuc-2/tpmcert.pem"), "the serial number is that, but the issuer is CN=STM TPM EK Intermediate CA 02,O=STMicroelectronics NV,C=CH, not CN=STMicro")
	unbound(t, c, goldKey(t, ek+"nuc-1/tpmcert.pem"), "about another TPM")
	v, err := c.Verify(goldTrust(t, "go-attestation/IntelSigningKey_20April2017.cer"), time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err, "weak is not wrong")
	require.Contains(t, v.Notes(), "the certificate is signed with SHA-1")
}

// Endorsement key certificates as they are found.
func TestGold17CertificatesWithHeadersAndPadding(t *testing.T) {
	dir := filepath.Join(corpus(t), "hirs-unit/HIRS_AttestationCA/certificates")
	for _, name := range []string{"nuc-1/ek_cert_untouched.cer", "ek_cert_with_padded_bytes.cer"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		c, err := ekcert.Parse(b)
		require.NoError(t, err, name)
		require.NotEmpty(t, c.Tolerated, name)
		require.False(t, IsCertificate(b), "an endorsement key certificate is no platform certificate")
	}
}

// authorities are all certificates of the corpus, by their bytes.
func authorities(t *testing.T) []*ekcert.Certificate {
	t.Helper()
	var out []*ekcert.Certificate
	seen := map[string]bool{}
	require.NoError(t, filepath.WalkDir(corpus(t), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil || len(b) > maxFile {
			return err
		}
		var tr Trust
		if _, err := tr.Add(b, true); err != nil {
			return nil //nolint:nilerr // another file
		}
		for _, c := range tr.Roots {
			if !seen[string(c.DER)] {
				seen[string(c.DER)] = true
				out = append(out, c)
			}
		}
		return nil
	}))
	return out
}

// Which real certificates have their signer here, and what about the name.
func TestSignaturesOfRealCertificates(t *testing.T) {
	all := authorities(t)
	signed, named, sameBytes, otherName, unknown := 0, 0, 0, 0, 0
	for name, c := range attributeCertificates(t) {
		if c.Kind == NoPlatform {
			continue
		}
		alg, err := parseAlgorithm(c.sigAlg)
		require.NoError(t, err)
		byKey, byName, byBytes := false, false, false
		for _, a := range all {
			if _, err := ekcert.Verify(a.Key, alg, c.tbs, c.signature); err != nil {
				continue
			}
			byKey = true
			at := c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 2)
			v, err := c.Verify(&Trust{Roots: []*ekcert.Certificate{a}}, at)
			var r *Refused
			switch {
			case err == nil:
				require.NotNil(t, v)
				byName = true
			case asRefused(err, &r) && (r.Cause == Expired || r.Cause == NotValidYet):
				byName = true
			default:
				require.Equal(t, IssuerUnknown, r.Cause, name)
			}
			byBytes = byBytes || string(a.Subject) == string(c.Issuer)
		}
		switch {
		case byName:
			signed, named = signed+1, named+1
			if byBytes {
				sameBytes++
			}
		case byKey:
			signed, otherName = signed+1, otherName+1
			t.Logf("%s: its signer has another name", name)
		default:
			unknown++
		}
	}
	t.Logf("%d authorities; signer is here for %d: %d with the issuer's name (%d byte by byte), %d under another name; %d unknown", len(all), signed, named, sameBytes, otherName, unknown)
	require.Positive(t, named)
}

func asRefused(err error, r **Refused) bool {
	x, ok := err.(*Refused) //nolint:errorlint // Verify returns it bare
	*r = x
	return ok
}
