package attest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// A replay has a fixed size: whoever verifies a fleet pays for hashes alone.
func TestReplayAllocatesNothing(t *testing.T) {
	raw, err := recorded(t, "baseline").bundle.Read(logPath)
	require.NoError(t, err)
	l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
	require.NoError(t, err)
	for _, a := range []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256, tpmwire.SHA384} {
		var r replayer
		require.Zero(t, testing.AllocsPerRun(20, func() { r.run(l, a) }), a)
		require.Len(t, r.given(0), a.Size())
	}
	require.Zero(t, testing.AllocsPerRun(20, func() {
		for i := range l.Events {
			if credibility(&l.Events[i]) == contradicted {
				t.Error("an honest log contradicts itself")
			}
		}
	}), "nor does holding data against digests")
}

// A quote may select registers that no PC has; nothing is known of them.
func TestReplayKnowsNoFurtherRegisters(t *testing.T) {
	r := newReplayer(nil, tpmwire.SHA256)
	require.Nil(t, r.given(maxRegisters))
}

// One bank of a log is read as all of them are.
func TestReadBank(t *testing.T) {
	o := recorded(t, "baseline")
	l := o.Log()
	for _, bank := range l.Banks() {
		values := o.listings[0].values[bank]
		b, err := l.ReadBank(bank, values)
		require.NoError(t, err)
		for _, p := range b.PCRs {
			require.Contains(t, l.Replay(o.listings[0].values), p)
		}
		require.Empty(t, b.Contradicted)
		require.Len(t, b.Variables, len(o.measured))
		require.Equal(t, "SecureBoot", b.Variables[0].Name)
	}
	all, err := l.ReadBanks(o.listings[0].values)
	require.NoError(t, err)
	require.Len(t, all.Variables, len(o.measured))
	require.Equal(t, len(l.Banks())*maxRegisters, len(all.PCRs))
	for _, p := range all.PCRs {
		require.Contains(t, l.Replay(o.listings[0].values), p)
	}
	_, err = l.ReadBank("md5", nil)
	require.Error(t, err)
	_, err = l.ReadBanks(RegisterValues{"sha256": nil, "sm3_256": nil})
	require.Error(t, err)

	edited := newPlatform(t)
	edited.events[2].data = variable(guidGlobal, "SecureBoot", []byte{1, 1})
	edited.events[2].over = []byte("what was measured")
	forged, err := ParseLog(edited.log())
	require.NoError(t, err)
	b, err := forged.ReadBank("sha256", nil)
	require.NoError(t, err)
	require.Equal(t, []int{3}, b.Contradicted)
	for _, v := range b.Variables {
		require.NotEqual(t, "SecureBoot", v.Name, "what no digest covers is not a variable that was measured")
	}
}

// An event that repeats the one before it is judged as if it were alone; a digest or
// a byte that differs makes it another one.
func TestCoverageOfRepeatedEvents(t *testing.T) {
	raw, err := recorded(t, "baseline").bundle.Read(logPath)
	require.NoError(t, err)
	for at := range len(raw) { // some edits make no log, and some one that contradicts itself
		edited := bytes.Clone(raw)
		edited[at] ^= 0x10
		l, err := tcglog.Parse(edited, tcglog.DefaultLimits())
		if err != nil {
			continue
		}
		for _, banks := range [][]tpmwire.Algorithm{nil, {tpmwire.SHA384}} {
			for i, got := range coverageOf(l.Events, banks) {
				require.Equal(t, credible(&l.Events[i], banks), got, "byte %d, event %d", at, i)
			}
		}
	}
}
