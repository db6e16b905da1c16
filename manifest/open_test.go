package manifest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

func TestSignedManifestIsTrusted(t *testing.T) {
	root := newRoot(t, "root")
	h := root.below(t, "issuing").issue(t)
	raw := signed(t, sample(), h)
	tr, r := Open(raw, root.trust(), now)
	require.NotNil(t, tr, "%v", r.Findings)
	require.Empty(t, r.Findings)
	require.Equal(t, StatusTrusted, r.Status)
	require.Equal(t, []string{maker + " (signer)"}, r.Signers)
	require.Equal(t, "example/r1", r.ID)
	require.Equal(t, int64(3), r.Version)
	require.Equal(t, hexSum(raw), r.SHA256)
	require.Equal(t, encode(t, sample()), encode(t, tr.Manifest()))

	tr.Manifest().Components[0].ID = "changed"
	require.Equal(t, "dimm-a1", tr.Manifest().Components[0].ID, "what is trusted cannot be changed through a copy")
}

func TestUnsignedManifest(t *testing.T) { // F01
	trust := newRoot(t, "root").trust()
	for name, raw := range map[string][]byte{
		"bare draft":       encode(t, sample()),
		"empty signatures": seal(t, payloadType, encode(t, sample())),
	} {
		tr, r := Open(raw, trust, now)
		require.Nil(t, tr, name)
		require.Equal(t, []finding.Code{finding.ManifestUnsigned}, codes(r.Findings), name)
		require.Equal(t, StatusUntrusted, r.Status)
	}
	for _, junk := range []string{"", "{", "PK\x03\x04", `{"a":1}`, "[]"} {
		tr, r := Open([]byte(junk), trust, now)
		require.Nil(t, tr)
		require.Equal(t, StatusUnreadable, r.Status, "%q", junk)
		require.NotEmpty(t, r.Findings)
	}
}

func TestChangedBytes(t *testing.T) { // F02, F09
	root := newRoot(t, "root")
	raw := signed(t, sample(), root.issue(t))
	changed := bytes.Replace(encode(t, sample()), []byte("8086:10d3"), []byte("8086:10d4"), 1)
	bad := edit(t, raw, func(m map[string]any) { m["payload"] = base64.StdEncoding.EncodeToString(changed) })
	tr, r := Open(bad, root.trust(), now)
	require.Nil(t, tr)
	require.Equal(t, []finding.Code{finding.ManifestBadSignature}, codes(r.Findings))
	require.Empty(t, r.ID, "nothing of an unsigned payload is repeated")
}

func TestUnknownSigner(t *testing.T) { // F03, F13
	root, other := newRoot(t, "root"), newRoot(t, "root")
	known, stranger := root.issue(t), other.issue(t)
	raw := signed(t, sample(), stranger)
	raw = edit(t, raw, func(m map[string]any) {
		m["signatures"].([]any)[0].(map[string]any)["keyid"] = hexSum(known.cert.RawSubjectPublicKeyInfo)
	})
	for _, trust := range []*Trust{root.trust(), nil, {}} {
		tr, r := Open(raw, trust, now)
		require.Nil(t, tr)
		require.Equal(t, []finding.Code{finding.ManifestUntrustedSigner}, codes(r.Findings), "a key id is a hint and names nobody")
	}
	// The trusted signer's certificate beside the stranger's signature.
	raw = edit(t, raw, func(m map[string]any) {
		m["signatures"].([]any)[0].(map[string]any)["x5c"] = []string{base64.StdEncoding.EncodeToString(known.cert.Raw)}
	})
	_, r := Open(raw, root.trust(), now)
	require.Equal(t, []finding.Code{finding.ManifestBadSignature}, codes(r.Findings))
	raw = edit(t, raw, func(m map[string]any) { delete(m["signatures"].([]any)[0].(map[string]any), "x5c") })
	_, r = Open(raw, root.trust(), now)
	require.Equal(t, []finding.Code{finding.ManifestUntrustedSigner}, codes(r.Findings))
}

