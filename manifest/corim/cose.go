package corim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // signatures
	_ "crypto/sha512" // signatures
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var (
	errSignature = errors.New("signature does not hold")
	errAlgorithm = errors.New("algorithm not allowed")
	errNoKey     = errors.New("no certificate that the signature can be checked with: give that of the signer")
)

// Labels of COSE headers (RFC 9052, 3.1; RFC 9360, 2; CoRIM draft, 4.2).
const (
	headerAlgorithm = int64(1)
	headerCritical  = int64(2)
	headerContent   = int64(3)
	headerKeyID     = int64(4)
	headerMeta      = int64(8)
	headerChain     = int64(33)
)

const contentType = "application/rim+cbor"

// maxChain bounds the certificates in a header; maxKeys how many are tried.
const (
	maxChain = 8
	maxKeys  = 64
)

type scheme uint8

const (
	ecdsaScheme scheme = iota
	pssScheme
	pkcs1Scheme
	edScheme
)

type method struct {
	name   string
	scheme scheme
	hash   crypto.Hash
}

// methods by number (RFC 9053, 2; RFC 8230; RFC 8812).
var methods = map[int64]method{
	-7: {"ES256", ecdsaScheme, crypto.SHA256}, -35: {"ES384", ecdsaScheme, crypto.SHA384}, -36: {"ES512", ecdsaScheme, crypto.SHA512},
	-37: {"PS256", pssScheme, crypto.SHA256}, -38: {"PS384", pssScheme, crypto.SHA384}, -39: {"PS512", pssScheme, crypto.SHA512},
	-257: {"RS256", pkcs1Scheme, crypto.SHA256}, -258: {"RS384", pkcs1Scheme, crypto.SHA384}, -259: {"RS512", pkcs1Scheme, crypto.SHA512},
	-8: {"EdDSA", edScheme, 0},
}

// sign1 is a COSE_Sign1 message.
type sign1 struct {
	protected []byte
	payload   []byte
	value     []byte
	method    method
	keyID     []byte
	chain     []*x509.Certificate
	signer    string
	validity  [2]time.Time
}

// readSign1 reads a message. One without the tag is not a message.
func readSign1(raw []byte) (*sign1, error) {
	v, err := decode(raw)
	if err != nil {
		return nil, err
	}
	t, ok := v.(cbor.Tag)
	if ok && (t.Number == 500 || t.Number == 502) { // tags of older drafts around either form
		if inner, is := t.Content.(cbor.Tag); is {
			t = inner
		}
	}
	if !ok || t.Number == tagCoRIM {
		return nil, ErrUnsigned
	}
	parts, isArray := t.Content.([]any)
	if t.Number != tagSign1 || !isArray || len(parts) != 4 {
		return nil, fmt.Errorf("%w: neither COSE_Sign1 nor a CoRIM", ErrMalformed)
	}
	protected, ok1 := parts[0].(cbor.ByteString)
	open, ok2 := parts[1].(map[any]any)
	payload, ok3 := parts[2].(cbor.ByteString)
	value, ok4 := parts[3].(cbor.ByteString)
	if !ok1 || !ok2 || !ok4 {
		return nil, fmt.Errorf("%w: COSE_Sign1 of other parts", ErrMalformed)
	}
	if !ok3 {
		return nil, fmt.Errorf("%w: the payload of the signature is not in the message", ErrMalformed)
	}
	s := &sign1{protected: protected.Bytes(), payload: payload.Bytes(), value: value.Bytes()}
	return s, s.headers(open)
}

