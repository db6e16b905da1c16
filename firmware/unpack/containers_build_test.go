package unpack_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/unpack"
)

// The tests build images and containers themselves.

func guidBytes(s string) []byte {
	var b []byte
	for i, p := range strings.Split(s, "-") {
		raw, _ := hex.DecodeString(p)
		if i < 3 {
			slices.Reverse(raw)
		}
		b = append(b, raw...)
	}
	return b
}

const (
	fileSystem = "8C8CE578-8A3D-4F1C-9935-896185C32DD3"
	driverA    = "11111111-1111-4111-8111-111111111111"
	driverB    = "22222222-2222-4222-8222-222222222222"
)

func driver(guid, text string) []byte {
	n := 24 + 4 + len(text)
	b := append(guidBytes(guid), 0, 0xaa, 7, 0, byte(n), byte(n>>8), byte(n>>16), 0)
	var sum byte
	for i, c := range b {
		if i != 17 {
			sum += c
		}
	}
	b[16], b[23] = -sum, 0xf8
	b = append(append(b, byte(n-24), byte((n-24)>>8), 0, 0x10), text...)
	for len(b)%8 != 0 {
		b = append(b, 0xff)
	}
	return b
}

// volume is a volume of 4 KiB with two drivers.
func volume(a, b string) []byte {
	const header, length = 72, 0x1000
	v := bytes.Repeat([]byte{0xff}, length)
	clear(v[:header])
	copy(v[16:], guidBytes(fileSystem))
	binary.LittleEndian.PutUint64(v[32:], length)
	copy(v[40:], "_FVH\x00\x08\x00\x00")
	v[48], v[55], v[56] = header, 2, 1
	binary.LittleEndian.PutUint32(v[60:], length)
	var sum uint16
	for i := 0; i < header; i += 2 {
		sum += binary.LittleEndian.Uint16(v[i:])
	}
	binary.LittleEndian.PutUint16(v[50:], -sum)
	copy(v[header:], slices.Concat(driver(driverA, a), driver(driverB, b)))
	return v
}

type member struct {
	name string
	data []byte
}

// cabinet is a cabinet with one folder that stores its files.
func cabinet(members ...member) []byte {
	var list, data, blocks []byte
	for _, m := range members {
		h := make([]byte, 16)
		binary.LittleEndian.PutUint32(h, uint32(len(m.data)))
		binary.LittleEndian.PutUint32(h[4:], uint32(len(data)))
		list = append(append(list, h...), m.name+"\x00"...)
		data = append(data, m.data...)
	}
	n := 0
	for c := range slices.Chunk(data, 0x8000) {
		h := make([]byte, 8)
		binary.LittleEndian.PutUint16(h[4:], uint16(len(c)))
		binary.LittleEndian.PutUint16(h[6:], uint16(len(c)))
		blocks = append(append(blocks, h...), c...)
		n++
	}
	b := make([]byte, 44)
	copy(b, "MSCF")
	b[16], b[24], b[25], b[26], b[28] = 44, 3, 1, 1, byte(len(members))
	binary.LittleEndian.PutUint32(b[36:], uint32(44+len(list)))
	binary.LittleEndian.PutUint16(b[40:], uint16(n))
	b = slices.Concat(b, list, blocks)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}

// capsule puts a header before a payload.
func capsule(guid string, payload []byte) []byte {
	h := append(guidBytes(guid), make([]byte, 12)...)
	h[16], h[22] = 28, 1
	binary.LittleEndian.PutUint32(h[24:], uint32(28+len(payload)))
	return append(h, payload...)
}

// managed is an FMP capsule with one payload, with edk2's header before the
// firmware and a signature when sign is given.
func managed(image []byte, sign func([]byte) []byte) []byte {
	body := slices.Concat([]byte("MSS1\x10\x00\x00\x00\x07\x00\x00\x00\x05\x00\x00\x00"), image)
	if sign != nil {
		counter := []byte{9, 0, 0, 0, 0, 0, 0, 0}
		p7 := sign(slices.Concat(body, counter))
		cert := binary.LittleEndian.AppendUint32(nil, uint32(24+len(p7)))
		cert = append(cert, 0x00, 0x02, 0xf1, 0x0e)
		body = slices.Concat(counter, cert, guidBytes("4AAFD29D-68DF-49EE-8AA9-347D375665A7"), p7, body)
	}
	h := make([]byte, 16+48)
	h[0], h[6], h[8] = 1, 1, 16
	item := h[16:]
	item[0], item[20] = 3, 1
	copy(item[4:], guidBytes("AABBCCDD-0000-4000-8000-001122334455"))
	binary.LittleEndian.PutUint32(item[24:], uint32(len(body)))
	return capsule("6DCBD5ED-E82D-4C44-BDA1-7194199AD92A", append(h, body...))
}

// signer makes detached PKCS#7 signatures with a key of its own.
func signer(t *testing.T, name string) func([]byte) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	c, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return func(content []byte) []byte {
		s, err := pkcs7.NewSignedData(content)
		require.NoError(t, err)
		s.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
		require.NoError(t, s.AddSigner(c, key, pkcs7.SignerInfoConfig{}))
		s.Detach()
		out, err := s.Finish()
		require.NoError(t, err)
		return out
	}
}

func parse(b []byte) *firmware.Image { return firmware.Parse("update", b, unpack.Decoders()...) }

// everything lists leaves and what is inside of them.
func everything(leaves []firmware.Leaf) []firmware.Leaf {
	var out []firmware.Leaf
	for _, l := range leaves {
		out = append(append(out, l), everything(l.Inside)...)
	}
	return out
}

func leaf(t *testing.T, m *firmware.Image, path string) firmware.Leaf {
	t.Helper()
	var paths []string
	for _, l := range everything(m.Open()) {
		if l.Path == path {
			return l
		}
		paths = append(paths, l.Path)
	}
	require.Failf(t, "no leaf", "%s in\n%s", path, strings.Join(paths, "\n"))
	return firmware.Leaf{}
}

func told(m *firmware.Image) []string {
	var out []string
	for _, f := range m.Inside() {
		out = append(out, string(f.Code)+" "+f.Subject)
	}
	return out
}