func TestRightVendorWrongPurpose(t *testing.T) { // F04, F23
	root := newRoot(t, "root")
	tests := map[string]struct {
		opt certOption
		ok  bool
	}{
		"no stated purpose": {func(c *x509.Certificate) {}, true},
		"code signing":      {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }, true},
		"TLS server":        {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, false},
		"TLS client and mail": {func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection}
		}, false},
		"key encipherment":         {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, false},
		"another organisation":     {by("Other Systems Inc."), false},
		"no organisation":          {func(c *x509.Certificate) { c.Subject.Organization = nil }, false},
		"organisation by case":     {by("EXAMPLE SYSTEMS GmbH"), true},
		"organisation that begins": {by("Example Systems Services"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr, r := Open(seal(t, payloadType, encode(t, sample()), root.issue(t, tt.opt)), root.trust(), now)
			require.Equal(t, tt.ok, tr != nil, "%v", r.Findings)
			if !tt.ok {
				require.Equal(t, []finding.Code{finding.ManifestUntrustedSigner}, codes(r.Findings))
			}
		})
	}
}

// A signer is no authority: it cannot make another one.
func TestLeafCannotIssue(t *testing.T) {
	root := newRoot(t, "root")
	tr, r := Open(signed(t, sample(), root.issue(t).issue(t)), root.trust(), now)
	require.Nil(t, tr)
	require.Equal(t, []finding.Code{finding.ManifestUntrustedSigner}, codes(r.Findings))
}

func TestTimes(t *testing.T) { // F05
	root := newRoot(t, "root")
	h := root.issue(t)
	short := root.issue(t, func(c *x509.Certificate) { c.NotAfter = issued.Add(time.Hour) })
	late := root.issue(t, func(c *x509.Certificate) { c.NotBefore = issued.Add(time.Hour) })
	gone := root.issue(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = issued.AddDate(-2, 0, 0), issued.AddDate(-1, 0, 0)
	})
	expired, future := sample(), sample()
	expired.NotAfter = now.Add(-time.Second)
	future.IssuedAt = now.Add(time.Hour)
	ahead := sample()
	ahead.IssuedAt = now.Add(time.Minute)
	tests := map[string]struct {
		m     *Manifest
		h     *holder
		want  []string // words of each finding
		trust bool
	}{
		"in time":                         {sample(), h, nil, true},
		"manifest expired":                {expired, h, []string{"the manifest itself has expired"}, false},
		"manifest from the future":        {future, h, []string{"dated in the future"}, false},
		"signer's clock a little ahead":   {ahead, h, nil, true},
		"certificate expired since":       {sample(), short, []string{"at the time of checking"}, false},
		"certificate made after the fact": {sample(), late, []string{"when the manifest was issued"}, false},
		"certificate expired long before": {sample(), gone, []string{"at the time of checking", "when the manifest was issued"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr, r := Open(seal(t, payloadType, encode(t, tt.m), tt.h), root.trust(), now)
			require.Equal(t, tt.trust, tr != nil, "%v", r.Findings)
			require.Len(t, r.Findings, len(tt.want))
			var all string
			for _, f := range r.Findings {
				require.Equal(t, finding.ManifestTime, f.Code)
				all += f.Why + "\n"
			}
			for _, w := range tt.want {
				require.Contains(t, all, w)
			}
		})
	}
}

func TestRevokedSigner(t *testing.T) { // F06
	root := newRoot(t, "root")
	h := root.issue(t)
	list := func(signer *holder, entries ...*big.Int) []byte {
		tmpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: issued, NextUpdate: now.AddDate(0, 1, 0)}
		for _, n := range entries {
			tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: now})
		}
		der, err := x509.CreateRevocationList(rand.Reader, tmpl, signer.cert, signer.key)
		require.NoError(t, err)
		return der
	}
	raw := signed(t, sample(), h)
	load := func(crl []byte) *Trust {
		dir := t.TempDir()
		write(t, dir+"/root.pem", pemOf("CERTIFICATE", root.cert.Raw))
		write(t, dir+"/root.crl", crl)
		trust, err := LoadTrust([]string{dir + "/root.pem"})
		require.NoError(t, err)
		return trust
	}
	for name, crl := range map[string][]byte{"DER": list(root, h.cert.SerialNumber), "PEM": pemOf("X509 CRL", list(root, h.cert.SerialNumber))} {
		tr, r := Open(raw, load(crl), now)
		require.Nil(t, tr, name)
		require.Equal(t, []finding.Code{finding.ManifestRevoked}, codes(r.Findings), "an old date does not bring a revoked key back")
	}
	_, r := Open(raw, load(list(root, big.NewInt(1))), now)
	require.Empty(t, r.Findings)
	// A list by somebody else of the same name revokes nobody, and that is said.
	tr, r := Open(raw, load(list(newRoot(t, "root"), h.cert.SerialNumber)), now)
	require.NotNil(t, tr)
	require.Len(t, r.NotChecked, 1)
	// An outdated list is said to be outdated.
	_, r = Open(raw, load(list(root)), now.AddDate(0, 3, 0))
	require.Len(t, r.NotChecked, 1)
	require.Contains(t, r.NotChecked[0].Reason, "out of date")
}

