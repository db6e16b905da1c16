package tpmwire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/hex"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
)

const recordedDir = "../../attest/testdata/baseline/tpm/"

func file(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	require.NoError(tb, err)
	return b
}

func TestRecordedQuoteVerifies(t *testing.T) {
	key, err := ParsePublic(file(t, recordedDir+"ak.pub"))
	require.NoError(t, err)
	require.NotZero(t, key.Attributes&Restricted)
	for _, bank := range []string{"sha256", "sha384"} {
		raw := file(t, recordedDir+"quote-"+bank+".attest")
		a, err := ParseAttest(raw)
		require.NoError(t, err)
		require.Equal(t, AttestQuote, a.Type)
		require.Equal(t, bank, a.Quote.Selections[0].Bank.String())
		require.Contains(t, a.Quote.Selections[0].PCRs, 7)
		s, err := ParseSignature(file(t, recordedDir+"quote-"+bank+".sig"))
		require.NoError(t, err)
		require.NoError(t, s.Verify(key, raw))
		raw[len(raw)-1] ^= 1
		require.ErrorIs(t, s.Verify(key, raw), ErrSignature)
	}
}

// A second implementation reads the same structures the same way.
func TestAgreesWithGoTPM(t *testing.T) {
	raw := file(t, recordedDir+"quote-sha256.attest")
	mine, err := ParseAttest(raw)
	require.NoError(t, err)
	theirs, err := tpm2.Unmarshal[tpm2.TPMSAttest](raw)
	require.NoError(t, err)
	require.Equal(t, theirs.ExtraData.Buffer, mine.ExtraData)
	require.Equal(t, theirs.FirmwareVersion, mine.FirmwareVersion)
	require.Equal(t, theirs.ClockInfo.ResetCount, mine.Clock.ResetCount)
	require.Equal(t, theirs.ClockInfo.Clock, mine.Clock.Clock)
	q, err := theirs.Attested.Quote()
	require.NoError(t, err)
	require.Equal(t, q.PCRDigest.Buffer, mine.Quote.Digest)
	pub := file(t, recordedDir+"ak.pub")
	p, err := ParsePublic(pub)
	require.NoError(t, err)
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](pub[2:])
	require.NoError(t, err)
	want, err := tpm2.ObjectName(area)
	require.NoError(t, err)
	got, err := p.Name()
	require.NoError(t, err)
	require.Equal(t, want.Buffer, got)
}

func TestTruncationAndTrailingBytesAreRefused(t *testing.T) {
	parse := map[string]func([]byte) error{
		recordedDir + "quote-sha256.attest": func(b []byte) error { _, err := ParseAttest(b); return err },
		recordedDir + "quote-sha256.sig":    func(b []byte) error { _, err := ParseSignature(b); return err },
		recordedDir + "ak.pub":              func(b []byte) error { _, err := ParsePublic(b); return err },
		recordedDir + "ek.pub":              func(b []byte) error { _, err := ParsePublic(b); return err },
	}
	for name, p := range parse {
		b := file(t, name)
		require.NoError(t, p(b), name)
		for n := range len(b) {
			require.ErrorIs(t, p(b[:n]), ErrMalformed, "%s cut to %d", name, n)
		}
		require.ErrorIs(t, p(append(bytes.Clone(b), 0)), ErrMalformed, name)
	}
}

func TestAttestIsOnlyWhatATPMGenerated(t *testing.T) {
	b := file(t, recordedDir+"quote-sha256.attest")
	other := bytes.Clone(b)
	other[0] = 0
	_, err := ParseAttest(other)
	require.ErrorContains(t, err, "TPM_GENERATED_VALUE")
	other = bytes.Clone(b)
	other[5] = 0x17 // certify
	_, err = ParseAttest(other)
	require.ErrorContains(t, err, "attestation type")
}

func quoteHead() []byte {
	b := binary.BigEndian.AppendUint32(nil, Generated)
	b = binary.BigEndian.AppendUint16(b, AttestQuote)
	b = append(b, 0, 0, 0, 0)
	b = append(b, make([]byte, 17)...)
	return append(b, make([]byte, 8)...)
}

