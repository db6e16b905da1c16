// Package vendor takes what manufacturers sign today, platform certificates and
// reference integrity manifests of the TCG and CoRIMs, as golden manifests: each
// document is verified in its own format, converted, and believed for what its
// signer may say about the manufacturer, as a native manifest is.
//
// What a document says and a manifest has no place for is reported as not
// checked. A support RIM is taken only when a RIM that was verified lists it.
package vendor

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/corim"
	"github.com/assay-hw/assay/manifest/platformcert"
	"github.com/assay-hw/assay/manifest/rim"
)

// File is one file as given.
type File struct {
	Name string
	Data []byte
}

// Statement is what became of one document, with those that belong to it.
type Statement struct {
	Trusted *manifest.Trusted // nil when it must not be used
	Report  manifest.Report
}

// Set is what a list of files turned out to be.
type Set struct {
	Native     [][]byte // for manifest.Open
	Statements []Statement
	Unused     []string // names of files that no given document lists, while no RIM was refused
}

// Open sorts files by what they are, and verifies and converts those of other
// formats. Certificates among them may stand between a signer and a root; they
// never become roots. What is of no known form is native when no RIM is given,
// and else a support RIM.
func Open(files []File, trust *manifest.Trust, now time.Time) Set {
	o := &opener{trust: trust, now: now, supports: map[string][]byte{}, bound: map[string]bool{}, refusedRIM: map[string]bool{}}
	var certs, rims, corims, rest []File
	for _, f := range files {
		switch {
		case platformcert.IsCertificate(f.Data):
			certs = append(certs, f)
			o.chain(f.Data) // the issuer's, when they are in the same file
		case rim.IsRIM(f.Data):
			rims = append(rims, f)
		case bytes.HasPrefix(bytes.TrimLeft(f.Data, " \t\r\n"), []byte("{")):
			o.out.Native = append(o.out.Native, f.Data)
		case corim.IsCoRIM(f.Data):
			corims = append(corims, f)
		case o.chain(f.Data):
		default:
			rest = append(rest, f)
		}
	}
	if len(rims) == 0 {
		for _, f := range rest {
			o.out.Native = append(o.out.Native, f.Data)
		}
		rest = nil
	}
	for _, f := range rest {
		o.supports[f.Name] = f.Data
	}
	o.platform(certs)
	o.integrity(rims)
	for _, f := range corims {
		c, rep := corim.Open(f.Data, trust, o.given, now)
		if c == nil {
			o.refused(f, rep.Report)
			continue
		}
		m, lost, err := corim.Convert(c, corim.Options{})
		o.accept(f, rep.Report, m, texts(lost), err, c.Chain())
	}
	for _, f := range rest {
		o.unbound(f)
	}
	return o.out
}

type opener struct {
	trust    *manifest.Trust
	now      time.Time
	given    []*x509.Certificate
	supports map[string][]byte
	bound    map[string]bool
	out      Set

	refusedRIM map[string]bool // by the digest of the file
}

// unbound tells of a file that no RIM lists. While a RIM is refused, it may be
// that one's, and the RIM is what to look at.
func (o *opener) unbound(f File) {
	if o.bound[f.Name] {
		return
	}
	for i := range o.out.Statements {
		if s := &o.out.Statements[i]; o.refusedRIM[s.Report.SHA256] {
			s.Report.NotChecked = append(s.Report.NotChecked, manifest.NotChecked{What: f.Name, Reason: "the RIM that may list it was refused"})
			return
		}
	}
	o.out.Unused = append(o.out.Unused, f.Name)
}

// chain takes the certificates of a file, and reports whether there are any.
func (o *opener) chain(b []byte) bool {
	var found []*x509.Certificate
	if c, err := x509.ParseCertificate(b); err == nil {
		found = append(found, c)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); block.Type == "CERTIFICATE" && err == nil {
			found = append(found, c)
		}
	}
	o.given = append(o.given, found...)
	return len(found) > 0
}

func (o *opener) refused(f File, rep manifest.Report) {
	if rep.ID == "" {
		rep.ID = f.Name
	}
	o.out.Statements = append(o.out.Statements, Statement{Report: rep})
}

// accept makes a statement of what was converted. The caller has verified that
// the first certificate's key signed the file.
func (o *opener) accept(f File, rep manifest.Report, m *manifest.Manifest, lost []string, err error, chain []*x509.Certificate) {
	if err != nil {
		rep.Status = manifest.StatusUnreadable
		rep.Findings = append(rep.Findings, told(finding.ManifestAmbiguous, f, "a manifest", err.Error()))
		o.refused(f, rep)
		return
	}
	t, own := o.trust.Accept(m, f.Data, chain, o.now)
	own.Findings = finding.Sort(append(own.Findings, rep.Findings...))
	own.NotChecked = append(own.NotChecked, rep.NotChecked...)
	for _, l := range lost {
		own.NotChecked = append(own.NotChecked, manifest.NotChecked{What: f.Name + ": " + l, Reason: "has no place in a golden manifest"})
	}
	o.out.Statements = append(o.out.Statements, Statement{t, own})
}

