package bootguard

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func corpus(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "intel", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/intel/" + name)
	}
	return b
}

// rsaData is a key as manifests store it.
func rsaData(k *rsa.PublicKey) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(k.E)), reversed(k.N.FillBytes(make([]byte, k.Size()))))
}

func TestSampleKeyManifests(t *testing.T) {
	km, err := ParseKeyManifest(corpus(t, "fiano-bg-km.bin"))
	require.NoError(t, err)
	require.Equal(t, []any{byte(0x10), byte(0), byte(1), RSASSA, SHA256, 2048}, []any{km.Version, km.SVN, km.ID, km.Scheme, km.Hash, km.Key.Bits})
	require.Len(t, km.Policy, 1)
	require.Equal(t, SHA256, km.Policy[0].Algorithm)
	require.Equal(t, Check{State: Holds}, km.Verify())

	km, err = ParseKeyManifest(corpus(t, "fiano-cbnt-km.bin"))
	require.NoError(t, err)
	require.Equal(t, []any{byte(0x21), byte(0), byte(1)}, []any{km.Version, km.SVN, km.ID})
	require.Len(t, km.Policy, 1) // of two digests one is of the boot policy's key
	require.Equal(t, Check{State: Holds}, km.Verify())
	bpm, err := ParseBootPolicy(corpus(t, "fiano-cbnt-bpm.bin"))
	require.NoError(t, err)
	require.Equal(t, Check{State: Holds}, km.Allows(bpm))
	other, err := ParseBootPolicy(corpus(t, "fiano-main-bpm21.bin"))
	require.NoError(t, err)
	require.Equal(t, Fails, km.Allows(other).State)
}

func TestSampleBootPolicies(t *testing.T) {
	tests := map[string]struct {
		version, svn, acm byte
		digests, segments []int // of each block
		check             State
	}{
		"fiano-bg-bpm.bin":     {0x10, 0, 3, []int{1}, []int{1}, Holds},
		"fiano-main-bpm10.bin": {0x10, 0, 0, []int{1}, []int{2}, Fails}, // the makers of the sample changed it
		"fiano-cbnt-bpm.bin":   {0x22, 0, 2, []int{4}, []int{4}, Fails},
		"fiano-main-bpm20.bin": {0x22, 0, 2, []int{4}, []int{4}, Fails},
		"fiano-main-bpm21.bin": {0x25, 1, 2, []int{4, 4}, []int{6, 6}, Holds},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := ParseBootPolicy(corpus(t, name))
			require.NoError(t, err)
			got := want
			got.version, got.svn, got.acm, got.check, got.digests, got.segments = m.Version, m.SVN, m.ACMSVN, m.Verify().State, nil, nil
			for _, e := range m.Blocks {
				got.digests, got.segments = append(got.digests, len(e.Digests)), append(got.segments, len(e.Segments))
			}
			require.Equal(t, want, got)
		})
	}
	m, err := ParseBootPolicy(corpus(t, "fiano-main-bpm21.bin"))
	require.NoError(t, err)
	require.Equal(t, []any{RSAPSS, SHA384, 3072}, []any{m.Scheme, m.Hash, m.Key.Bits})
	require.Equal(t, SHA384, m.Blocks[0].Digests[0].Algorithm)
	require.Equal(t, Segment{Base: 0xffc80000, Length: 0xb0000, Hashed: true}, m.Blocks[0].Segments[0])
	c, outside := m.Blocks[0].Verify(make([]byte, 0x10000))
	require.Equal(t, NotChecked, c.State)
	require.NotEmpty(t, outside)
}

// The manifests of this image were made by another project's tool.
func TestManifestsOfAnImage(t *testing.T) {
	b := corpus(t, "css-fake_intel_firmware.fd")
	km, err := ParseKeyManifest(b[0x5400:0x5655])
	require.NoError(t, err)
	require.Equal(t, byte(0x21), km.Version)
	require.Equal(t, holds, km.Verify())
	bpm, err := ParseBootPolicy(b[0x5800:0x5af1])
	require.NoError(t, err)
	require.Equal(t, byte(0x23), bpm.Version)
	require.Equal(t, holds, bpm.Verify())
	require.Equal(t, holds, km.Allows(bpm))
	require.Equal(t, []Segment{{Base: 0xffff8000, Length: 0x1000, Hashed: true}}, bpm.Blocks[0].Segments)
	c, outside := bpm.Blocks[0].Verify(b)
	require.Equal(t, holds, c)
	require.Empty(t, outside)

	b[0x8fff] ^= 1
	c, _ = bpm.Blocks[0].Verify(b)
	require.Equal(t, Fails, c.State)
	b[0x5812] ^= 1 // size of the stack: in the signed part
	bpm, err = ParseBootPolicy(b[0x5800:0x5af1])
	require.NoError(t, err)
	require.Equal(t, Fails, bpm.Verify().State)
}

