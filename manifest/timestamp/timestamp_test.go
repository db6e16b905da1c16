package timestamp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	digitorus "github.com/digitorus/timestamp"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// The times of a manifest that is verified long after it was signed.
var (
	signedAt = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	expired  = signedAt.AddDate(1, 0, 0)  // the signer's certificate
	later    = signedAt.AddDate(3, 0, 0)  // when it is verified
	ages     = signedAt.AddDate(10, 0, 0) // when authorities end
)

type holder struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func certify(t testing.TB, name string, by *holder, edit func(*x509.Certificate)) *holder {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Example Systems"}}, NotBefore: signedAt.AddDate(-1, 0, 0), NotAfter: ages,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if by == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		c.SubjectKeyId = []byte(name)
	}
	if edit != nil {
		edit(c)
	}
	h := &holder{key: k}
	parent, signer := c, k
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &k.PublicKey, signer)
	require.NoError(t, err)
	h.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return h
}

// stamping makes a certificate one of an authority for time stamps. The purpose
// has to be critical, which crypto/x509 writes only when it is given whole.
func stamping(more ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		purpose(c, true, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8})
		for _, m := range more {
			m(c)
		}
	}
}

func older(c *x509.Certificate) { c.NotBefore = signedAt.AddDate(-3, 0, 0) }

func purpose(c *x509.Certificate, critical bool, oids ...asn1.ObjectIdentifier) {
	der, _ := asn1.Marshal(oids)
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: der}}
}

// token is one that an authority made at a time.
func token(t testing.TB, by *holder, signed []byte, at time.Time, edit ...func(*digitorus.Timestamp)) []byte {
	t.Helper()
	sum := sha256.Sum256(signed)
	s := digitorus.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at, Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true,
	}
	for _, e := range edit {
		e(&s)
	}
	response, err := s.CreateResponseWithOpts(by.cert, by.key, crypto.SHA256)
	require.NoError(t, err)
	var r struct{ Status, Token asn1.RawValue }
	_, err = asn1.Unmarshal(response, &r)
	require.NoError(t, err)
	return r.Token.FullBytes
}

func pemFile(t testing.TB, file string, certs ...*x509.Certificate) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range certs {
		require.NoError(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
}

func revoke(t testing.TB, file string, by *holder, c *x509.Certificate, at time.Time, reason int, more ...pkix.Extension) {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: at, NextUpdate: ages,
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: c.SerialNumber, RevocationTime: at, ReasonCode: reason, ExtraExtensions: more}},
	}, by.cert, by.key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, der, 0o600))
}

// world is a vendor that signed a manifest, and an authority that saw it.
type world struct {
	dir                   string
	root, signer, tsa, ca *holder
	raw, signature        []byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), root: certify(t, "vendor root", nil, nil), ca: certify(t, "time root", nil, older)}
	w.signer = certify(t, "signer", w.root, func(c *x509.Certificate) { c.NotAfter = expired })
	w.tsa = certify(t, "clock", w.ca, stamping(older))
	pemFile(t, filepath.Join(w.dir, "root.pem"), w.root.cert)
	pemFile(t, filepath.Join(w.dir, "tsa", "root.pem"), w.ca.cert)
	draft, err := manifest.Encode(&manifest.Manifest{ID: "example/r1", Version: 1, IssuedAt: signedAt, NotAfter: ages, Environment: manifest.Environment{Manufacturer: "Example Systems", Model: "R1"}})
	require.NoError(t, err)
	w.raw, err = manifest.Sign(draft, w.signer.key, []*x509.Certificate{w.signer.cert})
	require.NoError(t, err)
	var e manifest.Envelope
	require.NoError(t, e.Read(w.raw))
	w.signature, _, _, err = e.Signature(0)
	require.NoError(t, err)
	return w
}

func stamped(t testing.TB, raw, token []byte) []byte {
	t.Helper()
	var e manifest.Envelope
	require.NoError(t, e.Read(raw))
	out, err := e.Stamp(0, token)
	require.NoError(t, err)
	return out
}

func (w *world) open(t testing.TB, at time.Time, tokens ...[]byte) (*manifest.Trusted, manifest.Report) {
	t.Helper()
	trust, err := manifest.LoadTrust([]string{w.dir})
	require.NoError(t, err)
	trust.ReadTimeStamps(New(trust.TimeAuthorities()).Proven)
	raw := w.raw
	for _, k := range tokens {
		raw = stamped(t, raw, k)
	}
	return manifest.Open(raw, trust, at)
}

