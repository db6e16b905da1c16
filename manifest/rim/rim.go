// Package rim reads and writes reference integrity manifests of the TCG for PC
// clients: a base RIM, a SWID tag (ISO/IEC 19770-2) signed with an XML
// signature, and the support RIMs that it lists, event logs and lists of
// registers.
//
// A *RIM that Open returns proves that a key with a chain to a trusted root
// signed what is in it; it is read from the canonical bytes that were verified,
// never from the file. It does not prove that the signer may speak for the
// platform (manifest.Trust.Accept asks that), nor anything about a support RIM
// before Bind has found its bytes.
package rim

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/xmldsig"
	"github.com/assay-hw/assay/internal/xmltree"
	"github.com/assay-hw/assay/manifest"
)

// MaxBytes bounds a base RIM.
const MaxBytes = 8 << 20

// ErrMalformed says that a document is no SWID tag that can be read.
var ErrMalformed = errors.New("malformed RIM")

// Verdict is what became of the signature.
type Verdict string

// The verdicts. A document that is valid but not by the standard was changed
// after it was signed, only by white space between elements: the tools of the
// field write such ones. Unverified means that no key to check with is known.
const (
	Valid            Verdict = "valid"
	ValidNonstandard Verdict = "valid-nonstandard"
	Invalid          Verdict = "invalid"
	Unverified       Verdict = "unverified"
)

// Report says what Open found.
type Report struct {
	manifest.Report
	Verdict   Verdict
	Cause     string // of a verdict other than valid
	Algorithm string // of the signature
}

func xmlLimits() xmltree.Limits {
	l := xmltree.DefaultLimits()
	l.Bytes = MaxBytes
	return l
}

// IsRIM reports whether a file may be a base RIM: XML whose first element is a
// SoftwareIdentity.
func IsRIM(b []byte) bool {
	head := b[:min(len(b), 64<<10)]
	for {
		_, rest, found := bytes.Cut(head, []byte("<"))
		if !found {
			return false
		}
		if len(rest) > 0 && rest[0] != '?' && rest[0] != '!' {
			name, _, _ := bytes.Cut(rest[:min(len(rest), 200)], []byte(" "))
			if i := bytes.IndexAny(name, "\t\r\n>"); i >= 0 {
				name = name[:i]
			}
			return bytes.Equal(name, []byte("SoftwareIdentity")) || bytes.HasSuffix(name, []byte(":SoftwareIdentity"))
		}
		head = rest
	}
}

// ReadUntrusted reads a RIM without checking its signature: for show and diff,
// never for a verdict.
func ReadUntrusted(raw []byte) (*RIM, error) {
	doc, err := xmltree.Parse(raw, xmlLimits())
	if err != nil {
		return nil, fmt.Errorf("rim: %w", err)
	}
	content, err := xmltree.Method{}.Document(doc, nil)
	if err != nil {
		return nil, fmt.Errorf("rim: %w", err)
	}
	return readTag(raw, content)
}

// Open verifies the signature of a base RIM and the chain of its signer. The
// signer's certificate is looked for in the signature, among those that are
// given and among the roots. Without a path to a root, or when the signature
// does not hold, the RIM is nil; the report says why.
func Open(raw []byte, trust *manifest.Trust, given []*x509.Certificate, now time.Time) (*RIM, Report) {
	o := &opener{raw: raw, trust: trust, now: now}
	sum := sha256.Sum256(raw)
	o.report.SHA256, o.report.Status, o.report.Verdict = hex.EncodeToString(sum[:]), manifest.StatusUntrusted, Invalid
	r := o.open(given)
	if r != nil {
		o.report.Status, o.report.Signers = manifest.StatusTrusted, []string{signerName(r.chain[0])}
	}
	o.report.Findings = finding.Sort(o.report.Findings)
	return r, o.report
}

type opener struct {
	raw    []byte
	trust  *manifest.Trust
	now    time.Time
	report Report
}

func (o *opener) tell(code finding.Code, want, got, why string) *finding.Finding {
	f := finding.New(code, "rim:"+o.report.ID)
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	f.Sources = []finding.Source{finding.Cryptographic}
	f.Basis = []finding.Basis{{Artifact: "rim", SHA256: o.report.SHA256}}
	o.report.Findings = append(o.report.Findings, f)
	return &o.report.Findings[len(o.report.Findings)-1]
}

