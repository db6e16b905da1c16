// Package quirk reads signed lists of peculiarities of honest machines: firmware
// that contradicts itself in a known way. What an entry explains with these very
// values becomes an expected change (CH-010) that names the entry.
//
// A list can only explain. It adds no reference, proves nothing that a policy
// requires, and may speak about a closed list of codes (Coverable) alone: none of
// them is how an implant, another part, a bad signature or a broken measurement of
// code shows.
package quirk

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/manifest"
)

// Format names the payload of a list, PayloadType its envelope's.
const (
	Format      = "assay.quirks/v1"
	PayloadType = "application/vnd.assay.quirks+json"
)

// document is the kind of a list. It helps a machine, so that nobody may sign one
// who was not granted the right for its manufacturer. This package has no variables,
// so that a program which imports it and reads no list carries none of it.
func document() manifest.Document {
	return manifest.Document{Type: PayloadType, Right: "quirks", About: func(payload []byte) (string, string, error) {
		l, err := Read(payload)
		if err != nil {
			return "", "", err
		}
		return l.Manufacturer, "", nil
	}}
}

// List is the payload of a signed list: the quirks of one manufacturer's machines.
type List struct {
	Format       string    `json:"format"`
	ID           string    `json:"id"`
	Version      int64     `json:"version"`
	Manufacturer string    `json:"manufacturer"` // of every machine in it, or "*" with a grant for all
	IssuedAt     time.Time `json:"issuedAt"`
	NotAfter     time.Time `json:"notAfter"` // after it the list explains nothing
	Entries      []Entry   `json:"entries"`
}

// Entry is one quirk.
type Entry struct {
	ID        string      `json:"id"`
	Reason    string      `json:"reason"`    // why honest machines show this
	Citations []string    `json:"citations"` // where that is shown: advisory, thread, measurement
	Scope     Scope       `json:"scope"`
	Explains  []Explained `json:"explains"`
	Issued    time.Time   `json:"issued"`
	Expires   time.Time   `json:"expires"`
}

// Scope says on which machines an entry holds. Firmware that is not known yet is
// in no scope.
type Scope struct {
	Manufacturer string   `json:"manufacturer"`
	Models       []string `json:"models"`
	Firmware     Versions `json:"firmware"`
}

// Versions is a range of versions of the host firmware, both ends in it.
type Versions struct {
	From    string `json:"from"`
	Through string `json:"through"`
}

// Explained is a finding that an entry explains, by its values. They are exact,
// but that codes which allow it (Coverable) may have {hex}, {number}, {serial} and
// {place} for what differs between units.
type Explained struct {
	Code    finding.Code `json:"code"`
	Subject string       `json:"subject"`
	Want    string       `json:"want"`
	Got     string       `json:"got"`
}

// Limits of one list.
const (
	MaxBytes   = 4 << 20
	maxEntries = 10_000
	maxText    = 1000
	maxValues  = 64 // findings of one entry, and its models

	maxLifetime = 3 * 366 * 24 * time.Hour // of an entry: somebody has to look again
)

// Read reads a list without its signature, as a draft has it.
func Read(payload []byte) (*List, error) {
	if len(payload) > MaxBytes {
		return nil, fmt.Errorf("quirk list: offset %d: exceeds the limit of %d bytes", MaxBytes, MaxBytes)
	}
	var l List
	if err := strictjson.Decode(payload, &l); err != nil {
		return nil, fmt.Errorf("quirk list: %w", err)
	}
	switch {
	case l.Format != Format:
		return nil, fmt.Errorf("quirk list: format %q, want %s", l.Format, Format)
	case l.ID == "" || l.Version < 1 || l.Manufacturer == "" || l.IssuedAt.IsZero() || !l.NotAfter.After(l.IssuedAt):
		return nil, errors.New("quirk list: id, version, manufacturer, issuedAt and a later notAfter are needed")
	case len(l.Entries) == 0 || len(l.Entries) > maxEntries:
		return nil, fmt.Errorf("quirk list: %d entries, want 1 to %d", len(l.Entries), maxEntries)
	}
	seen := map[string]bool{}
	for i := range l.Entries {
		e := &l.Entries[i]
		if err := e.check(&l); err != nil {
			return nil, fmt.Errorf("quirk list: entries[%d] %q: %w", i, e.ID, err)
		}
		if seen[e.ID] {
			return nil, fmt.Errorf("quirk list: entries[%d]: %q stands twice", i, e.ID)
		}
		seen[e.ID] = true
	}
	return &l, nil
}

func (e *Entry) check(l *List) error {
	texts := slices.Concat([]string{e.ID, e.Reason, e.Scope.Manufacturer, e.Scope.Firmware.From, e.Scope.Firmware.Through}, e.Citations, e.Scope.Models)
	for _, s := range texts {
		if strings.TrimSpace(s) == "" || len(s) > maxText {
			return fmt.Errorf("id, reason, citations, manufacturer, models and both ends of the firmware's range are needed, each with at most %d bytes", maxText)
		}
	}
	switch {
	case len(e.Citations) == 0 || len(e.Scope.Models) == 0:
		return errors.New("a citation and a model are needed")
	case max(len(e.Citations), len(e.Scope.Models), len(e.Explains)) > maxValues:
		return fmt.Errorf("more than %d citations, models or findings", maxValues)
	case len(e.Explains) == 0:
		return errors.New("it explains nothing")
	case e.Scope.Manufacturer == manifest.AnyPlatform || slices.Contains(e.Scope.Models, "*"):
		return errors.New("a scope names a manufacturer and models")
	case l.Manufacturer != manifest.AnyPlatform && !ids.SameMaker(l.Manufacturer, e.Scope.Manufacturer):
		return fmt.Errorf("its manufacturer %q is not the list's, %q", e.Scope.Manufacturer, l.Manufacturer)
	case e.Issued.IsZero() || !e.Expires.After(e.Issued):
		return errors.New("issued and a later expires are needed")
	case e.Expires.Sub(e.Issued) > maxLifetime:
		return fmt.Errorf("it lasts longer than %d days", int(maxLifetime/(24*time.Hour)))
	}
	if err := e.Scope.Firmware.check(); err != nil {
		return err
	}
	for i, x := range e.Explains {
		if err := x.check(); err != nil {
			return fmt.Errorf("explains[%d]: %w", i, err)
		}
	}
	return nil
}

// Open checks the signature of a list and who may sign it. The report says what is
// wrong; without a list it must not be used.
func Open(raw []byte, trust *manifest.Trust, now time.Time) (*List, manifest.Report, error) {
	payload, rep := document().Open(raw, trust, now)
	if payload == nil {
		return nil, rep, nil
	}
	l, err := Read(payload)
	if err != nil {
		return nil, rep, err
	}
	rep.ID, rep.Version = l.ID, l.Version
	return l, rep, nil
}

// ReadUntrusted reads a draft or a signed list, whoever signed it.
func ReadUntrusted(raw []byte) (*List, error) {
	payload, err := document().Payload(raw)
	if err != nil {
		return nil, fmt.Errorf("quirk list: %w", err)
	}
	return Read(payload)
}

// Sign signs a list.
func Sign(raw []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	if _, err := ReadUntrusted(raw); err != nil {
		return nil, err
	}
	return document().Sign(raw, key, chain)
}

// IsList reports whether a file is a list, signed or not.
func IsList(raw []byte) bool {
	var l struct {
		Format      string `json:"format"`
		PayloadType string `json:"payloadType"`
	}
	return json.Unmarshal(raw, &l) == nil && (l.Format == Format || l.PayloadType == PayloadType)
}
