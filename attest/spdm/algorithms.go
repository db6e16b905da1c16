package spdm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that are supported
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
)

// Algorithms are what requester and responder agreed on, by the names of
// DSP0274; empty where no negotiation was captured.
type Algorithms struct {
	Signature   string `json:"signature,omitempty"`   // "TPM_ALG_ECDSA_ECC_NIST_P384"
	Hash        string `json:"hash,omitempty"`        // "TPM_ALG_SHA_384"
	Measurement string `json:"measurement,omitempty"` // hash of measurements, or "raw"
}

type scheme int

const (
	rsassa scheme = iota
	rsapss
	ecdsaRS
	eddsa
)

type signing struct {
	name   string
	scheme scheme
	size   int // bytes of a signature
}

// signings are the bits of BaseAsymSel that are supported (DSP0274, "ALGORITHMS
// response message format").
var signings = map[uint32]signing{
	0x001: {"TPM_ALG_RSASSA_2048", rsassa, 256},
	0x002: {"TPM_ALG_RSAPSS_2048", rsapss, 256},
	0x004: {"TPM_ALG_RSASSA_3072", rsassa, 384},
	0x008: {"TPM_ALG_RSAPSS_3072", rsapss, 384},
	0x010: {"TPM_ALG_ECDSA_ECC_NIST_P256", ecdsaRS, 64},
	0x020: {"TPM_ALG_RSASSA_4096", rsassa, 512},
	0x040: {"TPM_ALG_RSAPSS_4096", rsapss, 512},
	0x080: {"TPM_ALG_ECDSA_ECC_NIST_P384", ecdsaRS, 96},
	0x100: {"TPM_ALG_ECDSA_ECC_NIST_P521", ecdsaRS, 132},
	0x400: {"EdDSA ed25519", eddsa, 64},
}

type hashing struct {
	name string
	hash crypto.Hash
	key  string // as manifests name it
}

// hashings are the bits of BaseHashSel that are supported. Those of
// MeasurementHashAlgo are the same, one place up, above "raw bit stream only".
var hashings = map[uint32]hashing{
	1: {"TPM_ALG_SHA_256", crypto.SHA256, "sha256"},
	2: {"TPM_ALG_SHA_384", crypto.SHA384, "sha384"},
	4: {"TPM_ALG_SHA_512", crypto.SHA512, "sha512"},
}

const rawOnly = 1

// suite is a negotiated suite; the zero value is none.
type suite struct {
	sign    signing
	hash    hashing
	measure hashing // hash 0 when measurements come raw only
	keys    bool    // the responder has more than one key (1.3)
}

func (s suite) names() Algorithms {
	a := Algorithms{Signature: s.sign.name, Hash: s.hash.name, Measurement: s.measure.name}
	if a.Measurement == "" && a.Hash != "" {
		a.Measurement = "raw"
	}
	return a
}

// selected reads one selection, which must be one bit of those that were
// offered (DSP0274: the responder "shall not select more than one").
func selected(at int, b []byte, offered uint32, what string) (uint32, error) {
	v := binary.LittleEndian.Uint32(b)
	switch {
	case bits.OnesCount32(v) != 1:
		return 0, malformed(at, "%s selects %d algorithms, want one", what, bits.OnesCount32(v))
	case v&^offered != 0:
		return 0, malformed(at, "%s selects 0x%x, which the request does not offer", what, v)
	}
	return v, nil
}

