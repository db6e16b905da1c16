package spdm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Measurements are what the holder of a leaf key signed. Only Verify makes one
// that holds anything.
type Measurements struct {
	version    byte
	algorithms Algorithms
	chain      *Chain
	nonce      []byte
	blocks     []Block
	complete   bool
	notes      []string
}

// Blocks returns the measurements by index.
func (m *Measurements) Blocks() []Block { return slices.Clone(m.blocks) }

// Chain returns the certificates of the key that signed.
func (m *Measurements) Chain() *Chain { return m.chain }

// Nonce returns the requester's nonce, which the signature covers.
func (m *Measurements) Nonce() []byte { return bytes.Clone(m.nonce) }

// Algorithms returns what the signature was made and verified with.
func (m *Measurements) Algorithms() Algorithms { return m.algorithms }

// Complete reports whether these are all measurements that the device has, as
// far as the requester asked for all.
func (m *Measurements) Complete() bool { return m.complete }

// Notes are what was noticed and does not make the signature worth less.
func (m *Measurements) Notes() []string { return slices.Clone(m.notes) }

// Version returns the version of SPDM that was spoken, "1.2".
func (m *Measurements) Version() string { return versionName(m.version) }

// MarshalJSON writes what was signed, for people who look.
func (m *Measurements) MarshalJSON() ([]byte, error) {
	type block struct {
		Index int    `json:"index"`
		Type  string `json:"type"`
		Raw   bool   `json:"raw"`
		Value string `json:"value"`
	}
	v := struct {
		Version      string     `json:"version"`
		Algorithms   Algorithms `json:"algorithms"`
		Certificate  string     `json:"certificate"`
		Root         string     `json:"root"`
		Keys         []string   `json:"keys"`
		Nonce        string     `json:"nonce"`
		Complete     bool       `json:"complete"`
		Measurements []block    `json:"measurements"`
		Notes        []string   `json:"notes,omitempty"`
	}{
		Version: m.Version(), Algorithms: m.algorithms, Certificate: m.chain.Subject(), Root: m.chain.Anchor(), Keys: m.chain.Keys(),
		Nonce: hex.EncodeToString(m.nonce), Complete: m.complete, Notes: m.notes,
	}
	for _, b := range m.blocks {
		v.Measurements = append(v.Measurements, block{b.Index, b.Type.String(), b.Raw, hex.EncodeToString(b.Value)})
	}
	return json.Marshal(v)
}

func versionName(v byte) string { return fmt.Sprintf("%d.%d", v>>4, v&0xf) }

// Verify checks the signature over a conversation with the leaf key of a chain.
// The algorithm is the negotiated one and must fit the key; the hash that names
// the root in the chain must be the negotiated one too.
func Verify(t *Transcript, c *Chain) (*Measurements, error) {
	if t.signature == nil {
		return nil, ErrUnsigned
	}
	key := c.leaf().PublicKey
	suites := []suite{t.suite}
	if t.suite.sign.size == 0 {
		suites = suitesFor(key)
	} else {
		if err := t.suite.fits(key); err != nil {
			return nil, err
		}
		if c.hash != 0 && c.hash != t.suite.hash.hash {
			return nil, fmt.Errorf("the chain names its root with %s, %s was negotiated: %w", c.hash, t.suite.hash.name, ErrForged)
		}
	}
	if len(suites) == 0 {
		return nil, fmt.Errorf("a key %s in SPDM %s: %w", keyKind(key), versionName(t.Version), ErrUnsupported)
	}
	for _, s := range suites {
		sig, padded := t.signature, false
		if n := s.sign.size; t.suite.sign.size == 0 && len(sig) > n && len(bytes.Trim(sig[n:], "\x00")) == 0 {
			sig, padded = sig[:n], true // some drivers hand out a buffer that is longer than the record
		}
		if c.hash != 0 && c.hash != s.hash.hash || !s.verify(key, t.Version, t.signed, sig) {
			continue
		}
		m := &Measurements{
			version: t.Version, algorithms: s.names(), chain: c, nonce: bytes.Clone(t.nonce), blocks: slices.Clone(t.blocks),
			complete: t.complete, notes: slices.Clone(c.notes),
		}
		if t.suite.sign.size == 0 {
			m.algorithms.Measurement = "" // nobody said
			m.notes = append(m.notes, "the negotiation was not recorded")
		}
		if padded {
			m.notes = append(m.notes, "zeroes follow the signature")
		}
		if t.changed {
			m.notes = append(m.notes, "the device says that a measurement changed while it was asked")
		}
		return m, nil
	}
	return nil, fmt.Errorf("the leaf key did not sign this conversation: %w", ErrForged)
}

// Nonce is what a requester puts into GET_MEASUREMENTS for a verifier's nonce:
// the nonce itself when it has the 32 bytes that SPDM wants, its hash under a
// name of its own otherwise.
func Nonce(nonce []byte) []byte {
	if len(nonce) == nonceSize {
		return bytes.Clone(nonce)
	}
	s := sha256.Sum256(append([]byte("assay.spdm/v1\x00"), nonce...))
	return s[:]
}
