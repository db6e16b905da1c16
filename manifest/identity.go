package manifest

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Identity is who a certificate names that a Sigstore authority issued for a few
// minutes: who vouched for the holder, and as whom. Both are compared exactly.
type Identity struct {
	Issuer  string `yaml:"issuer" json:"issuer"`   // of the token, as a URL
	Subject string `yaml:"subject" json:"subject"` // subject alternative name: a mail address or URI
}

// checkIdentity refuses rules that would grant more, or other things, than their
// author meant: an identity has no organisation, no lasting key and no root here.
func (g grant) checkIdentity() error {
	s := g.Signer
	switch {
	case s.Identity.Issuer == "" || s.Identity.Subject == "":
		return errors.New("signer: an identity needs an issuer and a subject")
	case s.Organization != "" || s.SPKI != "" || s.Root != "":
		return errors.New("signer: an identity stands alone")
	case len(g.Manufacturers) == 0:
		return errors.New("manufacturers: an identity has no organisation; name them")
	case len(g.ExtKeyUsage) > 0:
		return errors.New("extKeyUsage: an identity's certificate is for signing code")
	}
	return nil
}

// AcceptIdentity makes a trusted manifest of a statement that an identity
// signed. The caller has verified the signature over exactly these bytes, the
// certificate and its log, and that the signature existed at seen;
// AcceptIdentity checks everything else that Open checks. Only a grant in
// trust.yaml gives an identity rights.
func (t *Trust) AcceptIdentity(payload []byte, leaf *x509.Certificate, who Identity, seen, now time.Time) (*Trusted, Report) {
	if t == nil {
		t = &Trust{}
	}
	o := &opener{trust: t, now: now, subject: "manifest", report: Report{SHA256: hexSum(payload), Status: StatusUntrusted}}
	out := o.acceptIdentity(payload, &candidate{path: path{certs: []*x509.Certificate{leaf}}, identity: &who}, seen)
	if o.fatal || out == nil {
		o.report.Findings = finding.Sort(o.report.Findings)
		return nil, o.report
	}
	o.report.Status, o.report.Signers = StatusTrusted, out.Signers()
	o.report.Findings = finding.Sort(append(o.report.Findings, Lint(out.manifest)...))
	return out, o.report
}

func (o *opener) acceptIdentity(payload []byte, c *candidate, seen time.Time) *Trusted {
	if len(payload) > maxBytes {
		o.refuse(problem{finding.InputLimit, fmt.Sprintf("at most %d bytes", maxBytes), fmt.Sprintf("%d bytes", len(payload)), "the manifest exceeds the limit"})
		return nil
	}
	st, err := decodeStatement(payload)
	if err != nil {
		o.refusePayload(err, payload)
		return nil
	}
	m := &st.Predicate
	o.report.ID, o.report.Version, o.subject = m.ID, m.Version, "manifest:"+m.ID
	o.subjectHolds(st)
	o.authorise(c, m)
	if m.IssuedAt.After(seen.Add(clockSkew)) {
		o.refuse(problem{finding.ManifestTime, "issued before " + seen.UTC().Format(time.RFC3339), "issued " + m.IssuedAt.UTC().Format(time.RFC3339), "the manifest is dated after the log saw its signature"})
	}
	return o.trusted(m, hexSum(payload), []*candidate{c})
}
