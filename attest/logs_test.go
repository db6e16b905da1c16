package attest

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever observes many machines gets of each what is observed of it alone, also of
// a log that was edited, and of one that is no log.
func TestLogsAreThoseOfTheMachine(t *testing.T) {
	base := recorded(t, "baseline").bundle
	raw, err := base.Read(logPath)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, a := range base.Artifacts() {
		files[a.Path], _ = base.Read(a.Path)
	}
	edited := bytes.Clone(raw)
	edited[len(edited)-40] ^= 1
	var logs Logs
	for range 2 {
		for name, log := range map[string][]byte{"as recorded": raw, "edited": edited, "cut": raw[:len(raw)-7], "none": []byte("no log")} {
			files[logPath] = log
			b := bundleOf(t, files)
			alone, among := Observe(b).Appraise(Params{}), logs.Observe(b).Appraise(Params{})
			assert.Equal(t, alone.Findings, among.Findings, name)
			assert.Equal(t, alone.PCRs, among.PCRs, name)
			assert.Equal(t, Observe(b).Log() == nil, logs.Observe(b).Log() == nil, name)
		}
	}
	assert.Len(t, logs.read, 2, "those that are whole")
}

// Two machines with one log are observed at once.
func TestLogsAreShared(t *testing.T) {
	b := recorded(t, "baseline").bundle
	want := Observe(b).Appraise(Params{}).PCRs
	var logs Logs
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { assert.Equal(t, want, logs.Observe(b).Appraise(Params{}).PCRs) })
	}
	all.Wait()
}