// A signature outlives its signer's certificate with a token that holds, and
// with nothing less.
func TestExpiredSigner(t *testing.T) {
	w := newWorld(t)
	trusted, _ := w.open(t, later)
	require.Nil(t, trusted, "without a token it stays expired")
	good := token(t, w.tsa, w.signature, signedAt)
	trusted, rep := w.open(t, later, good)
	require.NotNil(t, trusted, "%v", rep.Findings)
	told := only(t, rep, finding.ManifestTime)
	require.Equal(t, finding.Info, told.Severity)
	require.Contains(t, told.Why, "clock")
	require.NotEmpty(t, rep.NotChecked, "lists forget certificates that expired")

	stranger := certify(t, "stranger", nil, nil)
	foreign := certify(t, "foreign clock", stranger, stamping())
	for name, tt := range map[string]struct {
		token []byte
		want  string
	}{
		"other bytes":             {token(t, w.tsa, []byte("another signature"), signedAt), "over other bytes"},
		"untrusted authority":     {token(t, foreign, w.signature, signedAt), "unknown authority"},
		"no purpose":              {token(t, certify(t, "tls", w.ca, nil), w.signature, signedAt), "critical"},
		"purpose of TLS":          {token(t, certify(t, "tls", w.ca, func(c *x509.Certificate) { purpose(c, true, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}) }), w.signature, signedAt), "incompatible key usage"},
		"purpose is not critical": {token(t, certify(t, "lax", w.ca, func(c *x509.Certificate) { purpose(c, false, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}) }), w.signature, signedAt), "critical"},
		"two purposes": {token(t, certify(t, "two", w.ca, func(c *x509.Certificate) {
			purpose(c, true, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3})
		}), w.signature, signedAt), "only one"},
		"authority expired then":        {token(t, certify(t, "old", w.ca, stamping(func(c *x509.Certificate) { c.NotAfter = signedAt.AddDate(0, -1, 0) })), w.signature, signedAt), "outside of certificate validity"},
		"authority expired since":       {token(t, certify(t, "old", w.ca, stamping(func(c *x509.Certificate) { c.NotAfter = later.AddDate(0, -1, 0) })), w.signature, signedAt), "expired"},
		"authority not yet valid":       {token(t, certify(t, "new", w.ca, stamping(func(c *x509.Certificate) { c.NotBefore = signedAt.AddDate(0, 1, 0) })), w.signature, signedAt), "not yet valid"},
		"before the certificate":        {token(t, w.tsa, w.signature, w.signer.cert.NotBefore.Add(-time.Hour)), "not valid before"},
		"after the certificate":         {token(t, w.tsa, w.signature, expired.Add(time.Hour)), "expired"},
		"in the future":                 {token(t, w.tsa, w.signature, later.Add(time.Hour)), "future"},
		"a clock that is vague":         {token(t, w.tsa, w.signature, signedAt, func(s *digitorus.Timestamp) { s.Accuracy = 2 * time.Hour }), "right to"},
		"just too late for its clock":   {token(t, w.tsa, w.signature, expired.Add(-time.Second), func(s *digitorus.Timestamp) { s.Accuracy = time.Minute }), "expired"},
		"without its certificate":       {token(t, w.tsa, w.signature, signedAt, func(s *digitorus.Timestamp) { s.AddTSACertificate = false }), "certificate"},
		"a certificate of an authority": {token(t, w.ca, w.signature, signedAt), ""},
		"no token":                      {[]byte("nonsense"), "asn1"},
		"cut":                           {good[:len(good)-1], "asn1"},
		"one bit":                       {flip(good), ""},
	} {
		t.Run(name, func(t *testing.T) {
			trusted, rep := w.open(t, later, tt.token)
			require.Nil(t, trusted)
			require.Contains(t, codes(rep), finding.ManifestTime)
			require.Contains(t, only(t, rep, finding.ManifestBadSignature).Why, tt.want)
			// While the certificate is valid, it is told and does no harm.
			trusted, rep = w.open(t, signedAt.AddDate(0, 1, 0), tt.token)
			require.NotNil(t, trusted)
			for _, f := range rep.Findings {
				require.LessOrEqual(t, f.Severity, finding.Low, f.Why)
			}
			// And it does not stand in the way of a good one.
			trusted, _ = w.open(t, later, tt.token, good)
			require.NotNil(t, trusted)
		})
	}
}