func TestSegmentsThatCostTooMuch(t *testing.T) {
	image := make([]byte, 0x1000)
	e := Block{Digests: []Digest{{SHA256, sum(crypto.SHA256, image)}}, Segments: []Segment{{Base: 0xfffff000, Length: 0x1000, Hashed: true}, {Base: 0, Length: 1}}}
	c, outside := e.Verify(image)
	require.Equal(t, holds, c) // what is not hashed may lie anywhere
	require.Empty(t, outside)
	e.Segments = append(e.Segments, e.Segments[0])
	c, _ = e.Verify(image)
	require.Equal(t, Check{NotChecked, "the segments are longer than the image"}, c)
	for _, e := range []Block{{}, {Segments: e.Segments[:1]}, {Segments: e.Segments[:1], Digests: []Digest{{SM3, make([]byte, 32)}, {SHA256, make([]byte, 32)}}}} {
		c, _ = e.Verify(image)
		require.Equal(t, NotChecked, c.State)
	}
}

// The module of the image is one of Intel's with other contents.
func TestForgedModule(t *testing.T) {
	m, ok := ParseModule(corpus(t, "css-biosacm_cbnt_fake.bin"))
	require.True(t, ok)
	require.Equal(t, []any{"0.0", uint16(0xb007), "2020-12-17", uint16(3), uint16(8), true}, []any{m.Format, m.Chipset, m.Date, m.TXTSVN, m.SESVN, m.Startup})
	require.Equal(t, Fails, m.Verify().State)
}

// module is a code module, signed as Intel signs them.
func module(t testing.TB, k *rsa.PrivateKey, version uint32) []byte {
	const scratch = 64
	key := k.Size()
	head := moduleHeader + 2*key
	if version == version0 {
		head += 4
	}
	b := make([]byte, head+scratch+256)
	put := func(at, v int) { binary.LittleEndian.PutUint32(b[at:], uint32(v)) }
	put(0, 2|1<<16)
	put(4, head/4)
	put(8, int(version))
	put(12, 0xb007|0xc000<<16)
	put(20, 0x20240229)
	put(24, len(b)/4)
	put(28, 3|8<<16)
	put(120, key/4)
	put(124, scratch/4)
	copy(b[head+scratch:], "code")
	rest := b[moduleHeader:]
	copy(rest, rsaData(&k.PublicKey)[4:])
	rest = rest[key:]
	if version == version0 {
		put(moduleHeader+key, k.E)
		rest = rest[4:]
	}
	d := sum(crypto.SHA256, b[:moduleHeader], b[head+scratch:])
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, 0, reversed(d)) // without the name of the hash
	require.NoError(t, err)
	copy(rest, reversed(sig))
	return b
}

func newKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return k
}

func TestModules(t *testing.T) {
	b := module(t, newKey(t, 2048), version0)
	m, ok := ParseModule(b)
	require.True(t, ok)
	require.True(t, m.PreProduction && m.Debug)
	require.Equal(t, holds, m.Verify())
	b[len(b)-1]++
	m, _ = ParseModule(b)
	require.Equal(t, Fails, m.Verify().State)

	b = module(t, newKey(t, 3072), 0x30000)
	m, ok = ParseModule(b)
	require.True(t, ok)
	require.Equal(t, "3.0", m.Format)
	require.Equal(t, holds, m.Verify())
	b[len(b)-1]++
	m, _ = ParseModule(b)
	require.Equal(t, Check{NotChecked, "a signature of header version 3.0"}, m.Verify())
	for _, at := range []int{1, 4, 24, 120} {
		bad := slices.Clone(b)
		bad[at+1] = 0xff
		_, ok := ParseModule(bad[:1000])
		require.False(t, ok)
	}
}