func TestSelectionsAreBounded(t *testing.T) {
	for name, tail := range map[string][]byte{
		"four billion selections": {0xff, 0xff, 0xff, 0xff},
		"seventeen selections":    {0, 0, 0, 17},
		"bitmap of 200 bytes":     {0, 0, 0, 1, 0, 0x0b, 200},
		"bitmap cut":              {0, 0, 0, 1, 0, 0x0b, 3, 1},
	} {
		_, err := ParseAttest(append(quoteHead(), tail...))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	a, err := ParseAttest(append(quoteHead(), 0, 0, 0, 2, 0, 4, 3, 1, 0x80, 0, 0, 0x0b, 3, 0, 0, 1, 0, 0))
	require.NoError(t, err)
	require.Equal(t, []Selection{{SHA1, []int{0, 15}}, {SHA256, []int{16}}}, a.Quote.Selections)
	a, err = ParseAttest(append(quoteHead(), 0, 0, 0, 0, 0, 0))
	require.NoError(t, err, "a quote over nothing is well formed; the verifier refuses it")
	require.Empty(t, a.Quote.Selections)
}

func TestTimeAttestation(t *testing.T) {
	b := quoteHead()
	binary.BigEndian.PutUint16(b[4:], AttestTime)
	b = binary.BigEndian.AppendUint64(b, 1234)
	b = append(b, make([]byte, 17)...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 9)
	a, err := ParseAttest(b)
	require.NoError(t, err)
	require.Equal(t, uint64(1234), a.Time.Time)
	require.Equal(t, uint64(9), a.Time.FirmwareVersion)
	b[34] = 2 // safe is neither yes nor no
	b[26] = 2
	_, err = ParseAttest(b)
	require.ErrorIs(t, err, ErrMalformed)
}

func rsaPublic(t *testing.T, scheme, hash Algorithm) (*rsa.PrivateKey, *Public) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	b := binary.BigEndian.AppendUint16(nil, uint16(RSA))
	b = binary.BigEndian.AppendUint16(b, uint16(SHA256))
	b = append(b, 0, 5, 0, 0x72, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(Null))
	b = binary.BigEndian.AppendUint16(b, uint16(scheme))
	if scheme != Null {
		b = binary.BigEndian.AppendUint16(b, uint16(hash))
	}
	b = binary.BigEndian.AppendUint16(b, 2048)
	b = append(b, 0, 0, 0, 0, 1, 0)
	b = append(b, k.N.Bytes()...)
	p, err := ParsePublic(b)
	require.NoError(t, err)
	return k, p
}

func TestSignatureSchemes(t *testing.T) {
	msg := []byte("message")
	digest := func(h crypto.Hash) []byte { d := h.New(); d.Write(msg); return d.Sum(nil) }
	k, p := rsaPublic(t, RSASSA, SHA256)
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest(crypto.SHA256))
	require.NoError(t, err)
	require.NoError(t, (&Signature{Scheme: RSASSA, Hash: SHA256, RSA: sig}).Verify(p, msg))
	require.ErrorIs(t, (&Signature{Scheme: RSAPSS, Hash: SHA256, RSA: sig}).Verify(p, msg), ErrSignature, "the key's scheme decides")
	require.ErrorIs(t, (&Signature{Scheme: ECDSA, Hash: SHA256, R: sig[:8], S: sig[:8]}).Verify(p, msg), ErrSignature)

	k, p = rsaPublic(t, Null, 0)
	pss, err := rsa.SignPSS(rand.Reader, k, crypto.SHA384, digest(crypto.SHA384), nil)
	require.NoError(t, err)
	require.NoError(t, (&Signature{Scheme: RSAPSS, Hash: SHA384, RSA: pss}).Verify(p, msg))
	weak, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA1, digest(crypto.SHA1))
	require.NoError(t, err)
	require.ErrorContains(t, (&Signature{Scheme: RSASSA, Hash: SHA1, RSA: weak}).Verify(p, msg), "sha1")

	for id, c := range map[uint16]elliptic.Curve{3: elliptic.P256(), 4: elliptic.P384(), 5: elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		pub, err := k.PublicKey.Bytes()
		require.NoError(t, err)
		n := len(pub) / 2
		b := binary.BigEndian.AppendUint16(nil, uint16(ECC))
		b = append(b, 0, 0x0b, 0, 5, 0, 0x72, 0, 0, 0, 0x10, 0, 0x10, 0, byte(id), 0, 0x10)
		for _, v := range [][]byte{pub[1 : 1+n], pub[1+n:]} {
			b = binary.BigEndian.AppendUint16(b, uint16(n))
			b = append(b, v...)
		}
		p, err := ParsePublic(b)
		require.NoError(t, err)
		r, s, err := ecdsa.Sign(rand.Reader, k, digest(crypto.SHA512))
		require.NoError(t, err)
		sig := &Signature{Scheme: ECDSA, Hash: SHA512, R: r.Bytes(), S: s.Bytes()}
		require.NoError(t, sig.Verify(p, msg))
		require.ErrorIs(t, sig.Verify(p, []byte("other")), ErrSignature)
		b[len(b)-1] ^= 1
		_, err = ParsePublic(b)
		require.ErrorIs(t, err, ErrMalformed, "a point off the curve")
	}
	require.ErrorIs(t, (&Signature{}).Verify(nil, msg), ErrSignature)
}

