// Package corim reads and writes concise reference integrity manifests (CoRIM,
// draft-ietf-rats-corim) with the module identifiers (CoMID) in them, signed
// (COSE_Sign1, RFC 9052) and unsigned, and reviews in the profile of OCP S.A.F.E.
//
// A *CoRIM that Open returns proves that a key with a chain to a trusted root
// signed it and that it is valid at the given time. It does not prove that the
// signer may speak for what it describes; manifest.Trust.Accept asks that. CBOR
// with two meanings is refused: keys that stand twice, indefinite lengths, data
// behind the document.
package corim

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// MaxBytes bounds a document.
const MaxBytes = 4 << 20

// The reasons for which a document is refused.
var (
	ErrMalformed = errors.New("malformed CoRIM")
	ErrLimit     = errors.New("CoRIM exceeds a limit")
	ErrUnsigned  = errors.New("the CoRIM carries no signature")
)

// CBOR tags of the draft and of RFC 9052.
const (
	tagSign1    = 18
	tagURI      = 32
	tagUUID     = 37
	tagOID      = 111
	tagCoRIM    = 501
	tagCoSWID   = 505
	tagCoMID    = 506
	tagMinSVN   = 553
	tagPKIXKey  = 554
	tagPKIXCert = 555
	tagRaw      = 560

	tagKeyThumbprint  = 557
	tagCertThumbprint = 559
)

// Bounds of what is decoded.
const (
	maxNesting = 32
	maxItems   = 20_000 // of one array or map
	maxTags    = 256
)

// decoder refuses what has two meanings. Byte strings become strings of an own
// type, so that they can be keys.
func decoder() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: maxNesting,
		MaxArrayElements: maxItems, MaxMapPairs: maxItems, IntDec: cbor.IntDecConvertSignedOrFail,
		DefaultByteStringType: reflect.TypeFor[cbor.ByteString](), DefaultMapType: reflect.TypeFor[map[any]any](),
		UTF8: cbor.UTF8RejectInvalid, BigIntDec: cbor.BigIntDecodePointer,
	}.DecMode()
}

