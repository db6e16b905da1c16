package corim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

const maker = "Example Systems, Inc."

var (
	issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now    = issued.Add(24 * time.Hour)
)

type holder struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// newHolder signs its own certificate, which the tests trust as a root.
func newHolder(t testing.TB, key crypto.Signer) *holder {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Organization: []string{maker}, CommonName: "signer"}, SubjectKeyId: []byte{7, 7, 7},
		NotBefore: issued, NotAfter: issued.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &holder{key, c}
}

func ecHolder(t testing.TB) *holder {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	return newHolder(t, k)
}

func sample() *manifest.Manifest {
	least := int64(4)
	a, b, c := strings.Repeat("0a", 32), strings.Repeat("0b", 48), strings.Repeat("0c", 64)
	return &manifest.Manifest{
		ID: "corim:doc-1", Version: 3, IssuedAt: issued, NotAfter: issued.AddDate(1, 0, 0),
		Environment: manifest.Environment{Manufacturer: maker, Model: "R1"},
		Components:  []bom.Reference{}, Classes: map[bom.Class]bom.Closure{},
		Boot:     []attest.Reference{{PCR: 0, Digests: map[string][]string{"sha256": {a}, "sha384": {b}}}, {PCR: 7, Digests: map[string][]string{"sha256": {a, strings.Repeat("0d", 32)}}}},
		Firmware: []firmware.Reference{{Name: "bios", Version: "1.2", Digests: map[string]string{"sha384": b, "sha512": c}}, {Name: "bmc", Digests: map[string]string{"sha256": a}}},
		SPDM: []spdm.Reference{{
			ID: "spdm-gpu", Device: "spdm:gpu", Roots: []string{a}, Keys: []string{strings.Repeat("0e", 32)},
			Measurements: []spdm.Expected{{Index: 1, Digests: map[string][]string{"sha384": {b}}}, {Index: 2, Raw: []string{"00ff"}}, {Index: 3, Minimum: &least}},
		}},
	}
}

