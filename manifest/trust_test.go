package manifest

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// trustDir makes a directory of one root and a trust.yaml.
func trustDir(t testing.TB, root *holder, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "root.pem"), pemOf("CERTIFICATE", root.cert.Raw))
	if yaml != "" {
		write(t, filepath.Join(dir, trustFileName), []byte(yaml))
	}
	return dir
}

func TestGrants(t *testing.T) {
	root := newRoot(t, "root")
	labs := root.issue(t, by("Labs Ltd"))
	tls := root.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	spki := hexSum(labs.cert.RawSubjectPublicKeyInfo)
	tests := map[string]struct {
		yaml string
		h    *holder
		ok   bool
	}{
		"without a grant":            {"", labs, false},
		"for this manufacturer":      {`grants: [{signer: {organization: LABS}, manufacturers: [Example Systems]}]`, labs, true},
		"for any manufacturer":       {`grants: [{signer: {spki: ` + spki + `}, manufacturers: ["*"]}]`, labs, true},
		"by root":                    {`grants: [{signer: {root: ` + hexSum(root.cert.Raw) + `}, manufacturers: ["*"]}]`, labs, true},
		"for another manufacturer":   {`grants: [{signer: {organization: Labs}, manufacturers: [Other]}]`, labs, false},
		"for another signer":         {`grants: [{signer: {organization: Lab}, manufacturers: ["*"]}]`, labs, false},
		"with another key":           {`grants: [{signer: {organization: Labs, spki: ` + hexSum(nil) + `}, manufacturers: ["*"]}]`, labs, false},
		"for its own name only":      {`grants: [{signer: {organization: Labs}}]`, labs, false},
		"for changes only":           {`grants: [{signer: {organization: Labs}, manufacturers: ["*"], deltaOnly: true}]`, labs, false},
		"with a purpose it lacks":    {`grants: [{signer: {organization: Labs}, manufacturers: ["*"], extKeyUsage: [codeSigning]}]`, labs, false},
		"TLS key":                    {"", tls, false},
		"TLS key that is granted":    {`grants: [{signer: {organization: Example Systems}, extKeyUsage: [serverAuth]}]`, tls, true},
		"TLS key by number":          {`grants: [{signer: {organization: Example Systems}, extKeyUsage: [1.3.6.1.5.5.7.3.1]}]`, tls, true},
		"asking for a second signer": {`{threshold: 2}`, root.issue(t), false},
		"second signer by grant":     {`grants: [{signer: {organization: Example Systems}, threshold: 2}]`, root.issue(t), false},
		"narrowed vendor":            {`grants: [{signer: {organization: Example Systems}, manufacturers: [Other]}]`, root.issue(t), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			trust, err := LoadTrust([]string{trustDir(t, root, tt.yaml)})
			require.NoError(t, err)
			tr, r := Open(signed(t, sample(), tt.h), trust, now)
			require.Equal(t, tt.ok, tr != nil, "%v", r.Findings)
		})
	}
}

// What a signer may not say is left out and told, not believed.
func TestClassesBeyondAuthorityAreDropped(t *testing.T) {
	root := newRoot(t, "root")
	labs := root.issue(t, by("Labs"))
	trust, err := LoadTrust([]string{trustDir(t, root, `grants: [{signer: {organization: Labs}, manufacturers: ["*"], classes: [memory, "boot:software"]}]`)})
	require.NoError(t, err)
	tr, r := Open(signed(t, sample(), labs), trust, now)
	require.NotNil(t, tr)
	m := tr.Manifest()
	require.Len(t, m.Components, 1)
	require.Equal(t, bom.Memory, m.Components[0].Class)
	require.Equal(t, map[bom.Class]bom.Closure{bom.Memory: bom.Closed}, m.Classes)
	require.Len(t, m.Boot, 1)
	require.Equal(t, 4, m.Boot[0].PCR)
	require.Empty(t, m.Firmware)
	require.Empty(t, m.Endorsements)
	require.Empty(t, m.Known, "it cannot silence findings")
	require.Empty(t, m.Supersedes, "it cannot retire the vendor's manifest")
	subjects := []string{}
	for _, f := range r.Findings {
		require.Equal(t, finding.ManifestUntrustedSigner, f.Code)
		require.Equal(t, finding.Medium, f.Severity)
		subjects = append(subjects, f.Subject)
	}
	require.Contains(t, subjects, "manifest:example/r1/pci")
	require.Contains(t, subjects, "manifest:example/r1/boot:platform")
	require.Contains(t, subjects, "manifest:example/r1/endorsements")
}

// With two signers needed, a class needs two signers who may speak for it.
func TestThresholdHoldsPerClass(t *testing.T) {
	root := newRoot(t, "root")
	a, b := root.issue(t, by("Labs")), root.issue(t)
	trust, err := LoadTrust([]string{trustDir(t, root, "threshold: 2\ngrants: [{signer: {organization: Labs}, manufacturers: ['*'], classes: [memory]}]")})
	require.NoError(t, err)
	tr, r := Open(signed(t, sample(), a, b), trust, now)
	require.NotNil(t, tr, "%v", r.Findings)
	require.Len(t, tr.Manifest().Components, 1)
}