// suiteOf reads the selections out of an ALGORITHMS message, given the request
// that it answers. Both are at least as long as their fixed parts.
func suiteOf(at int, request, response []byte) (suite, error) {
	var s suite
	asym, err := selected(at+12, response[12:16], binary.LittleEndian.Uint32(request[8:]), "BaseAsymSel")
	if err != nil {
		return s, err
	}
	hash, err := selected(at+16, response[16:20], binary.LittleEndian.Uint32(request[12:]), "BaseHashSel")
	if err != nil {
		return s, err
	}
	var ok bool
	if s.sign, ok = signings[asym]; !ok {
		return s, unsupported(at+12, "signature algorithm 0x%x", asym)
	}
	if s.hash, ok = hashings[hash]; !ok {
		return s, unsupported(at+16, "hash algorithm 0x%x", hash)
	}
	if response[6]&1 == 0 {
		return s, unsupported(at+6, "measurement specification 0x%02x, which is not DMTF's", response[6])
	}
	measure := binary.LittleEndian.Uint32(response[8:])
	if measure == rawOnly {
		return s, nil
	}
	if bits.OnesCount32(measure) != 1 {
		return s, malformed(at+8, "MeasurementHashAlgo selects %d algorithms, want one", bits.OnesCount32(measure))
	}
	if s.measure, ok = hashings[measure>>1]; !ok {
		return s, unsupported(at+8, "measurement hash 0x%x", measure)
	}
	return s, nil
}

// suitesFor lists what a key can have signed with, for captures of SPDM 1.1
// that begin after the negotiation: it is not signed there, so that a name for
// it would prove no more than a signature that fits.
func suitesFor(key crypto.PublicKey) []suite {
	var out []suite
	for _, s := range signings {
		for _, h := range hashings {
			c := suite{sign: s, hash: h}
			if s.scheme != eddsa && c.fits(key) == nil {
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b suite) int {
		if a.sign.scheme != b.sign.scheme {
			return int(a.sign.scheme - b.sign.scheme)
		}
		return a.hash.hash.Size() - b.hash.hash.Size()
	})
	return out
}

// fits checks the negotiated algorithm against the type and size of the key.
func (s suite) fits(key crypto.PublicKey) error {
	kind := keyKind(key)
	ok := false
	switch k := key.(type) {
	case *rsa.PublicKey:
		ok = (s.sign.scheme == rsassa || s.sign.scheme == rsapss) && k.Size() == s.sign.size
	case *ecdsa.PublicKey:
		ok = s.sign.scheme == ecdsaRS && 2*((k.Params().BitSize+7)/8) == s.sign.size
	case ed25519.PublicKey:
		ok = s.sign.scheme == eddsa
	}
	if !ok {
		return fmt.Errorf("%s was negotiated, the certificate has a key %s: %w", s.sign.name, kind, ErrForged)
	}
	return nil
}

func keyKind(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ecc-p%d", k.Params().BitSize)
	case ed25519.PublicKey:
		return "ed25519"
	}
	return "of another kind"
}

// verify checks a signature over a transcript. From SPDM 1.2 on, what is signed
// is a prefix that names version and purpose, and the transcript's hash
// (DSP0274 1.2, "Signature generation"); before, the transcript itself.
func (s suite) verify(key crypto.PublicKey, version byte, transcript, sig []byte) bool {
	h := s.hash.hash
	sum := digest(h, transcript)
	if version >= v12 {
		m := append(signingPrefix(version), sum...)
		if s.sign.scheme == eddsa {
			k, ok := key.(ed25519.PublicKey)
			return ok && ed25519.Verify(k, m, sig)
		}
		sum = digest(h, m)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if s.sign.scheme == rsapss {
			// the salt is as long as the hash
			return rsa.VerifyPSS(k, h, sum, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, h, sum, sig) == nil
	case *ecdsa.PublicKey:
		n := len(sig) / 2
		return len(sig) == s.sign.size && ecdsa.Verify(k, sum, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:]))
	}
	return false
}

// signingPrefix is combined_spdm_prefix: the version four times, then the
// context, which ends at byte 100 behind zeroes.
func signingPrefix(version byte) []byte {
	const context, size = "responder-measurements signing", 100
	out := make([]byte, 0, size+64)
	for range 4 {
		out = fmt.Appendf(out, "dmtf-spdm-v%d.%d.*", version>>4, version&0xf)
	}
	out = append(out, make([]byte, size-len(context)-len(out))...)
	return append(out, context...)
}

func digest(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

func spki(c *x509.Certificate) string { return hexSum(c.RawSubjectPublicKeyInfo) }
