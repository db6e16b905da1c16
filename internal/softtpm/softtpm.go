// Package softtpm is a TPM in memory for tests: keys, an endorsement
// certificate of a test authority, and signatures over whatever registers and
// counters a test wants. It exists so that evidence which a test changed can be
// sealed and quoted again: what is tested is then the change, and no broken
// seal. It is no TPM: it signs what it is told, as no honest one does.
package softtpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/assay-hw/assay/internal/tpmwire"
)

// Maker issues certificates of endorsement keys.
type Maker struct {
	Key         *ecdsa.PrivateKey
	Certificate *x509.Certificate
}

// NewMaker makes a root that is valid from a year before a time until twenty
// years after it.
func NewMaker(organization string, at time.Time) (*Maker, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of the TPM maker: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: "EK root"},
		NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("root of the TPM maker: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	return &Maker{Key: key, Certificate: c}, err
}

// TPM is the keys of one machine.
type TPM struct {
	ak     crypto.Signer
	public *tpmwire.Public
	ek     *ecdsa.PrivateKey
	files  map[string][]byte
}

// The templates of keys: an attestation key, and the endorsement key of TCG EK
// Credential Profile 2.5, B.4.5, with its policy.
const (
	akHead    = "0023000b00050072000000100018000b00030010"
	akHeadRSA = "0001000b00050072000000100014000b080000000000" // RSA 2048 with RSASSA
	ekHead    = "0023000b000300b20020"
	ekPolicy  = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
	ekHeadEnd = "000600800043001000030010"
)

// TPM makes keys and a certificate with a serial number. The keys are on P-256.
func (m *Maker) TPM(serial int64) (*TPM, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of a TPM: %w", err)
	}
	return m.with(serial, k, public(akHead, &k.PublicKey))
}

// RSATPM makes a TPM whose attestation key is RSA of 2048 bits.
func (m *Maker) RSATPM(serial int64) (*TPM, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("key of a TPM: %w", err)
	}
	b, _ := hex.DecodeString(akHeadRSA) // a constant of this file
	b = append(binary.BigEndian.AppendUint16(b, uint16(k.Size())), k.N.Bytes()...)
	return m.with(serial, k, append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
}

func (m *Maker) with(serial int64, key crypto.Signer, ak []byte) (*TPM, error) {
	t := &TPM{ak: key}
	var err error
	if t.ek, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("key of a TPM: %w", err)
	}
	cert, err := m.certify(t, serial)
	if err != nil {
		return nil, fmt.Errorf("certificate of a TPM: %w", err)
	}
	if t.public, err = tpmwire.ParsePublic(ak); err != nil {
		return nil, fmt.Errorf("attestation key: %w", err)
	}
	t.files = map[string][]byte{"tpm/ak.pub": ak, "tpm/ek.pub": public(ekHead+ekPolicy+ekHeadEnd, &t.ek.PublicKey), "tpm/ek-0x01c0000a.crt": cert}
	return t, nil
}

func (m *Maker) certify(t *TPM, serial int64) ([]byte, error) {
	from := m.Certificate.NotBefore
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprintf("EK %d", serial)}, NotBefore: from.AddDate(0, 6, 0), NotAfter: from.AddDate(16, 0, 0),
		KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}, BasicConstraintsValid: true,
	}
	return x509.CreateCertificate(rand.Reader, c, m.Certificate, &t.ek.PublicKey, m.Key)
}

// public is TPM2B_PUBLIC of a key on P-256 (TPM 2.0 Library Part 2, 12.2.5).
func public(head string, k *ecdsa.PublicKey) []byte {
	b, _ := hex.DecodeString(head) // a constant of this file
	point, err := k.Bytes()        // 4, X, Y
	if err != nil || len(b) == 0 {
		return nil
	}
	for _, v := range [][]byte{point[1:33], point[33:]} {
		b = append(binary.BigEndian.AppendUint16(b, 32), v...)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// Files are the artefacts by which a verifier knows the TPM.
func (t *TPM) Files() map[string][]byte {
	out := map[string][]byte{}
	for p, b := range t.files {
		out[p] = slices.Clone(b)
	}
	return out
}

// EK is the public endorsement key.
func (t *TPM) EK() *ecdsa.PublicKey { return &t.ek.PublicKey }

// Name is the name of the attestation key.
func (t *TPM) Name() ([]byte, error) { return t.public.Name() }
