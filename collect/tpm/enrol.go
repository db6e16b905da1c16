package tpm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// The formats of the three files of an enrolment.
const (
	ChallengeFormat = "assay.enrolment-challenge/v1"
	AnswerFormat    = "assay.enrolment-answer/v1"
	EnrolmentFormat = "assay.enrolment/v1"
)

// Challenge is what a verifier asks of a machine: to recover a secret that was
// encrypted so that only a TPM with this endorsement key opens it, and only for
// this attestation key (TPM 2.0 Library Part 1, 24). It holds the hash of the
// secret: the verifier has to keep its own copy for the check.
type Challenge struct {
	Format     string `json:"format"`
	EK         []byte `json:"ek"`         // TPM2B_PUBLIC of the endorsement key
	AK         []byte `json:"ak"`         // TPM2B_PUBLIC of the attestation key
	Credential []byte `json:"credential"` // TPMS_ID_OBJECT
	Secret     []byte `json:"secret"`     // encrypted seed
	SHA256     string `json:"sha256"`     // of the secret, in hexadecimal
}

// Answer is the machine's answer: the recovered secret.
type Answer struct {
	Format string `json:"format"`
	Name   string `json:"name"` // TPM name of the attestation key
	Secret []byte `json:"secret"`
}

// Enrolment records that an attestation key lives in the TPM with an
// endorsement key. Whoever keeps it must keep it from being edited.
type Enrolment struct {
	Format     string    `json:"format"`
	EnrolledAt time.Time `json:"enrolledAt"`
	AKName     string    `json:"akName"` // TPM name
	AK         []byte    `json:"ak"`     // TPM2B_PUBLIC
	EKSHA256   string    `json:"ekSha256"`
	EKKind     string    `json:"ekAlgorithm"`
	Machine    string    `json:"machine,omitempty"` // for people
}

// NewChallenge makes a challenge for an attestation key. It refuses one whose
// attributes allow it to leave its TPM or to sign anything at all: activation
// would prove nothing then. The endorsement key's public area decides which
// TPM can answer, so it must be known to be that of a TPM: from a certificate
// that a maker signed, or from a list of known machines.
func NewChallenge(ek, ak []byte, random io.Reader) (*Challenge, error) {
	if err := checkAK(ak); err != nil {
		return nil, err
	}
	pub, err := publicArea(ek)
	if err != nil {
		return nil, fmt.Errorf("endorsement key: %w", err)
	}
	if a := pub.ObjectAttributes; !a.Restricted || !a.Decrypt || a.SignEncrypt || !a.FixedTPM {
		return nil, errors.New("endorsement key: the attributes are not those of an endorsement key")
	}
	akPub, err := tpmwire.ParsePublic(ak)
	if err != nil {
		return nil, fmt.Errorf("attestation key: %w", err)
	}
	name, err := akPub.Name()
	if err != nil {
		return nil, fmt.Errorf("attestation key: %w", err)
	}
	secret := make([]byte, 32)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	kem, err := tpm2.ImportEncapsulationKey(pub)
	if err != nil {
		return nil, fmt.Errorf("endorsement key: %w", err)
	}
	blob, seed, err := tpm2.CreateCredential(random, kem, name, secret)
	if err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	sum := sha256.Sum256(secret)
	return &Challenge{Format: ChallengeFormat, EK: ek, AK: ak, Credential: blob, Secret: seed, SHA256: hex.EncodeToString(sum[:])}, nil
}

func publicArea(raw []byte) (*tpm2.TPMTPublic, error) {
	if _, err := tpmwire.ParsePublic(raw); err != nil {
		return nil, err // strict, before the reader by reflection
	}
	return guarded("public area", func() (*tpm2.TPMTPublic, error) {
		b, err := tpm2.Unmarshal[tpm2.TPM2BPublic](raw)
		if err != nil {
			return nil, err
		}
		return b.Contents()
	})
}

// EKOfCertificate gives the public area of the endorsement key that a
// certificate is about. Certificates hold the bare key; the rest is that of the
// template in the EK Credential Profile.
func EKOfCertificate(der []byte) ([]byte, error) {
	c, err := ekcert.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	for _, kind := range ekKinds() {
		if kind.name != c.KeyKind {
			continue
		}
		p := kind.public
		switch k := c.Key.(type) {
		case *rsa.PublicKey:
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: k.N.Bytes()})
		case *ecdsa.PublicKey:
			point, err := k.Bytes()
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			n := (len(point) - 1) / 2
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: point[1 : 1+n]}, Y: tpm2.TPM2BECCParameter{Buffer: point[1+n:]}})
		default:
			continue
		}
		return tpm2.Marshal(tpm2.New2B(p)), nil
	}
	return nil, fmt.Errorf("certificate: no template for a key of the kind %q", c.KeyKind)
}

