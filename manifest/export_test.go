package manifest

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

// What is taken along elsewhere is what was trusted here, and nothing beside it.
func TestExportedTrustIsTheSame(t *testing.T) {
	root, other := newRoot(t, "root"), newRoot(t, "other")
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.AddDate(0, 1, 0)}
	revoked, err := x509.CreateRevocationList(rand.Reader, list, root.cert, root.key)
	require.NoError(t, err)
	first := trustDir(t, root, `{threshold: 2, grants: [{signer: {organization: "Labs: Ltd"}, manufacturers: ["*"], classes: [memory, "boot:software"]}]}`)
	second := trustDir(t, other, `grants: [{signer: {spki: `+hexSum(nil)+`}, deltaOnly: true, extKeyUsage: [codeSigning], threshold: 1}]`)
	write(t, filepath.Join(first, "root.key"), pemOf("PRIVATE KEY", []byte("secret")))
	write(t, filepath.Join(first, "revoked.crl"), revoked)
	want, err := LoadTrust([]string{first, filepath.Join(second, "root.pem")})
	require.NoError(t, err)
	require.Len(t, want.lists, 1)
	require.Len(t, want.grants, 2)
	files, err := want.Export()
	require.NoError(t, err)
	dir := t.TempDir()
	for name, b := range files {
		require.NotContains(t, string(b), "PRIVATE", name)
		write(t, filepath.Join(dir, name), b)
	}
	require.Len(t, files, 4, "two roots, a list and one file of grants")
	got, err := LoadTrust([]string{dir})
	require.NoError(t, err)
	require.Equal(t, want.roots, got.roots)
	require.Equal(t, want.threshold, got.threshold)
	require.Len(t, got.lists, 1)
	require.Equal(t, want.lists[0].Raw, got.lists[0].Raw)
	// An empty list and none are the same grant.
	plain := func(gs []grant) (out []string) {
		for _, g := range gs {
			b, err := yaml.Marshal(g)
			require.NoError(t, err)
			out = append(out, string(b))
		}
		return out
	}
	require.Equal(t, plain(want.grants), plain(got.grants))
	again, err := got.Export()
	require.NoError(t, err)
	require.Equal(t, files, again)
}
