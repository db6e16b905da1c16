package attest

import (
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
	_, err := l.ReadBank("md5", nil)
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
