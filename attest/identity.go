package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/internal/x500"
)

// The kinds of endorsements.
const (
	kindEK   = "ek"
	kindCert = "ek-certificate"
	kindAK   = "ak"
)

// held is one endorsement key of the machine: from its public area or from
// one of its certificates.
type held struct {
	path    string
	subject string
	index   string // of a certificate
	cert    string // SHA-256 of the certificate
	key     string // ekcert.KeyHash
	name    string // TPM name, for a public area
	alg     string
	issuer  string // of a certificate
	number  string // of a certificate, hexadecimal
}

func (o *Observation) heldKeys() []held {
	var out []held
	for i := range o.certs {
		c := &o.certs[i]
		if !c.forEK() {
			continue
		}
		sum := sha256.Sum256(c.cert.DER)
		out = append(out, held{
			path: c.path, subject: "tpm:ek-" + c.index, index: c.index, cert: hex.EncodeToString(sum[:]), key: ekcert.KeyHash(c.cert.Key),
			alg: c.cert.KeyKind, issuer: x500.String(c.cert.Issuer), number: fmt.Sprintf("%x", c.cert.Serial),
		})
	}
	if o.ek != nil {
		out = append(out, held{path: ekPath, subject: "tpm:ek", key: ekcert.KeyHash(o.ek.Key), name: nameOf(o.ek), alg: keyKind(o.ek)})
	}
	return out
}

// heldAt returns the endorsement key that an artefact is or vouches for.
func (o *Observation) heldAt(path string) held {
	for _, h := range o.keys {
		if h.path == path {
			return h
		}
	}
	return held{}
}

func nameOf(p *tpmwire.Public) string {
	n, err := p.Name()
	if err != nil {
		return ""
	}
	return hex.EncodeToString(n)
}

func keyKind(p *tpmwire.Public) string {
	switch k := p.Key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ecc-p" + strings.TrimPrefix(k.Params().Name, "P-")
	}
	return p.Type.String()
}

// same reports whether a pin is about this very key or certificate.
func (h held) same(e Endorsement) bool {
	switch e.Kind {
	case kindCert:
		return h.cert != "" && e.names(h) && (e.SHA256 != "" || e.Number != "")
	case kindEK:
		return h.key != "" && strings.EqualFold(e.SHA256, h.key) || h.name != "" && strings.EqualFold(e.Name, h.name)
	}
	return false
}

// names reports whether a certificate is the one that a pin names: all that the
// pin says has to hold, since a serial number alone is that of many.
func (e Endorsement) names(h held) bool {
	if e.SHA256 != "" && !strings.EqualFold(e.SHA256, h.cert) {
		return false
	}
	return e.Number == "" && e.Issuer == "" || strings.EqualFold(e.Number, h.number) && x500.SameTexts(e.Issuer, h.issuer)
}

// comparable reports whether a pin speaks about the same place: the key of an
// algorithm, or the certificate at an NV index. Only such a pin can contradict.
func (h held) comparable(e Endorsement) bool {
	switch e.Kind {
	case kindCert:
		return h.index != "" && e.Index != "" && strings.EqualFold(e.Index, h.index)
	case kindEK:
		return e.Algorithm == "" || strings.EqualFold(e.Algorithm, h.alg)
	}
	return false
}

// checkIdentity compares the TPM with the pinned keys: one match and no other
// key is enough.
func (ap *appraiser) checkIdentity() {
	pins := ap.p.Endorsements
	keys := ap.o.keys
	pinned := map[string]int{}
	for _, e := range pins {
		pinned[e.Kind]++
	}
	ap.pinsTPM = len(pins) > 0
	differs := false
	used := make([]bool, len(pins))
	for _, h := range keys {
		matched, forged, contradicted := false, false, Endorsement{}
		for i, e := range pins {
			switch {
			case h.same(e) && e.SHA256 == "" && e.Number != "" && !ap.vouched(h):
				// Anybody can write a certificate with this name and number.
				used[i], forged = true, true
				ap.notChecked(h.subject, "has the pinned issuer and serial number, and no root of TPM makers vouches for it")
			case h.same(e):
				matched, used[i] = true, true
			case h.comparable(e) && contradicted.Kind == "":
				contradicted = e
			}
		}
		switch {
		case matched:
			ap.identified = true
		case contradicted.Kind != "":
			differs = true
			ap.otherTPM(h, contradicted)
		case pinned[kindEK]+pinned[kindCert] > 0 && !forged:
			ap.notChecked(h.subject, "the manifest records no endorsement key of this algorithm or index")
		}
	}
	differs = ap.otherHolder(pins, used, keys) || differs
	if pinned[kindEK]+pinned[kindCert] > 0 {
		ap.unusedPins(pins, used)
	}
	ap.checkEnrolment(pins, pinned[kindAK], differs)
}

