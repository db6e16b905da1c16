// Package tcglog reads the TCG event log that firmware leaves behind: the
// crypto-agile format and the SHA-1 format before it.
//
// It proves that the bytes are a sequence of whole records. It proves nothing
// about what they say: only the digests, the registers and the order of events
// are covered by a TPM, and only after a replay against signed values. Types,
// texts and paths are hints.
package tcglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/internal/tpmwire"
)

// The reasons for which a log is refused. What could be read before the fault
// is returned with the error.
var (
	ErrTruncated = errors.New("record runs past the end of the log")
	ErrMalformed = errors.New("malformed event log")
	ErrLimit     = errors.New("event log exceeds a limit")
	ErrTrailing  = errors.New("bytes behind the last record that are neither records nor padding")
)

// Limits bounds what a log may hold.
type Limits struct {
	Bytes      int // whole log
	Events     int
	EventBytes int // data of one event
	Digests    int // per event, and banks of the header
}

// DefaultLimits are far above any honest machine's log and far below what
// costs a verifier anything.
func DefaultLimits() Limits {
	return Limits{Bytes: 1 << 20, Events: 4096, EventBytes: 256 << 10, Digests: 8}
}

// VirtualPCR is the index of records that no register holds (Windows).
const VirtualPCR = 0xffffffff

// Bank is one hash algorithm that the header declares.
type Bank struct {
	Alg  tpmwire.Algorithm
	Size int
}

// Digest is one digest of an event. Value aliases the log.
type Digest struct {
	Alg   tpmwire.Algorithm
	Value []byte
}

// Event is one record. Digests and Data alias the log.
type Event struct {
	Number     int // position in the log, the header included
	Offset     int
	Length     int
	PCR        uint32
	Type       EventType
	Digests    []Digest
	DataOffset int
	Data       []byte
}

// Digest returns the event's digest in a bank, nil when it has none.
func (e *Event) Digest(a tpmwire.Algorithm) []byte {
	for _, d := range e.Digests {
		if d.Alg == a {
			return d.Value
		}
	}
	return nil
}

// Measured reports whether the event was extended into a register.
func (e *Event) Measured() bool { return e.Type != NoAction && e.PCR != VirtualPCR }

// Log is a parsed event log.
type Log struct {
	Agile      bool   // crypto-agile; otherwise the SHA-1 format
	Header     *Event // the Spec ID record, when the log begins with one
	Banks      []Bank // declared by the header; SHA-1 in the SHA-1 format
	Events     []Event
	Padding    int // bytes of 0x00 or 0xff behind the last record
	Undeclared []tpmwire.Algorithm
}

// Bank reports whether the log declares a bank.
func (l *Log) Bank(a tpmwire.Algorithm) bool {
	for _, b := range l.Banks {
		if b.Alg == a {
			return true
		}
	}
	return false
}

const (
	sha1HeaderSize = 32
	specID03       = "Spec ID Event03\x00"
	specIDPrefix   = "Spec ID Event0"
)

type parser struct {
	b       []byte
	at      int
	pad     int // where the run of equal padding bytes at the end begins
	limits  Limits
	log     *Log
	digests []Digest
}

// Parse reads a log. On error it also returns the records before the fault,
// which prove nothing by themselves.
func Parse(b []byte, limits Limits) (*Log, error) {
	p := &parser{b: b, limits: limits, log: &Log{}, pad: paddingStart(b)}
	if len(b) > limits.Bytes {
		return p.log, fmt.Errorf("event log of %d bytes, limit %d: %w", len(b), limits.Bytes, ErrLimit)
	}
	if len(b) < sha1HeaderSize {
		return p.log, fmt.Errorf("event log of %d bytes: %w", len(b), ErrTruncated)
	}
	err := p.run()
	return p.log, err
}

// paddingStart finds the run of 0x00 or of 0xff at the end. Buffers handed
// over by firmware are often larger than the log in them.
func paddingStart(b []byte) int {
	if len(b) == 0 || b[len(b)-1] != 0 && b[len(b)-1] != 0xff {
		return len(b)
	}
	i := len(b)
	for i > 0 && b[i-1] == b[len(b)-1] {
		i--
	}
	return i
}

