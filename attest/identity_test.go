package attest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
)

// The laboratory's reference machine and its pins.
func pinned(t *testing.T) (*Observation, Params) {
	o := recorded(t, "baseline")
	return o, labParams(t, o)
}

func without(t *testing.T, name string, gone ...string) *Observation {
	b := recorded(t, name).bundle
	files := map[string][]byte{}
	for _, a := range b.Artifacts() {
		if !slices.Contains(gone, a.Path) {
			files[a.Path], _ = b.Read(a.Path)
		}
	}
	return Observe(bundleOf(t, files))
}

func TestOneMatchAndNoOtherKeySuffices(t *testing.T) {
	_, p := pinned(t)
	a := without(t, "baseline", "tpm/ek.pub", "tpm/ek-0x01c00016.crt").Appraise(p)
	require.Empty(t, above(a, finding.Low))
	require.True(t, a.Identified && a.KeyBound && a.PinsTPM)
	require.Contains(t, a.NotChecked, NotChecked{"endorsement key certificate 0x01c00016 ecc-p384", "pinned by the manifest, not in evidence"})
}

func TestPlatformCertificateIsNoEndorsementKey(t *testing.T) {
	o := recorded(t, "baseline")
	for _, h := range o.heldKeys() {
		require.NotEqual(t, "0x01c08000", h.index)
	}
	for _, e := range o.DraftEndorsements() {
		require.NotEqual(t, "0x01c08000", e.Index)
	}
}

func TestPinnedAttestationKeyCountsAsEnrolled(t *testing.T) {
	_, p := pinned(t)
	a := without(t, "baseline", "tpm/ek.pub", "tpm/ek-0x01c00002.crt", "tpm/ek-0x01c00016.crt", "tpm/ek-0x01c08000.crt").Appraise(p)
	require.True(t, a.KeyBound && a.Identified)
}

// Stripping the endorsement key artefacts must not turn another TPM into an
// unknown one.
func TestOtherKeyWithoutEndorsementKeysIsAnotherTPM(t *testing.T) {
	_, p := pinned(t)
	o := newPlatform(t).observe()
	a := o.Appraise(Params{Endorsements: p.Endorsements, Virtual: true})
	f := one(t, a, finding.TPMChanged, "tpm:ak")
	require.Equal(t, finding.High, f.Severity)
	require.False(t, a.Identified || a.KeyBound)
}

// Endorsement keys and certificates are public: an attacker shows copies of the
// right ones beside a quote of a TPM or a key of their own.
func TestCopiedEndorsementKeysDoNotVouchForAnotherAttestationKey(t *testing.T) {
	_, p := pinned(t)
	relay := without(t, "other-tpm").bundle
	files := map[string][]byte{}
	for _, a := range recorded(t, "baseline").bundle.Artifacts() {
		b := recorded(t, "baseline").bundle
		if strings.HasPrefix(a.Path, "tpm/ak") || strings.HasPrefix(a.Path, "tpm/quote-") {
			b = relay
		}
		files[a.Path], _ = b.Read(a.Path)
	}
	a := Observe(bundleOf(t, files)).Appraise(p)
	f := one(t, a, finding.TPMChanged, "tpm:ak")
	require.Equal(t, finding.High, f.Severity)
	require.Contains(t, f.Why, "anyone can copy")
	require.False(t, a.Identified || a.KeyBound)
}

func TestUnenrolledKeyOfTheSameTPMIsInfo(t *testing.T) {
	o, p := pinned(t)
	p.Endorsements = slices.DeleteFunc(p.Endorsements, func(e Endorsement) bool { return e.Kind == kindAK })
	a := o.Appraise(p)
	require.Equal(t, finding.Info, one(t, a, finding.KeyNotResident, "tpm:ak").Severity)
	require.True(t, a.Identified)
	require.False(t, a.KeyBound)
}

func TestOtherEndorsementKeyIsAnotherTPM(t *testing.T) {
	_, p := pinned(t)
	a := recorded(t, "other-tpm").Appraise(p)
	require.Equal(t, finding.Critical, one(t, a, finding.TPMChanged, "tpm:ek-0x01c00002").Severity)
	require.Equal(t, finding.Critical, one(t, a, finding.TPMChanged, "tpm:ek").Severity)
	require.False(t, a.KeyBound)
}

