package manifest

import (
	"crypto/rand"
	"crypto/x509"
	"maps"
	"math/big"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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
	for name, b := range files {
		require.NotContains(t, string(b), "PRIVATE", name)
	}
	require.Len(t, files, 4, "two roots, a list and one file of grants")
	got := &Trust{}
	require.NoError(t, got.Import(files))
	require.Equal(t, want.roots, got.roots)
	require.Equal(t, want.threshold, got.threshold)
	require.Len(t, got.lists, 1)
	require.Equal(t, want.lists[0].Raw, got.lists[0].Raw)
	require.Equal(t, want.grants, got.grants)
	again, err := got.Export()
	require.NoError(t, err)
	require.Equal(t, files, again)
}

// More must not be trusted because a file was lost, nor less because one is odd.
func TestImportRefusesWhatIsNotWhole(t *testing.T) {
	root := newRoot(t, "root")
	files, err := (&Trust{roots: []*x509.Certificate{root.cert}}).Export()
	require.NoError(t, err)
	for name, spoil := range map[string]func(map[string][]byte){
		"the grants are gone":     func(f map[string][]byte) { delete(f, "trust.json") },
		"a key that nobody knows": func(f map[string][]byte) { f["trust.json"] = []byte(`{"trheshold":2}`) },
		"a grant to nobody": func(f map[string][]byte) {
			f["trust.json"] = []byte(`{"threshold":0,"grants":[{"manufacturers":["*"]}]}`)
		},
		"a root that is none":      func(f map[string][]byte) { f["root-0000.der"] = []byte("x") },
		"a file of somebody else":  func(f map[string][]byte) { f["root.key"] = []byte("x") },
		"a revocation list cut up": func(f map[string][]byte) { f["list-0000.crl"] = []byte("x") },
	} {
		bad := maps.Clone(files)
		spoil(bad)
		require.Error(t, (&Trust{}).Import(bad), name)
	}
}