// signed appends a key and a signature over all before it.
func signed(t testing.TB, b []byte, k crypto.Signer, scheme, hash Algorithm) []byte {
	d := sum(hash.Hash(), b)
	half := func(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
	var alg Algorithm
	var key, sig []byte
	bits := 0
	switch k := k.(type) {
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = hash.Hash()
		if scheme == RSAPSS {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash.Hash()}
		}
		var err error
		sig, err = k.Sign(rand.Reader, d, opts)
		require.NoError(t, err)
		alg, bits, key = RSA, k.Size()*8, rsaData(&k.PublicKey)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, d)
		require.NoError(t, err)
		n := (k.Params().BitSize + 7) / 8
		point, err := k.PublicKey.Bytes()
		require.NoError(t, err)
		sig = append(reversed(r.FillBytes(make([]byte, n))), reversed(s.FillBytes(make([]byte, n)))...)
		alg, bits, key = ECC, n*8, append(reversed(point[1:1+n]), reversed(point[1+n:])...)
	}
	return slices.Concat(b, []byte{0x10}, half(uint16(alg)), []byte{0x10}, half(uint16(bits)), key, half(uint16(scheme)), []byte{0x10}, half(uint16(bits)), half(uint16(hash)), sig)
}

func TestSchemes(t *testing.T) {
	head := append([]byte(keyManifestID), 0x10, 0, 3, 1, 0x0b, 0, 4, 0, 'h', 'a', 's', 'h')
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	big, small := newKey(t, 3072), newKey(t, 1024)
	tests := map[string]struct {
		key          crypto.Signer
		scheme, hash Algorithm
		good, bad    State
	}{
		"RSASSA with SHA-256":  {big, RSASSA, SHA256, Holds, Fails},
		"RSASSA with SHA-384":  {big, RSASSA, SHA384, Holds, Fails},
		"RSA-PSS with SHA-384": {big, RSAPSS, SHA384, Holds, Fails},
		"ECDSA on P-256":       {p256, ECDSA, SHA256, Holds, NotChecked},
		"ECDSA on P-384":       {p384, ECDSA, SHA384, Holds, NotChecked},
		"a short key":          {small, RSASSA, SHA256, NotChecked, NotChecked},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			b := signed(t, head, c.key, c.scheme, c.hash)
			m, err := ParseKeyManifest(b)
			require.NoError(t, err)
			require.Equal(t, c.good, m.Verify().State)
			b[10]++
			m, err = ParseKeyManifest(b)
			require.NoError(t, err)
			require.Equal(t, c.bad, m.Verify().State)
			_, err = ParseKeyManifest(b[:len(b)-1])
			require.Error(t, err)
		})
	}
	s := Signature{Key: Key{Algorithm: SM2, Bits: 256, Data: []byte{1}}, Scheme: SM2, Hash: SM3, Data: []byte{1}}
	require.Equal(t, Check{NotChecked, "signature over SM3"}, s.Verify())
	s.Hash = SHA256
	require.Equal(t, Check{NotChecked, "SM2 with a key for SM2"}, s.Verify())
	require.Equal(t, Check{NotChecked, "the manifest is not signed"}, Signature{}.Verify())
}

func TestNames(t *testing.T) {
	raw, err := json.Marshal([]Algorithm{RSA, SHA1, SHA256, SHA384, SHA512, 0, Null, SM3, RSASSA, RSAPSS, ECDSA, SM2, ECC, 0x99})
	require.NoError(t, err)
	require.JSONEq(t, `["RSA","SHA-1","SHA-256","SHA-384","SHA-512","none","none","SM3","RSASSA","RSA-PSS","ECDSA","SM2","ECC","algorithm 0x0099"]`, string(raw))
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"fiano-bg-km.bin", "fiano-cbnt-km.bin", "fiano-bg-bpm.bin", "fiano-cbnt-bpm.bin", "fiano-main-bpm10.bin", "fiano-main-bpm21.bin"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "intel", name))
		if err == nil {
			f.Add(b)
		}
	}
	f.Add(append([]byte(keyManifestID), 0x21, 0, 0, 0, 24, 0, 0, 0, 0, 1, 1, 1, 0x0b, 0, 0, 0))
	f.Add(append([]byte(bootPolicyID), 0x23, 0x20, 20, 0, 32, 0, 0, 0, 0, 0, 0, 0))
	f.Add(module(f, newKey(f, 1024), version0))
	f.Fuzz(func(t *testing.T, b []byte) {
		km, kerr := ParseKeyManifest(b)
		bpm, berr := ParseBootPolicy(b)
		if kerr == nil {
			require.NotEmpty(t, km.Verify().State)
			require.NotEmpty(t, km.Allows(bpm).State)
		}
		if berr == nil {
			require.NotEmpty(t, bpm.Verify().State)
			for _, e := range bpm.Blocks {
				e.Verify(b)
			}
		}
		if m, ok := ParseModule(b); ok {
			require.NotEmpty(t, m.Verify().State)
		}
	})
}
