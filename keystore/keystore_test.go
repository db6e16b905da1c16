package keystore_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/internal/softhsm"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/keystore"
)

func open(t testing.TB, name string) crypto.Signer {
	t.Helper()
	k, err := keystore.Open(t.Context(), name, keystore.Options{})
	require.NoError(t, err)
	return k
}

func refused(t testing.TB, name, want string) {
	t.Helper()
	_, err := keystore.Open(t.Context(), name, keystore.Options{})
	require.ErrorContains(t, err, want)
	require.ErrorContains(t, err, name)
}

func write(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	return file
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func pkcs8(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return pemOf("PRIVATE KEY", b)
}

func newEC(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(t, err)
	return k
}

func newRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return k
}

func TestPEM(t *testing.T) {
	dir := t.TempDir()
	ec, rs := newEC(t, elliptic.P256()), newRSA(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"sec1.pem":  append(pemOf("EC PARAMETERS", []byte{6, 0}), pemOf("EC PRIVATE KEY", sec1)...),
		"pkcs1.pem": pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)),
		"ec8.pem":   pkcs8(t, ec), "rsa8.pem": pkcs8(t, rs), "ed25519.pem": pkcs8(t, ed),
	} {
		file := write(t, dir, name, b)
		require.NotNil(t, open(t, file), name)
		require.False(t, keystore.InHardware(file), name)
	}
	for _, name := range []string{"pkcs11:token=x", "tpm:handle=0x81000010", "TPM:file=" + dir, write(t, dir, "tss2.pem", pemOf("TSS2 PRIVATE KEY", []byte("x")))} {
		require.True(t, keystore.InHardware(name), name)
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x"), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}})
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"empty":            {nil, "holds no private key"},
		"encrypted":        {pemOf("ENCRYPTED PRIVATE KEY", []byte("x")), "openssl pkey"},
		"encrypted of old": {old, "openssl pkey"},
		"broken":           {pemOf("PRIVATE KEY", []byte("x")), "asn1"},
		"broken TSS2":      {pemOf("TSS2 PRIVATE KEY", []byte("x")), "TSS2 PRIVATE KEY"},
		"too long":         {make([]byte, 1<<20+1), "limit"},
	} {
		refused(t, write(t, dir, name, tt.text), tt.want)
	}
	refused(t, filepath.Join(dir, "none"), "no such file")
}

func TestReadChain(t *testing.T) {
	k := newEC(t, elliptic.P256())
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	require.NoError(t, err)
	one := pemOf("CERTIFICATE", der)
	got, err := keystore.ReadChain(write(t, t.TempDir(), "chain.pem", append(append(pkcs8(t, k), one...), one...)))
	require.NoError(t, err)
	require.Len(t, got, 2, "keys in the file are passed over")
	for _, bad := range []string{"", "hello", string(pemOf("CERTIFICATE", []byte("x")))} {
		file := write(t, t.TempDir(), "bad.pem", []byte(bad))
		_, err = keystore.ReadChain(file)
		require.ErrorContains(t, err, file)
	}
}

func TestURIsThatAreRefused(t *testing.T) {
	for uri, want := range map[string]string{
		"tpm:":                         "",
		"tpm:handle=5":                 "no persistent handle",
		"tpm:handle=0x81000001;file=x": "one of handle and file",
		"tpm:handle=0x81000001;handle=0x81000002":  "twice",
		"tpm:handle=0x81000001;pin-value=secret":   "everybody",
		"tpm:handle=0x81000001;device=elsewhere":   "TPM address",
		"tpm:handle=0x81000001;device=/dev/no-tpm": "",
		"tpm:file=%zz":                "no byte",
		"tpm:keys=x":                  "not known",
		"tpmkey:file=x":               "tpm:file=FILE",
		"pkcs11:token=x":              "names no key",
		"pkcs11:object=x?pin-value=1": "everybody",
	} {
		refused(t, uri, want)
	}
}

// Without the program, the way to it is told.
func TestNoHelper(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	refused(t, "pkcs11:object=x", "make build-pkcs11")
	t.Setenv(keystore.HelperVariable, filepath.Join(t.TempDir(), "none"))
	refused(t, "pkcs11:object=x", keystore.HelperVariable)
}