func TestWrongSubject(t *testing.T) { // F10 on the manifest's side
	root := newRoot(t, "root")
	h := root.issue(t)
	for name, change := range map[string]func(map[string]any){
		"other name": func(m map[string]any) { m["subject"].([]any)[0].(map[string]any)["name"] = "Example Systems/R2" },
		"other digest": func(m map[string]any) {
			m["subject"].([]any)[0].(map[string]any)["digest"] = map[string]any{"sha256": strings.Repeat("0", 64)}
		},
		"weaker digest": func(m map[string]any) {
			m["subject"].([]any)[0].(map[string]any)["digest"] = map[string]any{"sha1": "00"}
		},
		"two subjects": func(m map[string]any) { m["subject"] = append(m["subject"].([]any), m["subject"].([]any)[0]) },
		"none":         func(m map[string]any) { m["subject"] = []any{} },
	} {
		t.Run(name, func(t *testing.T) {
			tr, r := Open(seal(t, payloadType, edit(t, encode(t, sample()), change), h), root.trust(), now)
			require.Nil(t, tr)
			require.Equal(t, []finding.Code{finding.ManifestWrongSubject}, codes(r.Findings))
		})
	}
}

// The subject's digest is over four fields, whatever else the environment has.
func TestSubjectDigest(t *testing.T) {
	e := Environment{Manufacturer: "Example Systems", Model: "R1", Revision: "A"}
	name, digest, err := e.Subject()
	require.NoError(t, err)
	require.Equal(t, "Example Systems/R1", name)
	require.Equal(t, hexSum([]byte(`{"manufacturer":"Example Systems","model":"R1","revision":"A"}`)), digest)
	e.Virtual = "KVM"
	_, same, err := e.Subject()
	require.NoError(t, err)
	require.Equal(t, digest, same)
	e.Serial = "S1"
	name, digest, err = e.Subject()
	require.NoError(t, err)
	require.Equal(t, "Example Systems/R1/S1", name)
	require.Equal(t, hexSum([]byte(`{"manufacturer":"Example Systems","model":"R1","revision":"A","serial":"S1"}`)), digest)
}

func TestAlgorithms(t *testing.T) { // F11
	root := newRoot(t, "root")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for name, k := range map[string]crypto.Signer{"Ed25519": newEd25519(t), "P-384": p384, "RSA 2048": newRSA(t, 2048)} {
		tr, r := Open(signed(t, sample(), root.issueKey(t, k)), root.trust(), now)
		require.NotNil(t, tr, "%s: %v", name, r.Findings)
	}
	payload := encode(t, sample())
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	for name, k := range map[string]crypto.Signer{"P-224": p224, "P-521": p521, "RSA 1024": newRSA(t, 1024)} {
		h := &holder{key: k, chain: []*x509.Certificate{certify(t, k, root)}}
		env := seal(t, payloadType, payload, h)
		tr, r := Open(env, root.trust(), now)
		require.Nil(t, tr, name)
		require.Equal(t, []finding.Code{finding.ManifestAlgorithm}, codes(r.Findings), name)
		_, err := Sign(payload, k, h.chain)
		require.ErrorIs(t, err, errAlgorithm)
	}
	rsaKey := newRSA(t, 2048).(*rsa.PrivateKey)
	h := root.issueKey(t, rsaKey)
	d := sha256.Sum256(preAuthEncoding(payloadType, payload))
	old, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, d[:])
	require.NoError(t, err)
	raw := edit(t, seal(t, payloadType, payload, h), func(m map[string]any) {
		m["signatures"].([]any)[0].(map[string]any)["sig"] = base64.StdEncoding.EncodeToString(old)
	})
	_, r := Open(raw, root.trust(), now)
	require.Equal(t, []finding.Code{finding.ManifestAlgorithm}, codes(r.Findings), "the old padding is refused by name")
}

