package manifest

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEncodeIsStable(t *testing.T) {
	a, b := sample(), sample()
	b.Components[0], b.Components[2] = b.Components[2], b.Components[0]
	b.Boot[0], b.Boot[1] = b.Boot[1], b.Boot[0]
	require.Equal(t, string(encode(t, a)), string(encode(t, b)))
	require.Equal(t, "tpm", b.Components[0].ID, "the argument is left as it was")
	require.Contains(t, string(encode(t, a)), "\n  \"subject\"", "people review drafts in an editor")
	m, err := ReadUntrusted(encode(t, a))
	require.NoError(t, err)
	require.Equal(t, string(encode(t, a)), string(encode(t, m)))
}

func TestSignComputesTheSubjectAnew(t *testing.T) {
	root := newRoot(t, "root")
	h := root.issue(t)
	edited := bytes.Replace(encode(t, sample()), []byte(`"model": "R1"`), []byte(`"model": "R2"`), 1)
	raw, err := Sign(edited, h.key, h.chain)
	require.NoError(t, err)
	require.Equal(t, "R2", opened(t, raw, root.trust()).Manifest().Environment.Model)
}

// A draft is often older than the certificate that was made to sign it.
func TestDraftOlderThanTheCertificate(t *testing.T) {
	root := newRoot(t, "root")
	h := root.issue(t, func(c *x509.Certificate) { c.NotBefore = issued.Add(time.Hour) })
	tr := opened(t, signed(t, sample(), h), root.trust())
	require.Equal(t, issued.Add(time.Hour), tr.Manifest().IssuedAt)
}

func TestSecondSignatureKeepsTheBytes(t *testing.T) {
	root := newRoot(t, "root")
	one := signed(t, sample(), root.issue(t))
	b := root.issue(t)
	two, err := Sign(one, b.key, b.chain)
	require.NoError(t, err)
	var x, y envelope
	require.NoError(t, json.Unmarshal(one, &x))
	require.NoError(t, json.Unmarshal(two, &y))
	require.Equal(t, x.Payload, y.Payload)
	require.Equal(t, x.Signatures[0], y.Signatures[0])
	require.Len(t, y.Signatures, 2)
	_, err = Sign(two, b.key, b.chain)
	require.ErrorContains(t, err, "has signed this manifest already")
}

func TestSignRefusesAndSaysWhatToDo(t *testing.T) {
	root := newRoot(t, "root")
	a, b := root.issue(t), root.issue(t)
	late := root.issue(t, func(c *x509.Certificate) { c.NotBefore = now })
	gone := root.issue(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = issued.AddDate(-2, 0, 0), issued.AddDate(-1, 0, 0)
	})
	enc := root.issue(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
	draft := encode(t, sample())
	for name, tt := range map[string]struct {
		raw  []byte
		key  *holder
		with []*x509.Certificate
		want string
	}{
		"another's certificate":   {draft, a, b.chain, "pass its key, or the chain leaf first"},
		"no certificate":          {draft, a, nil, "pass the chain of the signing key"},
		"younger than the first":  {signed(t, sample(), a), late, late.chain, "sign with a certificate that was valid then"},
		"expired before":          {draft, gone, gone.chain, "expired"},
		"a key for encryption":    {draft, enc, enc.chain, "key usage"},
		"not a manifest":          {[]byte("{}"), a, a.chain, "statement"},
		"a draft without version": {bytes.Replace(draft, []byte(`"version": 3`), []byte(`"version": 0`), 1), a, a.chain, "version"},
	} {
		_, err := Sign(tt.raw, tt.key.key, tt.with)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func TestPreAuthEncoding(t *testing.T) {
	// The example of the DSSE specification.
	require.Equal(t, "DSSEv1 29 http://example.com/HelloWorld 11 hello world",
		string(preAuthEncoding("http://example.com/HelloWorld", []byte("hello world"))))
}

func TestReadUntrusted(t *testing.T) {
	root := newRoot(t, "root")
	m, err := ReadUntrusted(signed(t, sample(), root.issue(t)))
	require.NoError(t, err)
	require.Equal(t, "example/r1", m.ID)
	for _, bad := range []string{"", "{}", `{"payload":"","signatures":[],"payloadType":"x"}`, strings.Repeat("[", 100)} {
		_, err := ReadUntrusted([]byte(bad))
		require.Error(t, err, bad)
	}
	_, err = ReadUntrusted(make([]byte, maxBytes+1))
	require.ErrorContains(t, err, "limit")
}