// vouched reports whether a chain leads from a certificate in evidence to a
// maker's root.
func (ap *appraiser) vouched(h held) bool {
	for i := range ap.o.certs {
		if c := &ap.o.certs[i]; c.path == h.path {
			_, ok := ekcert.Find(c.cert, ap.p.EKRoots, ap.intermediates(), ap.p.Now)
			return ok
		}
	}
	return false
}

// otherHolder reports a TPM whose certificates are all others than the one that
// a pin names by issuer and serial number. Such a pin has no place and no
// algorithm, so that one certificate cannot contradict it; all of them do.
func (ap *appraiser) otherHolder(pins []Endorsement, used []bool, keys []held) bool {
	if ap.identified {
		return false
	}
	for i, e := range pins {
		if used[i] || e.Kind != kindCert || e.Number == "" || e.Index != "" {
			continue
		}
		for _, h := range keys {
			if h.cert == "" {
				continue
			}
			f := finding.New(finding.TPMNotOfPlatform, h.subject)
			f.Confidence, f.Sources, f.Basis = finding.Strong, []finding.Source{finding.Cryptographic}, ap.o.basis(h.path, 0, 0)
			f.Want, f.Got = "number "+strings.ToLower(e.Number)+" of "+e.Issuer, "number "+h.number+" of "+h.issuer
			f.Why = "The platform is said to hold a TPM with another endorsement key certificate, and none that is in evidence is that one."
			ap.add(f)
			return true
		}
	}
	return false
}

func (ap *appraiser) otherTPM(h held, pin Endorsement) {
	f := finding.New(finding.TPMChanged, h.subject)
	f.Confidence, f.Sources, f.Basis = finding.Proven, []finding.Source{finding.Cryptographic}, ap.o.basis(h.path, 0, 0)
	f.Want, f.Got = "sha256:"+strings.ToLower(pin.SHA256), "sha256:"+h.key
	if pin.Kind == kindCert {
		f.Got = "sha256:" + h.cert
	}
	if pin.SHA256 == "" {
		f.Want, f.Got = "name:"+strings.ToLower(pin.Name), "name:"+h.name
	}
	f.Why = fmt.Sprintf("The TPM's endorsement key (%s) is not the one that the manifest pins.", h.alg)
	ap.add(f)
}

func (ap *appraiser) unusedPins(pins []Endorsement, used []bool) {
	for i, e := range pins {
		if used[i] || e.Kind != kindEK && e.Kind != kindCert {
			continue
		}
		what := "endorsement key"
		if e.Kind == kindCert {
			what = "endorsement key certificate"
		}
		for _, s := range []string{e.Index, e.Algorithm} {
			if s != "" {
				what += " " + s
			}
		}
		ap.notChecked(what, "pinned by the manifest, not in evidence")
	}
}

// checkEnrolment decides whether the attestation key is the pinned one.
func (ap *appraiser) checkEnrolment(pins []Endorsement, pinnedAKs int, differs bool) {
	if ap.o.ak == nil {
		if pinnedAKs > 0 {
			ap.notChecked("attestation key", "pinned by the manifest, not in evidence ("+akPath+")")
		}
		return
	}
	name, key := ap.o.signer.name, ap.o.signer.key
	for _, e := range pins {
		if e.Kind == kindAK && (e.Name != "" && strings.EqualFold(e.Name, name) || e.Name == "" && e.SHA256 != "" && strings.EqualFold(e.SHA256, key)) {
			ap.enrolled = true
			ap.identified = ap.identified || !differs
			return
		}
	}
	if pinnedAKs > 0 && !differs {
		f := finding.New(finding.TPMChanged, "tpm:ak")
		f.Severity, f.Confidence, f.Sources, f.Basis = finding.High, finding.Strong, []finding.Source{finding.Cryptographic}, ap.o.basis(akPath, 0, 0)
		f.Want, f.Got = "a pinned key", "name:"+name
		f.Why = "The attestation key is not the pinned one, and no endorsement key in evidence shows that it belongs to the same TPM."
		if ap.identified {
			// Endorsement keys and their certificates are public: a relay shows
			// the right ones beside a key of its own.
			f.Why = "The attestation key is not the pinned one. The endorsement keys are, but anyone can copy those: nothing shows that both are in one TPM."
			f.Action = "If the key was made anew on purpose, enrol it with credential activation and sign the manifest again; otherwise treat the quote as relayed from another machine."
		}
		ap.add(f)
		return
	}
	if !ap.keyIsRestricted {
		return // reported already, and worse
	}
	f := finding.New(finding.KeyNotResident, "tpm:ak")
	f.Severity, f.Confidence, f.Sources, f.Basis = finding.Info, finding.Strong, []finding.Source{finding.Cryptographic}, ap.o.basis(akPath, 0, 0)
	f.Want, f.Got, f.Why = "an enrolled key", "name:"+name, "No manifest pins this attestation key: it was not enrolled, and nothing here shows that it lives in the machine's TPM."
	ap.add(f)
}