func TestChainIsBoundedBeforeItIsVerified(t *testing.T) {
	root := newRoot(t, "root")
	long := root
	for range maxChain {
		long = long.below(t, "below")
	}
	tr, r := Open(seal(t, payloadType, encode(t, sample()), long.issue(t)), root.trust(), now)
	require.Nil(t, tr)
	require.Equal(t, []finding.Code{finding.ManifestAlgorithm}, codes(r.Findings))

	huge := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 16383), E: 65537}
	require.ErrorIs(t, checkKey(huge), errAlgorithm)
	raw := edit(t, signed(t, sample(), root.issue(t)), func(m map[string]any) {
		s := m["signatures"].([]any)
		for range maxSignatures {
			s = append(s, s[0])
		}
		m["signatures"] = s
	})
	_, r = Open(raw, root.trust(), now)
	require.Equal(t, []finding.Code{finding.InputLimit}, codes(r.Findings))
	_, r = Open(make([]byte, maxBytes+1), root.trust(), now)
	require.Equal(t, []finding.Code{finding.InputLimit}, codes(r.Findings))
}

func TestCertificateSignedWithSHA1(t *testing.T) {
	c := &x509.Certificate{SignatureAlgorithm: x509.SHA1WithRSA}
	require.ErrorIs(t, checkCertificateSignature(c), errAlgorithm)
}

func TestAnotherDocumentIsNoManifest(t *testing.T) { // F12
	root := newRoot(t, "root")
	h := root.issue(t)
	report := edit(t, encode(t, sample()), func(m map[string]any) {
		m["predicateType"] = "https://slsa.dev/provenance/v1"
		m["predicate"] = map[string]any{"anything": 1}
	})
	old := edit(t, encode(t, sample()), func(m map[string]any) { m["_type"] = "https://in-toto.io/Statement/v0.1" })
	for name, raw := range map[string][]byte{
		"payload type":   seal(t, "application/json", encode(t, sample()), h),
		"predicate type": seal(t, payloadType, report, h),
		"statement type": seal(t, payloadType, old, h),
	} {
		tr, r := Open(raw, root.trust(), now)
		require.Nil(t, tr, name)
		require.Equal(t, []finding.Code{finding.ManifestType}, codes(r.Findings), name)
	}
	// The type is signed: the same bytes under the right type do not verify.
	raw := edit(t, seal(t, "application/json", encode(t, sample()), h), func(m map[string]any) { m["payloadType"] = payloadType })
	_, r := Open(raw, root.trust(), now)
	require.Equal(t, []finding.Code{finding.ManifestBadSignature}, codes(r.Findings))
}

func TestThreshold(t *testing.T) { // F14, F26
	root := newRoot(t, "root")
	a, b := root.issue(t), root.issue(t)
	sameKey := &holder{key: a.key, cert: certify(t, a.key, root), root: root.cert}
	sameKey.chain = []*x509.Certificate{sameKey.cert}
	trust := root.trust()
	trust.threshold = 2
	for name, tt := range map[string]struct {
		raw []byte
		ok  bool
	}{
		"two keys":                      {signed(t, sample(), a, b), true},
		"one key":                       {signed(t, sample(), a), false},
		"one signature twice":           {seal(t, payloadType, encode(t, sample()), a, a), false},
		"one key, two certificates":     {signed(t, sample(), a, sameKey), false},
		"a stranger's second signature": {signed(t, sample(), a, newRoot(t, "other").issue(t)), false},
	} {
		tr, r := Open(tt.raw, trust, now)
		require.Equal(t, tt.ok, tr != nil, name)
		if !tt.ok {
			require.Contains(t, codes(r.Findings), finding.ManifestThreshold, name)
		}
	}
}