func TestPublicAreaIsChecked(t *testing.T) {
	for name, s := range map[string]string{
		"keyed hash":       "0008000b00000000000000100010",
		"short modulus":    "0001000b0000000000000010001008000000000000041122",
		"even exponent":    "0001000b00000000000000100010080000000002000411223344",
		"unknown curve":    "0023000b00000000000000100010" + "0099" + "0010" + "0000" + "0000",
		"oversized number": "0023000b00000000000000100010" + "0003" + "0010" + "0021" + "000000000000000000000000000000000000000000000000000000000000000000" + "0000",
	} {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		_, err = ParsePublic(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestAlgorithms(t *testing.T) {
	require.Zero(t, SM3.Hash(), "SM3 can be read, not computed")
	require.Equal(t, "alg-0x1234", Algorithm(0x1234).String())
	_, ok := HashNamed("md5")
	require.False(t, ok)
}

func FuzzParseAttest(f *testing.F) {
	f.Add(file(f, recordedDir+"quote-sha256.attest"))
	f.Add(append(quoteHead(), 0, 0, 0, 2, 0, 4, 3, 1, 0x80, 0, 0, 0x0b, 3, 0, 0, 1, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAttest(b)
		if (a == nil) == (err == nil) {
			t.Fatal("neither a structure nor a reason")
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	f.Add(file(f, recordedDir+"ak.pub"))
	f.Add(file(f, recordedDir+"ek.pub"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePublic(b)
		if (p == nil) == (err == nil) {
			t.Fatal("neither a key nor a reason")
		}
		if p != nil && p.Key == nil {
			t.Fatal("a public area without a key")
		}
	})
}

func FuzzParseSignature(f *testing.F) {
	key, err := ParsePublic(file(f, recordedDir+"ak.pub"))
	require.NoError(f, err)
	f.Add(file(f, recordedDir+"quote-sha256.sig"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSignature(b); err == nil && s.Verify(key, []byte("never signed")) == nil {
			t.Fatal("a forged signature verifies")
		}
	})
}

func BenchmarkParseAttest(b *testing.B) {
	raw := file(b, recordedDir+"quote-sha256.attest")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAttest(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAttestGoTPM(b *testing.B) {
	raw := file(b, recordedDir+"quote-sha256.attest")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpm2.Unmarshal[tpm2.TPMSAttest](raw); err != nil {
			b.Fatal(err)
		}
	}
}

// Every bank that can be replayed is hashed as its implementation does, without
// allocating.
func TestSumsOfEveryBank(t *testing.T) {
	data := []byte("measured")
	for _, a := range hashAlgorithms {
		named, ok := HashNamed(a.String())
		require.True(t, ok)
		require.Equal(t, a, named)
		if a.Hash() == 0 {
			require.Empty(t, a.Sum(nil, data), a)
			continue
		}
		require.True(t, a.Hash().Available(), a)
		require.Equal(t, a.Hash().Size(), a.Size(), a)
		h := a.Hash().New()
		h.Write(data)
		require.Equal(t, h.Sum(nil), a.Sum(nil, data), a)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			var buf [MaxDigest]byte
			if len(a.Sum(buf[:0], data)) != a.Size() {
				t.Error("wrong length")
			}
		}), a)
	}
}