// signs lets a key sign as envelopes, platform certificates and CoRIMs want it.
func signs(t *testing.T, k crypto.Signer) {
	t.Helper()
	msg := []byte("a message")
	d256, d384 := sha256.Sum256(msg), sha512.Sum384(msg)
	switch p := k.Public().(type) {
	case *ecdsa.PublicKey:
		h, d := crypto.SHA256, d256[:]
		if p.Curve == elliptic.P384() {
			h, d = crypto.SHA384, d384[:]
		}
		sig, err := k.Sign(rand.Reader, d, h)
		require.NoError(t, err)
		require.True(t, ecdsa.VerifyASN1(p, d, sig))
	case *rsa.PublicKey:
		pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		sig, err := k.Sign(rand.Reader, d256[:], pss)
		require.NoError(t, err)
		require.NoError(t, rsa.VerifyPSS(p, crypto.SHA256, d256[:], sig, &rsa.PSSOptions{SaltLength: 32}), "the envelope's rule: a salt of 32 bytes")
		sig, err = k.Sign(rand.Reader, d256[:], crypto.SHA256)
		require.NoError(t, err)
		require.NoError(t, rsa.VerifyPKCS1v15(p, crypto.SHA256, d256[:], sig))
	default:
		t.Fatalf("%T", p)
	}
	_, err := k.Sign(rand.Reader, msg, crypto.Hash(0))
	require.Error(t, err, "no digest")
}

func newTPM(t *testing.T) (*swtpm.TPM, transport.TPMCloser) {
	t.Helper()
	if err := swtpm.Available(); err != nil {
		t.Skip(err)
	}
	s, err := swtpm.NewMaker(t.TempDir()).Make("sha256")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	a, err := tpm.ParseAddress(s.Address)
	require.NoError(t, err)
	w, err := tpm.Dial(a)
	require.NoError(t, err)
	return s, w
}

var tpmKinds = map[string]struct {
	alg  tpm2.TPMAlgID
	bits int
}{"p256": {tpm2.TPMAlgECC, 256}, "p384": {tpm2.TPMAlgECC, 384}, "rsa": {tpm2.TPMAlgRSA, 2048}}

func TestTPMKeyFiles(t *testing.T) {
	s, w := newTPM(t)
	dir := t.TempDir()
	for name, kind := range tpmKinds {
		t.Run(name, func(t *testing.T) {
			k, err := keyfile.NewLoadableKey(w, kind.alg, kind.bits, nil)
			require.NoError(t, err)
			file := write(t, dir, name+".tss2", k.Bytes())
			signs(t, open(t, "tpm:file="+file+";device="+s.Address))
			// The TPM can be restarted: nothing of the key is left in it.
			k, err = keyfile.NewLoadableKey(w, kind.alg, kind.bits, nil, keyfile.WithUserAuth([]byte("secret")))
			require.NoError(t, err)
			file = write(t, dir, name+"-auth.tss2", k.Bytes())
			refused(t, "tpm:file="+file+";device="+s.Address, "ASSAY_KEY_PIN")
			pin := write(t, dir, "pin", []byte("secret\n"))
			signs(t, open(t, "tpm:file="+file+";device="+s.Address+";pin-source=file:"+pin))
			t.Setenv(keystore.PINVariable, "wrong")
			_, err = open(t, "tpm:file="+file+";device="+s.Address).Sign(nil, make([]byte, 32), crypto.SHA256)
			require.Error(t, err)
		})
	}
}

// persist makes a key in the TPM that outlasts its power.
func persist(t *testing.T, w transport.TPM, handle uint32, restricted bool, auth string, p tpm2.TPMTPublic) {
	t.Helper()
	p.NameAlg = tpm2.TPMAlgSHA256
	p.ObjectAttributes = tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true, Restricted: restricted}
	r, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(p),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte(auth)}}},
	}.Execute(w)
	require.NoError(t, err)
	_, err = tpm2.EvictControl{
		Auth: tpm2.TPMRHOwner, ObjectHandle: tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name}, PersistentHandle: tpm2.TPMIDHPersistent(handle),
	}.Execute(w)
	require.NoError(t, err)
	_, err = tpm2.FlushContext{FlushHandle: r.ObjectHandle}.Execute(w)
	require.NoError(t, err)
}

func eccKey(c tpm2.TPMECCCurve, scheme tpm2.TPMTECCScheme) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{Type: tpm2.TPMAlgECC, Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: c, Scheme: scheme})}
}

func rsaKey() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{Type: tpm2.TPMAlgRSA, Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048})}
}

