package tpmwire

import (
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
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

// hashAlgorithms are those whose name, size and implementation are known.
var hashAlgorithms = [...]Algorithm{SHA1, SHA256, SHA384, SHA512, SM3, SHA3_256, SHA3_384, SHA3_512}

// properties of a hash algorithm: the zero values for any other number. A
// switch, since every digest of every event of a log asks.
func (a Algorithm) properties() (name string, size int, hash crypto.Hash) {
	switch a {
	case SHA1:
		return "sha1", sha1.Size, crypto.SHA1
	case SHA256:
		return "sha256", sha256.Size, crypto.SHA256
	case SHA384:
		return "sha384", sha512.Size384, crypto.SHA384
	case SHA512:
		return "sha512", sha512.Size, crypto.SHA512
	case SM3:
		return "sm3_256", 32, 0
	case SHA3_256:
		return "sha3_256", 32, crypto.SHA3_256
	case SHA3_384:
		return "sha3_384", 48, crypto.SHA3_384
	case SHA3_512:
		return "sha3_512", 64, crypto.SHA3_512
	}
	return "", 0, 0
}

// String returns the bank name that Linux and tpm2-tools use.
func (a Algorithm) String() string {
	if name, _, _ := a.properties(); name != "" {
		return name
	}
	return fmt.Sprintf("alg-0x%04x", uint16(a))
}

// Size returns the digest length of a hash algorithm, 0 when it is unknown.
func (a Algorithm) Size() int {
	_, size, _ := a.properties()
	return size
}

// Hash returns the implementation, 0 when there is none: such a bank can be
// read and shown, but not replayed.
func (a Algorithm) Hash() crypto.Hash {
	_, _, h := a.properties()
	return h
}

// MaxDigest is the length of the longest digest.
const MaxDigest = sha512.Size

// Sum appends the digest of b to dst, and nothing where Hash returns 0. It
// allocates nothing where dst has room.
func (a Algorithm) Sum(dst, b []byte) []byte {
	switch a {
	case SHA1:
		s := sha1.Sum(b)
		return append(dst, s[:]...)
	case SHA256:
		s := sha256.Sum256(b)
		return append(dst, s[:]...)
	case SHA384:
		s := sha512.Sum384(b)
		return append(dst, s[:]...)
	case SHA512:
		s := sha512.Sum512(b)
		return append(dst, s[:]...)
	case SHA3_256:
		s := sha3.Sum256(b)
		return append(dst, s[:]...)
	case SHA3_384:
		s := sha3.Sum384(b)
		return append(dst, s[:]...)
	case SHA3_512:
		s := sha3.Sum512(b)
		return append(dst, s[:]...)
	}
	return dst
}

// HashNamed returns the hash algorithm with a bank name.
func HashNamed(name string) (Algorithm, bool) {
	for _, a := range hashAlgorithms {
		if known, _, _ := a.properties(); known == name {
			return a, true
		}
	}
	return 0, false
}