func (p *parser) run() error {
	var first Event
	if err := p.sha1Event(&first); err != nil {
		return err
	}
	p.log.Banks = []Bank{{tpmwire.SHA1, 20}}
	if first.Type == NoAction && bytes.HasPrefix(first.Data, []byte(specIDPrefix)) {
		p.log.Header = &first
	}
	switch {
	case p.log.Header != nil && bytes.HasPrefix(first.Data, []byte(specID03)):
		p.log.Agile = true
		if err := p.specID(&first); err != nil {
			return err
		}
	case p.log.Header == nil:
		p.log.Events = append(p.log.Events, first)
	}
	return p.records()
}

// records reads what stands behind the first record.
func (p *parser) records() error {
	p.reserve()
	for p.at < len(p.b) {
		if p.at >= p.pad {
			p.log.Padding = len(p.b) - p.at
			return nil
		}
		if len(p.log.Events) >= p.limits.Events {
			return fmt.Errorf("offset %d: more than %d events: %w", p.at, p.limits.Events, ErrLimit)
		}
		start, n := p.at, len(p.log.Events)
		p.log.Events = append(p.log.Events, Event{Offset: p.at, Number: p.number()})
		if err := p.record(&p.log.Events[n]); err != nil {
			p.log.Events = p.log.Events[:n]
			if p.b[start] == 0 && p.b[len(p.b)-1] == 0 && len(p.b)-start < sha1HeaderSize {
				return fmt.Errorf("%w: %w", err, ErrTrailing)
			}
			return err
		}
	}
	return nil
}

func (p *parser) record(e *Event) error {
	if p.log.Agile {
		return p.agileEvent(e)
	}
	return p.sha1Event(e)
}

// reserve makes room for all records at once. What it counts is bounded by the
// limits and proves nothing: where it stops early, the room grows as it is used.
func (p *parser) reserve() {
	events, digests := 0, 0
	for at := p.at; at < p.pad && events < p.limits.Events; events++ {
		next, n := p.skip(at)
		if next < 0 {
			break
		}
		at, digests = next, digests+n
	}
	p.log.Events = slices.Grow(p.log.Events, events)
	p.digests = slices.Grow(p.digests, digests)
}

// skip finds where a record ends without looking into it, and how many digests it
// has; next is negative where the record cannot be.
func (p *parser) skip(at int) (next, digests int) {
	digests = 1
	if !p.log.Agile {
		at += 28
	} else {
		if len(p.b)-at < 12 {
			return -1, 0
		}
		n := binary.LittleEndian.Uint32(p.b[at+8:])
		if n > uint32(p.limits.Digests) {
			return -1, 0
		}
		at, digests = at+12, int(n)
		for range n {
			if len(p.b)-at < 2 {
				return -1, 0
			}
			at += 2 + p.size(tpmwire.Algorithm(binary.LittleEndian.Uint16(p.b[at:])))
		}
	}
	if len(p.b)-at < 4 {
		return -1, 0
	}
	size := binary.LittleEndian.Uint32(p.b[at:])
	if uint64(size) > uint64(len(p.b)-at-4) {
		return -1, 0
	}
	return at + 4 + int(size), digests
}

// size is the length of a digest: what the header declares, or what the
// algorithm gives.
func (p *parser) size(a tpmwire.Algorithm) int {
	for i := range p.log.Banks {
		if p.log.Banks[i].Alg == a {
			return p.log.Banks[i].Size
		}
	}
	return a.Size()
}

func (p *parser) truncated(what string, n int) error {
	return fmt.Errorf("offset %d: %s of %d bytes, %d left: %w", p.at, what, n, len(p.b)-p.at, ErrTruncated)
}

func (p *parser) take(n int, what string) ([]byte, error) {
	if n > len(p.b)-p.at {
		return nil, p.truncated(what, n)
	}
	s := p.b[p.at : p.at+n : p.at+n]
	p.at += n
	return s, nil
}

func (p *parser) u32(what string) (uint32, error) {
	s, err := p.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(s), nil
}

// sha1Event reads TCG_PCClientPCREvent (PFP 1.06, 10.2.1).
func (p *parser) sha1Event(e *Event) error {
	h, err := p.take(28, "event header")
	if err != nil {
		return err
	}
	e.PCR, e.Type = binary.LittleEndian.Uint32(h), EventType(binary.LittleEndian.Uint32(h[4:]))
	p.digests = append(p.digests, Digest{tpmwire.SHA1, h[8:28:28]})
	n := len(p.digests)
	e.Digests = p.digests[n-1 : n : n]
	return p.data(e)
}

