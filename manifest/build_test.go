package manifest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// Keys and certificates are made by the tests; nothing here is worth keeping.

var (
	issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now    = issued.Add(24 * time.Hour)
)

const maker = "Example Systems, Inc."

type holder struct {
	key   crypto.Signer
	cert  *x509.Certificate
	chain []*x509.Certificate // leaf first, without the root
	root  *x509.Certificate
}

type certOption func(*x509.Certificate)

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

// certify makes a certificate; a nil parent signs itself.
func certify(t testing.TB, pub crypto.Signer, parent *holder, opts ...certOption) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{maker}, CommonName: "signer"},
		NotBefore: issued.AddDate(0, -1, 0), NotAfter: issued.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, o := range opts {
		o(tmpl)
	}
	signer, issuer := pub, tmpl
	if parent != nil {
		signer, issuer = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, pub.Public(), signer)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

func authority(name string) certOption {
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.IsCA, c.BasicConstraintsValid = true, true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		c.NotBefore, c.NotAfter = issued.AddDate(-10, 0, 0), issued.AddDate(10, 0, 0)
		c.SubjectKeyId = []byte(name)
	}
}

func by(org string) certOption {
	return func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{org}, CommonName: "signer"} }
}

func newRoot(t testing.TB, name string) *holder {
	t.Helper()
	k := ecKey(t)
	h := &holder{key: k}
	h.cert = certify(t, k, nil, authority(name))
	h.root = h.cert
	return h
}

// issue makes a signer under a root.
func (h *holder) issue(t testing.TB, opts ...certOption) *holder {
	t.Helper()
	return h.issueKey(t, ecKey(t), opts...)
}

func (h *holder) issueKey(t testing.TB, k crypto.Signer, opts ...certOption) *holder {
	t.Helper()
	c := certify(t, k, h, opts...)
	return &holder{key: k, cert: c, root: h.root, chain: append([]*x509.Certificate{c}, h.chain...)}
}

// below makes an issuing authority under another.
func (h *holder) below(t testing.TB, name string) *holder {
	t.Helper()
	return h.issueKey(t, ecKey(t), authority(name))
}

func (h *holder) trust() *Trust { return &Trust{roots: []*x509.Certificate{h.root}} }

var least = int64(7)

// sample is a small manifest that says something of every kind.
func sample() *Manifest {
	return &Manifest{
		ID: "example/r1", Version: 3, IssuedAt: issued, NotAfter: issued.AddDate(0, 6, 0),
		Environment: Environment{Manufacturer: "Example Systems", Model: "R1", Revision: "A"},
		Components: []bom.Reference{
			{ID: "dimm-a1", Class: bom.Memory, Identity: bom.Identity{Maker: "Samsung", PartNumber: "M393A2K40BB1-CRC"}, Location: finding.Location{Slot: "A1"}},
			{ID: "nic", Class: bom.PCI, Identity: bom.Identity{Model: "8086:10d3"}, Quantity: 2, Level: "model"},
			{ID: "tpm", Class: bom.TPM, Identity: bom.Identity{Maker: "Infineon"}, Security: true},
		},
		Boot: []attest.Reference{
			{PCR: 0, Digests: map[string][]string{"sha256": {strings.Repeat("ab", 32)}}},
			{PCR: 4, Events: []attest.EventReference{{Type: "EV_EFI_BOOT_SERVICES_APPLICATION", Digests: map[string][]string{"sha256": {strings.Repeat("cd", 32)}}}}},
		},
		Firmware: []firmware.Reference{{
			Name: "bios", Version: "1.2", Size: 16, SHA256: strings.Repeat("01", 32),
			Leaves: []firmware.Leaf{{Path: "image", Kind: firmware.Unknown, Length: 16, SHA256: strings.Repeat("02", 32)}},
		}},
		SPDM: []spdm.Reference{{
			ID: "gpu", Device: "spdm:gpu0", Class: "pci", Roots: []string{strings.Repeat("04", 32)}, Keys: []string{strings.Repeat("05", 32)},
			Measurements: []spdm.Expected{
				{Index: 1, Type: "mutable-firmware", Digests: map[string][]string{"sha384": {strings.Repeat("06", 48)}}},
				{Index: 5, Type: "svn", Minimum: &least},
				{Index: 9, Any: true},
			},
		}},
		Endorsements: []attest.Endorsement{{Kind: "ek", SHA256: strings.Repeat("03", 32)}},
		Classes:      map[bom.Class]bom.Closure{bom.Memory: bom.Closed, bom.PCI: bom.Closed, bom.Storage: bom.NoneThere, bom.USB: bom.Open},
		Known:        []Known{{Code: finding.SourcesContradict, Subject: "dimm:A1", Want: "16384", Got: "16000", Why: "lab quirk"}},
		Supersedes:   []string{"example/r0"},
	}
}

func encode(t require.TestingT, m *Manifest) []byte {
	b, err := Encode(m)
	require.NoError(t, err)
	return b
}

// signed returns an envelope with one signature per holder.
func signed(t require.TestingT, m *Manifest, hs ...*holder) []byte {
	b := encode(t, m)
	for _, h := range hs {
		var err error
		b, err = Sign(b, h.key, h.chain)
		require.NoError(t, err)
	}
	return b
}

// seal signs any payload, also one that Sign would not.
func seal(t require.TestingT, typ string, payload []byte, hs ...*holder) []byte {
	env := &envelope{PayloadType: typ, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []signature{}}
	for _, h := range hs {
		sig, err := makeSignature(h.key, preAuthEncoding(typ, payload))
		require.NoError(t, err)
		s := signature{Sig: base64.StdEncoding.EncodeToString(sig)}
		for _, c := range h.chain {
			s.X5C = append(s.X5C, base64.StdEncoding.EncodeToString(c.Raw))
		}
		env.Signatures = append(env.Signatures, s)
	}
	b, err := env.encode()
	require.NoError(t, err)
	return b
}

// opened is Open where trust is expected.
func opened(t require.TestingT, raw []byte, trust *Trust) *Trusted {
	tr, r := Open(raw, trust, now)
	require.NotNil(t, tr, "%v", r.Findings)
	return tr
}

// codes lists the codes of findings in order, without repeats.
func codes(fs []finding.Finding) []finding.Code {
	var out []finding.Code
	for _, f := range fs {
		if len(out) == 0 || out[len(out)-1] != f.Code {
			out = append(out, f.Code)
		}
	}
	return out
}

func edit(t require.TestingT, raw []byte, change func(map[string]any)) []byte {
	var m map[string]any
	require.NoError(t, json.Unmarshal(raw, &m))
	change(m)
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return b
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return name
}

func newRSA(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return k
}

func newEd25519(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}
