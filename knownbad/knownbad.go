// Package knownbad reads signed lists of firmware that must not be in use:
// digests, revoked versions, keys that leaked. A list can only raise questions
// about a machine; being on no list proves nothing.
package knownbad

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/manifest"
)

// Format names the payload of a list, PayloadType its envelope's.
const (
	Format      = "assay.known-bad/v1"
	PayloadType = "application/vnd.assay.known-bad+json"
)

var document = manifest.Document{Type: PayloadType, Right: "known-bad"}

// Kind says what an entry is about.
type Kind string

// The kinds of entries.
const (
	SHA256       Kind = "sha256"       // of a module, a part or a whole image
	Authenticode Kind = "authenticode" // digest of a PE image, SHA-256: what a dbx lists
	Certificate  Kind = "certificate"  // SHA-256 of the DER form of a certificate among the Secure Boot keys
	Subject      Kind = "subject"      // text in the subject of such a certificate
	Version      Kind = "version"      // of the firmware of a part
)

// Entry is one line of a list.
type Entry struct {
	Kind     Kind   `json:"kind"`
	Value    string `json:"value,omitempty"` // a digest, or the text in a subject
	Title    string `json:"title"`           // what it is, in a few words
	Advisory string `json:"advisory,omitempty"`
	Severity string `json:"severity,omitempty"` // default: high

	// For versions: of which parts, and which. Maker and model are compared as
	// everywhere; an empty one is any.
	Class  string `json:"class,omitempty"`
	Maker  string `json:"maker,omitempty"`
	Model  string `json:"model,omitempty"`
	Equals string `json:"equals,omitempty"`
	Below  string `json:"below,omitempty"`
}

// List is the payload of a signed list.
type List struct {
	Format   string    `json:"format"`
	ID       string    `json:"id"`
	Version  int64     `json:"version"`
	IssuedAt time.Time `json:"issuedAt"`
	NotAfter time.Time `json:"notAfter,omitzero"` // after it the list is told to be stale, and still used
	Entries  []Entry   `json:"entries"`
}

// Limits of one list.
const (
	MaxBytes   = 16 << 20
	maxEntries = 100_000
	maxText    = 500
)

// Read reads a list without its signature, as a draft has it. What has no
// meaning here is refused: a reader that skips an entry misses what it warns of.
func Read(payload []byte) (*List, error) {
	if len(payload) > MaxBytes {
		return nil, fmt.Errorf("known-bad list: %d bytes, the limit is %d", len(payload), MaxBytes)
	}
	var l List
	if err := strictjson.Decode(payload, &l); err != nil {
		return nil, fmt.Errorf("known-bad list: %w", err)
	}
	switch {
	case l.Format != Format:
		return nil, fmt.Errorf("known-bad list: format %q, want %s", l.Format, Format)
	case l.ID == "" || l.Version < 1 || l.IssuedAt.IsZero():
		return nil, errors.New("known-bad list: id, version and issuedAt are needed")
	case len(l.Entries) > maxEntries:
		return nil, fmt.Errorf("known-bad list: %d entries, the limit is %d", len(l.Entries), maxEntries)
	}
	for i := range l.Entries {
		if err := l.Entries[i].check(); err != nil {
			return nil, fmt.Errorf("known-bad list: entries[%d]: %w", i, err)
		}
	}
	return &l, nil
}

