// Package ear writes a Result as an EAT Attestation Result (EAR,
// draft-ietf-rats-ear) for relying parties that know nothing of Assay: a JSON Web
// Token, signed by the verifier, with the trustworthiness vector of AR4SI
// (draft-ietf-rats-ar4si). Claim names and profile are those that the
// implementations of the Veraison project read; later revisions of the draft spell
// them with an underscore.
//
// A token proves that the holder of the key gave this verdict. It never affirms what
// was not checked: a claim of the vector is affirmed only when the references for it
// were there and a quote explains them, and is 0, "no claim", otherwise.
package ear

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/report"
)

// Profile is the eat_profile of the tokens (RFC 9711, 6).
const Profile = "tag:github.com,2023:veraison/ear"

// Submodule labels the one attester that a token is about (draft-ietf-rats-ear, 3,
// "submods").
const Submodule = "machine"

// Extension names the claim with what an EAR has no claim for. It is a public name
// (RFC 7519, 4.2).
const Extension = "https://github.com/assay-hw/assay/ear/v1"

// The sizes of a nonce in bytes (RFC 9711, 4.1).
const (
	MinNonce = 8
	MaxNonce = 64
)

// Options are what a token says beside the result.
type Options struct {
	Nonce []byte // that the relying party gave; nil when there was none
	Build string // version of the program
}

type (
	claims struct {
		Profile   string               `json:"eat_profile"`
		IssuedAt  int64                `json:"iat"`
		Nonce     string               `json:"eat_nonce,omitempty"`
		Verifier  verifierID           `json:"ear.verifier-id"`
		Submods   map[string]appraisal `json:"submods"`
		Extension extension            `json:"https://github.com/assay-hw/assay/ear/v1"`
	}
	verifierID struct { // draft-ietf-rats-ar4si, 3.3
		Developer string `json:"developer"`
		Build     string `json:"build"`
	}
	appraisal struct { // draft-ietf-rats-ear, 3.1
		Status string `json:"ear.status"`
		Vector vector `json:"ear.trustworthiness-vector"`
		Policy string `json:"ear.appraisal-policy-id"`
	}
	extension struct {
		Verdict   assay.Verdict   `json:"verdict"`
		Result    string          `json:"result-sha256"` // of the result in JSON, as assay.result/v1
		Evidence  string          `json:"evidence-sha256"`
		Policy    string          `json:"policy-sha256"`
		Manifests []string        `json:"manifests-sha256"`
		Assurance assay.Assurance `json:"assurance"`
	}
)

// Write writes the token for a result, in the compact serialisation (RFC 7515, 7.1)
// and a line feed. It is issued at the time that the result is for.
func Write(w io.Writer, r *assay.Result, key crypto.Signer, o Options) error {
	payload, err := payloadOf(r, o)
	if err != nil {
		return err
	}
	token, err := sign(payload, key)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(token, '\n')); err != nil {
		return fmt.Errorf("ear: %w", err)
	}
	return nil
}

func payloadOf(r *assay.Result, o Options) ([]byte, error) {
	if n := len(o.Nonce); n > 0 && (n < MinNonce || n > MaxNonce) {
		return nil, fmt.Errorf("ear: a nonce of %d bytes: want %d to %d", n, MinNonce, MaxNonce)
	}
	result, err := report.Digest(r)
	if err != nil {
		return nil, err
	}
	c := claims{
		Profile: Profile, IssuedAt: r.At.Unix(), Nonce: base64.RawURLEncoding.EncodeToString(o.Nonce),
		Verifier: verifierID{Developer: "https://github.com/assay-hw/assay", Build: "assay " + o.Build},
		Submods: map[string]appraisal{Submodule: {
			Status: status(r.Verdict), Vector: vectorOf(r), Policy: report.Plain(r.Policy.ID) + ";sha256=" + r.Policy.SHA256,
		}},
		Extension: extension{
			Verdict: r.Verdict, Result: result, Evidence: r.Evidence.SHA256, Policy: r.Policy.SHA256, Manifests: []string{}, Assurance: r.Assurance,
		},
	}
	for _, m := range r.Manifests {
		c.Extension.Manifests = append(c.Extension.Manifests, m.SHA256)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("ear: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// status is the tier of a verdict (draft-ietf-rats-ar4si, 3.2). None says that the
// verifier makes no statement: nothing of the kind "inconclusive" is a trust tier.
func status(v assay.Verdict) string {
	switch v {
	case assay.Pass:
		return "affirming"
	case assay.Review:
		return "warning"
	case assay.Fail:
		return "contraindicated"
	}
	return "none"
}