// checkCertificates asks whether a maker vouches for an endorsement key, and
// whether the certificates are about the key in evidence.
func (ap *appraiser) checkCertificates() {
	o := ap.o
	trusted, candidates := false, 0
	var reasons []string
	for i := range o.certs {
		c := &o.certs[i]
		if !c.forEK() {
			continue
		}
		candidates++
		ap.checkCertifiedKey(c)
		chain, ok := ekcert.Find(c.cert, ap.p.EKRoots, ap.intermediates(), ap.p.Now)
		if !ok {
			reasons = append(reasons, c.index+" ends in no trusted root")
			continue
		}
		trusted = true
		if notes := append(append([]string{}, c.cert.Tolerated...), chain.Notes...); len(notes) > 0 {
			ap.notChecked("strict form of certificate "+c.index, strings.Join(notes, "; "))
		}
	}
	switch {
	case trusted:
		ap.ekTrusted = true
	case len(ap.p.EKRoots) == 0:
		ap.notChecked("endorsement key certificate", "no roots of TPM makers were given")
	case candidates == 0 && o.ak == nil && o.ek == nil && len(o.attests) == 0:
		ap.notChecked("endorsement key certificate", ap.reasonFor("tpm/ek-0x01c00002.crt", "no TPM artefacts in evidence"))
	default:
		f := finding.New(finding.EKUntrusted, "tpm:ek")
		f.Confidence, f.Sources = finding.Strong, []finding.Source{finding.Cryptographic}
		f.Want, f.Got = "a certificate of a trusted TPM maker", "none"
		f.Why = "No endorsement key certificate is in evidence."
		if candidates > 0 {
			f.Got = strings.Join(reasons, "; ")
			f.Why = "No certificate of the endorsement key chains to a trusted maker's root."
		}
		if !ap.p.RequireEK {
			f.Severity = finding.Low
		}
		ap.add(f)
	}
}

// checkCertifiedKey reports a certificate that is about another key than the
// TPM's public area of the same kind.
func (ap *appraiser) checkCertifiedKey(c *heldCertificate) {
	// Only the low-range indexes certify the default templates, one per
	// algorithm; elsewhere a TPM may hold several keys of a kind.
	if ap.o.ek == nil || c.cert.KeyKind != keyKind(ap.o.ek) || c.index != "0x01c00002" && c.index != "0x01c0000a" {
		return
	}
	if want, got := ap.o.heldAt(c.path).key, ap.o.heldAt(ekPath).key; want != got {
		f := finding.New(finding.EKUntrusted, "tpm:ek")
		f.Confidence, f.Sources = finding.Proven, []finding.Source{finding.Cryptographic}
		f.Want, f.Got = "sha256:"+want, "sha256:"+got
		f.Basis = append(ap.o.basis(ekPath, 0, 0), ap.o.basis(c.path, 0, 0)...)
		f.Why = "The certificate at " + c.index + " is about another key than the TPM's endorsement key."
		ap.add(f)
	}
}

// intermediates are those given and those that the TPM itself holds.
func (ap *appraiser) intermediates() []*ekcert.Certificate {
	out := append([]*ekcert.Certificate{}, ap.p.EKIntermediates...)
	for i := range ap.o.certs {
		if ap.o.certs[i].cert.CA {
			out = append(out, ap.o.certs[i].cert)
		}
	}
	return out
}

