package manifest

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Document is a kind of signed document that is no manifest. One without About
// can only raise questions: which machines it is about is not asked, and a signer
// that no grant names may have signed it.
type Document struct {
	Type  string // of the payload, in the envelope
	Right string // that a grant in trust.yaml has to list for a signer that it names

	// About is for documents that can help a machine. It reads from the signed
	// bytes who made what they are about, and of which kind they are. Then only a
	// grant that covers this manufacturer and lists Right, or Right:kind, lets a
	// signer have signed the document.
	About func(payload []byte) (manufacturer, kind string, err error)
}

// Open checks the envelope of a document and returns the exact bytes that were
// signed, or nil; the report says why.
func (d Document) Open(raw []byte, trust *Trust, now time.Time) ([]byte, Report) {
	if trust == nil {
		trust = &Trust{}
	}
	o := &opener{trust: trust, now: now, payloadType: d.Type, subject: "document", report: Report{SHA256: hexSum(raw), Status: StatusUntrusted}}
	payload := o.document(raw, d)
	o.tellNotes()
	if o.fatal || payload == nil {
		return nil, o.report
	}
	o.report.Status = StatusTrusted
	return payload, o.report
}

func (o *opener) document(raw []byte, d Document) []byte {
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
		switch {
		case c.failed != nil:
		case d.About == nil:
			o.mayList(c, d.Right)
		case !o.maySay(c, d, payload):
			return nil
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
	if need, have := agreed(keys, d.Right); have < need {
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

// maySay holds a signer against the grants for the maker and the kind that the
// signed bytes name. It is false when the bytes do not say.
func (o *opener) maySay(c *candidate, d Document, payload []byte) bool {
	who := nameOf(c.path.certs[0])
	maker, kind, err := d.About(payload)
	if err != nil {
		o.refuse(problem{finding.ManifestAmbiguous, "one meaning", "ambiguous or malformed", err.Error()})
		return false
	}
	if c.path.late != nil {
		c.failed = &problem{finding.ManifestTime, "a certificate that is valid now", who, "at the time of checking: " + c.path.late.Error()}
		return true
	}
	r, right := o.trust.rightsOf(c.voice(), maker), d.Right
	if kind != "" {
		right += ":" + kind
	}
	need := r.classes[d.Right] // only what a grant names: nobody has it by default
	if n := r.classes[right]; n > 0 && (need == 0 || n < need) {
		need = n
	}
	c.rights.classes = map[string]int{d.Right: need}
	if need == 0 {
		c.failed = &problem{
			finding.ManifestUntrustedSigner, "a signer with the right " + right + " for " + maker, who,
			cmp.Or(r.reason, "no grant in trust.yaml gives "+who+" the right "+strings.Join(slices.Compact([]string{d.Right, right}), " or ")+" for "+maker),
		}
	}
	return true
}

// Payload returns the bytes in an envelope of this kind, whoever signed them, or a
// draft as it is. What they say is nobody's word.
func (d Document) Payload(raw []byte) ([]byte, error) {
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("offset %d: exceeds the limit of %d bytes", maxBytes, maxBytes)
	}
	if !isEnvelope(raw) {
		return raw, nil
	}
	env, payload, err := decodeEnvelope(raw)
	if err != nil {
		return nil, err
	}
	if env.PayloadType != d.Type {
		return nil, fmt.Errorf("the payload is of type %q, want %s", env.PayloadType, d.Type)
	}
	return payload, nil
}

// Sign signs a document, or adds a signature to an envelope that has one.
func (d Document) Sign(payload []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	if err := checkSigner(key, chain); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	env := &envelope{PayloadType: d.Type, Payload: base64.StdEncoding.EncodeToString(payload)}
	if isEnvelope(payload) {
		var err error
		if env, payload, err = decodeEnvelope(payload); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		leaf := base64.StdEncoding.EncodeToString(chain[0].Raw)
		switch {
		case env.PayloadType != d.Type:
			return nil, fmt.Errorf("sign: the payload is of type %q, want %s", env.PayloadType, d.Type)
		case len(env.Signatures) >= maxSignatures:
			return nil, fmt.Errorf("sign: the envelope has %d signatures, which is the limit", maxSignatures)
		case slices.ContainsFunc(env.Signatures, func(s signature) bool { return len(s.X5C) > 0 && s.X5C[0] == leaf }):
			return nil, fmt.Errorf("sign: %s has signed this document already", nameOf(chain[0]))
		}
	}
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
