package efficacy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/manifest"
)

// signer is somebody with a key and a chain.
type signer struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate // leaf first, without the root
	root  *x509.Certificate
	ca    *ecdsa.PrivateKey
	known bool // the verifier trusts the root
}

// standing is what is particular about a signer.
type standing struct {
	name   string
	known  bool
	from   time.Time
	to     time.Time
	usages []asn1.ObjectIdentifier
	sign   x509.KeyUsage
	curve  elliptic.Curve // nil: P-256
}

var (
	trusted  = standing{name: "trusted", known: true, from: labTime.AddDate(-1, 0, 0), to: labTime.AddDate(5, 0, 0), sign: x509.KeyUsageDigitalSignature}
	unknown  = standing{name: "unknown", from: trusted.from, to: trusted.to, sign: trusted.sign}
	expired  = standing{name: "expired", known: true, from: labTime.AddDate(-1, 0, 0), to: labTime.Add(time.Minute), sign: trusted.sign}
	encrypts = standing{name: "encrypts", known: true, from: trusted.from, to: trusted.to, sign: x509.KeyUsageKeyAgreement}
	serves   = standing{name: "serves", known: true, from: trusted.from, to: trusted.to, sign: trusted.sign, usages: []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}}}
	weak     = standing{name: "weak", known: true, from: trusted.from, to: trusted.to, sign: trusted.sign, curve: elliptic.P224()}
)

// person is somebody of an organisation, made when first asked for.
func (b *Bench) person(organization string, st standing) (*signer, error) {
	key := organization + "/" + st.name
	if s := b.people[key]; s != nil {
		return s, nil
	}
	s := &signer{known: st.known}
	var err error
	if s.ca, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if st.curve == nil {
		st.curve = elliptic.P256()
	}
	if s.key, err = ecdsa.GenerateKey(st.curve, rand.Reader); err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: "Test Root " + st.name}, NotBefore: labTime.AddDate(-2, 0, 0), NotAfter: labTime.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if s.root, err = certificate(root, root, &s.ca.PublicKey, s.ca); err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Organization: []string{organization}, CommonName: "Test Signer"}, NotBefore: st.from, NotAfter: st.to,
		KeyUsage: st.sign, UnknownExtKeyUsage: st.usages, BasicConstraintsValid: true,
	}
	c, err := certificate(leaf, s.root, &s.key.PublicKey, s.ca)
	if err != nil {
		return nil, err
	}
	s.chain = []*x509.Certificate{c}
	b.people[key] = s
	return s, nil
}

func certificate(t, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// trustRules are what a vector adds to the roots.
type trustRules struct {
	Threshold int              `json:"threshold"`
	Grants    []map[string]any `json:"grants"`
	revoked   *signer
}

// trust is the roots of all whom the verifier knows, under rules.
func (b *Bench) trust(rules *trustRules) (*manifest.Trust, error) {
	files, err := b.trustFiles(rules)
	if err != nil {
		return nil, err
	}
	t := &manifest.Trust{}
	return t, t.Import(files)
}

// trustFiles are the files that say so.
func (b *Bench) trustFiles(rules *trustRules) (map[string][]byte, error) {
	files := map[string][]byte{}
	if rules == nil {
		rules = &trustRules{}
	}
	if rules.Grants == nil {
		rules.Grants = []map[string]any{}
	}
	if _, err := b.person("X-Ray House", trusted); err != nil {
		return nil, err
	}
	house := map[string]any{"signer": map[string]any{"organization": "X-Ray House"}, "manufacturers": []string{"*"}, "classes": []string{"inspection"}}
	all := *rules
	all.Grants = append(slices.Clone(rules.Grants), house)
	var err error
	if files["trust.json"], err = json.Marshal(all); err != nil {
		return nil, err
	}
	for i, name := range slices.Sorted(maps.Keys(b.people)) {
		if p := b.people[name]; p.known {
			files[fmt.Sprintf("root-%04d.der", i)] = p.root.Raw
		}
	}
	if r := rules.revoked; r != nil {
		list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: labTime, NextUpdate: labTime.AddDate(0, 1, 0),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: r.chain[0].SerialNumber, RevocationTime: labTime.AddDate(0, 0, -1), ReasonCode: 1}},
		}, r.root, r.ca)
		if err != nil {
			return nil, err
		}
		files["list-0000.crl"] = list
	}
	return files, nil
}

// signing is how the manifest is signed, where it is not as it should be.
type signing struct {
	organization string // empty: the platform's manufacturer
	standing     *standing
	unsigned     bool
	payloadType  string
	keyID        string
	again        []cosigner
	twice        bool // the same key signs once more, under another key id
	envelope     []func([]byte) ([]byte, error)
}

type cosigner struct {
	organization string
	standing     standing
}

const goldenType = "application/vnd.in-toto+json"

// signed is the manifest of the scene as its signers leave it.
func (s *scene) signed() ([]byte, error) {
	raw, err := manifest.Encode(s.draft)
	if err != nil {
		return nil, err
	}
	for _, edit := range s.payload {
		if raw, err = edit(raw); err != nil {
			return nil, err
		}
	}
	if s.sign.unsigned {
		return raw, nil
	}
	by := []cosigner{{s.sign.organization, trusted}}
	if by[0].organization == "" {
		by[0].organization = s.draft.Environment.Manufacturer
	}
	if s.sign.standing != nil {
		by[0].standing = *s.sign.standing
	}
	out, err := s.bench.envelope(raw, s.sign, append(by, s.sign.again...))
	if err != nil {
		return nil, err
	}
	for _, edit := range s.sign.envelope {
		if out, err = edit(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// envelope signs bytes as they are, which package manifest would not do with
// bytes that are no manifest (DSSE 1.0.2).
func (b *Bench) envelope(payload []byte, how signing, by []cosigner) ([]byte, error) {
	kind := how.payloadType
	if kind == "" {
		kind = goldenType
	}
	msg := fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(kind), kind, len(payload))
	sum := sha256.Sum256(append(msg, payload...))
	type signature struct {
		KeyID string   `json:"keyid,omitempty"`
		Sig   string   `json:"sig"`
		X5C   []string `json:"x5c,omitempty"`
	}
	var sigs []signature
	for i, c := range by {
		p, err := b.person(c.organization, c.standing)
		if err != nil {
			return nil, err
		}
		times := 1
		if i == 0 && how.twice {
			times = 2
		}
		for n := range times {
			sig, err := p.key.Sign(rand.Reader, sum[:], crypto.SHA256)
			if err != nil {
				return nil, err
			}
			x := signature{KeyID: how.keyID + strings.Repeat("+", n), Sig: base64.StdEncoding.EncodeToString(sig)}
			for _, cert := range p.chain {
				x.X5C = append(x.X5C, base64.StdEncoding.EncodeToString(cert.Raw))
			}
			sigs = append(sigs, x)
		}
	}
	return json.Marshal(map[string]any{"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(payload), "signatures": sigs})
}