// keyInEndorsement reports whether the qualified signer shows the attestation
// key in the endorsement hierarchy: as a primary key of it, or as a child of the
// endorsement key in evidence. The TPM hides nothing from such a key.
func (ap *appraiser) keyInEndorsement(signer []byte) bool {
	const endorsement = 0x4000000b
	hierarchy := binary.BigEndian.AppendUint32(nil, endorsement)
	if ap.o.ak == nil {
		return false
	}
	if q, err := ap.o.ak.QualifiedName(hierarchy); err == nil && bytes.Equal(q, signer) {
		return true
	}
	if ap.o.ek == nil {
		return false
	}
	parent, err := ap.o.ek.QualifiedName(hierarchy)
	if err != nil {
		return false
	}
	q, err := ap.o.ak.QualifiedName(parent)
	return err == nil && bytes.Equal(q, signer)
}

// softwareMakers are TPM_PT_MANUFACTURER values of emulators and of virtual
// TPMs that clouds offer.
var softwareMakers = map[uint32]string{
	0x49424d00: "IBM (swtpm, simulator)", 0x4d534654: "MSFT (Hyper-V, simulator)", 0x474f4f47: "GOOG (cloud vTPM)",
	0x584747: "xCG (simulator)", 0x414d5a4e: "AMZN (cloud vTPM)", 0x564d5700: "VMW (vSphere)",
}

func (ap *appraiser) checkVendor() {
	m, ok := ap.o.property("TPM2_PT_MANUFACTURER")
	if !ok {
		ap.notChecked("TPM manufacturer", ap.reasonFor(propsPath, "no TPM properties in evidence"))
		return
	}
	name, soft := softwareMakers[m]
	var vendor []byte
	for i := 1; i <= 4; i++ {
		v, _ := ap.o.property(fmt.Sprintf("TPM2_PT_VENDOR_STRING_%d", i))
		vendor = binary.BigEndian.AppendUint32(vendor, v)
	}
	if s := strings.Join(strings.Fields(strings.Trim(string(vendor), "\x00")), " "); strings.Contains(s, "SW TPM") {
		name, soft = "SW TPM", true
	}
	if !soft || ap.p.Virtual {
		return
	}
	f := finding.New(finding.SoftwareTPM, "tpm:manufacturer")
	f.Want, f.Got = "a hardware or firmware TPM", name
	f.Sources, f.Basis = []finding.Source{finding.SiliconAnswered}, ap.o.basis(propsPath, 0, 0)
	f.Why = "The TPM calls itself an emulation, while the manifest describes a physical machine."
	ap.add(f)
}

// checkPresence reports a TPM that the collector looked for and did not find.
func (ap *appraiser) checkPresence() {
	looked := false
	for _, a := range ap.o.bundle.Artifacts() {
		if !strings.HasPrefix(a.Path, "tpm/") && !strings.HasPrefix(a.Path, "sys/class/tpm/") {
			continue
		}
		switch a.Status {
		case evidence.Collected, evidence.Denied, evidence.TimedOut:
			return
		case evidence.Absent, evidence.Failed:
			looked = true
		}
	}
	if !looked || len(ap.p.References)+len(ap.p.Endorsements) == 0 {
		return
	}
	f := finding.New(finding.TPMAbsent, "tpm:device")
	f.Want, f.Got, f.Why = "a TPM", "none answered", "The collector looked for a TPM and found none, while the manifest expects one."
	f.Sources = []finding.Source{finding.SiliconAnswered}
	ap.add(f)
}

// DraftEndorsements pins the keys of this machine's TPM: the attestation key's
// name, every endorsement key and every certificate.
func (o *Observation) DraftEndorsements() []Endorsement {
	var out []Endorsement
	if o.ak != nil {
		out = append(out, Endorsement{Kind: kindAK, Name: o.signer.name, Algorithm: o.signer.alg})
	}
	seen := map[string]bool{}
	for _, h := range o.keys {
		if h.key != "" && !seen[h.key] {
			seen[h.key] = true
			out = append(out, Endorsement{Kind: kindEK, SHA256: h.key, Algorithm: h.alg, Optional: true})
		}
		if h.cert != "" {
			out = append(out, Endorsement{Kind: kindCert, SHA256: h.cert, Algorithm: h.alg, Index: h.index, Optional: true})
		}
	}
	return out
}