// What a threshold counts: public keys, for each class.
func TestThresholdsOfClasses(t *testing.T) {
	root := newRoot(t, "root")
	a, b, c := root.issue(t), root.issue(t), root.issue(t)
	again := func(h *holder, opts ...certOption) *holder { return root.issueKey(t, h.key, opts...) }
	for name, tt := range map[string]struct {
		grants   []grant
		by       []*holder
		trusted  bool
		firmware bool // its lines count
	}{
		"2 of 3":                        {[]grant{{Threshold: 2}}, []*holder{a, c}, true, true},
		"3 of 3":                        {[]grant{{Threshold: 2}}, []*holder{a, b, c}, true, true},
		"1 of 3, 2 wanted":              {[]grant{{Threshold: 2}}, []*holder{b}, false, false},
		"1 of 2":                        {[]grant{{Threshold: 1}}, []*holder{b}, true, true},
		"a signature twice":             {[]grant{{Threshold: 2}}, []*holder{a, a}, false, false},
		"a key with two certificates":   {[]grant{{Threshold: 2}}, []*holder{a, again(a)}, false, false},
		"a key with two names":          {[]grant{{Threshold: 2}}, []*holder{a, again(a, func(x *x509.Certificate) { x.Subject.CommonName = "another" })}, false, false},
		"two keys under one name":       {[]grant{{Threshold: 2}}, []*holder{a, b}, true, true},
		"firmware by two, one signs":    {[]grant{{}, {Classes: []string{rightFirmware}, Threshold: 2}}, []*holder{a}, true, false},
		"firmware by two, two sign":     {[]grant{{}, {Classes: []string{rightFirmware}, Threshold: 2}}, []*holder{a, b}, true, true},
		"firmware by two, one key does": {[]grant{{}, {Classes: []string{rightFirmware}, Threshold: 2}}, []*holder{a, again(a)}, true, false},
		"only firmware, by two":         {[]grant{{Classes: []string{rightFirmware}, Threshold: 2}}, []*holder{a}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			trust := root.trust()
			for _, g := range tt.grants {
				g.Signer.Root = hexSum(root.cert.Raw)
				trust.grants = append(trust.grants, g)
			}
			tr, r := Open(seal(t, payloadType, encode(t, sample()), tt.by...), trust, now)
			require.Equal(t, tt.trusted, tr != nil, "%v", r.Findings)
			if tr != nil {
				require.Equal(t, tt.firmware, len(tr.Manifest().Firmware) > 0)
			}
			require.Equal(t, !tt.firmware, slices.Contains(codes(r.Findings), finding.ManifestThreshold), "%v", r.Findings)
		})
	}
}

// Signatures are not bound together: whoever leaves one out must not gain.
func TestMoreSignaturesNeverTrustLess(t *testing.T) {
	root := newRoot(t, "root")
	alone, needy := root.issue(t), root.issue(t)
	trust := root.trust()
	trust.grants = []grant{
		{Signer: signerRule{SPKI: hexSum(alone.cert.RawSubjectPublicKeyInfo)}},
		{Signer: signerRule{SPKI: hexSum(needy.cert.RawSubjectPublicKeyInfo)}, Threshold: 3},
	}
	for _, hs := range [][]*holder{{alone}, {alone, needy}, {needy, alone}} {
		tr, r := Open(signed(t, sample(), hs...), trust, now)
		require.NotNil(t, tr, "%v", r.Findings)
	}
	tr, _ := Open(signed(t, sample(), needy), trust, now)
	require.Nil(t, tr)
}

// A second signature that this verifier cannot use is said, not punished.
func TestSpareSignatureIsListed(t *testing.T) {
	root := newRoot(t, "root")
	tr, r := Open(signed(t, sample(), root.issue(t), newRoot(t, "later").issue(t)), root.trust(), now)
	require.NotNil(t, tr)
	require.Empty(t, r.Findings)
	require.Len(t, r.NotChecked, 1)
	require.Len(t, r.Signers, 1)
}