func (s *sign1) headers(open map[any]any) error {
	head := map[any]any{}
	if len(s.protected) > 0 {
		v, err := decode(s.protected)
		if err != nil {
			return fmt.Errorf("protected header: %w", err)
		}
		m, ok := v.(map[any]any)
		if !ok {
			return fmt.Errorf("%w: protected header is no map", ErrMalformed)
		}
		head = m
	}
	for k := range open {
		if _, twice := head[k]; twice {
			return fmt.Errorf("%w: header %v stands in both maps", ErrMalformed, k)
		}
	}
	if _, critical := head[headerCritical]; critical {
		return fmt.Errorf("%w: critical headers, which this reader does not know", errAlgorithm)
	}
	number, _ := head[headerAlgorithm].(int64)
	m, known := methods[number]
	if !known {
		return fmt.Errorf("%w: %v is protected as the algorithm", errAlgorithm, head[headerAlgorithm])
	}
	s.method = m
	if ct, ok := head[headerContent]; ok {
		if text, isText := ct.(string); isText && text != contentType {
			return fmt.Errorf("%w: the message holds %.80q", ErrMalformed, text)
		}
	}
	for _, h := range []map[any]any{head, open} {
		if id, ok := h[headerKeyID].(cbor.ByteString); ok {
			s.keyID = id.Bytes()
		}
		if err := s.x5chain(h[headerChain]); err != nil {
			return err
		}
	}
	return s.meta(head[headerMeta])
}

func (s *sign1) x5chain(v any) error {
	var ders []any
	switch v := v.(type) {
	case nil:
		return nil
	case cbor.ByteString:
		ders = []any{v}
	case []any:
		ders = v
	}
	if len(ders) == 0 || len(ders) > maxChain {
		return fmt.Errorf("%w: a chain of %d certificates, at most %d", ErrMalformed, len(ders), maxChain)
	}
	for _, d := range ders {
		der, _ := d.(cbor.ByteString)
		c, err := x509.ParseCertificate(der.Bytes())
		if err != nil {
			return fmt.Errorf("%w: certificate in the header: %w", ErrMalformed, err)
		}
		s.chain = append(s.chain, c)
	}
	return nil
}

// meta reads who signed and for how long (CoRIM draft, 4.2.1).
func (s *sign1) meta(v any) error {
	b, ok := v.(cbor.ByteString)
	if !ok {
		return nil
	}
	inner, err := decode(b.Bytes())
	if err != nil {
		return fmt.Errorf("corim-meta: %w", err)
	}
	r := &reader{}
	m, err := r.object(inner, "corim-meta")
	if err != nil {
		return err
	}
	if signer, ok := m.take(0).(map[any]any); ok {
		s.signer = textOf(signer[int64(0)])
	}
	s.validity[0], s.validity[1], err = r.validity(m.take(1), "corim-meta")
	return err
}

// toBeSigned is Sig_structure (RFC 9052, 4.4).
func (s *sign1) toBeSigned() ([]byte, error) {
	return cbor.Marshal([]any{"Signature1", s.protected, []byte{}, s.payload})
}

// signedBy finds the certificate whose key signed the message. It returns the
// certificate with the others behind it.
func (s *sign1) signedBy(given []*x509.Certificate) ([]*x509.Certificate, error) {
	all := slices.Concat(s.chain, given)
	hint := func(c *x509.Certificate) bool {
		return len(c.SubjectKeyId) > 0 && bytes.HasSuffix(s.keyID, c.SubjectKeyId)
	}
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b *x509.Certificate) int {
		switch x, y := hint(a), hint(b); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	err := errNoKey
	for _, c := range order[:min(len(order), maxKeys)] {
		if c.IsCA && !hint(c) {
			continue
		}
		e := s.verify(c.PublicKey)
		if e == nil {
			rest := slices.DeleteFunc(slices.Clone(all), c.Equal)
			return append([]*x509.Certificate{c}, rest[:min(len(rest), 31)]...), nil
		}
		if !errors.Is(err, errSignature) {
			err = e
		}
	}
	return nil, err
}

