package spdmtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// Respond answers one request. What comes out of turn or is malformed gets an
// ERROR response.
func (d *Device) Respond(q []byte) []byte {
	if len(q) < 4 {
		return d.fail(0x01)
	}
	if q[1] != 0xe0 {
		d.l1 = nil
	}
	var out []byte
	switch {
	case q[1] == 0x84:
		d.state, d.vca = versioned, nil
		out = []byte{0x10, 0x04, 0, 0, 0, 3, 0, 0x11, 0, 0x12, 0, 0x13}
	case q[0] != d.Version:
		return d.fail(0x41)
	case q[1] == 0xe1 && d.state == versioned:
		d.state, out = capable, d.capabilities(q)
	case q[1] == 0xe3 && d.state == capable:
		d.state, out = negotiated, d.algorithms(q)
	case d.state != negotiated:
		return d.fail(0x04)
	case q[1] == 0x81:
		return d.digests()
	case q[1] == 0x82:
		return d.certificate(q)
	case q[1] == 0x83:
		return d.challenge(q)
	case q[1] == 0xe0:
		return d.measurements(q)
	}
	if out == nil {
		return d.fail(0x04)
	}
	d.vca = slices.Concat(d.vca, q, out)
	return out
}

func (d *Device) fail(code byte) []byte { return []byte{d.Version, 0x7f, code, 0} }

func (d *Device) capabilities(q []byte) []byte {
	out := append([]byte{d.Version, 0x61, 0, 0, 0, 10, 0, 0}, 0x36, 0, 0x04, 0) // CERT, CHAL, MEAS with signature, ALIAS_CERT
	if d.Version >= 0x12 {
		out = binary.LittleEndian.AppendUint32(out, 4096)
		out = binary.LittleEndian.AppendUint32(out, 65536)
	}
	if d.Version >= 0x13 && q[2]&1 != 0 {
		out[2] = 1
		block := make([]byte, 28)
		binary.LittleEndian.PutUint16(block[2:], uint16(len(block)))
		out = append(out, block...)
	}
	return out
}

func (d *Device) algorithms(q []byte) []byte {
	if len(q) < 32 || binary.LittleEndian.Uint32(q[8:])&d.Asym == 0 || binary.LittleEndian.Uint32(q[12:])&d.Hash == 0 {
		return nil
	}
	out := make([]byte, 36+4) // with one table: DHE, none selected
	out[0], out[1], out[2], out[6] = d.Version, 0x63, 1, 1
	binary.LittleEndian.PutUint16(out[4:], uint16(len(out)))
	binary.LittleEndian.PutUint32(out[8:], d.Hash<<1)
	binary.LittleEndian.PutUint32(out[12:], d.Asym)
	binary.LittleEndian.PutUint32(out[16:], d.Hash)
	copy(out[36:], []byte{2, 0x20, 0, 0})
	if d.Version >= 0x12 {
		out[7] = 2 // opaque data format 1
	}
	return out
}

func (d *Device) digests() []byte {
	return append([]byte{d.Version, 0x01, 1, 1}, digest(hashes[d.Hash], d.Chain())...)
}

func (d *Device) certificate(q []byte) []byte {
	chain := d.Chain()
	if len(q) != 8 || q[2]&0xf != 0 {
		return d.fail(0x01)
	}
	at, n := int(binary.LittleEndian.Uint16(q[4:])), int(binary.LittleEndian.Uint16(q[6:]))
	if at >= len(chain) {
		return d.fail(0x01)
	}
	n = min(n, 1024, len(chain)-at)
	out := []byte{d.Version, 0x02, 0, 0}
	out = binary.LittleEndian.AppendUint16(out, uint16(n))
	out = binary.LittleEndian.AppendUint16(out, uint16(len(chain)-at-n))
	return append(out, chain[at:at+n]...)
}

// challenge answers with a signature that nobody of these tests checks.
func (d *Device) challenge(q []byte) []byte {
	out := append([]byte{d.Version, 0x03, 0, 1}, digest(hashes[d.Hash], d.Chain())...)
	out = append(out, make([]byte, 32)...)
	if q[3] != 0 {
		out = append(out, make([]byte, hashes[d.Hash].Size())...)
	}
	out = append(out, 0, 0)
	if d.Version >= 0x13 {
		out = append(out, q[len(q)-8:]...)
	}
	return append(out, make([]byte, d.signatureSize())...)
}

func (d *Device) measurements(q []byte) []byte {
	signed, want := q[2]&1 != 0, 4
	if signed {
		want += 33
	}
	if d.Version >= 0x13 {
		want += 8
	}
	if len(q) != want || signed && q[36]&0xf != 0 {
		d.l1 = nil
		return d.fail(0x01)
	}
	out := []byte{d.Version, 0x60, 0, 0}
	var record []byte
	count := 0
	for _, b := range d.Blocks {
		if q[3] == 0xff || q[3] == b.Index {
			count++
			record = append(record, b.Index, 1)
			record = binary.LittleEndian.AppendUint16(record, uint16(len(b.Value)+3))
			record = append(record, b.Type)
			record = binary.LittleEndian.AppendUint16(record, uint16(len(b.Value)))
			record = append(record, b.Value...)
		}
	}
	switch {
	case q[3] == 0:
		out[2] = byte(len(d.Blocks))
	case count == 0:
		d.l1 = nil
		return d.fail(0x01)
	}
	out = append(out, byte(count), byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	out = append(out, record...)
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce)
	out = append(out, nonce...)
	opaque := []byte{1, 0, 0, 0, 0, 0, 2, 0, 0xca, 0xfe, 0, 0}
	out = binary.LittleEndian.AppendUint16(out, uint16(len(opaque)))
	out = append(out, opaque...)
	if d.Version >= 0x13 {
		out = append(out, q[len(q)-8:]...)
	}
	if d.Tamper != nil {
		d.Tamper(q, out)
	}
	d.l1 = slices.Concat(d.l1, q, out)
	if !signed {
		return out
	}
	l1 := d.l1
	if d.Version >= 0x12 {
		l1 = slices.Concat(d.vca, d.l1)
	}
	d.l1 = nil
	return append(out, d.sign(l1)...)
}

func (d *Device) signatureSize() int {
	switch k := d.Key.Public().(type) {
	case *rsa.PublicKey:
		return k.Size()
	case *ecdsa.PublicKey:
		return 2 * ((k.Params().BitSize + 7) / 8)
	}
	return 64
}

// sign makes the signature of a MEASUREMENTS response over L1.
func (d *Device) sign(l1 []byte) []byte {
	h := hashes[d.Hash]
	m, opts := digest(h, l1), crypto.SignerOpts(h)
	if d.Version >= 0x12 {
		var p bytes.Buffer
		for range 4 {
			fmt.Fprintf(&p, "dmtf-spdm-v1.%d.*", d.Version&0xf)
		}
		p.Write(make([]byte, 6))
		p.WriteString("responder-measurements signing")
		p.Write(m)
		m = p.Bytes()
		if d.Asym != Ed25519 {
			m = digest(h, m)
		}
	}
	switch k := d.Key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, m)
		if err != nil {
			return nil
		}
		n := (k.Params().BitSize + 7) / 8
		out := make([]byte, 2*n)
		r.FillBytes(out[:n])
		s.FillBytes(out[n:])
		return out
	case *rsa.PrivateKey:
		if bits.OnesCount32(d.Asym&(RSAPSS2048|RSAPSS3072)) == 1 {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
		}
	default:
		opts = crypto.Hash(0)
	}
	out, err := d.Key.Sign(rand.Reader, m, opts)
	if err != nil {
		return nil
	}
	return out
}
