// Package manifest reads, checks, combines and signs golden manifests: the
// signed documents that say what a platform model or one machine must be.
//
// A *Trusted proves that enough distinct keys, each with a chain to a trusted
// root and the right to speak for this manufacturer, signed exactly these
// bytes, and that the bytes have one meaning. It does not prove that the
// signers told the truth, and it proves nothing about a machine.
package manifest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/strictjson"
)

// PredicateType is the in-toto predicate type of a golden manifest.
const PredicateType = "https://github.com/assay-hw/assay/golden/v1"

const statementType = "https://in-toto.io/Statement/v1"

// Manifest is the predicate of the statement: Reference Values and Endorsements
// (RFC 9334) for a platform model or for one machine.
type Manifest struct {
	ID           string                    `json:"id"`      // names a lineage
	Version      int64                     `json:"version"` // counts in it
	IssuedAt     time.Time                 `json:"issuedAt"`
	NotAfter     time.Time                 `json:"notAfter,omitzero"`
	Authority    []Authority               `json:"authority,omitempty"`
	Environment  Environment               `json:"environment"`
	Components   []bom.Reference           `json:"components"`
	Boot         []attest.Reference        `json:"boot,omitempty"`
	Firmware     []firmware.Reference      `json:"firmware,omitempty"`
	SPDM         []spdm.Reference          `json:"spdm,omitempty"` // what devices sign of themselves
	Endorsements []attest.Endorsement      `json:"endorsements,omitempty"`
	Classes      map[bom.Class]bom.Closure `json:"classes"`
	Known        []Known                   `json:"known,omitempty"`
	Supersedes   []string                  `json:"supersedes,omitempty"` // older ids
	Delta        *Delta                    `json:"delta,omitempty"`
	Scanner      *Scanner                  `json:"scanner,omitempty"`
}

// Environment names what the manifest is about. Serial is set when it is about
// one machine; Virtual names the hypervisor that is then expected.
type Environment struct {
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Revision     string `json:"revision"`
	Serial       string `json:"serial,omitempty"`
	Virtual      string `json:"virtual,omitempty"`
}

// AnyPlatform is the manufacturer of a manifest that is about software on any
// machine: a scanner stick or an operating system. It may only hold boot
// references for the PCRs that such software owns.
const AnyPlatform = "*"

// Scanner marks a manifest as the reference of a bootable scanner. A boot that
// is as the manifest's registers say was a boot of this collector, and the
// medium with this partition table is the one that it was started from. Only a
// manifest about any platform may have it.
type Scanner struct {
	Image string `json:"image"` // SHA-256 Authenticode digest of the image that UEFI starts
	Disk  string `json:"disk"`  // GUID of the medium's partition table
}

// Authority lets another signer change a part of this manifest by a delta.
type Authority struct {
	Signer  string   `json:"signer"`  // subject organisation of the signer
	Classes []string `json:"classes"` // component classes, "boot", "firmware"
}

// Known is a contradiction that the reference evidence already had, accepted by
// the signer for exactly these values.
type Known struct {
	Code    finding.Code `json:"code"`
	Subject string       `json:"subject"`
	Want    string       `json:"want"`
	Got     string       `json:"got"`
	Why     string       `json:"why,omitempty"`
}

// Delta marks a manifest as a change to another one: its lines replace the
// base's lines of the same id, or are added, and Remove names lines to drop.
type Delta struct {
	BaseDigest string   `json:"baseDigest"` // Trusted.Digest of the statement that is changed
	Actor      string   `json:"actor"`      // organisation that made the change
	Ticket     string   `json:"ticket"`     // its record of the change
	Remove     []string `json:"remove,omitempty"`
}

// statement is an in-toto Statement v1.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Manifest  `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Subject returns the name and the digest under which a statement is about this
// environment: the SHA-256 of the RFC 8785 form of manufacturer, model,
// revision and, when set, serial.
func (e Environment) Subject() (name, digest string, err error) {
	name = e.Manufacturer + "/" + e.Model
	if e.Serial != "" {
		name += "/" + e.Serial
	}
	e.Virtual = ""
	j, err := json.Marshal(e)
	if err != nil {
		return "", "", fmt.Errorf("environment: %w", err)
	}
	c, err := jcs.Transform(j)
	if err != nil {
		return "", "", fmt.Errorf("environment: %w", err)
	}
	return name, hexSum(c), nil
}

