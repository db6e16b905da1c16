package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/internal/softhsm"
	"github.com/assay-hw/assay/keystore"
)

// signingCommands let scripts make keys, certificates and clocks.
var signingCommands = map[string]func(*testscript.TestScript, bool, []string){
	"newkey": makeKey, "certify": certifyKey, "samepayload": samePayload, "clock": makeClock, "tpmkeys": makeTPMKeys,
}

func arguments(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", usage)
	}
}

func writePEM(ts *testscript.TestScript, name, typ string, der []byte) {
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(name)), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600))
}

func writeKey(ts *testscript.TestScript, name string, k crypto.Signer) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	ts.Check(err)
	writePEM(ts, name, "PRIVATE KEY", der)
}

// makeKey is "newkey p256|p384|rsa FILE".
func makeKey(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "newkey p256|p384|rsa FILE")
	k, err := newKey(args[0])
	ts.Check(err)
	writeKey(ts, args[1], k)
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("unknown kind of key %q", kind)
}

// certifyKey is "certify KEY CERT ROOTS": the maker of the recorded machines
// certifies a key, with a root of its own in that directory, for a year from
// yesterday.
func certifyKey(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3, "certify KEY CERT ROOTS")
	name := args[0]
	if _, err := os.Stat(ts.MkAbs(name)); err == nil {
		name = ts.MkAbs(name)
	}
	if rest, ok := trimFile(name); ok {
		name = "tpm:file=" + ts.MkAbs(rest[0]) + ";" + rest[1]
	}
	k := openFor(ts, name)
	root, rootKey := authority(ts, "root")
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	ts.Check(err)
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Assay Lab Computer Inc."}, CommonName: filepath.Base(args[1])},
		NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, k.Public(), rootKey)
	ts.Check(err)
	writePEM(ts, args[1], "CERTIFICATE", der)
	writePEM(ts, filepath.Join(args[2], filepath.Base(args[1])+"-root.pem"), "CERTIFICATE", root.Raw)
}

// openFor opens a key in the environment of a script; scripts run side by side.
func openFor(ts *testscript.TestScript, name string) crypto.Signer {
	scriptEnvironment.Lock()
	defer scriptEnvironment.Unlock()
	for _, v := range []string{keystore.PINVariable, keystore.HelperVariable, "SOFTHSM2_CONF"} {
		ts.Check(os.Setenv(v, ts.Getenv(v)))
	}
	k, err := keystore.Open(context.Background(), name, keystore.Options{})
	ts.Check(err)
	return k
}

var scriptEnvironment sync.Mutex

func trimFile(uri string) ([2]string, bool) {
	const prefix = "tpm:file="
	for i := range uri {
		if uri[i] == ';' && len(uri) > len(prefix) && uri[:len(prefix)] == prefix {
			return [2]string{uri[len(prefix):i], uri[i+1:]}, true
		}
	}
	return [2]string{}, false
}

func authority(ts *testscript.TestScript, name string) (*x509.Certificate, crypto.Signer) {
	k, err := newKey("p256")
	ts.Check(err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	ts.Check(err)
	c, err = x509.ParseCertificate(der)
	ts.Check(err)
	return c, k
}

// samePayload is "samepayload A B": two envelopes carry the same signed bytes.
func samePayload(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "samepayload A B")
	var e [2]struct{ Payload string }
	for i, a := range args {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(a)), &e[i]))
	}
	if e[0].Payload == "" || e[0] != e[1] {
		ts.Fatalf("%s and %s carry other bytes", args[0], args[1])
	}
}

// makeClock is "clock ROOTS CERT KEY CONFIG": a time stamping authority for
// openssl ts, whose root goes into tsa/ below the roots.
func makeClock(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 4, "clock ROOTS CERT KEY CONFIG")
	root, rootKey := authority(ts, "time root")
	k, err := newKey("p256")
	ts.Check(err)
	purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	ts.Check(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Clock"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	}, root, k.Public(), rootKey)
	ts.Check(err)
	writePEM(ts, filepath.Join(args[0], "tsa", "root.pem"), "CERTIFICATE", root.Raw)
	writePEM(ts, args[1], "CERTIFICATE", der)
	writeKey(ts, args[2], k)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte("[tsa]\ndefault_tsa = t\n[t]\nserial = serial\ncrypto_device = builtin\nsigner_digest = sha256\n"+
		"default_policy = 1.2.3.4\ndigests = sha256\naccuracy = secs:1\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n"), 0o600))
}

// makeTPMKeys is "tpmkeys ADDRESS FILE HANDLE": an RSA key as a TSS2 file, and a
// P-256 key that stays in the TPM.
func makeTPMKeys(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3, "tpmkeys ADDRESS FILE HANDLE")
	a, err := tpm.ParseAddress(args[0])
	ts.Check(err)
	w, err := tpm.Dial(a)
	ts.Check(err)
	defer w.Close()
	k, err := keyfile.NewLoadableKey(w, tpm2.TPMAlgRSA, 2048, nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), k.Bytes(), 0o600))
	handle, err := strconv.ParseUint(args[2], 0, 32)
	ts.Check(err)
	r, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true},
		Parameters:       tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256}),
	})}.Execute(w)
	ts.Check(err)
	_, err = tpm2.EvictControl{
		Auth: tpm2.TPMRHOwner, ObjectHandle: tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name}, PersistentHandle: tpm2.TPMIDHPersistent(handle),
	}.Execute(w)
	ts.Check(err)
	_, err = tpm2.FlushContext{FlushHandle: r.ObjectHandle}.Execute(w)
	ts.Check(err)
}

// token is a PKCS #11 token with keys, and the program that speaks to it.
type token struct{ config, module, program string }

// newToken returns nothing where there is no SoftHSM.
func newToken(t *testing.T) token {
	t.Helper()
	if err := softhsm.Available(); err != nil {
		t.Log(err)
		return token{}
	}
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := softhsm.NewStore(dir)
	must(err)
	program, err := softhsm.BuildProgram(filepath.Join("..", ".."), dir)
	must(err)
	must(store.Token("release"))
	for i, kind := range []string{"p384", "rsa"} {
		k, err := newKey(kind)
		must(err)
		der, err := x509.MarshalPKCS8PrivateKey(k)
		must(err)
		file := filepath.Join(dir, kind)
		must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
		must(store.Import("release", kind, fmt.Sprintf("%02x", i+1), file))
	}
	return token{store.Config, store.Module, program}
}