func codes(r Report) []finding.Code {
	var out []finding.Code
	for _, f := range r.Findings {
		out = append(out, f.Code)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	wide, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	for name, k := range map[string]crypto.Signer{"ES384": ecHolder(t).key, "EdDSA": ed, "PS256": r, "ES512": wide} {
		h := newHolder(t, k)
		raw, losses, err := Export(sample(), Signer{h.key, []*x509.Certificate{h.cert}})
		require.NoError(t, err)
		require.Empty(t, losses)
		require.True(t, IsCoRIM(raw))
		c, report := Open(raw, trusting(t, h.cert), nil, now)
		require.NotNil(t, c, report.Findings)
		require.Equal(t, name, report.Algorithm)
		require.Empty(t, c.Lost)
		got, losses, err := Convert(c, Options{})
		require.NoError(t, err)
		require.Equal(t, sample(), got)
		require.Equal(t, []Loss{{Where: "corim", What: fmt.Sprintf("entity %q", maker)}}, losses)
		trusted, accepted := trusting(t, h.cert).Accept(got, raw, c.Chain(), now)
		require.NotNil(t, trusted, accepted.Findings)
	}
	unsigned, _, err := Export(sample(), Signer{})
	require.NoError(t, err)
	require.True(t, IsCoRIM(unsigned))
	c, err := ReadUntrusted(unsigned)
	require.NoError(t, err)
	require.Equal(t, "doc-1", c.ID)
	_, report := Open(unsigned, trusting(t, ecHolder(t).cert), nil, now)
	require.Equal(t, []finding.Code{finding.ManifestUnsigned}, codes(report))
}

func TestExportNamesWhatIsLost(t *testing.T) {
	m := sample()
	m.Components = []bom.Reference{{ID: "x", Class: bom.PCI}}
	m.Environment.Serial, m.NotAfter = "S", time.Time{}
	m.Boot[0].Events = []attest.EventReference{{Type: "EV_ACTION"}}
	m.Firmware[0].SHA256 = strings.Repeat("0a", 32)
	m.SPDM[0].Open, m.SPDM[0].Measurements[0].Any = true, true
	_, losses, err := Export(m, Signer{})
	require.NoError(t, err)
	for _, want := range []string{"components: 1 lines", "serial number", "1 expected events", "firmware:bios: parts", "spdm:spdm-gpu: class", "any value", "issuedAt"} {
		require.Contains(t, fmt.Sprint(losses), want)
	}
}

func TestSignatureCounts(t *testing.T) {
	h := ecHolder(t)
	raw, _, err := Export(sample(), Signer{h.key, []*x509.Certificate{h.cert}})
	require.NoError(t, err)
	trust := trusting(t, h.cert)
	flip := func(at int) []byte {
		b := append([]byte(nil), raw...)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		raw   []byte
		trust *manifest.Trust
		at    time.Time
		want  finding.Code
	}{
		"signature": {flip(len(raw) - 1), trust, now, finding.ManifestBadSignature},
		"payload":   {[]byte(strings.Replace(string(raw), "bios", "bi0s", 1)), trust, now, finding.ManifestBadSignature},
		"nobody":    {raw, nil, now, finding.ManifestUntrustedSigner},
		"another":   {raw, trusting(t, ecHolder(t).cert), now, finding.ManifestUntrustedSigner},
		"late":      {raw, trust, now.AddDate(3, 0, 0), finding.ManifestTime},
		"empty":     {nil, trust, now, finding.ManifestAmbiguous},
	} {
		got, report := Open(c.raw, c.trust, nil, c.at)
		require.Nil(t, got, name)
		require.Contains(t, codes(report), c.want, name)
	}
}

// message is a COSE_Sign1 with other headers.
func message(t *testing.T, h *holder, protected, open map[int64]any) []byte {
	t.Helper()
	payload, _, err := Export(sample(), Signer{})
	require.NoError(t, err)
	p, err := cbor.Marshal(protected)
	require.NoError(t, err)
	s := &sign1{protected: p, payload: payload, method: methods[-35]}
	msg, err := s.toBeSigned()
	require.NoError(t, err)
	s.value, err = s.make(h.key, msg)
	require.NoError(t, err)
	raw, err := cbor.Marshal(cbor.Tag{Number: tagSign1, Content: []any{s.protected, open, s.payload, s.value}})
	require.NoError(t, err)
	return raw
}

func TestHeaders(t *testing.T) {
	h := ecHolder(t)
	for name, c := range map[string]struct {
		protected, open map[int64]any
		want            finding.Code
	}{
		"algorithm is not signed": {map[int64]any{}, map[int64]any{1: -35}, finding.ManifestAlgorithm},
		"algorithm twice":         {map[int64]any{1: -35}, map[int64]any{1: -7}, finding.ManifestAmbiguous},
		"HMAC":                    {map[int64]any{1: 5}, map[int64]any{}, finding.ManifestAlgorithm},
		"RSA with an EC key":      {map[int64]any{1: -37}, map[int64]any{}, finding.ManifestAlgorithm},
		"critical":                {map[int64]any{1: -35, 2: []int{99}}, map[int64]any{}, finding.ManifestAlgorithm},
		"another content":         {map[int64]any{1: -35, 3: "text/plain"}, map[int64]any{}, finding.ManifestAmbiguous},
		"chain too long":          {map[int64]any{1: -35, 33: make([][]byte, 9)}, map[int64]any{}, finding.ManifestAmbiguous},
	} {
		got, report := Open(message(t, h, c.protected, c.open), trusting(t, h.cert), nil, now)
		require.Nil(t, got, name)
		require.Equal(t, []finding.Code{c.want}, codes(report), "%s: %v", name, report.Findings)
	}
	got, report := Open(message(t, h, map[int64]any{1: -35}, map[int64]any{4: h.cert.SubjectKeyId}), trusting(t, h.cert), nil, now)
	require.NotNil(t, got, report.Findings)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// CBOR that says two things, or more than its size, is refused by name and at
// no cost.
func TestHostileCBOR(t *testing.T) {
	deep := append([]byte{0xd9, 0x01, 0xf5}, append([]byte(strings.Repeat("\x81", 100_000)), 0)...)
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"key twice":               {unhex(t, "d901f5 a3 00 61 61 00 61 62 01 80"), ErrMalformed},
		"key twice, other length": {unhex(t, "d901f5 a2 00 61 61 1800 61 62"), ErrMalformed},
		"indefinite map":          {unhex(t, "d901f5 bf 00 61 61 ff"), ErrMalformed},
		"indefinite text":         {unhex(t, "d901f5 a1 00 7f 61 61 ff"), ErrMalformed},
		"nested arrays":           {deep, ErrLimit},
		"huge array":              {unhex(t, "d901f5 9b 7fffffffffffffff"), ErrLimit},
		"huge map":                {unhex(t, "d901f5 bb 7fffffffffffffff"), ErrLimit},
		"huge text":               {unhex(t, "d901f5 a1 00 7b 7fffffffffffffff 61"), ErrMalformed},
		"huge bytes":              {unhex(t, "d901f5 a1 00 5b 000000007fffffff 61"), ErrMalformed},
		"long array":              {append(unhex(t, "d901f5 a1 00 9a 00030000"), make([]byte, 0x30000)...), ErrLimit},
		"data behind":             {unhex(t, "d901f5 a2 00 61 61 01 80 00"), ErrMalformed},
		"number too large":        {unhex(t, "d901f5 a1 00 1bffffffffffffffff"), ErrMalformed},
		"not UTF-8":               {unhex(t, "d901f5 a1 00 61 ff"), ErrMalformed},
		"no tags":                 {unhex(t, "d901f5 a2 00 61 61 01 80"), ErrLimit},
		"array as key":            {unhex(t, "d901f5 a1 81 00 00"), ErrMalformed},
		"tagged array as key":     {unhex(t, "d901f5 a1 d864 80 00"), ErrMalformed},
		"bytes":                   {make([]byte, MaxBytes+1), ErrLimit},
		"module twice a key":      {unhex(t, "d901f5 a2 00 61 61 01 81 d901fa 45 a2 01 00 01 00"), ErrMalformed},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ReadUntrusted(c.raw)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, c.want, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), name)
	}
}