// Certified reports whether a maker vouches for an endorsement key: one of the
// certificates is about it and ends in a root.
func Certified(ek []byte, certs [][]byte, roots, below []*ekcert.Certificate, now time.Time) error {
	p, err := tpmwire.ParsePublic(ek)
	if err != nil {
		return fmt.Errorf("endorsement key: %w", err)
	}
	key := ekcert.KeyHash(p.Key)
	authorities := slices.Clone(below)
	var about []*ekcert.Certificate
	for _, raw := range certs {
		c, err := ekcert.Parse(raw)
		switch {
		case err != nil:
		case c.CA:
			authorities = append(authorities, c)
		case !c.Has(ekcert.UsagePlatform) && key != "" && ekcert.KeyHash(c.Key) == key:
			about = append(about, c)
		}
	}
	for _, c := range about {
		if _, ok := ekcert.Find(c, roots, authorities, now); ok {
			return nil
		}
	}
	if len(about) == 0 {
		return errors.New("endorsement key: no certificate is about it")
	}
	return errors.New("endorsement key: its certificate ends in no trusted root")
}

// Answer lets the TPM open a challenge. It fails in any TPM but the one with
// the challenge's endorsement key, and for any attestation key but the one that
// was named.
func (d *Device) Answer(c *Challenge, akHandle uint32) (*Answer, error) {
	if c.Format != ChallengeFormat {
		return nil, fmt.Errorf("challenge: format is %q, want %q", c.Format, ChallengeFormat)
	}
	certs, _, err := d.Certificates()
	if err != nil {
		return nil, err
	}
	eks, err := d.EndorsementKeys(certs)
	if err != nil {
		return nil, err
	}
	ek := d.holds(eks, c.EK)
	if ek == nil {
		return nil, errors.New("this TPM does not hold the challenge's endorsement key")
	}
	ak, err := d.AttestationKey(akHandle)
	if err != nil {
		return nil, err
	}
	if !ak.is(c.AK) {
		return nil, errors.New("the challenge is for another attestation key than this TPM's")
	}
	auth, err := d.ekAuth(ek)
	if err != nil {
		return nil, err
	}
	secret, err := guarded("activate credential", func() ([]byte, error) {
		r, err := tpm2.ActivateCredential{
			ActivateHandle: d.auth(&ak.key), KeyHandle: tpm2.AuthHandle{Handle: ek.handle, Name: ek.name, Auth: auth},
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Credential}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
		}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		return r.CertInfo.Buffer, nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Format: AnswerFormat, Name: hex.EncodeToString(ak.name.Buffer), Secret: secret}, nil
}

// holds finds the endorsement key that a challenge names, deriving those that
// were not needed so far.
func (d *Device) holds(eks []*Key, public []byte) *Key {
	same := func(k *Key) bool { return k.is(public) || sameKey(k.Public, public) }
	for _, k := range eks {
		if same(k) {
			return k
		}
	}
	for _, kind := range ekKinds() {
		k, err := d.derive(kind)
		if err != nil {
			continue
		}
		if same(k) {
			return k
		}
		d.unload(k)
	}
	return nil
}

// sameKey compares the keys alone: a certificate holds no more.
func sameKey(a, b []byte) bool {
	x, err1 := tpmwire.ParsePublic(a)
	y, err2 := tpmwire.ParsePublic(b)
	if err1 != nil || err2 != nil {
		return false
	}
	h := ekcert.KeyHash(x.Key)
	return h != "" && h == ekcert.KeyHash(y.Key)
}

// ekAuth authorises the use of an endorsement key: with the endorsement
// hierarchy's secret (policy A), or with its own where the template says so.
func (d *Device) ekAuth(ek *Key) (tpm2.Session, error) {
	if ek.public.ObjectAttributes.UserWithAuth {
		return tpm2.PasswordAuth(nil), nil
	}
	return tpm2.Policy(ek.public.NameAlg, 16, func(t transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)}, PolicySession: session, NonceTPM: nonce,
		}.Execute(t)
		return err
	}), nil
}

// ErrNotActivated says that an answer does not hold the challenge's secret.
var ErrNotActivated = errors.New("the secret is not the challenge's: the attestation key was not shown to live in the TPM with this endorsement key")

// Check compares an answer with the verifier's own copy of the challenge.
func (c *Challenge) Check(a *Answer, now time.Time) (*Enrolment, error) {
	if c.Format != ChallengeFormat || a.Format != AnswerFormat {
		return nil, fmt.Errorf("formats are %q and %q, want %q and %q", c.Format, a.Format, ChallengeFormat, AnswerFormat)
	}
	want, err := hex.DecodeString(c.SHA256)
	if err != nil || len(want) != sha256.Size {
		return nil, errors.New("challenge: sha256 is no digest")
	}
	if got := sha256.Sum256(a.Secret); subtle.ConstantTimeCompare(got[:], want) != 1 {
		return nil, ErrNotActivated
	}
	ak, err := tpmwire.ParsePublic(c.AK)
	if err != nil {
		return nil, fmt.Errorf("attestation key: %w", err)
	}
	ek, err := tpmwire.ParsePublic(c.EK)
	if err != nil {
		return nil, fmt.Errorf("endorsement key: %w", err)
	}
	name, err := ak.Name()
	if err != nil {
		return nil, fmt.Errorf("attestation key: %w", err)
	}
	ekPub, err := publicArea(c.EK)
	if err != nil {
		return nil, fmt.Errorf("endorsement key: %w", err)
	}
	return &Enrolment{
		Format: EnrolmentFormat, EnrolledAt: now.UTC().Truncate(time.Second), AKName: hex.EncodeToString(name), AK: bytes.Clone(c.AK),
		EKSHA256: ekcert.KeyHash(ek.Key), EKKind: kindOf(ekPub),
	}, nil
}
