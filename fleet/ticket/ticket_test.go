package ticket

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/manifest"
)

var issued = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func fields(kind Kind, more map[string]any) []byte {
	doc := map[string]any{"format": Format, "kind": kind, "id": "CHG-1", "reason": "a test", "issuedAt": issued, "expires": issued.Add(48 * time.Hour)}
	maps.Copy(doc, more)
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err) // texts and times
	}
	return raw
}

var (
	ek     = strings.Repeat("ab", 32)
	rebind = fields(Rebind, map[string]any{"host": "h-1", "identity": map[string]any{"ekSha256": ek, "chassis": map[string]string{"serial": "S-1"}}})
	place  = fields(Place, map[string]any{"host": "h-1", "site": "north", "networks": []string{"192.0.2.0/24", "2001:db8::/48"}})
	policy = fields(Policy, map[string]any{"site": "north", "policy": "id: strict-site\nextends: strict\n"})
)

func TestDecode(t *testing.T) {
	for _, good := range [][]byte{rebind, place, policy, fields(Policy, map[string]any{"policy": "id: all\nextends: strict\n"})} {
		x, err := Decode(good)
		require.NoError(t, err, "%s", good)
		require.NotEmpty(t, x.Target())
	}
	for why, bad := range map[string][]byte{
		"no reason":               fields(Rebind, map[string]any{"reason": "", "host": "h-1"}),
		"no identity":             fields(Rebind, map[string]any{"host": "h-1"}),
		"no digest":               fields(Rebind, map[string]any{"host": "h-1", "identity": map[string]any{"ekSha256": "AB", "chassis": map[string]string{}}}),
		"another kind":            fields("promote", map[string]any{"host": "h-1"}),
		"fields of another kind":  fields(Place, map[string]any{"host": "h-1", "site": "north", "policy": "id: x"}),
		"rebind with a site":      fields(Rebind, map[string]any{"host": "h-1", "site": "north", "identity": map[string]any{"ekSha256": ek, "chassis": map[string]string{}}}),
		"no prefix":               fields(Place, map[string]any{"host": "h-1", "site": "north", "networks": []string{"192.0.2.1"}}),
		"a prefix with host bits": fields(Place, map[string]any{"host": "h-1", "site": "north", "networks": []string{"192.0.2.1/24"}}),
		"too many targets":        fields(Policy, map[string]any{"site": "north", "host": "h-1", "policy": "id: x\nextends: strict\n"}),
		"a policy with an error":  fields(Policy, map[string]any{"policy": "id: x\nextends: strict\nrequires: [quote]\n"}),
		"too long":                fields(Policy, map[string]any{"expires": issued.Add(2 * longest), "policy": "id: x\nextends: strict\n"}),
		"ends before it begins":   fields(Policy, map[string]any{"expires": issued.Add(-time.Hour), "policy": "id: x\nextends: strict\n"}),
		"an unknown field":        fields(Place, map[string]any{"host": "h-1", "site": "north", "color": "red"}),
		"a key that stands twice": []byte(`{"format":"assay.fleet-ticket/v1","format":"assay.fleet-ticket/v1"}`),
		"large":                   bytes.Repeat([]byte(" "), MaxBytes+1),
	} {
		_, err := Decode(bad)
		require.Error(t, err, why)
	}
}

func TestUsable(t *testing.T) {
	x, err := Decode(place)
	require.NoError(t, err)
	require.NoError(t, x.Usable(issued))
	require.NoError(t, x.Usable(issued.Add(47*time.Hour)))
	require.ErrorContains(t, x.Usable(issued.Add(-time.Second)), "future")
	require.ErrorContains(t, x.Usable(issued.Add(48*time.Hour)), "good until")
}

// What the reader takes is what the schema says, and what the schema refuses the
// reader refuses.
func TestSchema(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "formats", "fleet-ticket.schema.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("ticket", doc))
	schema, err := c.Compile("ticket")
	require.NoError(t, err)
	for _, good := range [][]byte{rebind, place, policy} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(good))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v))
	}
}

// A right has to be given: for all tickets, or for one kind.
func TestWhoMaySign(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Site Operators"}, CommonName: "Board"}, NotBefore: issued.AddDate(-1, 0, 0), NotAfter: issued.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	for grant, want := range map[string]bool{
		"grants: []\n": false,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n":                                      false,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: [boot]\n":                   false,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['Example']\n  classes: [ticket]\n":           false,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: ['ticket:rebind']\n":        false,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: ['ticket:place']\n":         true,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: [ticket]\n":                 true,
		"grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: [ticket]\n  threshold: 2\n": false,
		"grants:\n- signer: {organization: Other Operators}\n  manufacturers: ['*']\n  classes: [ticket]\n":                false,
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "root.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "trust.yaml"), []byte(grant), 0o600))
		trust, err := manifest.LoadTrust([]string{dir})
		require.NoError(t, err, grant)
		signed, err := Sign(place, key, []*x509.Certificate{cert})
		require.NoError(t, err)
		require.True(t, IsTicket(signed))
		x, _, err := Open(signed, trust, issued)
		if !want {
			require.ErrorIs(t, err, ErrUntrusted, grant)
			continue
		}
		require.NoError(t, err, grant)
		require.Equal(t, "host:h-1", x.Target())
		_, _, err = Open(place, trust, issued)
		require.ErrorIs(t, err, ErrUntrusted, "unsigned")
	}
	_, err = Sign([]byte(`{"format":"x"}`), key, []*x509.Certificate{cert})
	require.Error(t, err, "what is no ticket is not signed as one")
}

func FuzzDecode(f *testing.F) {
	for _, s := range [][]byte{rebind, place, policy} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := Decode(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(x)
		require.NoError(t, err)
		y, err := Decode(again)
		require.NoError(t, err)
		require.Equal(t, x.Target(), y.Target())
	})
}
