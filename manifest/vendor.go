package manifest

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Signer checks the chain of whoever signed a document of another format, leaf
// first, with what may stand between it and a root behind it. It returns the
// path to a trusted root, or nil when there is none. A finding with a path says
// that the signer must not be believed now: too early, too late or revoked.
// Whether the leaf signed the document is for the reader of that format.
func (t *Trust) Signer(chain []*x509.Certificate, subject string, now time.Time) ([]*x509.Certificate, []finding.Finding, []NotChecked) {
	if t == nil {
		t = &Trust{}
	}
	o := &opener{trust: t, now: now, subject: subject}
	certs := o.signer(chain)
	return certs, o.report.Findings, o.report.NotChecked
}

func (o *opener) signer(chain []*x509.Certificate) []*x509.Certificate {
	if len(chain) == 0 || len(chain) > 4*maxChain {
		o.refuse(problem{finding.ManifestUntrustedSigner, "a certificate chain", fmt.Sprintf("%d certificates", len(chain)), "the certificate of the signer is not known"})
		return nil
	}
	who := nameOf(chain[0])
	p, err := o.trust.build(chain, o.now)
	if err != nil {
		o.refuse(problem{finding.ManifestUntrustedSigner, "a chain to a trusted root", who, fmt.Sprintf("%s: %v", who, err)})
		return nil
	}
	if p.late != nil {
		o.refuse(problem{finding.ManifestTime, "a certificate that is valid now", who, "at the time of checking: " + p.late.Error()})
	}
	stale, _, by := o.trust.revoked(p.certs, o.now, time.Time{})
	for _, s := range stale {
		o.report.NotChecked = append(o.report.NotChecked, NotChecked{What: "revocation of the signer of " + o.subject, Reason: s})
	}
	if by != nil {
		o.refuse(problem{finding.ManifestRevoked, "a signer that is not revoked", who, by.Error()})
	}
	if err := mayDigitallySign(p.certs[0]); err != nil {
		o.refuse(problem{finding.ManifestUntrustedSigner, "a certificate for signing", who, err.Error()})
	}
	return p.certs
}

// Accept makes a trusted manifest of one that was converted from a document of
// another format. The caller has verified that the key of the first certificate
// signed the document; Accept checks everything else that Open checks: chain,
// revocation, times, and what the signer may say about the manufacturer.
func (t *Trust) Accept(m *Manifest, document []byte, chain []*x509.Certificate, now time.Time) (*Trusted, Report) {
	if t == nil {
		t = &Trust{}
	}
	o := &opener{trust: t, now: now, subject: "manifest:" + m.ID}
	o.report = Report{ID: m.ID, Version: m.Version, SHA256: hexSum(document), Status: StatusUntrusted}
	out := o.accept(m, document, chain)
	if o.fatal || out == nil {
		o.report.Findings = finding.Sort(o.report.Findings)
		return nil, o.report
	}
	o.report.Status, o.report.Signers = StatusTrusted, out.Signers()
	for _, f := range Lint(out.manifest) {
		if f.Code == finding.ManifestPermissive {
			f.Severity = finding.Low // the format has no word for more
		}
		o.report.Findings = append(o.report.Findings, f)
	}
	o.report.Findings = finding.Sort(o.report.Findings)
	return out, o.report
}

func (o *opener) accept(m *Manifest, document []byte, chain []*x509.Certificate) *Trusted {
	certs := o.signer(chain)
	if certs == nil || o.fatal {
		return nil
	}
	own, err := m.clone()
	if err == nil {
		err = own.checkValues()
	}
	if err == nil && own.Environment.Manufacturer == AnyPlatform {
		err = errors.New("a vendor's document is about a platform")
	}
	if err != nil {
		o.refuse(problem{finding.ManifestAmbiguous, "a manifest", "one without meaning", err.Error()})
		return nil
	}
	c := &candidate{path: path{certs: certs}}
	o.authorise(c, own)
	return o.trusted(own, hexSum(document), []*candidate{c})
}
