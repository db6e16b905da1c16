package attest

import (
	"bytes"

	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/tcglog"
)

// coverage says what an event's digest has to say about its data.
type coverage uint8

const (
	notCovered   coverage = iota // the digest is over something else
	covered                      // the data hashes to the digest
	unlikely                     // the data should hash to the digest, but firmware exists that gets this wrong
	contradicted                 // the data must hash to the digest and does not
)

// String returns the word used in event listings.
func (c coverage) String() string {
	switch c {
	case covered:
		return "covered"
	case unlikely, contradicted:
		return "contradicted"
	}
	return "not covered"
}

// credibility compares an event's data with its digests, by the rule that the
// event's type defines (TCG PFP 1.06, 10.4). The rules below hold without
// exception in more than a hundred public logs; where firmware is known to
// break a rule, a mismatch is only unlikely.
func credibility(e *tcglog.Event) coverage {
	if !e.Measured() {
		return notCovered
	}
	forms, broken := definedForms(e)
	if len(forms) == 0 {
		return notCovered
	}
	checked := false
	for _, d := range e.Digests {
		h := d.Alg.Hash()
		if h == 0 {
			continue
		}
		checked = true
		ok := false
		for _, f := range forms {
			sum := h.New()
			sum.Write(f)
			if bytes.Equal(sum.Sum(nil), d.Value) {
				ok = true
				break
			}
		}
		if !ok {
			return broken
		}
	}
	if !checked {
		return notCovered
	}
	return covered
}

// definedForms returns the byte strings whose hash the digest may be, and what
// a mismatch means.
func definedForms(e *tcglog.Event) (forms [][]byte, broken coverage) {
	d := e.Data
	switch e.Type {
	case tcglog.EFIVariableDriver, tcglog.EFIGPT, tcglog.EFIAction:
		return [][]byte{d}, contradicted
	case tcglog.EFIVariableAuthority:
		// shim logs one byte more than it hashes.
		if len(d) > 0 {
			return [][]byte{d, d[:len(d)-1]}, contradicted
		}
		return [][]byte{d}, contradicted
	case tcglog.EFIVariableBoot, tcglog.EFIVariableBoot2:
		// The profile first said the variable's contents, then the whole
		// structure; both are in the field.
		forms = [][]byte{d}
		if v, _, err := efi.ParseVariable(d); err == nil {
			forms = append(forms, v.Data)
		}
		return forms, contradicted
	case tcglog.Separator:
		if len(d) == 4 {
			return [][]byte{d}, contradicted
		}
		return nil, notCovered // OpenPOWER writes texts here
	case tcglog.SCRTMVersion:
		return [][]byte{d}, unlikely // several servers hash something else (tpm2-tools#3457)
	case tcglog.OmitBootDeviceEvents:
		return [][]byte{d}, unlikely
	case tcglog.IPL:
		for _, prefix := range []string{"grub_cmd: ", "kernel_cmdline: ", "module_cmdline: "} {
			if rest, ok := bytes.CutPrefix(d, []byte(prefix)); ok {
				return [][]byte{bytes.TrimSuffix(rest, []byte{0}), rest}, contradicted
			}
		}
	}
	return nil, notCovered
}
