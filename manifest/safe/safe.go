// Package safe reads the short-form reports of the Open Compute Project's
// S.A.F.E. programme: a security review provider signs which firmware it
// reviewed, by version and digest, and what it found.
//
// It proves that a key which the caller trusts signed exactly the report that is
// returned. It does not prove that the review was good, and never reads the
// plain document that is published beside the signed one: those differ.
package safe

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/assay-hw/assay/firmware"
)

// MaxBytes bounds a report; those with the longest lists of files have some
// hundred kilobytes.
const MaxBytes = 4 << 20

// The reasons for which a report is refused.
var (
	ErrMalformed = errors.New("malformed S.A.F.E. report")
	ErrSignature = errors.New("no trusted key signed the report")
)

// algorithms that reports may be signed with; none of them is symmetric.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA}

// Report is a short-form report (OCP S.A.F.E. review framework, "Short-form
// report").
type Report struct {
	Framework string `json:"review_framework_version"`
	Device    Device `json:"device"`
	Audit     Audit  `json:"audit"`

	Signer string   `json:"-"` // name of the key that verified it
	Lost   []string `json:"-"` // what of the report has no place in a reference value
}

// Device says which firmware was reviewed.
type Device struct {
	Vendor   string `json:"vendor"`
	Product  string `json:"product"`
	Category string `json:"category"`
	Tag      string `json:"repo_tag"`
	Version  string `json:"fw_version"`
	SHA384   string `json:"fw_hash_sha2_384"`
	SHA512   string `json:"fw_hash_sha2_512"`
	Manifest []File `json:"manifest"`
}

// File is a part of what was reviewed: sources as often as binaries.
type File struct {
	Name string `json:"file_name"`
	Hash string `json:"file_hash"`
}

// Audit is the review itself.
type Audit struct {
	Provider    string  `json:"srp"`
	Methodology string  `json:"methodology"`
	Date        string  `json:"completion_date"`
	Version     string  `json:"report_version"`
	Issues      []Issue `json:"issues"`
}

// Issue is something that the review found and that is still there.
type Issue struct {
	Title string `json:"title"`
	Score string `json:"cvss_score"`
	CWE   string `json:"cwe"`
}

// Key is a public key of a review provider, with the name of its file.
type Key struct {
	Name string
	Key  crypto.PublicKey
}

// ParseKeys reads public keys and certificates, PEM, and sets of keys (RFC
// 7517).
func ParseKeys(name string, b []byte) ([]Key, error) {
	var set jose.JSONWebKeySet
	if json.Unmarshal(b, &set) == nil && len(set.Keys) > 0 {
		var out []Key
		for _, k := range set.Keys {
			if !k.IsPublic() || !k.Valid() {
				return nil, fmt.Errorf("%s: key %q is not a public key", name, k.KeyID)
			}
			out = append(out, Key{name + " " + k.KeyID, k.Key})
		}
		return out, nil
	}
	var out []Key
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "PUBLIC KEY":
			k, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, Key{name, k})
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, Key{name, c.PublicKey})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no public key, certificate or key set", name)
	}
	return out, nil
}

// IsReport reports whether a file may be a signed report: three parts in
// base64url whose first is a header.
func IsReport(b []byte) bool {
	head, rest, ok := strings.Cut(strings.TrimSpace(string(b[:min(len(b), MaxBytes)])), ".")
	return ok && strings.HasPrefix(head, "eyJ") && strings.Count(rest, ".") == 1
}

// Open verifies a report with the given keys and returns what was signed. The
// key id in the header is a hint and not looked at.
func Open(raw []byte, keys []Key) (*Report, error) {
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(raw), MaxBytes)
	}
	s, err := jose.ParseSignedCompact(strings.TrimSpace(string(raw)), algorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, k := range keys {
		payload, err := s.Verify(k.Key)
		if err != nil {
			continue
		}
		r, err := decode(payload)
		if err != nil {
			return nil, err
		}
		r.Signer = k.Name
		return r, nil
	}
	return nil, fmt.Errorf("%w: the report names the key %.60q, %d keys were given", ErrSignature, s.Signatures[0].Header.KeyID, len(keys))
}

// decode reads a payload. A name that stands twice has no meaning, so that the
// report is refused.
func decode(payload []byte) (*Report, error) {
	if err := unique(payload); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var r Report
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if r.Device.Vendor == "" || r.Device.Product == "" {
		return nil, fmt.Errorf("%w: it does not name vendor and product", ErrMalformed)
	}
	return &r, nil
}

// Reference turns a report into reference values for an image as the vendor
// ships it. A digest is taken for what its length says: some reports have a
// SHA-256 in the field of another algorithm.
func (r *Report) Reference(name string) (firmware.Reference, error) {
	ref := firmware.Reference{Name: name, Version: r.Device.Version, Digests: map[string]string{}}
	for _, f := range [][2]string{{"fw_hash_sha2_384", r.Device.SHA384}, {"fw_hash_sha2_512", r.Device.SHA512}} {
		field, sum := f[0], strings.ToLower(strings.TrimSpace(f[1]))
		if sum == "" {
			continue
		}
		raw, err := hex.DecodeString(sum)
		bank := map[int]string{32: "sha256", 48: "sha384", 64: "sha512"}[len(raw)]
		if err != nil || bank == "" {
			return ref, fmt.Errorf("%w: %s holds no digest: %.20q", ErrMalformed, field, sum)
		}
		if !strings.HasSuffix(field, strings.TrimPrefix(bank, "sha")) {
			r.lose("%s holds a %s by its length", field, strings.ToUpper(bank))
		}
		if other, ok := ref.Digests[bank]; ok && other != sum {
			return ref, fmt.Errorf("%w: two different %s digests of one firmware", ErrMalformed, bank)
		}
		ref.Digests[bank] = sum
	}
	if len(ref.Digests) == 0 {
		return ref, fmt.Errorf("%w: it has no digest of the firmware", ErrMalformed)
	}
	if n := len(r.Device.Manifest); n > 0 {
		r.lose("the digests of %d single files: they do not say where in the image the files are", n)
	}
	ref.Note = r.note()
	slices.Sort(r.Lost)
	return ref, nil
}

func (r *Report) lose(format string, args ...any) {
	r.Lost = append(r.Lost, fmt.Sprintf(format, args...))
}

// note is one line about the review for the people who read a manifest.
func (r *Report) note() string {
	date := r.Audit.Date
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		date = "an unknown date"
	}
	return plain(fmt.Sprintf("OCP S.A.F.E. review of %s %s by %s, %s, completed %s, %d open issues", r.Device.Vendor, r.Device.Product, r.Audit.Provider, r.Audit.Methodology, date, len(r.Audit.Issues)))
}

// plain keeps of a report's text what a manifest may hold.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return '?'
		}
		return c
	}, s[:min(len(s), 300)])
}