func (e *Entry) check() error {
	if e.Title == "" || max(len(e.Title), len(e.Advisory), len(e.Value)) > maxText {
		return errors.New("a title is needed, and texts are short")
	}
	if _, err := e.severity(); err != nil {
		return err
	}
	switch e.Kind {
	case SHA256, Authenticode, Certificate:
		e.Value = strings.ToLower(e.Value)
		if raw, err := hex.DecodeString(e.Value); err != nil || len(raw) != sha256.Size {
			return fmt.Errorf("%s %q is no SHA-256", e.Kind, e.Value)
		}
	case Subject:
		if len(strings.TrimSpace(e.Value)) < 4 {
			return fmt.Errorf("subject %q would fit too much", e.Value)
		}
	case Version:
		if (e.Equals == "") == (e.Below == "") || e.Class == "" || e.Maker == "" {
			return errors.New("a version needs class, maker, and one of equals and below")
		}
	default:
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	return nil
}

func (e *Entry) severity() (finding.Severity, error) {
	if e.Severity == "" {
		return finding.High, nil
	}
	for s := finding.Low; s <= finding.Critical; s++ {
		if s.String() == e.Severity {
			return s, nil
		}
	}
	return 0, fmt.Errorf("severity %q, want low to critical", e.Severity)
}

// Open checks the signature of a list. The report says what is wrong with it;
// without a list it must not be used.
func Open(raw []byte, trust *manifest.Trust, now time.Time) (*List, manifest.Report, error) {
	payload, rep := document.Open(raw, trust, now)
	if payload == nil {
		return nil, rep, nil
	}
	l, err := Read(payload)
	if err != nil {
		return nil, rep, err
	}
	rep.ID, rep.Version = l.ID, l.Version
	if !l.NotAfter.IsZero() && now.After(l.NotAfter) {
		rep.NotChecked = append(rep.NotChecked, manifest.NotChecked{What: "known-bad list " + l.ID, Reason: "it expired " + l.NotAfter.UTC().Format(time.DateOnly) + ": what became known since is missing"})
	}
	return l, rep, nil
}

// Sign signs a list.
func Sign(raw []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	if _, err := Read(raw); err != nil {
		return nil, err
	}
	return document.Sign(raw, key, chain)
}

// IsList reports whether a file is an unsigned list.
func IsList(raw []byte) bool {
	var l struct {
		Format string `json:"format"`
	}
	return json.Unmarshal(raw, &l) == nil && l.Format == Format
}

//go:embed builtin.json
var builtIn []byte

// BuiltIn is the list that every verifier has: keys that are public knowledge
// not to be trusted.
func BuiltIn() (*List, error) { return Read(builtIn) }

// FromDBX turns a forbidden-signatures database, a variable's value or an
// update payload of the UEFI Forum, into entries. The signature of an update is
// not checked: who signs the list vouches for it.
func FromDBX(b []byte, title, advisory string) ([]Entry, error) {
	lists, err := signatureLists(b)
	if err != nil {
		return nil, err
	}
	sigs, err := efi.ParseSignatures(lists)
	if err != nil {
		return nil, fmt.Errorf("dbx: %w", err)
	}
	var out []Entry
	for _, s := range sigs {
		switch s.Type {
		case certSHA256:
			out = append(out, Entry{Kind: Authenticode, Value: hex.EncodeToString(s.Data), Title: title, Advisory: advisory})
		case certX509:
			sum := sha256.Sum256(s.Data)
			out = append(out, Entry{Kind: Certificate, Value: hex.EncodeToString(sum[:]), Title: title, Advisory: advisory})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("dbx: no SHA-256 digest and no certificate in it")
	}
	return slices.Compact(out), nil
}

// Types of signature lists (UEFI 2.10, 32.4.1).
const (
	certSHA256 = "c1c41626-504c-4092-aca9-41f936934328"
	certX509   = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
)

// signatureLists skips the header of an update: a time stamp and a signature
// (EFI_VARIABLE_AUTHENTICATION_2, UEFI 2.10, 8.2.2).
func signatureLists(b []byte) ([]byte, error) {
	const stamp, head = 16, 24
	if len(b) < stamp+head {
		return b, nil
	}
	n := int(b[stamp]) | int(b[stamp+1])<<8 | int(b[stamp+2])<<16 | int(b[stamp+3])<<24
	if typ := int(b[stamp+6]) | int(b[stamp+7])<<8; typ != 0x0ef1 || n < head {
		return b, nil
	}
	if n > len(b)-stamp {
		return nil, fmt.Errorf("dbx: a signature of %d bytes, %d left", n, len(b)-stamp)
	}
	return b[stamp+n:], nil
}

// ParseVersion reads CLASS/MAKER/MODEL/VERSION.
func ParseVersion(s string) (Entry, error) {
	p := strings.Split(s, "/")
	if len(p) != 4 || p[0] == "" || p[1] == "" || p[3] == "" {
		return Entry{}, errors.New("want CLASS/MAKER/MODEL/VERSION")
	}
	return Entry{Kind: Version, Class: p[0], Maker: p[1], Model: p[2], Below: p[3]}, nil
}

// Compare orders entries, so that equal ones meet.
func Compare(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Maker, b.Maker),
		cmp.Compare(a.Model, b.Model), cmp.Compare(a.Equals+a.Below, b.Equals+b.Below), cmp.Compare(a.Title, b.Title))
}
