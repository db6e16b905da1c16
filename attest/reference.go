// Package attest reads what a machine measured while it booted and what its TPM
// signed, and appraises both.
//
// It proves which values the TPM's registers had when an attestation key signed
// them, and whether a log of events explains these values. It does not prove
// what the code behind a digest does, and the texts inside a log are hints: only
// what a digest covers is evidence.
package attest

// Reference is what a manifest expects of one PCR, at one of three strengths:
// allowed values of the whole register, an ordered list of events, or events
// derived from other reference material.
type Reference struct {
	PCR     int                 `json:"pcr"`
	Digests map[string][]string `json:"digests,omitempty"` // allowed register values by bank name, lower-case hex
	Events  []EventReference    `json:"events,omitempty"`  // expected events, in order
	Order   string              `json:"order,omitempty"`   // "strict" (default) or "any"
	Note    string              `json:"note,omitempty"`
	Origin  string              `json:"-"` // id of the manifest, set by the caller
}

// OfSoftware reports whether the software that a machine starts, and not its
// platform, decides what is in the register (TCG PFP 1.06, 3.3.4).
func (r Reference) OfSoftware() bool {
	return r.PCR == 4 || r.PCR == 5 || r.PCR >= 8 && r.PCR <= 14
}

// EventReference is one expected event.
type EventReference struct {
	Type      string              `json:"type"`                // TCG name, a hint: digests decide
	Digests   map[string][]string `json:"digests,omitempty"`   // allowed digests by bank name
	Derived   string              `json:"derived,omitempty"`   // what the digest is derived from: "component:ID", "firmware:NAME/REGION", "separator"
	Optional  bool                `json:"optional,omitempty"`  // may be missing
	Component string              `json:"component,omitempty"` // id of the manifest component whose code this is
	Label     string              `json:"label,omitempty"`     // for people: variable name, file path, device
}

// Endorsement pins one key or certificate of a machine's TPM. A certificate that
// is only known as the holder of a platform certificate is pinned by its issuer
// and its serial number together.
type Endorsement struct {
	Kind      string `json:"kind"`                // "ek", "ek-certificate" or "ak"
	SHA256    string `json:"sha256,omitempty"`    // of the certificate's DER form, or of the key's SubjectPublicKeyInfo
	Name      string `json:"name,omitempty"`      // TPM name of the key, hex
	Algorithm string `json:"algorithm,omitempty"` // of the key: "rsa-2048", "ecc-p384"; only keys of one algorithm are compared
	Index     string `json:"index,omitempty"`     // NV index of a certificate, "0x01c00002"
	Issuer    string `json:"issuer,omitempty"`    // of a certificate: its issuer's name as RFC 4514 writes it
	Number    string `json:"number,omitempty"`    // of a certificate: its serial number, lower-case hex
	Optional  bool   `json:"optional,omitempty"`  // an optional artefact that is absent is listed as not checked
	Note      string `json:"note,omitempty"`
}