// A time that cannot be written is none.
func TestTimes(t *testing.T) {
	_, err := timeOf(int64(1)<<40, "x")
	require.ErrorIs(t, err, ErrMalformed)
	at, err := timeOf(int64(1687651200), "x")
	require.NoError(t, err)
	require.Equal(t, 2023, at.Year())
}

// safe is the example of the profile's specification, with digests of the
// firmware itself when they are given.
func safe(t testing.TB, digests []any) []byte {
	t.Helper()
	env := environment("ACME Inc.", "ACME RoadRunner Trap")
	fw := ints{0: ints{0: "1.2.3", 1: "semver"}}
	if digests != nil {
		fw[1] = digests
	}
	review := ints{
		0: "1.1", 1: "1.2", 2: cbor.Tag{Number: 1, Content: 1687651200}, 3: 1, 4: []any{fw},
		5: []any{ints{0: "Memory corruption", 1: "long text", 2: ints{0: "7.9", 1: "AV:L", 2: "3.1"}, 3: "CWE-111"}}, 6: "1.0",
	}
	condition := []any{env, []any{ints{1: ints{2: []any{[]any{-43, unhex(t, strings.Repeat("0b", 48))}, []any{-44, unhex(t, strings.Repeat("0c", 64))}}}}}}
	module, err := cbor.Marshal(ints{1: ints{0: "acme-trap-review-comid-001"}, 4: ints{10: []any{[]any{
		[]any{condition}, []any{[]any{env, []any{ints{1: ints{-1: review}}}}},
	}}}})
	require.NoError(t, err)
	raw, err := cbor.Marshal(cbor.Tag{Number: tagCoRIM, Content: ints{
		0: "acme-trap-audit-2025-08-03", 3: cbor.Tag{Number: tagOID, Content: unhex(t, "060A2B0601040182F4170101")},
		5: []any{ints{0: "My Pentest Corporation", 2: []int{1}}}, 1: []any{cbor.Tag{Number: tagCoMID, Content: module}},
	}})
	require.NoError(t, err)
	return raw
}

