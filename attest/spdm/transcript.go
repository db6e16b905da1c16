package spdm

import (
	"bytes"
	"encoding/binary"
)

// Block is one measurement of a device (DSP0274, "Measurement block", and its
// DMTF form).
type Block struct {
	Index int
	Type  Type
	Raw   bool // the value is a bit stream, not a digest of one
	Value []byte
}

// Transcript is a conversation as somebody recorded it. Nothing in it is
// verified: Verify does that.
type Transcript struct {
	Version    byte       // of the messages: 0x11 is SPDM 1.1
	Algorithms Algorithms // as negotiated
	Slot       int        // whose key was asked to sign

	suite     suite
	nonce     []byte
	blocks    []Block
	complete  bool
	changed   bool // the device noticed a change while it answered
	signed    []byte
	signature []byte
	chains    map[int][]byte // certificate chains by slot, as transferred
}

// ParseTranscript reads request and response, request and response, one behind
// the other: what Redfish calls SignedMeasurements, and what libspdm's
// standard measurement transcript is. From SPDM 1.2 on the negotiation (VCA)
// comes first; a capture of 1.1 may leave it out. GET_DIGESTS, GET_CERTIFICATE
// and CHALLENGE may stand in between. The signed response, if there is one, is
// the last message.
func ParseTranscript(b []byte) (*Transcript, error) {
	if len(b) > maxTranscript {
		return nil, malformed(maxTranscript, "exceeds the limit of %d bytes", maxTranscript)
	}
	p := &parser{wire: wire{b: b}, t: &Transcript{chains: map[int][]byte{}}, parts: map[int][]byte{}}
	if err := p.negotiation(); err != nil {
		return nil, err
	}
	for n := 0; p.left() > 0; n++ {
		switch {
		case n == maxMessages:
			return nil, malformed(p.at, "more than %d messages", maxMessages)
		case p.t.signature != nil:
			return nil, malformed(p.at, "%d bytes behind the signed response", p.left())
		}
		if err := p.exchange(); err != nil {
			return nil, err
		}
	}
	if !p.running || len(p.t.blocks) == 0 {
		return nil, malformed(len(b), "the conversation does not end with measurements")
	}
	p.t.complete = p.t.complete || p.total > 0 && p.total == len(p.t.blocks)
	return p.t, nil
}

type parser struct {
	wire
	t       *Transcript
	vca     int            // end of the negotiation; 0 when there is none
	running bool           // the last message was MEASUREMENTS
	start   int            // of the run of GET_MEASUREMENTS that it ends
	total   int            // how many measurements the device says it has
	parts   map[int][]byte // of certificate chains, by slot
}

// negotiation reads VCA: version, capabilities, algorithms, in this order and
// each once (DSP0274, "SPDM request and response message flow").
func (p *parser) negotiation() error {
	if p.left() < 4 {
		return malformed(0, "%d bytes are no message", p.left())
	}
	if p.b[1] != getVersion {
		p.t.Version = p.b[0]
		if p.t.Version >= v12 && p.t.Version <= v13 {
			return malformed(0, "the negotiation is missing, which SPDM 1.2 and later sign too")
		}
		return p.supported(0)
	}
	if err := p.versions(); err != nil {
		return err
	}
	if err := p.capabilities(); err != nil {
		return err
	}
	if err := p.algorithms(); err != nil {
		return err
	}
	p.vca = p.at
	return nil
}

func (p *parser) supported(at int) error {
	if v := p.t.Version; v < v11 || v > v13 {
		return unsupported(at, "SPDM version 0x%02x, want 1.1 to 1.3", v)
	}
	return nil
}

// versions reads GET_VERSION and VERSION, which are of version 1.0 whatever is
// spoken later, and takes the version of the next message, which must be one
// that the device offered.
func (p *parser) versions() error {
	if _, err := p.expect(v10, getVersion, "GET_VERSION"); err != nil {
		return err
	}
	if _, err := p.expect(v10, getVersion-0x80, "VERSION"); err != nil {
		return err
	}
	if _, err := p.byte("VERSION"); err != nil {
		return err
	}
	n, err := p.byte("number of versions")
	if err != nil {
		return err
	}
	list, err := p.take(2*int(n), "list of versions")
	if err != nil {
		return err
	}
	if p.left() == 0 {
		return malformed(p.at, "the conversation ends after VERSION")
	}
	p.t.Version = p.b[p.at]
	if err := p.supported(p.at); err != nil {
		return err
	}
	for i := 0; i < len(list); i += 2 {
		if list[i+1] == p.t.Version { // major and minor are the upper byte
			return nil
		}
	}
	return malformed(p.at, "version 0x%02x is none that the device offers", p.t.Version)
}

func (p *parser) capabilities() error {
	size := 8 // reserved, CTExponent, reserved, Flags
	if p.t.Version >= v12 {
		size += 8 // DataTransferSize, MaxSPDMmsgSize
	}
	if _, err := p.expect(p.t.Version, getCapabilities, "GET_CAPABILITIES"); err != nil {
		return err
	}
	if _, err := p.take(size, "GET_CAPABILITIES"); err != nil {
		return err
	}
	h, err := p.expect(p.t.Version, getCapabilities-0x80, "CAPABILITIES")
	if err != nil {
		return err
	}
	if _, err := p.take(size, "CAPABILITIES"); err != nil {
		return err
	}
	if p.t.Version < v13 || h.param1&1 == 0 {
		return nil
	}
	// 1.3: the supported algorithms follow, with their own length inside.
	head, err := p.take(4, "supported algorithms")
	if err != nil {
		return err
	}
	_, err = p.take(int(binary.LittleEndian.Uint16(head[2:]))-len(head), "supported algorithms")
	return err
}