// Encode returns the manifest as an unsigned statement, indented and sorted, so
// that people can review it and equal manifests give equal bytes.
func Encode(m *Manifest) ([]byte, error) {
	name, digest, err := m.Environment.Subject()
	if err != nil {
		return nil, err
	}
	s := statement{
		Type: statementType, PredicateType: PredicateType, Predicate: m.sorted(),
		Subject: []subject{{Name: name, Digest: map[string]string{"sha256": digest}}},
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", m.ID, err)
	}
	return buf.Bytes(), nil
}

// sorted returns a copy with every list in its canonical order.
func (m *Manifest) sorted() Manifest {
	c := *m
	c.IssuedAt, c.NotAfter = m.IssuedAt.UTC().Truncate(time.Second), m.NotAfter.UTC().Truncate(time.Second)
	if m.NotAfter.IsZero() {
		c.NotAfter = time.Time{}
	}
	if c.Components = slices.Clone(m.Components); c.Components == nil {
		c.Components = []bom.Reference{}
	}
	if c.Classes = maps.Clone(m.Classes); c.Classes == nil {
		c.Classes = map[bom.Class]bom.Closure{}
	}
	c.Boot, c.Firmware, c.SPDM = slices.Clone(m.Boot), slices.Clone(m.Firmware), slices.Clone(m.SPDM)
	c.Endorsements, c.Known = slices.Clone(m.Endorsements), slices.Clone(m.Known)
	slices.SortStableFunc(c.Components, func(a, b bom.Reference) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(c.Boot, func(a, b attest.Reference) int { return cmp.Compare(a.PCR, b.PCR) })
	slices.SortStableFunc(c.Firmware, func(a, b firmware.Reference) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.SHA256, b.SHA256))
	})
	slices.SortStableFunc(c.SPDM, func(a, b spdm.Reference) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(c.Endorsements, func(a, b attest.Endorsement) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.SHA256, b.SHA256), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Number, b.Number))
	})
	slices.SortStableFunc(c.Known, func(a, b Known) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Got, b.Got))
	})
	return c
}

// maxBytes bounds an envelope and its payload.
const maxBytes = 32 << 20

// ReadUntrusted returns what a draft or an envelope says without checking any
// signature: for show, diff and lint, never for a verdict.
func ReadUntrusted(raw []byte) (*Manifest, error) {
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("manifest: exceeds the limit of %d bytes", maxBytes)
	}
	payload := raw
	if isEnvelope(raw) {
		env, p, err := decodeEnvelope(raw)
		if err != nil {
			return nil, err
		}
		if env.PayloadType != payloadType {
			return nil, fmt.Errorf("manifest: payload type is %q, want %q", env.PayloadType, payloadType)
		}
		payload = p
	}
	s, err := decodeStatement(payload)
	if err != nil {
		return nil, err
	}
	return &s.Predicate, nil
}

// PayloadDigest is the SHA-256 of the statement in an envelope, or of the one that
// signing a draft gives: what a delta names as what it starts from. No signature
// is checked.
func PayloadDigest(raw []byte) (string, error) {
	if isEnvelope(raw) {
		_, p, err := decodeEnvelope(raw)
		return hexSum(p), err
	}
	m, err := ReadUntrusted(raw)
	if err != nil {
		return "", err
	}
	p, err := Encode(m)
	return hexSum(p), err
}

// typeError says that a document is of another type than a golden manifest.
type typeError struct{ field, want, got string }

func (e *typeError) Error() string {
	return fmt.Sprintf("statement: %s is %q, want %q", e.field, e.got, e.want)
}

// decodeStatement reads a statement strictly. The types are looked at before
// the predicate, so that another document is told apart from a broken one.
func decodeStatement(b []byte) (*statement, error) {
	var head struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
	}
	if err := strictjson.Decode(b, &head, strictjson.AllowUnknown); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	if head.Type != statementType {
		return nil, &typeError{"_type", statementType, head.Type}
	}
	if head.PredicateType != PredicateType {
		return nil, &typeError{"predicateType", PredicateType, head.PredicateType}
	}
	var s statement
	if err := strictjson.Decode(b, &s); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	if err := s.Predicate.checkValues(); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	return &s, nil
}

// clone copies a manifest so that the copy shares no list with it.
func (m *Manifest) clone() (*Manifest, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", m.ID, err)
	}
	c := &Manifest{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", m.ID, err)
	}
	return c, nil
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