func TestSafeReview(t *testing.T) {
	own := []any{[]any{7, unhex(t, strings.Repeat("0d", 48))}}
	for name, c := range map[string]struct {
		digests []any
		want    map[string]string
	}{
		"digests of the condition": {nil, map[string]string{"sha384": strings.Repeat("0b", 48), "sha512": strings.Repeat("0c", 64)}},
		"digests of the firmware":  {own, map[string]string{"sha384": strings.Repeat("0d", 48)}},
	} {
		c2, err := ReadUntrusted(safe(t, c.digests))
		require.NoError(t, err)
		require.Equal(t, []string{safeProfileExample}, c2.Profiles)
		m, losses, err := Convert(c2, Options{
			Environment: manifest.Environment{Manufacturer: "ACME Inc.", Model: "Server"}, Images: map[string]string{"ACME Inc./ACME RoadRunner Trap": "trap"},
		})
		require.NoError(t, err)
		require.Len(t, m.Firmware, 1, name)
		f := m.Firmware[0]
		require.Equal(t, "trap", f.Name)
		require.Equal(t, "1.2.3", f.Version)
		require.Equal(t, c.want, f.Digests)
		require.Contains(t, f.Note, "OCP S.A.F.E. review 1.2")
		require.Contains(t, fmt.Sprint(losses), "Memory corruption")
		require.Contains(t, fmt.Sprint(losses), "entry 6")
	}
}

// A device that is named by the caller gets the numbered measurements; without
// it they are digests of an image, and the rest is told.
func TestDevices(t *testing.T) {
	module := ints{1: ints{0: "m"}, 4: ints{
		0: []any{[]any{environment("ACME", "Chip"), []any{
			ints{0: 1, 1: ints{2: []any{[]any{1, unhex(t, strings.Repeat("0a", 32))}}}},
			ints{0: 2, 1: ints{1: 5, 4: cbor.Tag{Number: tagRaw, Content: []byte{1, 2}}}},
		}}},
		1: []any{[]any{environment("ACME", "Chip"), []any{ints{1: ints{11: "endorsed"}}}}},
	}}
	raw, err := cbor.Marshal(module)
	require.NoError(t, err)
	c, err := ReadUntrusted(raw)
	require.NoError(t, err)
	root := strings.Repeat("0f", 32)
	m, losses, err := Convert(c, Options{Devices: map[string]spdm.Reference{"ACME/Chip": {ID: "chip", Device: "spdm:chip", Roots: []string{root}}}})
	require.NoError(t, err)
	require.Len(t, m.SPDM, 1, losses)
	require.Len(t, m.SPDM[0].Measurements, 2)
	require.Equal(t, []string{"0102"}, m.SPDM[0].Measurements[1].Raw)
	require.Contains(t, fmt.Sprint(losses), "security version 5 of measurement 2, which has values too")
	require.Contains(t, fmt.Sprint(losses), "exactly 5")
	require.Contains(t, fmt.Sprint(losses), "an endorsement")

	m, losses, err = Convert(c, Options{})
	require.NoError(t, err)
	require.Empty(t, m.SPDM)
	require.Equal(t, "acme-chip-1", m.Firmware[0].Name)
	require.Contains(t, fmt.Sprint(losses), "security version 5")
	require.Contains(t, fmt.Sprint(losses), "raw value")
}

func FuzzOpen(f *testing.F) {
	h := ecHolder(f)
	trust := trusting(f, h.cert)
	raw, _, err := Export(sample(), Signer{h.key, []*x509.Certificate{h.cert}})
	require.NoError(f, err)
	unsigned, _, err := Export(sample(), Signer{})
	require.NoError(f, err)
	f.Add(raw)
	f.Add(unsigned)
	f.Add(safe(f, nil))
	f.Add(unhex(f, "d901f5 a3 00 61 61 00 61 62 01 80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		IsCoRIM(b)
		if c, err := ReadUntrusted(b); err == nil {
			if m, _, err := Convert(c, Options{Environment: manifest.Environment{Manufacturer: "m", Model: "m"}}); err == nil && !m.IssuedAt.IsZero() && m.ID != "" {
				enc, err := manifest.Encode(m)
				require.NoError(t, err)
				_, err = manifest.ReadUntrusted(enc)
				require.NoError(t, err, "%s", enc)
			}
		}
		if c, report := Open(b, trust, nil, now); c != nil {
			require.Equal(t, "doc-1", c.ID)
			require.Equal(t, manifest.StatusTrusted, report.Status)
		}
	})
}
