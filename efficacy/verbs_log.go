package efficacy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/internal/tcglog"
)

// logVerbs change the event log. The TPM is taken to have seen what the log then
// says, unless tpm-saw says otherwise. EVENT is PCR/TYPE/NUMBER: the events of a
// register that have a type, or any type for "*", counted from 0.
func logVerbs() map[string]verb {
	return map[string]verb{
		"event-digest": {"bc", 2, false, "EVENT TEXT: other code was measured, whose digest is that of the text", (*scene).eventDigest},
		"event-data":   {"bc", 3, false, "EVENT OLD NEW: the event's text alone, at equal length", (*scene).eventData},
		"event-both":   {"bc", 3, false, "EVENT OLD NEW: the event's text at equal length, and its digest", (*scene).eventBoth},
		"event-type":   {"bc", 2, false, "EVENT TYPE: the event calls itself something else", (*scene).eventType},
		"event-pcr":    {"bc", 2, false, "EVENT PCR: the event names another register", (*scene).eventPCR},
		"event-drop":   {"bc", 1, false, "EVENT: the event is gone", (*scene).eventDrop},
		"event-again":  {"bc", 1, false, "EVENT: the event stands twice", (*scene).eventAgain},
		"event-swap":   {"bc", 2, false, "EVENT EVENT: two events change places", (*scene).eventSwap},
		"event-add":    {"bc", 4, false, "EVENT PCR TYPE HEX: an event before this one, with its data and the digest of the data", (*scene).eventAdd},
		"event-text":   {"bc", 4, false, "EVENT PCR TYPE TEXT: the same with text", (*scene).eventText},
		"event-flood":  {"bc", 2, false, "EVENT NUMBER: so many events of the profile before this one", (*scene).eventFlood},
		"log-cut":      {"bc", 1, false, "EVENT: the log ends before the event", (*scene).logCut},
		"log-recorded": {"bc", 1, false, "MACHINE: the log of another recording", func(s *scene, a []string) error { return s.recordedAs([]string{a[0], logAt}) }},
	}
}

// log parses the log in evidence.
func (s *scene) log() ([]byte, *tcglog.Log, error) {
	raw, err := s.file(logAt)
	if err != nil {
		return nil, nil, err
	}
	l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
	return raw, l, err
}

// event finds the one that a step names.
func (s *scene) event(name string) ([]byte, *tcglog.Log, *tcglog.Event, error) {
	raw, l, err := s.log()
	if err != nil {
		return nil, nil, nil, err
	}
	f := strings.Split(name, "/")
	if len(f) != 3 {
		return nil, nil, nil, fmt.Errorf("event %q: want PCR/TYPE/NUMBER", name)
	}
	pcr, err1 := strconv.Atoi(f[0])
	n, err2 := strconv.Atoi(f[2])
	typ, known := tcglog.TypeNamed(f[1])
	if err1 != nil || err2 != nil || !known && f[1] != "*" {
		return nil, nil, nil, fmt.Errorf("event %q: want PCR/TYPE/NUMBER", name)
	}
	for i := range l.Events {
		e := &l.Events[i]
		if int(e.PCR) != pcr || known && e.Type != typ || !known && !e.Measured() {
			continue
		}
		if n == 0 {
			return raw, l, e, nil
		}
		n--
	}
	return nil, nil, nil, fmt.Errorf("no event %s in the log", name)
}

func digests(raw []byte, e *tcglog.Event, over []byte) {
	for _, d := range e.Digests { // they lie before the data, each once
		at := bytes.Index(raw[e.Offset:e.DataOffset], d.Value) + e.Offset
		h := d.Alg.Hash().New()
		h.Write(over)
		copy(raw[at:], h.Sum(nil))
	}
}

func (s *scene) eventDigest(a []string) error {
	raw, _, e, err := s.event(a[0])
	if err != nil {
		return err
	}
	digests(raw, e, []byte(a[1]))
	s.files[logAt] = raw
	return nil
}

func (s *scene) edited(a []string) (raw []byte, e *tcglog.Event, err error) {
	raw, _, e, err = s.event(a[0])
	if err != nil {
		return nil, nil, err
	}
	data := raw[e.DataOffset : e.DataOffset+len(e.Data)]
	if len(a[1]) != len(a[2]) || !bytes.Contains(data, []byte(a[1])) {
		return nil, nil, fmt.Errorf("%q is not in the event, or %q has another length: %q", a[1], a[2], data)
	}
	copy(data, bytes.Replace(data, []byte(a[1]), []byte(a[2]), 1))
	return raw, e, nil
}