// A manifest that recorded RSA keys only says nothing about an ECC key.
func TestKeyOfAnAlgorithmThatWasNotRecordedIsNotAnother(t *testing.T) {
	o, p := pinned(t)
	p.Endorsements = slices.DeleteFunc(p.Endorsements, func(e Endorsement) bool { return e.Algorithm == "ecc-p384" })
	a := o.Appraise(p)
	require.NotContains(t, codes(a), finding.TPMChanged)
	require.Contains(t, a.NotChecked, NotChecked{"tpm:ek-0x01c00016", "the manifest records no endorsement key of this algorithm or index"})
}

// A renewed certificate over the pinned key is the same TPM.
func TestRenewedCertificate(t *testing.T) {
	o, p := pinned(t)
	for i := range p.Endorsements {
		if p.Endorsements[i].Kind == kindCert {
			p.Endorsements[i].SHA256 = "00"
		}
	}
	require.NotContains(t, codes(o.Appraise(p)), finding.TPMChanged)
}

func TestCertificateChain(t *testing.T) {
	o, p := pinned(t)
	require.True(t, o.Appraise(p).EKTrusted)
	roots := p.EKRoots
	p.EKRoots = nil
	a := o.Appraise(p)
	require.NotContains(t, codes(a), finding.EKUntrusted, "without roots the question was not asked")
	require.False(t, a.EKTrusted)
	require.Contains(t, a.NotChecked, NotChecked{"endorsement key certificate", "no roots of TPM makers were given"})

	other := newPlatform(t).observe()
	a = other.Appraise(Params{EKRoots: roots, RequireEK: true})
	require.Equal(t, finding.Critical, one(t, a, finding.EKUntrusted, "tpm:ek").Severity)
	a = other.Appraise(Params{EKRoots: roots})
	require.Equal(t, finding.Low, one(t, a, finding.EKUntrusted, "tpm:ek").Severity)
}

// A certificate of one TPM beside the key of another.
func TestCertificateAboutAnotherKey(t *testing.T) {
	files := map[string][]byte{}
	mine, theirs := recorded(t, "baseline").bundle, recorded(t, "other-tpm").bundle
	files["tpm/ek-0x01c00002.crt"], _ = mine.Read("tpm/ek-0x01c00002.crt")
	files["tpm/ek.pub"], _ = theirs.Read("tpm/ek.pub")
	a := Observe(bundleOf(t, files)).Appraise(Params{EKRoots: labRoots(t)})
	f := one(t, a, finding.EKUntrusted, "tpm:ek")
	require.Equal(t, finding.Critical, f.Severity)
	require.Contains(t, f.Why, "another key")
}

// A platform certificate names the certificate of its TPM by issuer and serial
// number; that is worth as much as the root that vouches for the certificate.
func TestCertificateKnownByIssuerAndNumber(t *testing.T) {
	o, p := pinned(t)
	var h held
	for _, k := range o.heldKeys() {
		if k.index == "0x01c00002" {
			h = k
		}
	}
	pin := Endorsement{Kind: kindCert, Issuer: strings.ToUpper(h.issuer), Number: h.number}
	p.Endorsements = []Endorsement{pin}
	a := o.Appraise(p)
	require.True(t, a.Identified)
	require.NotContains(t, codes(a), finding.TPMNotOfPlatform)

	p.EKRoots = nil
	a = o.Appraise(p)
	require.False(t, a.Identified, "anybody can write that name and number")

	_, p = pinned(t)
	for _, e := range []Endorsement{
		{Kind: kindCert, Issuer: h.issuer, Number: h.number + "0"},
		{Kind: kindCert, Issuer: "CN=Other", Number: h.number},
	} {
		p.Endorsements = []Endorsement{e}
		a = o.Appraise(p)
		require.False(t, a.Identified)
		require.Contains(t, codes(a), finding.TPMNotOfPlatform)
	}
}
