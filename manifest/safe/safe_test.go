package safe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	return k
}

func sign(t testing.TB, k *ecdsa.PrivateKey, payload string) []byte {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES512, Key: k}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "A Provider"))
	require.NoError(t, err)
	j, err := s.Sign([]byte(payload))
	require.NoError(t, err)
	out, err := j.CompactSerialize()
	require.NoError(t, err)
	return []byte(out)
}

var (
	sha256Hex = strings.Repeat("ab", 32)
	sha384Hex = strings.Repeat("cd", 48)
	sha512Hex = strings.Repeat("ef", 64)
)

func payload(sum384, sum512 string) string {
	return `{"review_framework_version":"1.1","device":{"vendor":"Acme","product":"BMC One","category":"bmc","repo_tag":"v1","fw_version":"1.2.3","fw_hash_sha2_384":"` + sum384 +
		`","fw_hash_sha2_512":"` + sum512 + `"},"audit":{"srp":"A Provider","methodology":"whitebox","completion_date":"2025-09-12","report_version":"1.0","scope_number":1,` +
		`"cvss_version":"3.1","issues":[{"title":"x","cvss_score":"3.7","cve":null}]},"iat":1700000000}`
}

func TestReportBecomesReferenceValues(t *testing.T) {
	k := newKey(t)
	r, err := Open(sign(t, k, payload(sha384Hex, strings.ToUpper(sha512Hex))), []Key{{"other", &newKey(t).PublicKey}, {"provider.pem", &k.PublicKey}})
	require.NoError(t, err)
	require.Equal(t, "provider.pem", r.Signer)
	ref, err := r.Reference("bmc")
	require.NoError(t, err)
	require.Equal(t, "1.2.3", ref.Version)
	require.Equal(t, map[string]string{"sha384": sha384Hex, "sha512": sha512Hex}, ref.Digests)
	require.Equal(t, "OCP S.A.F.E. review of Acme BMC One by A Provider, whitebox, completed 2025-09-12, 1 open issues", ref.Note)
	require.Empty(t, r.Lost)
}

// Real reports have SHA-256 digests in the field of SHA-512.
func TestDigestIsWhatItsLengthSays(t *testing.T) {
	k := newKey(t)
	r, err := Open(sign(t, k, payload("", sha256Hex)), []Key{{"k", &k.PublicKey}})
	require.NoError(t, err)
	ref, err := r.Reference("bmc")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"sha256": sha256Hex}, ref.Digests)
	require.Equal(t, []string{"fw_hash_sha2_512 holds a SHA256 by its length"}, r.Lost)
}

func TestReportsThatAreRefused(t *testing.T) {
	k := newKey(t)
	keys := []Key{{"k", &k.PublicKey}}
	good := sign(t, k, payload(sha384Hex, ""))
	tampered := bytes.Split(good, []byte("."))
	tampered[1] = []byte(base64.RawURLEncoding.EncodeToString([]byte(payload(strings.Repeat("00", 48), ""))))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload(sha384Hex, ""))) + "."
	tests := map[string]struct {
		raw  []byte
		keys []Key
		want error
	}{
		"another key":       {good, []Key{{"k", &newKey(t).PublicKey}}, ErrSignature},
		"no key":            {good, nil, ErrSignature},
		"another payload":   {bytes.Join(tampered, []byte(".")), keys, ErrSignature},
		"algorithm none":    {[]byte(none), keys, ErrMalformed},
		"no JWS":            {[]byte("{}"), keys, ErrMalformed},
		"empty":             {nil, keys, ErrMalformed},
		"name twice":        {sign(t, k, strings.Replace(payload(sha384Hex, ""), `"fw_version"`, `"FW_VERSION":"9","fw_version"`, 1)), keys, ErrMalformed},
		"no device":         {sign(t, k, `{"audit":{}}`), keys, ErrMalformed},
		"data behind":       {sign(t, k, payload(sha384Hex, "")+"{}"), keys, ErrMalformed},
		"nested too deeply": {sign(t, k, strings.Repeat("[", 100)+strings.Repeat("]", 100)), keys, ErrMalformed},
		"too long":          {make([]byte, MaxBytes+1), keys, ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Open(tt.raw, tt.keys)
			require.ErrorIs(t, err, tt.want)
		})
	}
	for name, sums := range map[string][2]string{"no digest": {"", ""}, "half a digest": {"abcd", ""}, "no hexadecimal": {strings.Repeat("xy", 48), ""}} {
		t.Run(name, func(t *testing.T) {
			r, err := Open(sign(t, k, payload(sums[0], sums[1])), keys)
			require.NoError(t, err)
			_, err = r.Reference("bmc")
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

func TestKeys(t *testing.T) {
	k := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	require.NoError(t, err)
	got, err := ParseKeys("k.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	require.NoError(t, err)
	require.True(t, k.PublicKey.Equal(got[0].Key))
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: "a"}}})
	require.NoError(t, err)
	got, err = ParseKeys("k.jwks", set)
	require.NoError(t, err)
	require.Equal(t, "k.jwks a", got[0].Name)
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k, KeyID: "a"}}})
	require.NoError(t, err)
	_, err = ParseKeys("k.jwks", private)
	require.ErrorContains(t, err, "not a public key")
	_, err = ParseKeys("nothing", []byte("nothing"))
	require.Error(t, err)
}

// The signed report differs from the document beside it in 27 of the published
// cases: the report is read alone. One provider's key is published with a report.
func TestPublishedReport(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "ocp-safe", "Reports", "CHIPS_Alliance", "2024", "Caliptra")
	pemKey, err := os.ReadFile(filepath.Join(dir, "ioactive-ocp-safe-ecdsa-p521-pub.pem"))
	if err != nil {
		t.Skip("needs ../shared/corpus/hardware/ocp-safe")
	}
	keys, err := ParseKeys("ioactive", pemKey)
	require.NoError(t, err)
	raw, err := os.ReadFile(filepath.Join(dir, "caliptra_fw_signed_report.jws"))
	require.NoError(t, err)
	r, err := Open(raw, keys)
	require.NoError(t, err)
	require.NotEmpty(t, r.Device.Product)
	_, err = r.Reference("caliptra")
	require.ErrorContains(t, err, "no digest of the firmware")
	raw[len(raw)/2] ^= 1
	_, err = Open(raw, keys)
	require.Error(t, err)
}

func FuzzOpen(f *testing.F) {
	k := newKey(f)
	f.Add(sign(f, k, payload(sha384Hex, sha512Hex)))
	f.Add([]byte("eyJhbGciOiJub25lIn0.e30."))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Open(b, []Key{{"k", &k.PublicKey}}); err == nil {
			_, _ = r.Reference("x")
		}
		IsReport(b)
	})
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte(payload(sha384Hex, sha512Hex)))
	f.Add([]byte(`{"device":{"vendor":"a","product":"b","manifest":[{"file_name":"x"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		if ref, err := r.Reference("x"); err == nil {
			require.NotEmpty(t, ref.Digests)
		}
	})
}
