package attest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// The same measurements from another start are not the reference machine's: a TPM
// that is reset later can only be started at another locality.
func TestOtherStartOfPCR0(t *testing.T) {
	measured := &tcglog.Event{PCR: 0, Type: tcglog.SCRTMVersion, Digests: []tcglog.Digest{{Alg: tpmwire.SHA256, Value: bytes.Repeat([]byte{7}, 32)}}}
	from := func(locality byte) []byte {
		v := make([]byte, 32)
		v[31] = locality
		extend(tpmwire.SHA256, v, measured.Digests[0].Value)
		return v
	}
	for name, c := range map[string]struct {
		golden, got byte
		odd         bool
	}{"as declared": {3, 3, false}, "reset and replayed": {3, 0, true}, "a locality that was made up": {0, 4, true}} {
		b, err := evidence.FromFiles(map[string][]byte{"x": {1}}, "test", evidence.Limits{})
		require.NoError(t, err)
		o := &Observation{bundle: b, events: &Log{log: &tcglog.Log{Banks: []tcglog.Bank{{Alg: tpmwire.SHA256, Size: 32}}, Events: []tcglog.Event{*measured}}}}
		ap := &appraiser{o: o, bank: tpmwire.SHA256}
		r := &Reference{PCR: 0, Digests: map[string][]string{"sha256": {lowerHex(from(c.golden))}}}
		require.Equal(t, c.odd, ap.otherStart(r, &PCRResult{value: from(c.got)}), name)
		if c.odd {
			require.Equal(t, finding.EventNotCredible, ap.findings[0].Code)
			require.Equal(t, finding.High, ap.findings[0].Severity)
		}
	}
}