func flip(b []byte) []byte {
	c := bytes.Clone(b)
	c[len(c)-3] ^= 1 // in the signature
	return c
}

func codes(r manifest.Report) []finding.Code {
	var out []finding.Code
	for _, f := range r.Findings {
		out = append(out, f.Code)
	}
	return out
}

func only(t testing.TB, r manifest.Report, c finding.Code) finding.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Code == c {
			return f
		}
	}
	t.Fatalf("no %s in %v", c, r.Findings)
	return finding.Finding{}
}

// A token does not keep a manifest alive that its own signer let end.
func TestManifestStillExpires(t *testing.T) {
	w := newWorld(t)
	trusted, rep := w.open(t, ages.Add(time.Hour), token(t, w.tsa, w.signature, signedAt))
	require.Nil(t, trusted)
	require.Contains(t, codes(rep), finding.ManifestTime)
}

func TestNobodyToBelieve(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "tsa")))
	good := token(t, w.tsa, w.signature, signedAt)
	trusted, rep := w.open(t, later, good)
	require.Nil(t, trusted)
	require.Contains(t, rep.NotChecked[0].Reason, "tsa")
	trust, err := manifest.LoadTrust([]string{w.dir})
	require.NoError(t, err)
	raw := stamped(t, w.raw, good)
	trusted, rep = manifest.Open(raw, trust, signedAt.AddDate(0, 1, 0))
	require.NotNil(t, trusted, "a program that reads no tokens reads the manifest")
	require.Contains(t, rep.NotChecked[0].Reason, "cannot read")
}

func TestRevokedSigner(t *testing.T) {
	revokedAt := signedAt.AddDate(0, 6, 0)
	doubt := func(at time.Time) pkix.Extension {
		der, err := asn1.MarshalWithParams(at, "generalized")
		require.NoError(t, err)
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: der}
	}
	for name, tt := range map[string]struct {
		reason int
		seen   time.Time
		more   []pkix.Extension
		ok     bool
	}{
		"superseded later":          {4, signedAt, nil, true},
		"out of business later":     {5, signedAt, nil, true},
		"in doubt since later":      {4, signedAt, []pkix.Extension{doubt(signedAt.Add(time.Hour))}, true},
		"in doubt since before":     {4, signedAt, []pkix.Extension{doubt(signedAt.Add(-time.Hour))}, false},
		"key stolen":                {1, signedAt, nil, false},
		"authority stolen":          {2, signedAt, nil, false},
		"no reason":                 {0, signedAt, nil, false},
		"on hold":                   {6, signedAt, nil, false},
		"seen after the revocation": {4, revokedAt.Add(time.Hour), nil, false},
		"seen at the revocation":    {4, revokedAt, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			revoke(t, filepath.Join(w.dir, "list.crl"), w.root, w.signer.cert, revokedAt, tt.reason, tt.more...)
			now := revokedAt.AddDate(0, 1, 0)
			trusted, rep := w.open(t, now)
			require.Nil(t, trusted, "without a token it stays revoked")
			require.Contains(t, codes(rep), finding.ManifestRevoked)
			trusted, rep = w.open(t, now, token(t, w.tsa, w.signature, tt.seen))
			require.Equal(t, tt.ok, trusted != nil, "%v", rep.Findings)
			require.Contains(t, codes(rep), finding.ManifestRevoked, "it is told either way")
		})
	}
}

// Whoever has the key of an authority can date tokens back: it is not believed
// for anything.
func TestRevokedAuthority(t *testing.T) {
	w := newWorld(t)
	revoke(t, filepath.Join(w.dir, "tsa", "list.crl"), w.ca, w.tsa.cert, later.AddDate(0, -1, 0), 4)
	trusted, rep := w.open(t, later, token(t, w.tsa, w.signature, signedAt))
	require.Nil(t, trusted)
	require.Contains(t, only(t, rep, finding.ManifestBadSignature).Why, "revoked")
}

// Roots of authorities sign no manifests, and roots of manifests no time.
func TestRootsAreApart(t *testing.T) {
	w := newWorld(t)
	clock := certify(t, "clock of the vendor", w.root, stamping())
	trusted, _ := w.open(t, later, token(t, clock, w.signature, signedAt))
	require.Nil(t, trusted)
	_, err := manifest.LoadTrust([]string{filepath.Join(w.dir, "tsa")})
	require.ErrorContains(t, err, "name the directory above")
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "tsa", "trust.yaml"), []byte("threshold: 2\n"), 0o600))
	_, err = manifest.LoadTrust([]string{w.dir})
	require.ErrorContains(t, err, "only certificates")
}