// algorithms reads NEGOTIATE_ALGORITHMS and ALGORITHMS, whose tables of
// extensions are passed over by the length that each message states.
func (p *parser) algorithms() error {
	sized := func(code byte, least int, what string) ([]byte, int, error) {
		h, err := p.expect(p.t.Version, code, what)
		if err != nil {
			return nil, 0, err
		}
		n, err := p.uint16(what)
		if err != nil {
			return nil, 0, err
		}
		if n < least {
			return nil, 0, malformed(h.at+4, "%s of %d bytes, want %d or more", what, n, least)
		}
		if _, err := p.take(n-6, what); err != nil {
			return nil, 0, err
		}
		return p.b[h.at:p.at], h.at, nil
	}
	request, _, err := sized(negotiate, 32, "NEGOTIATE_ALGORITHMS")
	if err != nil {
		return err
	}
	response, at, err := sized(negotiate-0x80, 36, "ALGORITHMS")
	if err != nil {
		return err
	}
	if p.t.suite, err = suiteOf(at, request, response); err != nil {
		return err
	}
	if p.t.suite.sign.scheme == eddsa && p.t.Version < v12 {
		return malformed(at+12, "EdDSA in SPDM 1.1, which does not have it")
	}
	p.t.suite.keys = p.t.Version >= v13 && request[7]&0x10 != 0 // ResponderMultiKeyConn
	p.t.Algorithms = p.t.suite.names()
	return nil
}

// exchange reads one request with its response. Any request but
// GET_MEASUREMENTS begins L1/L2 anew (DSP0274, "MEASUREMENTS signature
// generation").
func (p *parser) exchange() error {
	h, err := p.header("request")
	if err != nil {
		return err
	}
	if h.version != p.t.Version {
		return malformed(h.at, "message of version 0x%02x in a conversation of version 0x%02x", h.version, p.t.Version)
	}
	if h.code == getMeasurements {
		return p.measurements(h)
	}
	p.running = false
	if p.vca == 0 {
		return malformed(h.at+1, "request 0x%02x without the negotiation that tells its size", h.code)
	}
	switch h.code {
	case getDigests:
		return p.digests()
	case getCertificate:
		return p.certificate(h)
	case challenge:
		return p.challenge(h)
	}
	return malformed(h.at+1, "request 0x%02x does not belong into a record of measurements", h.code)
}

// asked is what a GET_MEASUREMENTS request asks for.
type asked struct {
	header
	signed  bool
	nonce   []byte
	slot    byte
	context []byte
}

func (p *parser) request(h header) (asked, error) {
	a := asked{header: h, signed: h.param1&1 != 0}
	var err error
	if a.signed {
		if a.nonce, err = p.take(nonceSize, "nonce of GET_MEASUREMENTS"); err != nil {
			return a, err
		}
		if a.slot, err = p.byte("slot of GET_MEASUREMENTS"); err != nil {
			return a, err
		}
		a.slot &= 0xf
	}
	if p.t.Version >= v13 {
		a.context, err = p.take(contextSize, "requester's context")
	}
	return a, err
}

// measurements reads one GET_MEASUREMENTS and its MEASUREMENTS.
func (p *parser) measurements(h header) error {
	if !p.running {
		p.running, p.start, p.total = true, h.at, 0
		p.t.blocks, p.t.complete, p.t.changed = nil, false, false
	}
	a, err := p.request(h)
	if err != nil {
		return err
	}
	r, err := p.expect(p.t.Version, getMeasurements-0x80, "MEASUREMENTS")
	if err != nil {
		return err
	}
	if err := p.record(a, r); err != nil {
		return err
	}
	if _, err := p.take(nonceSize, "nonce of MEASUREMENTS"); err != nil {
		return err
	}
	opaque, err := p.uint16("opaque data")
	if err != nil {
		return err
	}
	if _, err := p.take(opaque, "opaque data"); err != nil {
		return err
	}
	if p.t.Version >= v13 {
		at := p.at
		context, err := p.take(contextSize, "requester's context")
		if err != nil {
			return err
		}
		if !bytes.Equal(context, a.context) {
			return malformed(at, "the response repeats another context than that of the request")
		}
	}
	if !a.signed {
		return nil
	}
	return p.sign(a, r)
}

// sign takes the signature and what it is over: L1/L2.
func (p *parser) sign(a asked, r header) error {
	if r.param2&0xf != a.slot {
		return malformed(r.at+3, "slot %d answers, slot %d was asked", r.param2&0xf, a.slot)
	}
	if p.t.Version >= v12 {
		p.t.signed = append(bytes.Clone(p.b[:p.vca]), p.b[p.start:p.at]...)
	} else {
		p.t.signed = bytes.Clone(p.b[p.start:p.at])
	}
	size := p.t.suite.sign.size
	if p.vca == 0 {
		size = p.left() // the key tells its size
	}
	if size == 0 {
		return malformed(p.at, "the signature is missing")
	}
	sig, err := p.take(size, "signature")
	if err != nil {
		return err
	}
	p.t.signature, p.t.nonce, p.t.Slot = sig, a.nonce, int(a.slot)
	p.t.changed = p.t.changed || r.param2&0x30 == 0x10
	return nil
}