// verify checks the message with a key, which has to be of the algorithm's kind.
func (s *sign1) verify(key crypto.PublicKey) error {
	msg, err := s.toBeSigned()
	if err != nil {
		return err
	}
	holds, fits := false, false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if fits = s.method.scheme == ecdsaScheme && allowedCurve(k.Curve); fits {
			size := (k.Curve.Params().BitSize + 7) / 8
			holds = len(s.value) == 2*size &&
				ecdsa.Verify(k, sum(s.method.hash, msg), new(big.Int).SetBytes(s.value[:size]), new(big.Int).SetBytes(s.value[size:]))
		}
	case *rsa.PublicKey:
		n := k.N.BitLen()
		if fits = (s.method.scheme == pssScheme || s.method.scheme == pkcs1Scheme) && n >= 2048 && n <= 8192; fits {
			if s.method.scheme == pssScheme {
				holds = rsa.VerifyPSS(k, s.method.hash, sum(s.method.hash, msg), s.value, &rsa.PSSOptions{SaltLength: s.method.hash.Size(), Hash: s.method.hash}) == nil
			} else {
				holds = rsa.VerifyPKCS1v15(k, s.method.hash, sum(s.method.hash, msg), s.value) == nil
			}
		}
	case ed25519.PublicKey:
		if fits = s.method.scheme == edScheme; fits {
			holds = ed25519.Verify(k, msg, s.value)
		}
	}
	switch {
	case !fits:
		return fmt.Errorf("%w: %s with a key of type %T", errAlgorithm, s.method.name, key)
	case !holds:
		return errSignature
	}
	return nil
}

func allowedCurve(c elliptic.Curve) bool {
	return c == elliptic.P256() || c == elliptic.P384() || c == elliptic.P521()
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

// algorithmFor gives the algorithm for a key: the hash has the strength of the
// key.
func algorithmFor(pub crypto.PublicKey) (int64, error) {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return -8, nil
	case *rsa.PublicKey:
		switch n := k.N.BitLen(); {
		case n >= 3072 && n <= 8192:
			return -38, nil
		case n >= 2048 && n < 3072:
			return -37, nil
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return -7, nil
		case elliptic.P384():
			return -35, nil
		case elliptic.P521():
			return -36, nil
		}
	}
	return 0, fmt.Errorf("%w: key of type %T", errAlgorithm, pub)
}

// sign makes a message over a payload.
func sign(payload []byte, key crypto.Signer, chain []*x509.Certificate, meta []byte) ([]byte, error) {
	alg, err := algorithmFor(key.Public())
	if err != nil {
		return nil, err
	}
	e, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	head := map[int64]any{headerAlgorithm: alg, headerContent: contentType, headerMeta: meta}
	if len(chain) > 0 {
		var ders [][]byte
		for _, c := range chain {
			ders = append(ders, c.Raw)
		}
		if head[headerChain] = ders; len(ders) == 1 {
			head[headerChain] = ders[0]
		}
		head[headerKeyID] = chain[0].SubjectKeyId
	}
	s := &sign1{payload: payload, method: methods[alg]}
	if s.protected, err = e.Marshal(head); err != nil {
		return nil, err
	}
	msg, err := s.toBeSigned()
	if err != nil {
		return nil, err
	}
	if s.value, err = s.make(key, msg); err != nil {
		return nil, err
	}
	return e.Marshal(cbor.Tag{Number: tagSign1, Content: []any{s.protected, map[int64]any{}, s.payload, s.value}})
}

func (s *sign1) make(key crypto.Signer, msg []byte) ([]byte, error) {
	switch s.method.scheme {
	case edScheme:
		return key.Sign(rand.Reader, msg, crypto.Hash(0))
	case pssScheme:
		return key.Sign(rand.Reader, sum(s.method.hash, msg), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.method.hash})
	}
	der, err := key.Sign(rand.Reader, sum(s.method.hash, msg), s.method.hash)
	if err != nil {
		return nil, err
	}
	var v struct{ R, S *big.Int }
	pub, isEC := key.Public().(*ecdsa.PublicKey)
	if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) > 0 || !isEC {
		return nil, fmt.Errorf("%w: the key gave no ECDSA signature", errSignature)
	}
	size := (pub.Curve.Params().BitSize + 7) / 8
	return append(v.R.FillBytes(make([]byte, size)), v.S.FillBytes(make([]byte, size))...), nil
}
