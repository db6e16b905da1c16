// Package ticket reads what somebody with the right to it decided about machines of
// a fleet and signed: that one is bound to another TPM, where one stands, and by
// which policy they are judged. Who may do so is said in trust.yaml, offline; an
// account on the server is not enough.
package ticket

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/manifest"
)

// Format is the format name of a ticket.
const Format = "assay.fleet-ticket/v1"

const (
	payloadType = "application/vnd.assay.fleet-ticket+json"
	right       = "ticket"
)

// Kind is what a ticket decides.
type Kind string

// The kinds. A grant in trust.yaml lists them as ticket:KIND, or all as ticket.
const (
	Rebind Kind = "rebind" // a known machine has another TPM or another chassis
	Place  Kind = "place"  // where a machine stands, and from which networks it speaks
	Policy Kind = "policy" // by which policy machines are judged
)

// Limits.
const (
	MaxBytes    = 1 << 20
	maxText     = 500
	maxNetworks = 64
	longest     = 366 * 24 * time.Hour
)

// Ticket is one decision.
type Ticket struct {
	Format   string    `json:"format"`
	Kind     Kind      `json:"kind"`
	ID       string    `json:"id"` // of the change, as people know it
	Reason   string    `json:"reason"`
	IssuedAt time.Time `json:"issuedAt"`
	Expires  time.Time `json:"expires"` // after which it cannot be used; what it did stays

	Host     string    `json:"host,omitempty"`    // id of the machine
	Site     string    `json:"site,omitempty"`    // Place: where it is; Policy: machines of this site
	Profile  string    `json:"profile,omitempty"` // Policy: machines of this kind
	Identity *Identity `json:"identity,omitempty"`
	Networks []string  `json:"networks,omitempty"` // Place: prefixes as 192.0.2.0/24
	Policy   string    `json:"policy,omitempty"`   // Policy: the policy itself, YAML or JSON
}

// Identity is what a machine is bound to by a ticket. The attestation key is made
// by the new TPM when it enrols, and shown to be in it.
type Identity struct {
	EKSHA256 string        `json:"ekSha256"` // SHA-256 of the endorsement key's SubjectPublicKeyInfo, lower-case hex
	Chassis  fleet.Chassis `json:"chassis"`
}

var document = manifest.Document{Type: payloadType, Right: right, About: func(payload []byte) (string, string, error) {
	t, err := Decode(payload)
	if err != nil {
		return "", "", err
	}
	return manifest.AnyPlatform, string(t.Kind), nil
}}

// ErrUntrusted is wrapped where nobody with the right to it signed a ticket.
var ErrUntrusted = errors.New("the ticket is not signed by somebody who may")

// Open checks who signed a ticket. Whether it can be used now, Usable says: what a
// ticket did stays when it has ended.
func Open(raw []byte, trust *manifest.Trust, now time.Time) (*Ticket, []string, error) {
	payload, rep := document.Open(raw, trust, now)
	if payload == nil {
		why := "no reason given"
		if len(rep.Findings) > 0 {
			f := rep.Findings[0]
			why = fmt.Sprintf("%s %s (%s)", f.Code, f.Why, f.Got)
		}
		return nil, nil, fmt.Errorf("%w: %s", ErrUntrusted, why)
	}
	t, err := Decode(payload)
	return t, rep.Signers, err
}

// Usable reports why a ticket cannot be used at a time.
func (t *Ticket) Usable(now time.Time) error {
	switch {
	case now.Before(t.IssuedAt):
		return fmt.Errorf("ticket %s: it is of %s, which is in the future (%s)", t.ID, t.IssuedAt.Format(time.RFC3339), finding.ManifestTime)
	case !now.Before(t.Expires):
		return fmt.Errorf("ticket %s: it was good until %s (%s)", t.ID, t.Expires.Format(time.RFC3339), finding.ManifestTime)
	}
	return nil
}

