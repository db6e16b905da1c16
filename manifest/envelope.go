package manifest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/internal/strictjson"
)

const payloadType = "application/vnd.in-toto+json"

// envelope is a DSSE v1.0.2 envelope. Each signature carries its chain.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string   `json:"keyid,omitempty"` // a hint, never looked up
	Sig   string   `json:"sig"`
	X5C   []string `json:"x5c,omitempty"` // base64 DER, leaf first

	// Timestamps are RFC 3161 TimeStampTokens over the bytes of Sig, base64 DER.
	Timestamps []string `json:"timestamps,omitempty"`
}

// isEnvelope tells an envelope from a draft by its keys.
func isEnvelope(raw []byte) bool {
	var keys map[string]json.RawMessage
	if json.Unmarshal(raw, &keys) != nil {
		return false
	}
	for k := range keys {
		if strings.EqualFold(k, "payload") || strings.EqualFold(k, "signatures") {
			return true // spelled otherwise, it is a malformed envelope
		}
	}
	return false
}

// decodeEnvelope returns the envelope and the exact bytes that were signed.
func decodeEnvelope(raw []byte) (*envelope, []byte, error) {
	var e envelope
	if err := strictjson.Decode(raw, &e); err != nil {
		return nil, nil, fmt.Errorf("envelope: %w", err)
	}
	payload, err := decode64(e.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("envelope: payload: %w", err)
	}
	return &e, payload, nil
}

// decode64 accepts both alphabets, as DSSE does, each only in its one form.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("is broken into lines")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err == nil {
		return b, nil
	}
	if b, e := base64.URLEncoding.Strict().DecodeString(s); e == nil {
		return b, nil
	}
	return nil, fmt.Errorf("is not base64: %w", err)
}

// preAuthEncoding is what is signed: DSSE protocol, "PAE".
func preAuthEncoding(typ string, payload []byte) []byte {
	b := append([]byte("DSSEv1 "), strconv.Itoa(len(typ))...)
	b = append(append(b, ' '), typ...)
	b = append(append(b, ' '), strconv.Itoa(len(payload))...)
	return append(append(b, ' '), payload...)
}

func (e *envelope) encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	return buf.Bytes(), nil
}