func (p *parser) number() int {
	n := len(p.log.Events)
	if p.log.Header != nil {
		n++
	}
	return n
}

// agileEvent reads TCG_PCR_EVENT2 (PFP 1.06, 10.2.2).
func (p *parser) agileEvent(e *Event) error {
	h, err := p.take(12, "event header")
	if err != nil {
		return err
	}
	e.PCR, e.Type = binary.LittleEndian.Uint32(h), EventType(binary.LittleEndian.Uint32(h[4:]))
	n := binary.LittleEndian.Uint32(h[8:])
	if n > uint32(p.limits.Digests) {
		return fmt.Errorf("offset %d: %d digests in one event, limit %d: %w", e.Offset+8, n, p.limits.Digests, ErrLimit)
	}
	start := len(p.digests)
	for range n {
		d, err := p.digest()
		if err != nil {
			return err
		}
		for _, seen := range p.digests[start:] {
			if seen.Alg == d.Alg {
				return fmt.Errorf("offset %d: two %s digests in one event: %w", e.Offset, d.Alg, ErrMalformed)
			}
		}
		p.digests = append(p.digests, d)
	}
	e.Digests = p.digests[start:len(p.digests):len(p.digests)]
	return p.data(e)
}

func (p *parser) digest() (Digest, error) {
	id, err := p.take(2, "digest algorithm")
	if err != nil {
		return Digest{}, err
	}
	a := tpmwire.Algorithm(binary.LittleEndian.Uint16(id))
	size := p.size(a)
	switch {
	case size == 0:
		return Digest{}, fmt.Errorf("offset %d: digest of unknown algorithm 0x%04x that the header does not declare: %w", p.at-2, uint16(a), ErrMalformed)
	case !p.log.Bank(a):
		p.undeclared(a)
	}
	v, err := p.take(size, "digest")
	return Digest{a, v}, err
}

func (p *parser) undeclared(a tpmwire.Algorithm) {
	for _, u := range p.log.Undeclared {
		if u == a {
			return
		}
	}
	p.log.Undeclared = append(p.log.Undeclared, a)
}

func (p *parser) data(e *Event) error {
	n, err := p.u32("event size")
	if err != nil {
		return err
	}
	if uint64(n) > uint64(len(p.b)-p.at) {
		return p.truncated("event data", int(min(n, 1<<31-1)))
	}
	if uint64(n) > uint64(p.limits.EventBytes) {
		return fmt.Errorf("offset %d: event data of %d bytes, limit %d: %w", p.at, n, p.limits.EventBytes, ErrLimit)
	}
	e.DataOffset = p.at
	e.Data, err = p.take(int(n), "event data")
	e.Length = p.at - e.Offset
	return err
}

// specID reads TCG_EfiSpecIdEvent (PFP 1.06, 10.4.5.1).
func (p *parser) specID(e *Event) error {
	d := e.Data[len(specID03):]
	if len(d) < 12 {
		return fmt.Errorf("offset %d: Spec ID of %d bytes: %w", e.DataOffset, len(e.Data), ErrMalformed)
	}
	n := binary.LittleEndian.Uint32(d[8:])
	if n == 0 || n > uint32(p.limits.Digests) {
		return fmt.Errorf("offset %d: Spec ID declares %d banks, limit %d: %w", e.DataOffset, n, p.limits.Digests, ErrLimit)
	}
	d = d[12:]
	if uint32(len(d)) < 4*n {
		return fmt.Errorf("offset %d: Spec ID too short for %d banks: %w", e.DataOffset, n, ErrMalformed)
	}
	p.log.Banks = make([]Bank, 0, n)
	for i := range int(n) {
		b := Bank{tpmwire.Algorithm(binary.LittleEndian.Uint16(d[4*i:])), int(binary.LittleEndian.Uint16(d[4*i+2:]))}
		if want := b.Alg.Size(); b.Size == 0 || want != 0 && b.Size != want {
			return fmt.Errorf("offset %d: Spec ID gives %s digests %d bytes, want %d: %w", e.DataOffset, b.Alg, b.Size, want, ErrMalformed)
		}
		if p.log.Bank(b.Alg) {
			return fmt.Errorf("offset %d: Spec ID declares %s twice: %w", e.DataOffset, b.Alg, ErrMalformed)
		}
		p.log.Banks = append(p.log.Banks, b)
	}
	return nil
}