func TestTPMHandles(t *testing.T) {
	s, w := newTPM(t)
	at := func(h uint32) string { return fmt.Sprintf("tpm:handle=0x%08x;device=%s", h, s.Address) }
	persist(t, w, 0x81000010, false, "", eccKey(tpm2.TPMECCNistP256, tpm2.TPMTECCScheme{}))
	persist(t, w, 0x81000011, false, "", eccKey(tpm2.TPMECCNistP384, tpm2.TPMTECCScheme{}))
	persist(t, w, 0x81000012, false, "", rsaKey())
	require.NoError(t, s.Restart())
	for _, h := range []uint32{0x81000010, 0x81000011, 0x81000012} {
		signs(t, open(t, at(h)))
	}
	refused(t, at(0x81000099), "no key at 0x81000099")

	persist(t, w, 0x81000013, false, "secret", eccKey(tpm2.TPMECCNistP256, tpm2.TPMTECCScheme{}))
	digest := make([]byte, 32)
	_, err := open(t, at(0x81000013)).Sign(nil, digest, crypto.SHA256)
	require.ErrorContains(t, err, keystore.PINVariable)
	asked := 0
	k, err := keystore.Open(context.Background(), at(0x81000013), keystore.Options{Ask: func(string) (string, error) { asked++; return "secret", nil }})
	require.NoError(t, err)
	signs(t, k)
	require.Equal(t, 1, asked, "a person is asked once")
	t.Setenv(keystore.PINVariable, "secret")
	signs(t, open(t, at(0x81000013)))

	scheme := tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}
	persist(t, w, 0x81000014, true, "", eccKey(tpm2.TPMECCNistP256, scheme))
	refused(t, at(0x81000014), "restricted")
}

func TestTokens(t *testing.T) {
	if err := softhsm.Available(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	store, err := softhsm.NewStore(dir)
	require.NoError(t, err)
	program, err := softhsm.BuildProgram("..", dir)
	require.NoError(t, err)
	t.Setenv("SOFTHSM2_CONF", store.Config)
	t.Setenv(keystore.HelperVariable, program)
	require.NoError(t, store.Token("release"))
	require.NoError(t, store.Token("other"))
	for i, k := range []crypto.Signer{newEC(t, elliptic.P256()), newEC(t, elliptic.P384()), newRSA(t)} {
		name := []string{"p256", "p384", "rsa"}[i]
		require.NoError(t, store.Import("release", name, fmt.Sprintf("%02x", i+1), write(t, dir, name, pkcs8(t, k))))
	}
	require.NoError(t, store.Import("release", "twice", "10", filepath.Join(dir, "p256")))
	require.NoError(t, store.Import("release", "twice", "11", filepath.Join(dir, "p384")))
	module := "?module-path=" + store.Module
	refused(t, "pkcs11:token=release;object=p256"+module, "asks for a PIN")
	pin := write(t, dir, "pin", []byte(softhsm.PIN+"\n"))
	signs(t, open(t, "pkcs11:token=release;object=p256"+module+"&pin-source=file:"+pin))
	t.Setenv(keystore.PINVariable, softhsm.PIN)
	for _, key := range []string{"object=p256", "object=p384", "object=rsa", "id=%02", "object=rsa;id=%03;type=private"} {
		signs(t, open(t, "pkcs11:token=release;"+key+module))
	}
	for uri, want := range map[string]string{
		"pkcs11:token=release;object=none" + module:           "no private key that fits",
		"pkcs11:token=release;object=p256;id=%02" + module:    "no private key that fits",
		"pkcs11:token=release;object=twice" + module:          "2 keys fit",
		"pkcs11:token=none;object=p256" + module:              `there are: "`,
		"pkcs11:object=p256" + module:                         "2 tokens fit",
		"pkcs11:token=release;object=p256":                    "no module",
		"pkcs11:object=p256?module-path=/nonexistent/x.so":    "cannot be loaded",
		"pkcs11:object=p256?module-path=" + pin:               "cannot be loaded",
		"pkcs11:token=release;slot-id=0;object=p256" + module: "no token fits",
	} {
		refused(t, uri, want)
	}
	t.Setenv(keystore.PINVariable, "0000")
	refused(t, "pkcs11:token=release;object=p256"+module, "PIN_INCORRECT")
}

// Whatever a key file holds, it is refused or opened, without a panic.
func FuzzKeyFile(f *testing.F) {
	sample, err := os.ReadFile(filepath.Join("testdata", "p256.tss2"))
	require.NoError(f, err)
	f.Add(sample)
	block, _ := pem.Decode(sample)
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		for _, text := range [][]byte{b, pemOf(block.Type, b)} {
			_, _ = keystore.Open(t.Context(), write(t, dir, "key", text), keystore.Options{})
		}
	})
}
