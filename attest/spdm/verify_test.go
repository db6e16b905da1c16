package spdm_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/internal/spdmtest"
)

// The wire facts were also held against two records of NVIDIA GH100 devices
// (SPDM 1.1, ECDSA P-384, 64 measurements, DICE chains of five certificates)
// that the test data of confidential-containers/trustee holds
// (deps/verifier/test_data/nvidia): both conversations verify under their
// chains, and under each other's neither does.

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var nonce = bytes.Repeat([]byte{0x5a}, 32)

type kind struct {
	version    byte
	asym, hash uint32
}

// A key takes long to make, so that devices are shared; tests that change one
// work on a copy.
var (
	devicesMu sync.Mutex
	devices   = map[kind]*spdmtest.Device{}
)

func device(t testing.TB, k kind) *spdmtest.Device {
	t.Helper()
	devicesMu.Lock()
	defer devicesMu.Unlock()
	if devices[k] == nil {
		d, err := spdmtest.New(k.version, k.asym, k.hash)
		require.NoError(t, err)
		devices[k] = d
	}
	d := *devices[k]
	d.Blocks = slices.Clone(d.Blocks)
	d.Certs = slices.Clone(d.Certs)
	return &d
}

var usual = kind{0x12, spdmtest.ECDSAP384, spdmtest.SHA384}

func converse(t testing.TB, d *spdmtest.Device, c spdmtest.Conversation) []byte {
	t.Helper()
	if c.Nonce == nil {
		c.Nonce = nonce
	}
	said, err := d.Converse(c)
	require.NoError(t, err)
	return said
}

func verify(said, chain []byte) (*spdm.Measurements, error) {
	tr, err := spdm.ParseTranscript(said)
	if err != nil {
		return nil, err
	}
	c, err := spdm.ParseChain(chain)
	if err != nil {
		return nil, err
	}
	return spdm.Verify(tr, c)
}

func TestEveryVersionAndAlgorithm(t *testing.T) {
	for version := byte(0x11); version <= 0x13; version++ {
		for _, asym := range []uint32{
			spdmtest.RSASSA2048, spdmtest.RSAPSS2048, spdmtest.RSAPSS3072, spdmtest.ECDSAP256, spdmtest.ECDSAP384, spdmtest.ECDSAP521, spdmtest.Ed25519,
		} {
			if asym == spdmtest.Ed25519 && version == 0x11 {
				continue // SPDM 1.2 brought it
			}
			for _, hash := range []uint32{spdmtest.SHA256, spdmtest.SHA384, spdmtest.SHA512} {
				t.Run(fmt.Sprintf("1.%d/0x%03x/%d", version&0xf, asym, hash), func(t *testing.T) {
					d := device(t, kind{version, asym, hash})
					for _, c := range []spdmtest.Conversation{{}, {OneByOne: true}, {Certificates: true}, {Certificates: true, Challenge: true, OneByOne: true}} {
						m, err := verify(converse(t, d, c), d.Chain())
						require.NoError(t, err)
						require.Equal(t, nonce, m.Nonce())
						require.Len(t, m.Blocks(), len(d.Blocks))
						for i, b := range m.Blocks() {
							require.Equal(t, int(d.Blocks[i].Index), b.Index)
							require.Equal(t, d.Blocks[i].Value, b.Value)
						}
						require.True(t, m.Complete())
						require.Empty(t, m.Notes())
						require.Equal(t, fmt.Sprintf("1.%d", version&0xf), m.Version())
					}
				})
			}
		}
	}
}

// SPDM 1.1 does not sign the negotiation, so that a record may begin after it;
// the key says what can have been used.
func TestRecordOf11WithoutNegotiation(t *testing.T) {
	for _, asym := range []uint32{spdmtest.RSASSA2048, spdmtest.RSAPSS2048, spdmtest.ECDSAP256, spdmtest.ECDSAP521} {
		d := device(t, kind{0x11, asym, spdmtest.SHA384})
		said := converse(t, d, spdmtest.Conversation{NoVersion: true, OneByOne: true})
		m, err := verify(said, d.Chain())
		require.NoError(t, err)
		require.Equal(t, "TPM_ALG_SHA_384", m.Algorithms().Hash)
		require.Contains(t, m.Notes(), "the negotiation was not recorded")

		m, err = verify(append(said, 0, 0), d.Chain())
		require.NoError(t, err)
		require.Contains(t, m.Notes(), "zeroes follow the signature")
		_, err = verify(append(said, 0, 1), d.Chain())
		require.ErrorIs(t, err, spdm.ErrForged)
	}
	d := device(t, usual)
	_, err := verify(converse(t, d, spdmtest.Conversation{NoVersion: true}), d.Chain())
	require.ErrorIs(t, err, spdm.ErrMalformed)
}

