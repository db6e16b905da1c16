// Package spdmtest is a responder of SPDM 1.1 to 1.3 for tests: a state machine
// that answers requests and signs with keys that it makes, and a requester that
// records the conversation. It exists so that tests can make what no public
// collection holds: signed measurements of every version and algorithm, and
// ones with one thing wrong. It knows nothing of the verifier that it tests.
package spdmtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// The bits of BaseAsymAlgo and BaseHashAlgo that a device can be made for.
const (
	RSASSA2048 = 0x001
	RSAPSS2048 = 0x002
	RSASSA3072 = 0x004
	RSAPSS3072 = 0x008
	ECDSAP256  = 0x010
	ECDSAP384  = 0x080
	ECDSAP521  = 0x100
	Ed25519    = 0x400

	SHA256 = 1
	SHA384 = 2
	SHA512 = 4
)

var hashes = map[uint32]crypto.Hash{SHA256: crypto.SHA256, SHA384: crypto.SHA384, SHA512: crypto.SHA512}

// Block is one measurement that the device gives.
type Block struct {
	Index byte
	Type  byte // bit 7: raw
	Value []byte
}

// Device is a responder. Its fields may be changed between conversations.
type Device struct {
	Version    byte // 0x11, 0x12 or 0x13
	Asym, Hash uint32
	Key        crypto.Signer
	Certs      []*x509.Certificate // root first
	Blocks     []Block
	LeaveRoot  bool                    // the chain that is handed out begins under the root
	Tamper     func(header, to []byte) // changes a response before it is signed

	state   int
	vca, l1 []byte
}

// states of a connection.
const (
	fresh = iota
	versioned
	capable
	negotiated
)

// New makes a device with a key, a chain of three certificates (root, device,
// alias) and measurements of every kind.
func New(version byte, asym, hash uint32) (*Device, error) {
	key, err := newKey(asym)
	if err != nil {
		return nil, err
	}
	d := &Device{Version: version, Asym: asym, Hash: hash, Key: key}
	if err := d.certify(); err != nil {
		return nil, err
	}
	size := hashes[hash].Size()
	sum := func(s string) []byte { return digest(hashes[hash], []byte(s)) }
	d.Blocks = []Block{
		{1, 0, sum("rom")},
		{2, 1, sum("firmware 7")},
		{3, 3, bytes.Repeat([]byte{0xab}, size)},
		{4, 0x86, []byte("7.0.1")},
		{5, 0x87, []byte{7, 0, 0, 0, 0, 0, 0, 0}},
		{0xfe, 0x85, []byte{4, 0, 0, 0, 4, 0, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0}},
	}
	return d, nil
}

func newKey(asym uint32) (crypto.Signer, error) {
	switch asym {
	case RSASSA2048, RSAPSS2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSASSA3072, RSAPSS3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ECDSAP521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return nil, fmt.Errorf("algorithm 0x%x", asym)
}

// certify makes the chain: the root and the device certificate have keys of
// their own, as with alias certificates.
func (d *Device) certify() error {
	rootKey, err := newKey(ECDSAP256)
	if err != nil {
		return err
	}
	deviceKey, err := newKey(ECDSAP384)
	if err != nil {
		return err
	}
	authority := func(name string) *x509.Certificate {
		c := certificate(name)
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		return c
	}
	root, err := issue(authority("Example Device Root"), nil, rootKey, rootKey)
	if err != nil {
		return err
	}
	// The SPDM extension says that this certificate is a hardware identity.
	identity, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 412, 274, 2}})
	if err != nil {
		return err
	}
	deviceTemplate := authority("Example Device 0001")
	deviceTemplate.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 6}, Value: identity}}
	device, err := issue(deviceTemplate, root, deviceKey, rootKey)
	if err != nil {
		return err
	}
	leaf := certificate("Example Device 0001 Alias")
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 412, 274, 3}}
	alias, err := issue(leaf, device, d.Key, deviceKey)
	if err != nil {
		return err
	}
	d.Certs = []*x509.Certificate{root, device, alias}
	return nil
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Organization: []string{"Example Silicon"}, CommonName: name},
		NotBefore: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), BasicConstraintsValid: true,
	}
}

func issue(template, parent *x509.Certificate, key, by crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Chain is the certificate chain as the device hands it out.
func (d *Device) Chain() []byte {
	var ders []byte
	for _, c := range d.Certs {
		if !d.LeaveRoot || c != d.Certs[0] {
			ders = append(ders, c.Raw...)
		}
	}
	root := digest(hashes[d.Hash], d.Certs[0].Raw)
	out := binary.LittleEndian.AppendUint16(nil, uint16(4+len(root)+len(ders)))
	return slices.Concat(append(out, 0, 0), root, ders)
}

func digest(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}
