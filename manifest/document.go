package manifest

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Document is a kind of signed document that is no manifest. Which machines it is
// about is not asked: it is for documents that can only raise questions.
type Document struct {
	Type  string // of the payload, in the envelope
	Right string // that a grant in trust.yaml has to list for a signer that it names
}

// Open checks the envelope of a document and returns the exact bytes that were
// signed, or nil; the report says why.
func (d Document) Open(raw []byte, trust *Trust, now time.Time) ([]byte, Report) {
	if trust == nil {
		trust = &Trust{}
	}
	o := &opener{trust: trust, now: now, payloadType: d.Type, subject: "document", report: Report{SHA256: hexSum(raw), Status: StatusUntrusted}}
	payload := o.document(raw, d.Right)
	o.tellNotes()
	if o.fatal || payload == nil {
		return nil, o.report
	}
	o.report.Status = StatusTrusted
	return payload, o.report
}

func (o *opener) document(raw []byte, right string) []byte {
	if !isEnvelope(raw) {
		o.refuse(problem{finding.ManifestUnsigned, "a signature", "none", "the document has no envelope"})
		return nil
	}
	env, payload, ok := o.envelope(raw)
	if !ok {
		return nil
	}
	signed := preAuthEncoding(env.PayloadType, payload)
	var cands []*candidate
	for _, s := range env.Signatures {
		c := o.candidate(s, signed)
		if c.failed == nil {
			o.mayList(c, right)
		}
		cands = append(cands, c)
	}
	if !slices.ContainsFunc(cands, func(c *candidate) bool { return c.failed == nil }) {
		o.refuseAll(cands)
		return nil
	}
	keys := o.count(cands)
	if keys == nil {
		return nil
	}
	if need, have := agreed(keys, right); have < need {
		o.tooFew(cands, need, have)
		return nil
	}
	for _, k := range keys {
		o.report.Signers = append(o.report.Signers, k[0].voice().name())
	}
	return payload
}

// mayList checks a signer's certificate and the grants that name it.
func (o *opener) mayList(c *candidate, right string) {
	who := nameOf(c.path.certs[0])
	if c.path.late != nil {
		c.failed = &problem{finding.ManifestTime, "a certificate that is valid now", who, "at the time of checking: " + c.path.late.Error()}
		return
	}
	v := voice{certs: c.path.certs}
	named, need := false, 0
	for _, g := range o.trust.grants {
		if !g.Signer.selects(v) {
			continue
		}
		named = true
		if (len(g.Classes) == 0 || slices.Contains(g.Classes, right)) && g.purpose(v) == nil {
			need = max(need, o.least(), g.Threshold)
		}
	}
	if err := defaultPurpose(c.path.certs[0]); !named && err != nil {
		c.failed = &problem{finding.ManifestUntrustedSigner, "a certificate for signing", who, err.Error()}
	}
	if !named {
		need = o.least()
	}
	c.rights.classes = map[string]int{right: need}
	if need == 0 {
		c.failed = &problem{finding.ManifestUntrustedSigner, "a signer with the right " + right, who, "no grant lets " + who + " sign " + right}
	}
}

// Sign signs a document.
func (d Document) Sign(payload []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	if err := checkSigner(key, chain); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	env := &envelope{PayloadType: d.Type, Payload: base64.StdEncoding.EncodeToString(payload)}
	if err := env.sign(payload, key, chain); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return env.encode()
}

// sign adds a signature with its chain.
func (e *envelope) sign(payload []byte, key crypto.Signer, chain []*x509.Certificate) error {
	msg := preAuthEncoding(e.PayloadType, payload)
	sig, err := makeSignature(key, msg)
	if err != nil {
		return err
	}
	if err := verifySignature(chain[0].PublicKey, msg, sig); err != nil {
		return fmt.Errorf("the key made a signature that verifiers will refuse: %w", err)
	}
	s := signature{KeyID: hexSum(chain[0].RawSubjectPublicKeyInfo), Sig: base64.StdEncoding.EncodeToString(sig)}
	for _, c := range chain {
		s.X5C = append(s.X5C, base64.StdEncoding.EncodeToString(c.Raw))
	}
	e.Signatures = append(e.Signatures, s)
	return nil
}