func TestUnsignedResponseIsNoProof(t *testing.T) {
	d := device(t, usual)
	_, err := verify(converse(t, d, spdmtest.Conversation{Unsigned: true}), d.Chain())
	require.ErrorIs(t, err, spdm.ErrUnsigned)
	_, err = verify(converse(t, d, spdmtest.Conversation{Unsigned: true, OneByOne: true}), d.Chain())
	require.ErrorIs(t, err, spdm.ErrUnsigned)
}

// Whatever byte is changed, nothing verifies any more: from 1.2 on the signature
// covers everything that is said, the negotiation included.
func TestEveryFlippedByteIsNoticed(t *testing.T) {
	for version := byte(0x11); version <= 0x13; version++ {
		d := device(t, kind{version, spdmtest.ECDSAP256, spdmtest.SHA256})
		said := converse(t, d, spdmtest.Conversation{NoVersion: version == 0x11})
		for at := range said {
			bad := bytes.Clone(said)
			bad[at] ^= 0x10
			_, err := verify(bad, d.Chain())
			require.Error(t, err, "version 0x%x, offset %d", version, at)
		}
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	for version := byte(0x11); version <= 0x13; version++ {
		d := device(t, kind{version, spdmtest.ECDSAP256, spdmtest.SHA256})
		said := converse(t, d, spdmtest.Conversation{Certificates: true, Challenge: true, OneByOne: true})
		for n := range said {
			_, err := verify(said[:n], d.Chain())
			require.Error(t, err, "version 0x%x, %d bytes", version, n)
		}
		for n := range d.Chain() {
			_, err := spdm.ParseChain(d.Chain()[:n])
			require.ErrorIs(t, err, spdm.ErrMalformed)
		}
		_, err := verify(append(said, 0), d.Chain())
		require.ErrorIs(t, err, spdm.ErrMalformed)
	}
}

func TestSplicedConversation(t *testing.T) {
	d := device(t, usual)
	one := converse(t, d, spdmtest.Conversation{OneByOne: true})
	d.Blocks[1].Value = bytes.Repeat([]byte{0xee}, 48) // other firmware
	two := converse(t, d, spdmtest.Conversation{OneByOne: true})
	require.Equal(t, len(one), len(two))

	// The first answers of a good device, the signed one of a bad.
	cut := len(one) - 300
	_, err := verify(append(bytes.Clone(one[:cut]), two[cut:]...), d.Chain())
	require.Error(t, err)

	// Other questions in between take what was said before out of the record.
	digests := append([]byte{0x12, 0x81, 0, 0, 0x12, 0x01, 1, 1}, make([]byte, 48)...)
	at := bytes.Index(one, []byte{0x12, 0xe0, 0, 3})
	_, err = verify(slices.Concat(one[:at], digests, one[at:]), d.Chain())
	require.ErrorIs(t, err, spdm.ErrForged)
}

func TestOtherDevicesChain(t *testing.T) {
	d := device(t, usual)
	other, err := spdmtest.New(usual.version, usual.asym, usual.hash)
	require.NoError(t, err)
	_, err = verify(converse(t, d, spdmtest.Conversation{}), other.Chain())
	require.ErrorIs(t, err, spdm.ErrForged)
}

func TestAlgorithmMustFitTheKey(t *testing.T) {
	d := device(t, usual)
	said := converse(t, d, spdmtest.Conversation{})
	p256 := device(t, kind{0x12, spdmtest.ECDSAP256, spdmtest.SHA384})
	_, err := verify(said, p256.Chain())
	require.ErrorIs(t, err, spdm.ErrForged)
	require.ErrorContains(t, err, "TPM_ALG_ECDSA_ECC_NIST_P384 was negotiated")
	rsa := device(t, kind{0x12, spdmtest.RSAPSS2048, spdmtest.SHA384})
	_, err = verify(said, rsa.Chain())
	require.ErrorContains(t, err, "rsa-2048")

	other := *d
	other.Hash = spdmtest.SHA256 // the same certificates, named with another hash
	_, err = verify(said, other.Chain())
	require.ErrorIs(t, err, spdm.ErrForged)

	// A selection that was not offered, none, two, and one that is unknown.
	for sel, want := range map[uint32]error{0: spdm.ErrMalformed, 0x90: spdm.ErrMalformed, 0x1000: spdm.ErrMalformed, 0x200: spdm.ErrUnsupported} {
		bad := bytes.Clone(said)
		at := bytes.Index(bad, []byte{0x12, 0x63, 1, 0})
		binary.LittleEndian.PutUint32(bad[at+12:], sel)
		_, err = verify(bad, d.Chain())
		require.ErrorIs(t, err, want, "0x%x", sel)
	}
}

func TestVersionMustBeOffered(t *testing.T) {
	d := device(t, usual)
	said := converse(t, d, spdmtest.Conversation{})
	at := bytes.Index(said, []byte{0, 0x11, 0, 0x12})
	said[at+3] = 0x14
	_, err := verify(said, d.Chain())
	require.ErrorContains(t, err, "none that the device offers")
	_, err = spdm.ParseTranscript([]byte{0x14, 0xe0, 0, 0xff})
	require.ErrorIs(t, err, spdm.ErrUnsupported)
}

func TestMeasuredTwiceWithDifferentValues(t *testing.T) {
	d := device(t, usual)
	d.Blocks = append(d.Blocks, spdmtest.Block{Index: 2, Type: 1, Value: make([]byte, 48)})
	_, err := verify(converse(t, d, spdmtest.Conversation{}), d.Chain())
	require.ErrorIs(t, err, spdm.ErrMalformed)
	require.ErrorContains(t, err, "index 2 is measured twice")
}

func TestDigestsHaveTheNegotiatedLength(t *testing.T) {
	d := device(t, usual)
	d.Blocks[0].Value = d.Blocks[0].Value[:32]
	_, err := verify(converse(t, d, spdmtest.Conversation{}), d.Chain())
	require.ErrorIs(t, err, spdm.ErrMalformed)
}

func TestContextMustBeRepeated(t *testing.T) {
	d := device(t, kind{0x13, usual.asym, usual.hash})
	d.Tamper = func(_, to []byte) { to[len(to)-1] ^= 1 }
	_, err := verify(converse(t, d, spdmtest.Conversation{}), d.Chain())
	require.ErrorContains(t, err, "context")
}

func TestOtherSlotAnswers(t *testing.T) {
	d := device(t, usual)
	d.Tamper = func(_, to []byte) { to[3] = 1 }
	_, err := verify(converse(t, d, spdmtest.Conversation{}), d.Chain())
	require.ErrorContains(t, err, "slot 1 answers, slot 0 was asked")
}

func TestDeviceThatNoticedAChange(t *testing.T) {
	d := device(t, usual)
	d.Tamper = func(_, to []byte) { to[3] = 0x10 }
	m, err := verify(converse(t, d, spdmtest.Conversation{}), d.Chain())
	require.NoError(t, err)
	require.Contains(t, m.Notes()[0], "changed while it was asked")
}

func TestErrorsOfTheDeviceAreNoMeasurements(t *testing.T) {
	d := device(t, usual)
	said := converse(t, d, spdmtest.Conversation{})
	at := bytes.Index(said, []byte{0x12, 0x60})
	_, err := verify(append(bytes.Clone(said[:at]), 0x12, 0x7f, 0x03, 0), d.Chain())
	require.ErrorContains(t, err, "error 0x03")
}

func TestSizesBeyondTheLimits(t *testing.T) {
	_, err := spdm.ParseTranscript(make([]byte, 33<<20))
	require.ErrorIs(t, err, spdm.ErrMalformed)
	_, err = spdm.ParseChain(make([]byte, 1<<17))
	require.ErrorIs(t, err, spdm.ErrMalformed)
	short := bytes.Repeat(append([]byte{0x11, 0xe0, 0, 0, 0x11, 0x60, 6, 0, 0, 0, 0, 0}, make([]byte, 34)...), 5000)
	_, err = spdm.ParseTranscript(short)
	require.ErrorContains(t, err, "more than")
}

func TestChains(t *testing.T) {
	d := device(t, usual)
	c, err := spdm.ParseChain(d.Chain())
	require.NoError(t, err)
	require.Len(t, c.Keys(), 2)
	require.Equal(t, c.Keys()[0], c.DeviceKey(), "the alias below it is not the device's identity")
	require.Contains(t, c.Subject(), "Alias")

	bad := d.Chain()
	bad[10] ^= 1
	_, err = spdm.ParseChain(bad)
	require.ErrorIs(t, err, spdm.ErrForged)
	require.ErrorContains(t, err, "root hash")

	other, err := spdmtest.New(usual.version, usual.asym, usual.hash)
	require.NoError(t, err)
	mixed := *d
	mixed.Certs = []*x509.Certificate{d.Certs[0], other.Certs[1], other.Certs[2]} // same names, other keys
	_, err = spdm.ParseChain(mixed.Chain())
	require.ErrorIs(t, err, spdm.ErrForged)
	require.ErrorContains(t, err, "certificate 2 is not signed by certificate 1")

	short := *d
	short.Certs = d.Certs[:2]
	_, err = spdm.ParseChain(short.Chain())
	require.ErrorIs(t, err, spdm.ErrForged, "the device certificate is an authority's")

	rootless := *d
	rootless.LeaveRoot = true
	_, err = spdm.ParseChain(rootless.Chain())
	require.ErrorIs(t, err, spdm.ErrForged)
	c2, err := spdm.ParseChain(rootless.Chain(), other.Certs[0], d.Certs[0])
	require.NoError(t, err)
	require.Equal(t, c.Anchor(), c2.Anchor())
}

func pemChain(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func TestPEMChainsInEitherOrder(t *testing.T) {
	d := device(t, usual)
	want, err := spdm.ParseChain(d.Chain())
	require.NoError(t, err)
	for range 2 {
		c, err := spdm.ParsePEM(pemChain(d.Certs))
		require.NoError(t, err)
		require.Equal(t, want.Keys(), c.Keys())
		require.Equal(t, want.Anchor(), c.Anchor())
		slices.Reverse(d.Certs)
	}
	_, err = spdm.ParsePEM([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	require.ErrorIs(t, err, spdm.ErrMalformed)
	_, err = spdm.ParsePEM(nil)
	require.ErrorIs(t, err, spdm.ErrMalformed)
	_, err = spdm.ParsePEM(pemChain(slices.Repeat(d.Certs[:1], 17)))
	require.ErrorIs(t, err, spdm.ErrMalformed)
}

func TestExpiryIsNoted(t *testing.T) {
	d := device(t, usual)
	c, err := spdm.ParseChain(d.Chain())
	require.NoError(t, err)
	require.Empty(t, c.Dated(now))
	require.Contains(t, c.Dated(time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC))[0], "not valid before 2024-01-01")
}

func TestNonceOfAnyLength(t *testing.T) {
	require.Equal(t, nonce, spdm.Nonce(nonce))
	require.Len(t, spdm.Nonce([]byte("short")), 32)
	require.NotEqual(t, spdm.Nonce([]byte("short")), spdm.Nonce([]byte("shor")))
}

func FuzzTranscript(f *testing.F) {
	for version := byte(0x11); version <= 0x13; version++ {
		d := device(f, kind{version, spdmtest.ECDSAP256, spdmtest.SHA256})
		for _, c := range []spdmtest.Conversation{{}, {OneByOne: true, Certificates: true, Challenge: true}, {NoVersion: true}, {Unsigned: true}} {
			f.Add(converse(f, d, c), d.Chain())
		}
	}
	f.Fuzz(func(t *testing.T, said, chain []byte) {
		tr, err := spdm.ParseTranscript(said)
		if err != nil {
			return
		}
		c, err := spdm.ParseChain(chain)
		if err != nil {
			return
		}
		m, err := spdm.Verify(tr, c)
		require.Equal(t, err == nil, m != nil)
	})
}

func FuzzChain(f *testing.F) {
	d := device(f, usual)
	f.Add(d.Chain())
	f.Add(pemChain(d.Certs))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (*spdm.Chain, error){spdm.ParsePEM, func(b []byte) (*spdm.Chain, error) { return spdm.ParseChain(b) }} {
			if c, err := parse(b); err == nil {
				require.NotEmpty(t, c.Keys())
				require.Len(t, c.Anchor(), 64)
				require.NotEmpty(t, c.DeviceKey())
			}
		}
	})
}