func TestLoadTrustErrors(t *testing.T) {
	root := newRoot(t, "root")
	for name, yaml := range map[string]string{
		"unknown key":       "grants: [{signer: {organisation: X}}]",
		"selects anyone":    "grants: [{manufacturers: ['*']}]",
		"unknown class":     "grants: [{signer: {organization: X}, classes: [memories]}]",
		"unknown purpose":   "grants: [{signer: {organization: X}, extKeyUsage: [signing]}]",
		"malformed key":     "grants: [{signer: {spki: abcd}}]",
		"duplicate key":     "threshold: 1\nthreshold: 2",
		"negative":          "threshold: -1",
		"two documents":     "threshold: 1\n---\nthreshold: 2",
		"nothing":           "",
		"empty name":        "grants: [{signer: {organization: '---'}}]",
		"not a mapping":     "- 1",
		"anchor as a bomb":  "a: &a [x,x]\nb: &b [*a,*a]",
		"negative in grant": "grants: [{signer: {organization: X}, threshold: -1}]",
	} {
		t.Run(name, func(t *testing.T) {
			dir := trustDir(t, root, " ")
			write(t, filepath.Join(dir, trustFileName), []byte(yaml))
			_, err := LoadTrust([]string{dir})
			require.ErrorContains(t, err, filepath.Join(dir, trustFileName))
		})
	}
	dir := trustDir(t, root, "")
	_, err := LoadTrust([]string{filepath.Join(dir, "missing.pem")})
	require.ErrorIs(t, err, os.ErrNotExist)
	bad := write(t, filepath.Join(dir, "bad.pem"), append(pemOf("CERTIFICATE", root.cert.Raw), pemOf("CERTIFICATE", []byte("x"))...))
	_, err = LoadTrust([]string{bad})
	require.ErrorContains(t, err, bad+": offset ")
	_, err = LoadTrust([]string{write(t, filepath.Join(t.TempDir(), "notes.txt"), []byte("hello"))})
	require.ErrorContains(t, err, "holds no certificate")
	_, err = LoadTrust([]string{t.TempDir()})
	require.ErrorContains(t, err, "no certificate in")
	big := write(t, filepath.Join(t.TempDir(), "big.pem"), make([]byte, maxTrustBytes+1))
	_, err = LoadTrust([]string{big})
	require.ErrorContains(t, err, "exceeds the limit")
}

func TestLoadTrustForms(t *testing.T) {
	root, other := newRoot(t, "root"), newRoot(t, "other")
	dir := trustDir(t, root, "")
	write(t, filepath.Join(dir, "other.der"), other.cert.Raw)
	write(t, filepath.Join(dir, "README"), []byte("not a certificate"))
	write(t, filepath.Join(dir, "key.pem"), pemOf("PRIVATE KEY", []byte("x")))
	trust, err := LoadTrust([]string{dir, filepath.Join(dir, "root.pem")})
	require.NoError(t, err)
	require.Len(t, trust.roots, 2, "a root that is named twice is one root")
	single, err := LoadTrust([]string{filepath.Join(dir, "root.pem")})
	require.NoError(t, err)
	require.Len(t, single.roots, 1, "a named file brings no other root along")
	none, err := LoadTrust(nil)
	require.NoError(t, err)
	_, r := Open(signed(t, sample(), root.issue(t)), none, now)
	require.Equal(t, []finding.Code{finding.ManifestUntrustedSigner}, codes(r.Findings))
}

func TestOrganizationNames(t *testing.T) {
	for _, p := range [][2]string{
		{"Example Systems, Inc.", "EXAMPLE SYSTEMS"},
		{"Example-Systems GmbH", "example systems"},
		{"Example Systems Co., Ltd.", "Example Systems Corp"},
		{"Example S.p.A.", "Example"},
		{"Dell Inc.", "Dell"},
		{"ASUSTeK COMPUTER INC.", "ASUSTeK Computer"},
	} {
		require.True(t, sameOrganization(p[0], p[1]), p)
	}
	for _, p := range [][2]string{{"Example", "Example Labs"}, {"", ""}, {"Inc.", "Corp."}, {"...", "..."}, {"Intel", "lntel"}, {"Micron", "Micr\u043en"}} {
		require.False(t, sameOrganization(p[0], p[1]), p)
	}
}

func FuzzTrustFile(f *testing.F) {
	f.Add([]byte("threshold: 2\ngrants:\n- signer: {organization: Labs}\n  manufacturers: ['*']\n  classes: [memory]\n"))
	f.Add([]byte("grants: [{signer: {spki: abcd}}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tf, err := parseTrustFile(b); err == nil {
			for _, g := range tf.Grants {
				require.NotEqual(t, signerRule{}, g.Signer, "a grant for anyone")
			}
		}
	})
}

// What a stick carries is the same trust: authorities for time stamps and
// identities too.
func TestExportKeepsAuthoritiesAndIdentities(t *testing.T) {
	dir := t.TempDir()
	root, clock := newRoot(t, "root"), newRoot(t, "clock")
	write(t, filepath.Join(dir, "root.pem"), pemOf("CERTIFICATE", root.cert.Raw))
	write(t, filepath.Join(dir, "tsa", "clock.pem"), pemOf("CERTIFICATE", clock.cert.Raw))
	write(t, filepath.Join(dir, "trust.yaml"), []byte("grants:\n  - signer: {identity: {issuer: a, subject: b}}\n    manufacturers: [c]\n"))
	from, err := LoadTrust([]string{dir})
	require.NoError(t, err)
	files, err := from.Export()
	require.NoError(t, err)
	to := &Trust{}
	require.NoError(t, to.Import(files))
	require.Equal(t, from.grants, to.grants)
	require.Len(t, to.Roots(), 1, "a clock signs no manifests")
	clocks, _ := to.TimeAuthorities()
	require.True(t, len(clocks) == 1 && clocks[0].Equal(clock.cert))
}