func (s *scene) eventData(a []string) error {
	raw, _, err := s.edited(a)
	if err == nil {
		s.files[logAt] = raw
	}
	return err
}

func (s *scene) eventBoth(a []string) error {
	raw, e, err := s.edited(a)
	if err != nil {
		return err
	}
	digests(raw, e, raw[e.DataOffset:e.DataOffset+len(e.Data)])
	s.files[logAt] = raw
	return nil
}

func (s *scene) eventType(a []string) error {
	raw, _, e, err := s.event(a[0])
	if err != nil {
		return err
	}
	t, ok := tcglog.TypeNamed(a[1])
	if !ok {
		return fmt.Errorf("unknown type %s", a[1])
	}
	binary.LittleEndian.PutUint32(raw[e.Offset+4:], uint32(t))
	s.files[logAt] = raw
	return nil
}

func (s *scene) eventPCR(a []string) error {
	raw, _, e, err := s.event(a[0])
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(a[1], 10, 5)
	binary.LittleEndian.PutUint32(raw[e.Offset:], uint32(n))
	s.files[logAt] = raw
	return err
}

func record(raw []byte, e *tcglog.Event) []byte {
	return bytes.Clone(raw[e.Offset : e.Offset+e.Length])
}

func (s *scene) eventDrop(a []string) error {
	raw, _, e, err := s.event(a[0])
	if err == nil {
		s.files[logAt] = slices.Delete(raw, e.Offset, e.Offset+e.Length)
	}
	return err
}

func (s *scene) eventAgain(a []string) error {
	raw, _, e, err := s.event(a[0])
	if err == nil {
		s.files[logAt] = slices.Insert(raw, e.Offset, record(raw, e)...)
	}
	return err
}

func (s *scene) eventSwap(a []string) error {
	raw, _, x, err := s.event(a[0])
	if err != nil {
		return err
	}
	_, _, y, err := s.event(a[1])
	if err != nil {
		return err
	}
	if x.Offset > y.Offset {
		x, y = y, x
	}
	s.files[logAt] = slices.Concat(raw[:x.Offset], record(raw, y), raw[x.Offset+x.Length:y.Offset], record(raw, x), raw[y.Offset+y.Length:])
	return nil
}

func (s *scene) eventAdd(a []string) error {
	data, err := hex.DecodeString(a[3])
	if err != nil {
		return err
	}
	return s.eventText([]string{a[0], a[1], a[2], string(data)})
}

// eventText writes an event in the form of the log's own (TCG PFP 1.06, 10.2.2).
func (s *scene) eventText(a []string) error {
	raw, l, e, err := s.event(a[0])
	if err != nil {
		return err
	}
	pcr, err := strconv.ParseUint(a[1], 10, 5)
	if err != nil {
		return err
	}
	t, ok := tcglog.TypeNamed(a[2])
	if !ok {
		return fmt.Errorf("unknown type %s", a[2])
	}
	s.files[logAt] = slices.Insert(raw, e.Offset, event(l, uint32(pcr), t, []byte(a[3]))...)
	return nil
}

func event(l *tcglog.Log, pcr uint32, t tcglog.EventType, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcr)
	b = binary.LittleEndian.AppendUint32(b, uint32(t))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.Banks)))
	for _, bank := range l.Banks {
		b = binary.LittleEndian.AppendUint16(b, uint16(bank.Alg))
		h := bank.Alg.Hash().New()
		if t != tcglog.NoAction {
			h.Write(data)
			b = append(b, h.Sum(nil)...)
		} else {
			b = append(b, make([]byte, bank.Size)...)
		}
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}

func (s *scene) eventFlood(a []string) error {
	raw, l, e, err := s.event(a[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(a[1])
	if err != nil || n < 1 || n > 2_000_000 {
		return fmt.Errorf("number %s", a[1])
	}
	var flood []byte
	for i := range n {
		flood = append(flood, event(l, e.PCR, tcglog.EFIAction, fmt.Appendf(nil, "harmless step %d", i))...)
	}
	s.files[logAt] = slices.Concat(raw[:e.Offset], flood, raw[e.Offset:])
	return nil
}

func (s *scene) logCut(a []string) error {
	raw, _, e, err := s.event(a[0])
	if err == nil {
		s.files[logAt] = raw[:e.Offset]
	}
	return err
}
