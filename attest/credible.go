package attest

import (
	"bytes"
	"slices"

	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
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

// coverageOf is what the digests of each event have to say about its data, in some
// banks; nil is all. An event that repeats the one before it, as separators do, is
// not hashed again.
func coverageOf(events []tcglog.Event, banks []tpmwire.Algorithm) []coverage {
	out := make([]coverage, len(events))
	for i := range events {
		if i > 0 && repeats(&events[i], &events[i-1]) {
			out[i] = out[i-1]
			continue
		}
		out[i] = credible(&events[i], banks)
	}
	return out
}

// repeats reports whether two events that were extended have one type, one data and
// the same digests.
func repeats(a, b *tcglog.Event) bool {
	return a.Type == b.Type && a.Measured() && b.Measured() && bytes.Equal(a.Data, b.Data) &&
		slices.EqualFunc(a.Digests, b.Digests, func(x, y tcglog.Digest) bool { return x.Alg == y.Alg && bytes.Equal(x.Value, y.Value) })
}

// credibility compares an event's data with its digests, by the rule that the
// event's type defines (TCG PFP 1.06, 10.4). The rules below hold without
// exception in more than a hundred public logs; where firmware is known to
// break a rule, a mismatch is only unlikely.
func credibility(e *tcglog.Event) coverage { return credible(e, nil) }

// credible is credibility by the event's digests of some banks; nil is all.
func credible(e *tcglog.Event, banks []tpmwire.Algorithm) coverage {
	if !e.Measured() {
		return notCovered
	}
	f := definedForms(e)
	checked := false
	for i := range e.Digests {
		d := &e.Digests[i]
		if f.n == 0 || d.Alg.Hash() == 0 || banks != nil && !slices.Contains(banks, d.Alg) {
			continue
		}
		checked = true
		if !f.give(d) {
			return f.broken
		}
	}
	if !checked {
		return notCovered
	}
	return covered
}

// forms are the byte strings whose hash a digest may be, and what a mismatch
// means.
type forms struct {
	of     [2][]byte
	n      int
	broken coverage
}

func only(b []byte, broken coverage) forms { return forms{[2][]byte{b}, 1, broken} }

func either(a, b []byte) forms { return forms{[2][]byte{a, b}, 2, contradicted} }

// give reports whether a digest is that of one of the forms. The next digest of the
// event is mostly over the same one, which is then tried first.
func (f *forms) give(d *tcglog.Digest) bool {
	var sum [tpmwire.MaxDigest]byte
	for i, b := range f.of[:f.n] {
		if bytes.Equal(d.Alg.Sum(sum[:0], b), d.Value) {
			f.of[0], f.of[i] = f.of[i], f.of[0]
			return true
		}
	}
	return false
}

// definedForms returns what an event's type defines its digest over.
func definedForms(e *tcglog.Event) forms {
	d := e.Data
	switch e.Type {
	case tcglog.EFIVariableDriver, tcglog.EFIGPT, tcglog.EFIAction:
		return only(d, contradicted)
	case tcglog.EFIVariableAuthority:
		// shim logs one byte more than it hashes.
		if len(d) > 0 {
			return either(d, d[:len(d)-1])
		}
		return only(d, contradicted)
	case tcglog.EFIVariableBoot, tcglog.EFIVariableBoot2:
		// The profile first said the variable's contents, then the whole
		// structure; both are in the field.
		if contents, ok := efi.VariableData(d); ok {
			return either(d, contents)
		}
		return only(d, contradicted)
	case tcglog.Separator:
		if len(d) == 4 {
			return only(d, contradicted)
		}
		return forms{} // OpenPOWER writes texts here
	case tcglog.SCRTMVersion:
		return only(d, unlikely) // several servers hash something else (tpm2-tools#3457)
	case tcglog.OmitBootDeviceEvents:
		return only(d, unlikely)
	case tcglog.IPL:
		for _, prefix := range []string{"grub_cmd: ", "kernel_cmdline: ", "module_cmdline: "} {
			if rest, ok := bytes.CutPrefix(d, []byte(prefix)); ok {
				return either(bytes.TrimSuffix(rest, []byte{0}), rest)
			}
		}
	}
	return forms{}
}