func (o *opener) open(given []*x509.Certificate) *RIM {
	all := append(o.trust.Roots(), given...)
	sig, chain, verdict, err := o.verify(all)
	o.report.Verdict = verdict
	if err != nil {
		o.report.Cause = err.Error()
		o.refused(err)
		return nil
	}
	o.report.Algorithm = sig.Algorithm
	r, err := readTag(o.raw, sig.Content)
	if err != nil {
		o.report.Status = manifest.StatusUnreadable
		o.tell(finding.ManifestAmbiguous, "a SWID tag", "another document", err.Error())
		return nil
	}
	o.report.ID = r.TagID
	r.chain, r.Verdict, r.SignedAt = chain, verdict, stamped(sig)
	if verdict == ValidNonstandard {
		o.report.Cause = "white space between elements was added after signing; without it the signature holds"
		f := o.tell(finding.ManifestAmbiguous, "the bytes that were signed", "a pretty-printed copy", o.report.Cause+". The tools of the field write such files; what is used are the signed bytes")
		f.Severity = finding.Low
	}
	for _, w := range sig.Weak {
		f := o.tell(finding.ManifestAlgorithm, "an algorithm of today", w, "the signature holds, and is worth less than one that is made today")
		f.Severity = finding.Medium
	}
	if len(sig.Extra) > 0 && r.SignedAt.IsZero() {
		o.report.NotChecked = append(o.report.NotChecked, manifest.NotChecked{What: "time stamp of rim:" + r.TagID, Reason: "it is signed, and in another form than RFC 3339"})
	}
	o.content(r)
	if chain == nil {
		o.tell(finding.ManifestUntrustedSigner, "the signer's certificate", "a bare key", "the key in the document signed it; whose it is, nothing says: give the signer's certificate")
		return nil
	}
	path, fs, unchecked := o.trust.Signer(chain, "rim:"+r.TagID, o.now)
	o.report.Findings = append(o.report.Findings, fs...)
	o.report.NotChecked = append(o.report.NotChecked, unchecked...)
	if path == nil || len(fs) > 0 {
		return nil
	}
	o.thumbprint(r)
	return r
}

// refused names why the signature does not count.
func (o *opener) refused(err error) {
	switch {
	case errors.Is(err, xmltree.ErrLimit):
		o.report.Status = manifest.StatusUnreadable
		o.tell(finding.InputLimit, "a document within the limits", "a larger one", err.Error())
	case errors.Is(err, xmltree.ErrDoctype), errors.Is(err, xmltree.ErrMalformed):
		o.report.Status = manifest.StatusUnreadable
		o.tell(finding.ManifestAmbiguous, "well-formed XML without a document type", "another document", err.Error())
	case errors.Is(err, xmldsig.ErrUnsigned):
		o.tell(finding.ManifestUnsigned, "a signature", "none", "the RIM carries no signature")
	case errors.Is(err, xmldsig.ErrAlgorithm):
		o.tell(finding.ManifestAlgorithm, "RSA or ECDSA over SHA-2", "another algorithm", err.Error())
	case errors.Is(err, errNoKey):
		o.tell(finding.ManifestUntrustedSigner, "the signer's certificate", "none", err.Error())
	default:
		o.tell(finding.ManifestBadSignature, "a signature that holds", "one that does not", err.Error())
	}
}

// content reports what in a tag makes it worth a second look.
func (o *opener) content(r *RIM) {
	for _, f := range r.Files {
		if f.pathInName() {
			o.tell(finding.ManifestAmbiguous, "the name of a file", fmt.Sprintf("%.120q", f.Name), "the name of a support RIM holds a path separator; a path belongs to its directory").Severity = finding.High
		}
		if len(f.Digests) == 1 && f.Digests["sha1"] != nil {
			o.tell(finding.ManifestAlgorithm, "a digest of today", "SHA-1", fmt.Sprintf("the support RIM %.120q is bound by SHA-1 alone", f.Name)).Severity = finding.Medium
		}
	}
}

// thumbprint holds the certificate against what the tag's creator states.
func (o *opener) thumbprint(r *RIM) {
	for _, e := range r.Entities {
		if e.Thumbprint != "" && e.hasRole("tagCreator") && !isThumbprint(r.chain[0], e.Thumbprint) {
			o.tell(finding.ManifestUntrustedSigner, "certificate "+e.Thumbprint, signerName(r.chain[0]), "the creator of the tag names another certificate than that of the signer").Severity = finding.Medium
		}
	}
}