func TestAmbiguousEncodings(t *testing.T) { // F15, F16, F17
	root := newRoot(t, "root")
	h := root.issue(t)
	good := string(encode(t, sample()))
	sub := func(old, fresh string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, fresh, 1)
	}
	payloads := map[string]string{
		"duplicate key":           sub(`"revision": "A"`, `"revision": "B", "revision": "A"`),
		"key by case":             sub(`"partNumber": "M393A2K40BB1-CRC"`, `"partNumber": "M393A2K40BB1-CRC", "PartNumber": "EVIL"`),
		"kelvin sign key":         sub(`"maker": "Samsung"`, `"ma`+"\u212a"+`er": "Samsung"`),
		"unknown key":             sub(`"revision": "A"`, `"revision": "A", "note": "x"`),
		"float":                   sub(`"version": 3`, `"version": 3.0`),
		"exponent":                sub(`"version": 3`, `"version": 3e0`),
		"too large":               sub(`"version": 3`, `"version": 99999999999999999999`),
		"not normal form C":       sub(`"revision": "A"`, "\"revision\": \"A\u030a\""),
		"lone surrogate":          sub(`"revision": "A"`, `"revision": "\ud800"`),
		"invalid UTF-8":           sub(`"revision": "A"`, "\"revision\": \"\xff\""),
		"trailing data":           good + "{}",
		"byte order mark":         "\ufeff" + good,
		"unknown closure":         sub(`"memory": "closed"`, `"memory": "shut"`),
		"unknown class":           sub(`"memory": "closed"`, `"Memory": "closed"`),
		"unknown level":           sub(`"level": "model"`, `"level": "any"`),
		"register out of range":   sub(`"pcr": 4`, `"pcr": 44`),
		"short digest":            sub(strings.Repeat("ab", 32), "abcd"),
		"upper-case digest":       sub(strings.Repeat("ab", 32), strings.Repeat("AB", 32)),
		"no id":                   sub(`"id": "example/r1"`, `"id": ""`),
		"negative version":        sub(`"version": 3`, `"version": -3`),
		"unknown endorsement":     sub(`"kind": "ek"`, `"kind": "key"`),
		"firmware name as a path": sub(`"name": "bios"`, `"name": "../bios"`),
	}
	for name, p := range payloads {
		t.Run(name, func(t *testing.T) {
			tr, r := Open(seal(t, payloadType, []byte(p), h), root.trust(), now)
			require.Nil(t, tr)
			require.Equal(t, []finding.Code{finding.ManifestAmbiguous}, codes(r.Findings))
		})
	}
	env := string(signed(t, sample(), h))
	for name, e := range map[string]string{
		"duplicate payload":   strings.Replace(env, `"payloadType"`, `"payload": "AAAA", "payloadType"`, 1),
		"payload by case":     strings.Replace(env, `"payload":`, `"Payload":`, 1),
		"unknown key":         strings.Replace(env, `"payloadType"`, `"extra": 1, "payloadType"`, 1),
		"base64 with tail":    strings.Replace(env, `"payload": "`, `"payload": "!`, 1),
		"base64 in two lines": strings.Replace(env, `"payload": "`, `"payload": "\n`, 1),
		"trailing data":       env + "x",
	} {
		t.Run("envelope: "+name, func(t *testing.T) {
			tr, r := Open([]byte(e), root.trust(), now)
			require.Nil(t, tr)
			require.Equal(t, []finding.Code{finding.ManifestAmbiguous}, codes(r.Findings))
		})
	}
}

func TestFreshness(t *testing.T) { // F08
	root := newRoot(t, "root")
	tr := opened(t, signed(t, sample(), root.issue(t)), root.trust())
	require.Empty(t, tr.Stale(0, now))
	require.Empty(t, tr.Stale(24*time.Hour, now))
	fs := tr.Stale(23*time.Hour, now)
	require.Equal(t, []finding.Code{finding.ManifestStale}, codes(fs))
}

func TestSidecar(t *testing.T) { // F20
	root := newRoot(t, "root")
	tr := opened(t, signed(t, sample(), root.issue(t)), root.trust())
	same := encode(t, sample())
	require.Empty(t, Sidecar(tr, "m.json", same))
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, same))
	require.Empty(t, Sidecar(tr, "m.json", compact.Bytes()), "white space is no contents")
	other := bytes.Replace(same, []byte("M393A2K40BB1-CRC"), []byte("M393A2K40BB1-CTD"), 1)
	require.Equal(t, []finding.Code{finding.ManifestSidecar}, codes(Sidecar(tr, "m.json", other)))
	require.Equal(t, []finding.Code{finding.ManifestSidecar}, codes(Sidecar(tr, "m.json", []byte("{}"))))
}