// decode reads one data item and nothing behind it.
func decode(b []byte) (any, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, len(b), MaxBytes)
	}
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	var v any
	if err := d.Unmarshal(b, &v); err != nil {
		_, nested := errors.AsType[*cbor.MaxNestedLevelError](err)
		_, array := errors.AsType[*cbor.MaxArrayElementsError](err)
		_, pairs := errors.AsType[*cbor.MaxMapPairsError](err)
		if nested || array || pairs {
			return nil, fmt.Errorf("%w: %w", ErrLimit, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return v, nil
}

// IsCoRIM reports whether a file may be a CoRIM: COSE_Sign1 or a tagged map.
// Whether a signed document holds a CoRIM, Open says.
func IsCoRIM(b []byte) bool {
	for _, head := range []string{"\xd2\x84", "\xd9\x01\xf4", "\xd9\x01\xf5", "\xd9\x01\xf6"} {
		if strings.HasPrefix(string(b[:min(len(b), 8)]), head) {
			return true
		}
	}
	return false
}

// CoRIM is a manifest as read.
type CoRIM struct {
	ID        string
	Profiles  []string // URIs, or object identifiers in dotted form
	Entities  []Entity
	NotBefore time.Time
	NotAfter  time.Time
	Modules   []Module
	Lost      []string // what has no place here

	Signer string // as the signature's header names it; not more than that

	chain []*x509.Certificate
}

// Entity is an organisation with its roles, as numbers of the draft.
type Entity struct {
	Name, RegID string
	Roles       []int64
}

// Chain returns the certificate of the signer with all that may stand above it,
// or nothing for a document whose signature was not looked at.
func (c *CoRIM) Chain() []*x509.Certificate { return slices.Clone(c.chain) }

// Report says what Open found.
type Report struct {
	manifest.Report
	Algorithm string // of the signature
}

// ReadUntrusted reads a CoRIM without checking a signature, one module
// identifier by itself too: for show and diff, never for a verdict.
func ReadUntrusted(raw []byte) (*CoRIM, error) {
	s, err := readSign1(raw)
	switch {
	case errors.Is(err, ErrUnsigned):
		return readCoRIM(raw)
	case err != nil:
		return nil, err
	}
	c, err := readCoRIM(s.payload)
	if err == nil {
		c.Signer = s.signer
	}
	return c, err
}

// Open verifies a signed CoRIM, the chain of its signer and its validity. The
// signer's certificate is looked for in the header, among those that are given
// and among the roots. The CoRIM is nil when it must not be used.
func Open(raw []byte, trust *manifest.Trust, given []*x509.Certificate, now time.Time) (*CoRIM, Report) {
	o := &opener{trust: trust, now: now}
	sum := sha256.Sum256(raw)
	o.report.SHA256, o.report.Status = hex.EncodeToString(sum[:]), manifest.StatusUntrusted
	c := o.open(raw, given)
	if c != nil {
		o.report.Status = manifest.StatusTrusted
	}
	o.report.Findings = finding.Sort(o.report.Findings)
	return c, o.report
}

type opener struct {
	trust  *manifest.Trust
	now    time.Time
	report Report
}

func (o *opener) tell(code finding.Code, want, got, why string) {
	f := finding.New(code, "corim:"+o.report.ID)
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	f.Sources = []finding.Source{finding.Cryptographic}
	f.Basis = []finding.Basis{{Artifact: "corim", SHA256: o.report.SHA256}}
	o.report.Findings = append(o.report.Findings, f)
}

func (o *opener) open(raw []byte, given []*x509.Certificate) *CoRIM {
	s, err := readSign1(raw)
	if err != nil {
		o.refused(err)
		return nil
	}
	o.report.Algorithm = s.method.name
	chain, err := s.signedBy(append(o.trust.Roots(), given...))
	if err != nil {
		o.refused(err)
		return nil
	}
	c, err := readCoRIM(s.payload)
	if err != nil {
		o.refused(err)
		return nil
	}
	c.Signer, c.chain, o.report.ID = s.signer, chain, c.ID
	path, fs, unchecked := o.trust.Signer(chain, "corim:"+c.ID, o.now)
	o.report.Findings = append(o.report.Findings, fs...)
	o.report.NotChecked = append(o.report.NotChecked, unchecked...)
	o.times(c, s)
	if path == nil || len(o.report.Findings) > 0 {
		return nil
	}
	o.report.Signers = []string{path[0].Subject.String()}
	return c
}

// times holds the validity of the document and of its signature against now.
func (o *opener) times(c *CoRIM, s *sign1) {
	for _, v := range [][2]time.Time{{c.NotBefore, c.NotAfter}, s.validity} {
		if !v[0].IsZero() && o.now.Before(v[0]) {
			o.tell(finding.ManifestTime, "valid now", "valid from "+v[0].UTC().Format(time.RFC3339), "the CoRIM is not valid yet")
		}
		if !v[1].IsZero() && o.now.After(v[1]) {
			o.tell(finding.ManifestTime, "valid now", "expired "+v[1].UTC().Format(time.RFC3339), "the CoRIM has expired")
		}
	}
}

func (o *opener) refused(err error) {
	switch {
	case errors.Is(err, ErrLimit):
		o.report.Status = manifest.StatusUnreadable
		o.tell(finding.InputLimit, "a document within the limits", "a larger one", err.Error())
	case errors.Is(err, ErrUnsigned):
		o.tell(finding.ManifestUnsigned, "a signature", "none", err.Error())
	case errors.Is(err, errAlgorithm):
		o.tell(finding.ManifestAlgorithm, "ECDSA, EdDSA or RSA over SHA-2", "another algorithm", err.Error())
	case errors.Is(err, errNoKey):
		o.tell(finding.ManifestUntrustedSigner, "the signer's certificate", "none", err.Error())
	case errors.Is(err, errSignature):
		o.tell(finding.ManifestBadSignature, "a signature that holds", "one that does not", err.Error())
	default:
		o.report.Status = manifest.StatusUnreadable
		o.tell(finding.ManifestAmbiguous, "a CoRIM", "another document", err.Error())
	}
}
