package spdmtest

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Conversation says what a requester asks.
type Conversation struct {
	Nonce        []byte // of the signed request; 32 bytes
	OneByOne     bool   // asks for each measurement, the last one signed
	Certificates bool   // asks for digests and certificates before
	Challenge    bool   // and challenges the device
	NoVersion    bool   // leaves the negotiation out of the record
	Unsigned     bool   // asks for no signature
}

// Converse talks to a device and returns what was said, one message behind the
// other.
func (d *Device) Converse(c Conversation) ([]byte, error) {
	r := &requester{device: d}
	r.negotiate()
	if c.NoVersion {
		r.said = nil
	}
	if c.Certificates {
		r.certificates()
	}
	if c.Challenge {
		r.ask(append([]byte{d.Version, 0x83, 0, 0xff}, make([]byte, 32)...), 0)
	}
	if c.OneByOne {
		r.ask([]byte{d.Version, 0xe0, 0, 0}, 0)
		for i, b := range d.Blocks {
			r.measure(b.Index, c.Nonce, i == len(d.Blocks)-1 && !c.Unsigned)
		}
	} else {
		r.measure(0xff, c.Nonce, !c.Unsigned)
	}
	return r.said, r.err
}

type requester struct {
	device *Device
	said   []byte
	err    error
}

// ask sends a request and returns the response; extra is a context that later
// versions append.
func (r *requester) ask(q []byte, extra byte) []byte {
	if r.err != nil {
		return nil
	}
	if r.device.Version >= 0x13 && (q[1] == 0xe0 || q[1] == 0x83) {
		q = append(q, extra, 1, 2, 3, 4, 5, 6, 7)
	}
	a := r.device.Respond(q)
	if len(a) < 4 || a[1] != q[1]-0x80 {
		r.err = fmt.Errorf("request %x was answered with %x", q[:4], a[:min(4, len(a))])
		return nil
	}
	r.said = slices.Concat(r.said, q, a)
	return a
}

func (r *requester) negotiate() {
	v := r.device.Version
	r.ask([]byte{0x10, 0x84, 0, 0}, 0)
	q := []byte{v, 0xe1, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0}
	if v >= 0x12 {
		q = binary.LittleEndian.AppendUint32(q, 4096)
		q = binary.LittleEndian.AppendUint32(q, 65536)
	}
	if v >= 0x13 {
		q[2] = 1 // wants the supported algorithms
	}
	r.ask(q, 0)
	q = make([]byte, 32+4)
	q[0], q[1], q[2], q[6] = v, 0xe3, 1, 1
	binary.LittleEndian.PutUint16(q[4:], uint16(len(q)))
	binary.LittleEndian.PutUint32(q[8:], 0xfff)
	binary.LittleEndian.PutUint32(q[12:], 0x7)
	copy(q[32:], []byte{2, 0x20, 0x3f, 0})
	if v >= 0x12 {
		q[7] = 2
	}
	r.ask(q, 0)
}

func (r *requester) certificates() {
	v := r.device.Version
	r.ask([]byte{v, 0x81, 0, 0}, 0)
	for at := 0; r.err == nil; {
		q := binary.LittleEndian.AppendUint16([]byte{v, 0x82, 0, 0}, uint16(at))
		a := r.ask(binary.LittleEndian.AppendUint16(q, 1024), 0)
		if len(a) < 8 {
			return
		}
		at += int(binary.LittleEndian.Uint16(a[4:]))
		if binary.LittleEndian.Uint16(a[6:]) == 0 {
			return
		}
	}
}

func (r *requester) measure(operation byte, nonce []byte, signed bool) {
	q := []byte{r.device.Version, 0xe0, 0, operation}
	if signed {
		q[2] = 1
		q = append(append(q, nonce...), 0)
	}
	r.ask(q, operation)
}
