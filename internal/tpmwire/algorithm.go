package tpmwire

import (
	"crypto"
	_ "crypto/sha1" // the banks that are replayed
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"fmt"
)

// Algorithm is a TPM_ALG_ID (TCG Algorithm Registry 1.34).
type Algorithm uint16

// The algorithms that attestation meets.
const (
	RSA       Algorithm = 0x0001
	SHA1      Algorithm = 0x0004
	KeyedHash Algorithm = 0x0008
	SHA256    Algorithm = 0x000b
	SHA384    Algorithm = 0x000c
	SHA512    Algorithm = 0x000d
	Null      Algorithm = 0x0010
	SM3       Algorithm = 0x0012
	RSASSA    Algorithm = 0x0014
	RSAES     Algorithm = 0x0015
	RSAPSS    Algorithm = 0x0016
	OAEP      Algorithm = 0x0017
	ECDSA     Algorithm = 0x0018
	ECDAA     Algorithm = 0x001a
	ECC       Algorithm = 0x0023
	SHA3_256  Algorithm = 0x0027
	SHA3_384  Algorithm = 0x0028
	SHA3_512  Algorithm = 0x0029
)

var hashes = map[Algorithm]struct {
	name string
	size int
	hash crypto.Hash
}{
	SHA1:     {"sha1", 20, crypto.SHA1},
	SHA256:   {"sha256", 32, crypto.SHA256},
	SHA384:   {"sha384", 48, crypto.SHA384},
	SHA512:   {"sha512", 64, crypto.SHA512},
	SM3:      {"sm3_256", 32, 0},
	SHA3_256: {"sha3_256", 32, crypto.SHA3_256},
	SHA3_384: {"sha3_384", 48, crypto.SHA3_384},
	SHA3_512: {"sha3_512", 64, crypto.SHA3_512},
}

// String returns the bank name that Linux and tpm2-tools use.
func (a Algorithm) String() string {
	if h, ok := hashes[a]; ok {
		return h.name
	}
	return fmt.Sprintf("alg-0x%04x", uint16(a))
}

// Size returns the digest length of a hash algorithm, 0 when it is unknown.
func (a Algorithm) Size() int { return hashes[a].size }

// Hash returns the implementation, 0 when there is none: such a bank can be
// read and shown, but not replayed.
func (a Algorithm) Hash() crypto.Hash {
	h := hashes[a].hash
	if h == 0 || !h.Available() {
		return 0
	}
	return h
}

// HashNamed returns the hash algorithm with a bank name.
func HashNamed(name string) (Algorithm, bool) {
	for a, h := range hashes {
		if h.name == name {
			return a, true
		}
	}
	return 0, false
}