// IsTicket reports whether a document says that it is a ticket, whoever signed it.
func IsTicket(raw []byte) bool {
	payload, err := document.Payload(raw)
	if err != nil {
		return false
	}
	var head struct {
		Format string `json:"format"`
	}
	return json.Unmarshal(payload, &head) == nil && head.Format == Format
}

// Sign signs a ticket, or adds a signature to one that is signed.
func Sign(raw []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	payload, err := document.Payload(raw)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	if _, err := Decode(payload); err != nil {
		return nil, err
	}
	return document.Sign(raw, key, chain)
}

// Decode reads a ticket that nobody need have signed.
func Decode(payload []byte) (*Ticket, error) {
	if len(payload) > MaxBytes {
		return nil, fmt.Errorf("ticket: offset %d: exceeds the limit of %d bytes", MaxBytes, MaxBytes)
	}
	var t Ticket
	if err := strictjson.Decode(payload, &t); err != nil {
		return nil, fmt.Errorf("ticket: offset %d: %w", strictjson.Offset(err), err)
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("ticket %.60q: %w", t.ID, err)
	}
	return &t, nil
}

func (t *Ticket) check() error {
	switch {
	case t.Format != Format:
		return fmt.Errorf("format %.40q, want %s", t.Format, Format)
	case t.ID == "" || t.Reason == "":
		return errors.New("id and reason are needed")
	case t.IssuedAt.IsZero() || !t.Expires.After(t.IssuedAt) || t.Expires.After(t.IssuedAt.Add(longest)):
		return fmt.Errorf("issuedAt and expires are needed, at most %d days apart", int(longest.Hours()/24))
	}
	for _, s := range []string{t.ID, t.Reason, t.Host, t.Site, t.Profile} {
		if len(s) > maxText {
			return fmt.Errorf("a text of %d bytes, the limit is %d", len(s), maxText)
		}
	}
	if t.Kind != Rebind && t.Identity != nil || t.Kind != Place && t.Networks != nil || t.Kind != Policy && (t.Policy != "" || t.Profile != "") || t.Kind == Rebind && t.Site != "" {
		return fmt.Errorf("a ticket of kind %s has fields of another kind", t.Kind)
	}
	switch t.Kind {
	case Rebind:
		return t.checkRebind()
	case Place:
		return t.checkPlace()
	case Policy:
		return t.checkPolicy()
	}
	return fmt.Errorf("kind %.20q, want %s, %s or %s", t.Kind, Rebind, Place, Policy)
}

func (t *Ticket) checkRebind() error {
	if t.Host == "" || t.Identity == nil {
		return errors.New("host and identity are needed")
	}
	if b, err := hex.DecodeString(t.Identity.EKSHA256); err != nil || len(b) != 32 || hex.EncodeToString(b) != t.Identity.EKSHA256 {
		return fmt.Errorf("ekSha256 %.70q is no lower-case SHA-256", t.Identity.EKSHA256)
	}
	return nil
}

func (t *Ticket) checkPlace() error {
	if t.Host == "" || t.Site == "" || len(t.Networks) > maxNetworks {
		return fmt.Errorf("host and site are needed, and at most %d networks", maxNetworks)
	}
	for _, n := range t.Networks {
		if p, err := netip.ParsePrefix(n); err != nil || p != p.Masked() {
			return fmt.Errorf("network %.60q: want a prefix as 192.0.2.0/24", n)
		}
	}
	return nil
}

func (t *Ticket) checkPolicy() error {
	n := 0
	for _, s := range []string{t.Host, t.Site, t.Profile} {
		if s != "" {
			n++
		}
	}
	if n > 1 {
		return errors.New("a policy is for one of host, site and profile, or for all machines")
	}
	_, err := assay.ParsePolicy([]byte(t.Policy))
	return err
}

// Target is what a ticket is about: two of one kind and target are revisions of
// each other.
func (t *Ticket) Target() string {
	switch {
	case t.Host != "":
		return "host:" + t.Host
	case t.Profile != "":
		return "profile:" + t.Profile
	case t.Site != "":
		return "site:" + t.Site
	}
	return "all"
}
