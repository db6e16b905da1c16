package attest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// Log is an event log as read. It proves nothing until a replay meets values
// that a TPM signed.
type Log struct {
	log *tcglog.Log

	once sync.Once
	said facts

	mu      sync.Mutex
	replays []*replayer // of the banks that were asked for: a handful
}

// replay is what the log gives for the registers of a bank, worked out when the
// first one asks; callers only read it.
func (l *Log) replay(a tpmwire.Algorithm) *replayer {
	if l == nil {
		return newReplayer(nil, a)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.replays {
		if r.alg == a {
			return r
		}
	}
	r := newReplayer(l.log, a)
	l.replays = append(l.replays, r)
	return r
}

// facts are what every check asks about the events of a log, worked out when the
// first one asks.
type facts struct {
	coverage  []coverage                    // by place in Log.Events
	measured  [maxRegisters][]*tcglog.Event // in order
	variables []measuredVariable            // whose data their digest covers
}

func (l *Log) facts() *facts {
	l.once.Do(func() {
		events := l.log.Events
		l.said.coverage = coverageOf(events, nil)
		measured := make([]*tcglog.Event, 0, len(events))
		for pcr := range l.said.measured {
			from := len(measured)
			for i := range events {
				if e := &events[i]; e.PCR == uint32(pcr) && e.Measured() {
					measured = append(measured, e)
				}
			}
			l.said.measured[pcr] = measured[from:len(measured):len(measured)]
		}
		l.said.variables = variablesOf(l.log, func(i int) bool { return l.said.coverage[i] == covered })
	})
	return &l.said
}

// Event is one record of a log, for people and for drafts. Type, Label and
// Data are hints: no digest covers the type, and few cover the data.
type Event struct {
	Number  int               `json:"number"`
	PCR     int64             `json:"pcr"`
	Type    string            `json:"type"`
	Label   string            `json:"label,omitempty"`
	Digests map[string]string `json:"digests"`
	Data    string            `json:"data"`             // "covered", "contradicted" or "not covered" by the digest
	Base    uint64            `json:"base,omitempty"`   // where firmware lay that the event is over
	Length  uint64            `json:"length,omitempty"` // in bytes
}

// ParseLog reads an event log within the default limits. With an error it
// also returns the records before the fault.
func ParseLog(b []byte) (*Log, error) {
	l, err := tcglog.Parse(b, tcglog.DefaultLimits())
	return &Log{log: l}, err
}

// Banks returns the names of the banks that the log declares.
func (l *Log) Banks() []string {
	var out []string
	for _, b := range l.log.Banks {
		out = append(out, b.Alg.String())
	}
	return out
}

// BankReading is what a log says in some of its banks.
type BankReading struct {
	PCRs         []PCRResult // of the strongest bank first
	Contradicted []int       // numbers of the events whose data must hash to their digest and does not
	Variables    []Variable  // that the firmware measured, as far as the digests cover them
}

// ReadBank is ReadBanks with one bank.
func (l *Log) ReadBank(bank string, values map[int][]byte) (BankReading, error) {
	return l.ReadBanks(RegisterValues{bank: values})
}

// ReadBanks holds a log against the values that somebody wrote down of the registers
// of some banks, and its events' data against their digests of these. It asks
// nothing of the other banks: Replay does, and an appraisal.
func (l *Log) ReadBanks(values RegisterValues) (BankReading, error) {
	var r BankReading
	banks := values.banks()
	r.PCRs = make([]PCRResult, 0, len(banks)*maxRegisters)
	for _, a := range banks {
		if a.Hash() == 0 {
			return BankReading{}, fmt.Errorf("bank %s cannot be replayed", a)
		}
		r.PCRs = l.replay(a).appendResults(r.PCRs, values.of(a))
	}
	if len(banks) < len(values) {
		return BankReading{}, fmt.Errorf("banks %q: at least one is not known", sortedKeys(values))
	}
	said := coverageOf(l.log.Events, banks)
	for i, c := range said {
		if c == contradicted {
			r.Contradicted = append(r.Contradicted, l.log.Events[i].Number)
		}
	}
	ms := variablesOf(l.log, func(i int) bool { return said[i] == covered })
	r.Variables = make([]Variable, len(ms))
	for i, m := range ms {
		r.Variables[i] = Variable{m.event.Number, m.GUID.String(), m.Name, m.Data}
	}
	return r, nil
}

// Padding returns how many bytes of padding stand behind the last record.
func (l *Log) Padding() int { return l.log.Padding }

// Events returns the records in order.
func (l *Log) Events() []Event {
	out := make([]Event, 0, len(l.log.Events))
	for i := range l.log.Events {
		e := &l.log.Events[i]
		v := Event{Number: e.Number, PCR: int64(e.PCR), Type: e.Type.String(), Label: label(e), Digests: map[string]string{}, Data: l.facts().coverage[i].String()}
		v.Base, v.Length = blob(e)
		for _, d := range e.Digests {
			v.Digests[d.Alg.String()] = hex.EncodeToString(d.Value)
		}
		out = append(out, v)
	}
	return out
}

// blob reads where the firmware lay that an event is over, and how long it is:
// EFI_PLATFORM_FIRMWARE_BLOB, the second form behind a text, and the start of
// EFI_IMAGE_LOAD_EVENT (TCG PFP 1.06, 10.2.3 to 10.2.5).
func blob(e *tcglog.Event) (base, length uint64) {
	d := e.Data
	switch e.Type {
	case tcglog.EFIFirmwareBlob2, tcglog.PostCode2:
		if len(d) == 0 || int(d[0]) >= len(d) {
			return 0, 0
		}
		d = d[1+int(d[0]):]
	case tcglog.EFIFirmwareBlob, tcglog.PostCode, tcglog.SCRTMContents:
	case tcglog.EFIBootServicesDriver, tcglog.EFIRuntimeDriver:
		if len(d) < 32 {
			return 0, 0
		}
		d = d[:16]
	default:
		return 0, 0
	}
	if len(d) != 16 {
		return 0, 0
	}
	return le64(d), le64(d[8:])
}

const maxLabel = 200

// label names an event for people: a variable, an action, a path. It is a
// hint wherever the digest does not cover the data.
func label(e *tcglog.Event) string {
	s := text(e)
	if len(s) > maxLabel {
		s = strings.ToValidUTF8(s[:maxLabel], "")
	}
	return norm.NFC.String(strings.TrimSpace(s))
}

func text(e *tcglog.Event) string {
	switch e.Type {
	case tcglog.EFIVariableDriver, tcglog.EFIVariableBoot, tcglog.EFIVariableBoot2, tcglog.EFIVariableAuthority:
		if v, _, err := efi.ParseVariable(e.Data); err == nil {
			return v.Name
		}
		return ""
	case tcglog.EFIBootServicesApp, tcglog.EFIBootServicesDriver, tcglog.EFIRuntimeDriver:
		if im, err := efi.ParseImageLoad(e.Data); err == nil {
			return im.Path
		}
		return ""
	case tcglog.EFIFirmwareBlob:
		if len(e.Data) == 16 {
			return fmt.Sprintf("base 0x%x length 0x%x", le64(e.Data), le64(e.Data[8:]))
		}
	case tcglog.EFIFirmwareBlob2, tcglog.EFIHandoffTables2:
		if len(e.Data) > 0 && int(e.Data[0]) < len(e.Data) {
			return plain(e.Data[1 : 1+int(e.Data[0])])
		}
	case tcglog.EFIGPT, tcglog.EFIGPT2:
		if g, err := efi.ParseGPT(e.Data); err == nil {
			return "GPT " + g.Disk.String()
		}
		return ""
	case tcglog.EventTag:
		if len(e.Data) > 8 {
			return plain(e.Data[8:])
		}
	case tcglog.Separator:
		if len(e.Data) == 4 {
			return "separator"
		}
	}
	return plain(e.Data)
}

func le64(b []byte) uint64 {
	var v uint64
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// plain returns data that is text, in ASCII or UTF-16, and "" for the rest.
func plain(b []byte) string {
	if len(b) > 4*maxLabel {
		b = b[:4*maxLabel]
	}
	if len(b) >= 4 && len(b)%2 == 0 && b[1] == 0 && b[3] == 0 && b[0] != 0 {
		return efi.Text(b)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 || !utf8.Valid(b) {
		return ""
	}
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\t' || c == 0x7f {
			return ""
		}
	}
	return efi.Printable(string(b))
}

// digestText is the form in which findings show a digest: one value that can
// be compared across scans.
func digestText(a tpmwire.Algorithm, d []byte) string {
	return a.String() + ":" + hex.EncodeToString(d)
}