// What another program makes of our query is taken, and fits no other query.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl (tools/setup.sh installs it)")
	}
	w := newWorld(t)
	dir := t.TempDir()
	now := time.Now()
	ca := certify(t, "time root", nil, func(c *x509.Certificate) { c.NotAfter = now.AddDate(1, 0, 0) })
	tsa := certify(t, "openssl clock", ca, stamping(func(c *x509.Certificate) { c.NotAfter = now.AddDate(1, 0, 0) }))
	pemFile(t, filepath.Join(dir, "tsa.pem"), tsa.cert)
	der, err := x509.MarshalPKCS8PrivateKey(tsa.key)
	require.NoError(t, err)
	key := filepath.Join(dir, "tsa.key")
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	conf := filepath.Join(dir, "ts.conf")
	require.NoError(t, os.WriteFile(conf, []byte("[tsa]\ndefault_tsa = t\n[t]\nserial = "+filepath.Join(dir, "serial")+"\ncrypto_device = builtin\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\ndigests = sha256\naccuracy = secs:1\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n"), 0o600))

	query, err := Request(w.signature)
	require.NoError(t, err)
	other, err := Request(w.signature)
	require.NoError(t, err)
	require.NotEqual(t, query, other, "nonces differ")
	q, r := filepath.Join(dir, "q.tsq"), filepath.Join(dir, "r.tsr")
	require.NoError(t, os.WriteFile(q, query, 0o600))
	out, err := exec.Command("openssl", "ts", "-reply", "-config", conf, "-queryfile", q, "-signer", filepath.Join(dir, "tsa.pem"), "-inkey", key, "-out", r).CombinedOutput()
	require.NoError(t, err, "%s", out)
	response, err := os.ReadFile(r)
	require.NoError(t, err)
	k, err := Token(response, query)
	require.NoError(t, err)
	_, err = Token(response, other)
	require.ErrorContains(t, err, "nonce")
	at, by, err := New([]*x509.Certificate{ca.cert}, nil).Proven(k, w.signature, now.Add(time.Minute))
	require.NoError(t, err)
	require.WithinDuration(t, now, at, time.Hour)
	require.Contains(t, by, "openssl clock")
	_, _, err = New([]*x509.Certificate{w.ca.cert}, nil).Proven(k, w.signature, now.Add(time.Minute))
	require.ErrorContains(t, err, "unknown authority")
	_, _, err = Check(k, w.signature)
	require.NoError(t, err, "whole, whoever made it")
	_, _, err = Check(k, []byte("x"))
	require.ErrorContains(t, err, "other bytes")
	// A refusal is no token.
	bad, err := Request(w.signature)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(q, bad[:len(bad)-4], 0o600))
	_ = exec.Command("openssl", "ts", "-reply", "-config", conf, "-queryfile", q, "-signer", filepath.Join(dir, "tsa.pem"), "-inkey", key, "-out", r).Run()
	if refusal, err := os.ReadFile(r); err == nil && !bytes.Equal(refusal, response) {
		_, err = Token(refusal, nil)
		require.Error(t, err)
	}
}

func TestHostileShapes(t *testing.T) {
	deep := []byte{5, 0}
	for range 200 {
		deep, _ = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: deep})
	}
	for name, b := range map[string][]byte{
		"empty": nil, "deep": deep, "indefinite": append(bytes.Repeat([]byte{0x30, 0x80}, 30_000), 0), "long": make([]byte, maxToken+1), "trailing": {5, 0, 0},
	} {
		_, err := read(b)
		require.Error(t, err, name)
		_, err = Token(b, nil)
		require.Error(t, err, name)
	}
}

func FuzzToken(f *testing.F) {
	w := newWorld(f)
	good := token(f, w.tsa, w.signature, signedAt)
	f.Add(good)
	query, err := Request(w.signature)
	require.NoError(f, err)
	f.Add(query)
	v := New([]*x509.Certificate{w.ca.cert}, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, _, err := v.Proven(b, w.signature, later); err == nil {
			require.Equal(t, signedAt, at.UTC(), "a time that nobody stamped")
		}
		_, _ = Token(b, query)
		_, _ = Token(good, b)
	})
}
