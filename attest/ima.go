package attest

import (
	"bytes"

	"github.com/assay-hw/assay/internal/imalog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

const imaRegister = 10

// imaValues returns what PCR 10 may hold by IMA's own list: in the form of
// today's kernels and of those that padded a SHA-1 digest.
func (ap *appraiser) imaValues(a tpmwire.Algorithm) [][]byte {
	h := a.Hash()
	if h == 0 || len(ap.o.ima) == 0 {
		return nil
	}
	if known, ok := ap.ima[a]; ok {
		return known // a list has tens of thousands of entries
	}
	var out [][]byte
	for _, padded := range []bool{false, true} {
		if v, n := imalog.Replay(ap.o.ima, imaRegister, h, padded); n > 0 {
			out = append(out, v)
		}
	}
	ap.ima[a] = out
	return out
}

// judgeIMA replaces the outcome for PCR 10: firmware does not extend it, IMA
// does, with a list of its own.
func (ap *appraiser) judgeIMA(a tpmwire.Algorithm, r *PCRResult) {
	if r.PCR != imaRegister {
		return
	}
	r.Result, r.Cause = NotAttested, "no IMA measurement list in evidence"
	if r.value == nil {
		r.Cause = causeNoValue
		return
	}
	if isReset(a, imaRegister, r.value) && len(ap.o.ima) == 0 {
		r.Result, r.Cause = Explained, ""
		return
	}
	values := ap.imaValues(a)
	for _, v := range values {
		if bytes.Equal(v, r.value) {
			r.Result, r.Cause, r.Events = Explained, "", len(ap.o.ima)
			return
		}
	}
	if len(values) > 0 {
		r.Cause = "the IMA measurement list does not give the value; files may have been measured in between"
	}
}
