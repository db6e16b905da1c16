// Package sigstore takes golden manifests that were signed with Sigstore: a
// bundle over the in-toto statement itself, or over a file with it. Everything is
// verified offline, with a trusted root that the caller chose: the certificate of
// a few minutes, its entry in a transparency log, and the time. What an identity
// may say is for the grants of trust.yaml.
package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// Limits of what is read.
const (
	MaxBundle = 64 << 20
	MaxRoot   = 4 << 20
)

const (
	mediaType   = "application/vnd.dev.sigstore.bundle" // and a version (Sigstore bundle format, v0.1 to v0.3)
	payloadType = "application/vnd.in-toto+json"
)

// IsBundle tells a bundle from other JSON by its media type.
func IsBundle(raw []byte) bool {
	var head struct {
		MediaType string `json:"mediaType"`
	}
	return len(raw) <= MaxBundle && json.Unmarshal(raw, &head) == nil && strings.HasPrefix(head.MediaType, mediaType)
}

// Root is who is believed: certificate authorities, transparency logs, time
// stamping authorities.
type Root struct{ material *root.TrustedRoot }

// ReadRoot reads a trusted root (trusted_root.json). The file is the trust
// anchor: it has no signature, and nothing is fetched.
func ReadRoot(raw []byte) (*Root, error) {
	if len(raw) > MaxRoot {
		return nil, fmt.Errorf("trusted root: %d bytes, the limit is %d", len(raw), MaxRoot)
	}
	r, err := guarded(func() (*root.TrustedRoot, error) { return root.NewTrustedRootFromJSON(raw) })
	if err == nil && (len(r.FulcioCertificateAuthorities()) == 0 || len(r.RekorLogs()) == 0) {
		err = errors.New("a certificate authority and a transparency log are needed")
	}
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	return &Root{r}, nil
}

// Bundle is a bundle that was read and not verified.
type Bundle struct {
	raw     []byte
	bundle  *bundle.Bundle
	payload []byte // of an envelope
	digest  []byte // SHA-256 of a file
}

// Read reads a bundle.
func Read(raw []byte) (*Bundle, error) {
	if len(raw) > MaxBundle {
		return nil, fmt.Errorf("bundle: %d bytes, the limit is %d", len(raw), MaxBundle)
	}
	out, err := guarded(func() (*Bundle, error) {
		b := &bundle.Bundle{}
		if err := b.UnmarshalJSON(raw); err != nil {
			return nil, err
		}
		content, err := b.SignatureContent()
		if err != nil {
			return nil, err
		}
		out := &Bundle{raw: raw, bundle: b}
		if e := content.EnvelopeContent(); e != nil {
			if t := e.RawEnvelope().PayloadType; t != payloadType {
				return nil, fmt.Errorf("payload of type %q, want %s", t, payloadType)
			}
			out.payload, err = e.RawEnvelope().DecodeB64Payload()
			return out, err
		}
		m := content.MessageSignatureContent()
		if m == nil || m.DigestAlgorithm() != "SHA2_256" || len(m.Digest()) != sha256.Size {
			return nil, errors.New("a signature on a file needs its SHA-256")
		}
		out.digest = m.Digest()
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return out, nil
}

// NeedsFile reports whether the bundle signs a file that lies beside it, and
// whether this is the file.
func (b *Bundle) NeedsFile(file []byte) (needs, fits bool) {
	sum := sha256.Sum256(file)
	return b.digest != nil, bytes.Equal(sum[:], b.digest)
}

// Open verifies a bundle and returns the manifest that it signs, or nil when that
// must not be used. The file is what a bundle needs that holds no manifest
// itself. A nil root believes nobody.
func Open(b *Bundle, file []byte, r *Root, trust *manifest.Trust, now time.Time) (*manifest.Trusted, manifest.Report) {
	refuse := func(code finding.Code, want, why string) (*manifest.Trusted, manifest.Report) {
		f := finding.New(code, "manifest")
		f.Want, f.Why, f.Confidence = want, why, finding.Proven
		f.Sources = []finding.Source{finding.Cryptographic}
		f.Basis = []finding.Basis{{Artifact: "manifest", SHA256: sum(b.raw)}}
		return nil, manifest.Report{SHA256: sum(b.raw), Status: manifest.StatusUntrusted, Findings: []finding.Finding{f}}
	}
	if r == nil {
		return refuse(finding.ManifestUntrustedSigner, "a trusted Sigstore root", "the manifest is signed with Sigstore, and no root was given to verify it with (--sigstore-root trusted_root.json)")
	}
	p, err := guarded(func() (*proof, error) { return b.verify(file, r) })
	if err != nil {
		return refuse(finding.ManifestBadSignature, "a Sigstore bundle that holds", "the Sigstore bundle does not hold: "+err.Error())
	}
	payload := b.payload
	if payload == nil {
		payload = file
	}
	t, rep := trust.AcceptIdentity(payload, p.leaf, p.who, p.seen, now)
	rep.SHA256 = sum(b.raw)
	if len(r.material.CTLogs()) == 0 {
		rep.NotChecked = append(rep.NotChecked, manifest.NotChecked{What: "certificate transparency of " + p.who.Subject, Reason: "the Sigstore root names no log of certificates"})
	}
	return t, rep
}

// proof is what a verified bundle shows.
type proof struct {
	leaf *x509.Certificate
	who  manifest.Identity
	seen time.Time // the earliest time that was proved
}

func (b *Bundle) verify(file []byte, r *Root) (*proof, error) {
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(r.material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(r.material, options...)
	if err != nil {
		return nil, err
	}
	artifact := verify.WithoutArtifactUnsafe() // the statement is what is signed; the manifest looks at its subject
	if b.digest != nil {
		if _, fits := b.NeedsFile(file); !fits {
			return nil, errors.New("it is over a file that was not given; give the manifest file that it signs too")
		}
		artifact = verify.WithArtifact(bytes.NewReader(file))
	}
	// The identity is compared with the grants, which say what it may sign.
	result, err := v.Verify(b.bundle, verify.NewPolicy(artifact, verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return nil, err
	}
	content, err := b.bundle.VerificationContent()
	if err != nil {
		return nil, err
	}
	if content.Certificate() == nil || result.Signature == nil || result.Signature.Certificate == nil {
		return nil, errors.New("it is signed with a bare key, which names nobody; sign with an identity")
	}
	c := result.Signature.Certificate
	p := &proof{leaf: content.Certificate(), who: manifest.Identity{Issuer: c.Issuer, Subject: c.SubjectAlternativeName}}
	for _, t := range result.VerifiedTimestamps {
		if p.seen.IsZero() || t.Timestamp.Before(p.seen) {
			p.seen = t.Timestamp
		}
	}
	if p.seen.IsZero() || p.who.Issuer == "" || p.who.Subject == "" {
		return nil, errors.New("it shows no time, no issuer or no subject")
	}
	return p, nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// guarded turns a panic of the library into an error.
func guarded[T any](f func() (T, error)) (out T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	return f()
}
