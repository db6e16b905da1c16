package evidence_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// An index is written by a machine that nobody trusts yet. Either it is refused,
// or it has one digest, and what it leaves out is told.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"format":"assay.evidence/v1","collector":{"name":"assay","version":"1"},"collectedAt":"2026-01-15T12:00:00Z","nonce":"00ff","machine":{},"mode":{"root":true},"artifacts":[{"path":"a","sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","size":1,"status":"collected"}]}`))
	f.Add([]byte(`{"format":"assay.evidence/v1","collectedAt":"2026-01-15T12:00:00Z","artifacts":[{"path":"a","status":"denied","reason":"EPERM"},{"path":"b","status":"absent"}]}`))
	f.Add([]byte(`{"format":"assay.evidence/v1","nonce":"xx","extra":{"a":[1,2.5,"é"]}}`))
	f.Add([]byte(`{"format":"assay.evidence/v1","format":"x"}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		files := map[string][]byte{evidence.IndexName: index, "a": []byte("a"), "tpm/quote-sha256.sig": {1}}
		b, err := evidence.FromFiles(files, "fuzz", evidence.Limits{})
		if err != nil {
			require.Nil(t, b)
			return
		}
		require.True(t, b.Sealed())
		listed := map[string]bool{}
		for _, a := range b.Index().Artifacts {
			listed[a.Path] = true
		}
		if !listed["a"] || !listed["tpm/quote-sha256.sig"] {
			require.NotEmpty(t, b.Check(), "an artefact that the index does not list")
		}
		d := b.Digest()
		files["tpm/quote-sha256.sig"] = []byte{2} // made after the seal
		other, err := evidence.FromFiles(files, "fuzz", evidence.Limits{})
		require.NoError(t, err)
		again := other.Digest()
		require.Equal(t, d, again)
		files["a"] = []byte("b")
		other, err = evidence.FromFiles(files, "fuzz", evidence.Limits{})
		require.NoError(t, err)
		changed := other.Digest()
		require.NotEqual(t, d, changed)
		_, _ = b.Nonce()
		require.Len(t, b.Artifacts(), len(other.Artifacts()))
	})
}
