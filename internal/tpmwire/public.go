package tpmwire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"math/big"
)

// Attributes is TPMA_OBJECT (TPM 2.0 Library Part 2, 8.3).
type Attributes uint32

// The object attributes that attestation asks about.
const (
	FixedTPM            Attributes = 1 << 1
	FixedParent         Attributes = 1 << 4
	SensitiveDataOrigin Attributes = 1 << 5
	UserWithAuth        Attributes = 1 << 6
	AdminWithPolicy     Attributes = 1 << 7
	Restricted          Attributes = 1 << 16
	Decrypt             Attributes = 1 << 17
	Sign                Attributes = 1 << 18
)

// Public is TPMT_PUBLIC of an RSA or ECC key (12.2.4).
type Public struct {
	Type       Algorithm
	NameAlg    Algorithm
	Attributes Attributes
	AuthPolicy []byte
	Scheme     Algorithm // signing scheme, Null when any
	SchemeHash Algorithm
	Bits       int // of an RSA modulus
	Curve      uint16
	Key        crypto.PublicKey // *rsa.PublicKey or *ecdsa.PublicKey
	raw        []byte
}

const (
	curveP256 = 3
	curveP384 = 4
	curveP521 = 5
)

// ParsePublic decodes a TPM2B_PUBLIC, or a TPMT_PUBLIC without its size.
func ParsePublic(b []byte) (*Public, error) {
	if len(b) >= 2 && int(binary.BigEndian.Uint16(b)) == len(b)-2 {
		b = b[2:]
	}
	r := &reader{b: b}
	p := &Public{Type: r.alg("type"), NameAlg: r.alg("name algorithm"), Attributes: Attributes(r.u32("attributes")), raw: b}
	p.AuthPolicy = r.sized("policy")
	r.symmetric()
	p.Scheme, p.SchemeHash = r.scheme()
	switch p.Type {
	case RSA:
		p.rsa(r)
	case ECC:
		p.ecc(r)
	default:
		r.fail("key type %s is neither RSA nor ECC", p.Type)
	}
	if err := r.end("public area"); err != nil {
		return nil, err
	}
	return p, nil
}

// symmetric skips TPMT_SYM_DEF_OBJECT.
func (r *reader) symmetric() {
	if r.alg("symmetric algorithm") != Null {
		r.u16("symmetric key bits")
		r.u16("symmetric mode")
	}
}

func (r *reader) scheme() (alg, hash Algorithm) {
	alg = r.alg("scheme")
	switch alg {
	case Null, RSAES:
		return alg, 0
	case ECDAA:
		hash = r.alg("scheme hash")
		r.u16("scheme count")
		return alg, hash
	}
	return alg, r.alg("scheme hash")
}

func (p *Public) rsa(r *reader) {
	p.Bits = int(r.u16("key bits"))
	e := r.u32("exponent")
	n := r.sized("modulus")
	if r.err != nil {
		return
	}
	if e == 0 {
		e = 65537
	}
	if e < 3 || e&1 == 0 || e > 1<<31-1 {
		r.fail("exponent %d", e)
		return
	}
	m := new(big.Int).SetBytes(n)
	if p.Bits < 1024 || p.Bits > 8192 || m.BitLen() != p.Bits {
		r.fail("modulus of %d bits, declared %d", m.BitLen(), p.Bits)
		return
	}
	p.Key = &rsa.PublicKey{N: m, E: int(e)}
}

func (p *Public) ecc(r *reader) {
	p.Curve = r.u16("curve")
	if kdf := r.alg("kdf"); kdf != Null {
		r.u16("kdf hash")
	}
	x, y := r.sized("x"), r.sized("y")
	if r.err != nil {
		return
	}
	var c elliptic.Curve
	switch p.Curve {
	case curveP256:
		c = elliptic.P256()
	case curveP384:
		c = elliptic.P384()
	case curveP521:
		c = elliptic.P521()
	default:
		r.fail("curve 0x%04x", p.Curve)
		return
	}
	size := (c.Params().BitSize + 7) / 8
	if len(x) > size || len(y) > size {
		r.fail("point of %d and %d bytes on a curve of %d", len(x), len(y), size)
		return
	}
	pt := make([]byte, 1+2*size)
	pt[0] = 4
	copy(pt[1+size-len(x):], x)
	copy(pt[1+2*size-len(y):], y)
	k, err := ecdsa.ParseUncompressedPublicKey(c, pt)
	if err != nil {
		r.fail("point is not on the curve")
		return
	}
	p.Key = k
}

// Name returns the TPM name: the name algorithm, then the hash of the public
// area (Part 1, 16).
func (p *Public) Name() ([]byte, error) {
	h := p.NameAlg.Hash()
	if h == 0 {
		return nil, fmt.Errorf("name algorithm %s: no implementation", p.NameAlg)
	}
	d := h.New()
	d.Write(p.raw)
	return d.Sum(binary.BigEndian.AppendUint16(nil, uint16(p.NameAlg))), nil
}

// QualifiedName returns the qualified name of the key below a parent with the
// given qualified name.
func (p *Public) QualifiedName(parent []byte) ([]byte, error) {
	name, err := p.Name()
	if err != nil {
		return nil, err
	}
	d := p.NameAlg.Hash().New()
	d.Write(parent)
	d.Write(name)
	return d.Sum(binary.BigEndian.AppendUint16(nil, uint16(p.NameAlg))), nil
}
