package platformcert

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const corpusDir = "../../../shared/corpus/platformcerts"

// corpus is the folder of real certificates: other people's files, which are
// not part of this repository.
func corpus(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(corpusDir); err != nil {
		t.Skip("needs ../shared/corpus/platformcerts")
	}
	return corpusDir
}

// attributeCertificates reads every attribute certificate below the corpus,
// each once, by its path.
func attributeCertificates(t *testing.T) map[string]*Certificate {
	t.Helper()
	dir := corpus(t)
	out := map[string]*Certificate{}
	seen := map[[32]byte]bool{}
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil || len(b) > maxFile {
			return err
		}
		der, _, err := container(b)
		if err != nil || !looksAttribute(der) {
			return nil //nolint:nilerr // another file
		}
		files++
		if sum := sha256.Sum256(der); seen[sum] {
			return nil
		} else {
			seen[sum] = true
		}
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		c, err := Parse(b)
		require.NoError(t, err, rel)
		out[rel] = c
		return nil
	}))
	require.NotEmpty(t, out)
	t.Logf("%d files hold %d distinct attribute certificates", files, len(out))
	return out
}

// looksAttribute tells an attribute certificate by its first fields, without
// the reader that is tested: SEQUENCE { SEQUENCE { INTEGER 1, SEQUENCE { ...
func looksAttribute(der []byte) bool {
	n := bytes.Index(der[:min(16, len(der))], []byte{2, 1, 1, 0x30})
	return n > 3
}

func TestEveryRealCertificateIsReadAndWrittenAgain(t *testing.T) {
	all := attributeCertificates(t)
	profiles, kinds, verbatim, components := map[string]int{}, map[Kind]int{}, 0, 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		again, err := c.Encode()
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(c.Raw, again), name)
		profiles[c.Profile]++
		kinds[c.Kind]++
		kept := len(c.verbatim)
		if f := c.Configuration; f != nil {
			components += len(f.Components)
			if f.raw != nil {
				kept++
			}
			for i := range f.Components {
				if f.Components[i].raw != nil {
					kept++
				}
			}
		}
		for _, a := range c.Attributes {
			if a.raw != nil {
				kept++
			}
		}
		for _, x := range c.Extensions {
			if x.raw != nil {
				kept++
			}
		}
		if kept > 0 {
			verbatim++
			t.Logf("%s: %d parts kept as they stand: %v", name, kept, slices.Sorted(maps.Keys(c.verbatim)))
		}
		require.Equal(t, c.Kind != NoPlatform, IsCertificate(c.Raw), name)
	}
	t.Logf("%d certificates: profiles %v, kinds %v, %d components; %d keep parts that DER would write in another way", len(all), profiles, kinds, components, verbatim)
	require.Equal(t, len(all)-kinds[NoPlatform], profiles["1.0"]+profiles["1.1"]+profiles["2.1"])
}

func TestWhatIsOddAboutRealCertificates(t *testing.T) {
	said := map[string]int{}
	for _, c := range attributeCertificates(t) {
		for _, n := range c.Lint() {
			where, _, _ := strings.Cut(n.Where, " component")
			said[where+": "+n.What]++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(said)) {
		t.Logf("%3d %s", said[k], k)
	}
	require.NotEmpty(t, said)
}
