package rim

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

var bankAlgorithms = map[string]tpmwire.Algorithm{"sha1": tpmwire.SHA1, "sha256": tpmwire.SHA256, "sha384": tpmwire.SHA384, "sha512": tpmwire.SHA512}

// log writes the expected events as an event log (TCG PC Client PFP 1.06, 10),
// in the banks that all of them have digests in.
func (e *exporter) log() []byte {
	refs := e.measurable()
	banks := commonBanks(refs)
	if len(banks) == 0 {
		if len(refs) > 0 {
			e.lose("boot", "events: they have no digests of one bank in common")
		}
		return nil
	}
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 106, 2)
	spec = binary.LittleEndian.AppendUint32(spec, uint32(len(banks)))
	for _, b := range banks {
		spec = binary.LittleEndian.AppendUint16(spec, uint16(bankAlgorithms[b]))
		spec = binary.LittleEndian.AppendUint16(spec, uint16(bankNames[b]))
	}
	spec = append(spec, 0)
	out := binary.LittleEndian.AppendUint32(nil, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(tcglog.NoAction))
	out = append(out, make([]byte, 20)...)
	out = append(binary.LittleEndian.AppendUint32(out, uint32(len(spec))), spec...)
	for _, r := range refs {
		for _, ev := range r.Events {
			out = append(out, record(r.PCR, ev, banks)...)
		}
	}
	return out
}

func record(pcr int, ev attest.EventReference, banks []string) []byte {
	typ, _ := tcglog.TypeNamed(ev.Type)
	out := binary.LittleEndian.AppendUint32(nil, uint32(pcr))
	out = binary.LittleEndian.AppendUint32(out, uint32(typ))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(banks)))
	var strongest []byte
	for _, b := range banks {
		d, _ := hex.DecodeString(ev.Digests[b][0]) // checked by measurable
		out = append(binary.LittleEndian.AppendUint16(out, uint16(bankAlgorithms[b])), d...)
		strongest = d
	}
	data := dataOf(typ, ev.Label, strongest, banks[len(banks)-1])
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	return append(out, data...)
}

// dataOf gives an event the data that its digest is of, where it can be known,
// or a label where the digest is never of the data. Nothing is made up.
func dataOf(typ tcglog.EventType, label string, sum []byte, bank string) []byte {
	for _, d := range [][]byte{make([]byte, 4), {0xff, 0xff, 0xff, 0xff}, []byte(label), append([]byte(label), 0)} {
		h := hashes[bank].New()
		h.Write(d)
		if bytes.Equal(h.Sum(nil), sum) {
			return d
		}
	}
	switch typ {
	case tcglog.PostCode, tcglog.SCRTMContents, tcglog.IPL:
		return []byte(label)
	}
	return nil
}

// measurable leaves out what an event log cannot say.
func (e *exporter) measurable() []attest.Reference {
	var out []attest.Reference
	for _, r := range e.manifest.Boot {
		line := fmt.Sprintf("pcr:%d", r.PCR)
		if r.Order == "any" && len(r.Events) > 1 {
			e.lose(line, "that its events may come in any order")
		}
		kept := attest.Reference{PCR: r.PCR}
		for _, ev := range r.Events {
			if e.keeps(line, &ev) {
				kept.Events = append(kept.Events, ev)
			}
		}
		if len(kept.Events) > 0 {
			out = append(out, kept)
		}
	}
	slices.SortStableFunc(out, func(a, b attest.Reference) int { return a.PCR - b.PCR })
	return out
}

func (e *exporter) keeps(line string, ev *attest.EventReference) bool {
	name := ev.Label
	if name == "" {
		name = ev.Type
	}
	if ev.Derived != "" && ev.Derived != "separator" {
		e.lose(line, "of %q what its digest is derived from, %s", name, ev.Derived)
	}
	if ev.Component != "" {
		e.lose(line, "of %q the component that it is code of", name)
	}
	if ev.Optional {
		e.lose(line, "of %q that it may be missing", name)
	}
	if _, known := tcglog.TypeNamed(ev.Type); !known {
		e.lose(line, "%q, whose type %q has no number", name, ev.Type)
		return false
	}
	kept := map[string][]string{}
	for bank, values := range ev.Digests {
		switch {
		case len(values) == 0:
		case bankNames[bank] == 0 || len(values[0]) != 2*bankNames[bank]:
			e.lose(line, "of %q the digests of bank %s", name, bank)
		default:
			if _, err := hex.DecodeString(values[0]); err != nil {
				e.lose(line, "of %q the digests of bank %s", name, bank)
				continue
			}
			if len(values) > 1 {
				e.lose(line, "of %q %d of its digests of bank %s: an event has one", name, len(values)-1, bank)
			}
			kept[bank] = values[:1]
		}
	}
	if len(kept) == 0 {
		e.lose(line, "%q, which has no digest", name)
		return false
	}
	ev.Digests = kept
	return true
}