func TestSpeakingForEveryPlatformNeedsAGrant(t *testing.T) {
	root := newRoot(t, "root")
	m := sample()
	m.Environment = Environment{Manufacturer: AnyPlatform, Model: "scanner"}
	raw := signed(t, m, root.issue(t, by("*")))
	tr, r := Open(raw, root.trust(), now)
	require.Nil(t, tr)
	require.Equal(t, []finding.Code{finding.ManifestUntrustedSigner}, codes(r.Findings))
	trust := root.trust()
	trust.grants = []grant{{Signer: signerRule{Root: hexSum(root.cert.Raw)}, Manufacturers: []string{"*"}}}
	tr, _ = Open(raw, trust, now)
	require.NotNil(t, tr)
	got := tr.Manifest()
	require.Empty(t, got.Components, "software says nothing about parts")
	require.Len(t, got.Boot, 1)
	require.Equal(t, 4, got.Boot[0].PCR)
}

func TestRoundTrip(t *testing.T) {
	root := newRoot(t, "root")
	h := root.issue(t)
	rapid.Check(t, func(t *rapid.T) {
		m := drawManifest(t)
		tr := opened(t, signed(t, m, h), root.trust())
		require.Equal(t, string(encode(t, m)), string(encode(t, tr.Manifest())))
	})
}

// drawManifest draws a manifest that is well formed.
func drawManifest(t *rapid.T) *Manifest {
	m := sample()
	m.ID = rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "id")
	m.Version = rapid.Int64Range(1, 1<<53-1).Draw(t, "version")
	m.Components = nil
	for i := range rapid.IntRange(0, 5).Draw(t, "components") {
		m.Components = append(m.Components, bom.Reference{
			ID: rapid.StringMatching(`[a-z]{3}`).Draw(t, "line") + string(rune('0'+i)), Class: rapid.SampledFrom(classes).Draw(t, "class"),
			Identity: bom.Identity{Model: rapid.StringMatching(`[A-Za-z0-9<>&"' ]{0,10}x`).Draw(t, "model")},
		})
	}
	m.Boot = m.Boot[:rapid.IntRange(0, 2).Draw(t, "boot")]
	return m
}

// Whatever byte of an envelope is changed, it never opens with other contents.
func TestNoByteFlipIsTrustedWithOtherContents(t *testing.T) {
	root := newRoot(t, "root")
	m := sample()
	raw := signed(t, m, root.issue(t))
	want := string(encode(t, m))
	trust := root.trust()
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(raw)
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		if tr, _ := Open(b, trust, now); tr != nil {
			require.Equal(t, want, string(encode(t, tr.Manifest())))
		}
	})
}

func FuzzOpen(f *testing.F) {
	root := newRoot(f, "root")
	h := root.issue(f)
	raw := signed(f, sample(), h)
	f.Add(raw)
	f.Add(encode(f, sample()))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"AA==","x5c":["AA=="]}]}`))
	trust, want := root.trust(), string(encode(f, sample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, r := Open(b, trust, now)
		if tr != nil {
			require.Equal(t, want, string(encode(t, tr.Manifest())))
			return
		}
		require.NotEmpty(t, r.Findings, "a refusal without a reason")
	})
}

func FuzzStatement(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStatement(b)
		if err != nil {
			return
		}
		Lint(&s.Predicate)
		again, err := decodeStatement(encode(t, &s.Predicate))
		require.NoError(t, err)
		require.Equal(t, string(encode(t, &s.Predicate)), string(encode(t, &again.Predicate)))
	})
}

func BenchmarkOpen(b *testing.B) {
	root := newRoot(b, "root")
	m := sample()
	for i := range 1000 {
		m.Components = append(m.Components, bom.Reference{ID: fmt.Sprintf("line-%d", i), Class: bom.PCI, Identity: bom.Identity{Model: "8086:10d3"}})
	}
	raw := signed(b, m, root.issue(b))
	trust := root.trust()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		Open(raw, trust, now)
	}
}