func told(code finding.Code, f File, want, why string) finding.Finding {
	x := finding.New(code, "manifest:"+f.Name)
	x.Want, x.Why, x.Confidence = want, why, finding.Proven
	x.Sources = []finding.Source{finding.Cryptographic}
	x.Basis = []finding.Basis{{Artifact: f.Name, SHA256: sum(f.Data)}}
	return x
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func texts[L interface{ String() string }](lost []L) []string {
	var out []string
	for _, l := range lost {
		out = append(out, l.String())
	}
	return out
}

// causes are the codes of what is wrong with a platform certificate.
var causes = map[platformcert.Cause]finding.Code{
	platformcert.NotSigned: finding.ManifestBadSignature, platformcert.IssuerUnknown: finding.ManifestUntrustedSigner, platformcert.PathUnknown: finding.ManifestUntrustedSigner,
	platformcert.NotValidYet: finding.ManifestTime, platformcert.Expired: finding.ManifestTime, platformcert.Revoked: finding.ManifestRevoked,
	platformcert.NotEntitled: finding.ManifestUntrustedSigner, platformcert.NotUsable: finding.ManifestAmbiguous,
}

// platform verifies platform certificates and applies deltas to their base, in
// the order of their issue.
func (o *opener) platform(files []File) {
	trust := &platformcert.Trust{}
	authority := trust.Import(o.trust)
	for _, c := range o.given {
		_, _ = trust.Add(c.Raw, false) // it was read by a stricter reader
	}
	var bases, deltas []certificate
	for _, f := range files {
		rep := manifest.Report{ID: f.Name, SHA256: sum(f.Data), Status: manifest.StatusUntrusted}
		c, err := platformcert.Parse(f.Data)
		if err != nil {
			o.accept(f, rep, nil, nil, err, nil)
			continue
		}
		v, err := c.Verify(trust, o.now)
		if err != nil {
			code := finding.ManifestUntrustedSigner
			if r, ok := errors.AsType[*platformcert.Refused](err); ok {
				code = causes[r.Cause]
			}
			rep.Findings = []finding.Finding{told(code, f, "a platform certificate of a trusted issuer", err.Error())}
			o.refused(f, rep)
			continue
		}
		for _, n := range v.Notes() {
			rep.NotChecked = append(rep.NotChecked, manifest.NotChecked{What: "the issuer of " + f.Name, Reason: n})
		}
		if c.Kind == platformcert.DeltaKind {
			deltas = append(deltas, certificate{f, v, rep})
		} else {
			bases = append(bases, certificate{f, v, rep})
		}
	}
	slices.SortStableFunc(deltas, func(a, b certificate) int {
		return a.proved.Certificate().NotBefore.Compare(b.proved.Certificate().NotBefore)
	})
	o.assemble(bases, deltas, authority)
}

// certificate is a platform certificate that was verified.
type certificate struct {
	file   File
	proved *platformcert.Verified
	report manifest.Report
}

func (o *opener) assemble(bases, deltas []certificate, authority platformcert.Authority) {
	if len(bases) != 1 {
		for _, c := range slices.Concat(bases, deltas) {
			c.report.Findings = append(c.report.Findings, told(finding.ManifestDelta, c.file, "one base certificate", "deltas belong to one base: give one base with all of its deltas"))
			o.refused(c.file, c.report)
		}
		return
	}
	base, rep := bases[0], bases[0].report
	var proved []*platformcert.Verified
	for _, d := range deltas {
		proved = append(proved, d.proved)
		rep.NotChecked = append(rep.NotChecked, d.report.NotChecked...)
	}
	a, fs := platformcert.Assemble(base.proved, proved, authority)
	rep.Findings = append(rep.Findings, fs...)
	if a == nil {
		o.refused(base.file, rep)
		return
	}
	m, lost, err := platformcert.Convert(a.Build(), platformcert.ConvertOptions{})
	var chain []*x509.Certificate
	for _, p := range base.proved.Path() {
		c, strict := x509.ParseCertificate(p.DER)
		if strict != nil && err == nil {
			err = strict
		}
		// notBefore is no time of signing, and issuers set it back: nobody signed
		// before having a certificate.
		if strict == nil && err == nil && m.IssuedAt.Before(c.NotBefore) {
			m.IssuedAt = c.NotBefore
		}
		chain = append(chain, c)
	}
	o.accept(base.file, rep, m, texts(lost), err, chain)
}

// integrity verifies RIMs, finds their support RIMs by digest, and joins
// supplements and patches with the base that they name.
func (o *opener) integrity(files []File) {
	type tag struct {
		file   File
		rim    *rim.RIM
		report manifest.Report
		more   []*rim.RIM
	}
	var bases, others []*tag
	for _, f := range files {
		r, rep := rim.Open(f.Data, o.trust, o.given, o.now)
		if r == nil {
			o.refusedRIM[rep.SHA256] = true
			o.refused(f, rep.Report)
			continue
		}
		t := &tag{file: f, rim: r, report: rep.Report}
		b := r.Bind(o.supports)
		for _, n := range b.Bound {
			o.bound[n] = true
		}
		t.report.Findings = append(t.report.Findings, b.Findings...)
		t.report.NotChecked = append(t.report.NotChecked, b.NotChecked...)
		if r.Kind() == "base" {
			bases = append(bases, t)
		} else {
			others = append(others, t)
		}
	}
	for _, t := range others {
		i := slices.IndexFunc(bases, func(b *tag) bool { return t.rim.LinkedTo(b.rim) != "" })
		if i < 0 {
			t.report.Status = manifest.StatusUntrusted
			t.report.Findings = append(t.report.Findings, told(finding.ManifestDelta, t.file, "the base that the RIM belongs to", "a "+t.rim.Kind()+" RIM that names none of the given bases"))
			o.refused(t.file, t.report)
			continue
		}
		b := bases[i]
		b.more = append(b.more, t.rim)
		b.report.Findings = append(b.report.Findings, t.report.Findings...)
		b.report.NotChecked = append(b.report.NotChecked, t.report.NotChecked...)
	}
	for _, b := range bases {
		m, lost, err := rim.Convert(b.rim, b.more...)
		o.accept(b.file, b.report, m, texts(lost), err, b.rim.Chain())
	}
}
