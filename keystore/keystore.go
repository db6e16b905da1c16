// Package keystore opens the key that a --key flag names: a PEM file, a key that
// a TPM holds, or a key in a PKCS #11 token. Keys in hardware stay there: what
// they sign is checked with their public key before it is handed on.
package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// PINVariable is the environment variable with the PIN of a token, or the
// authorisation value of a key in a TPM.
const PINVariable = "ASSAY_KEY_PIN"

// Options are what a program brings to open keys.
type Options struct {
	// Ask asks a person for the PIN of something; nil when there is nobody.
	Ask func(what string) (string, error)
}

// Usage says in a line of help what a key may be.
const Usage = "private key: a PEM file, tpm:handle=0x81...|file=KEY[;device=...], or pkcs11:token=...;object=..."

const (
	maxKeyBytes = 1 << 20
	maxPINBytes = 1 << 10
)

// Open opens a key.
func Open(ctx context.Context, name string, opt Options) (crypto.Signer, error) {
	s, err := open(ctx, name, opt)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return s, nil
}

func open(ctx context.Context, name string, opt Options) (crypto.Signer, error) {
	switch scheme(name) {
	case schemeToken:
		return openToken(ctx, name, opt)
	case schemeTPM:
		return openTPM(name, opt)
	case "tpmkey", "handle":
		return nil, errors.New("write it as tpm:file=FILE or tpm:handle=0x81000001")
	}
	b, err := readLimited(name, maxKeyBytes)
	if err != nil {
		return nil, err
	}
	if isTSS2(b) {
		return openFile(b, address{}, opt)
	}
	return parsePEM(b)
}

// Schemes of names that are no files.
const (
	schemeToken = "pkcs11"
	schemeTPM   = "tpm"
)

func scheme(name string) string {
	s, _, _ := strings.Cut(strings.ToLower(name), ":")
	return s
}

func isTSS2(b []byte) bool { return bytes.Contains(b, []byte("-----BEGIN "+tss2Type+"-----")) }

// InHardware reports whether signing with the key of that name takes more than
// reading its file: a TPM, or a token and the program that talks to it. A pipe, which
// can be read only once, is not looked into and may be such a key.
func InHardware(name string) bool {
	switch scheme(name) {
	case schemeToken, schemeTPM:
		return true
	}
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return err == nil
	}
	b, err := readLimited(name, maxKeyBytes)
	return err == nil && isTSS2(b)
}

func readLimited(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: exceeds the limit of %d bytes", name, most)
	}
	return b, err
}

// parsePEM reads PKCS #8, SEC 1 and PKCS #1.
func parsePEM(b []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, errors.New("holds no private key in PEM form")
		}
		var k any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			k, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			err = errEncrypted
		default:
			continue // EC PARAMETERS, certificates
		}
		if block.Headers["DEK-Info"] != "" { // RFC 1421, 4.6.1.3: how OpenSSL encrypted keys before PKCS #8
			err = errEncrypted
		}
		if err != nil {
			return nil, err
		}
		s, ok := k.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a key of type %T cannot sign", k)
		}
		return s, nil
	}
}

var errEncrypted = errors.New("is encrypted, and assay asks for no passphrase; decrypt it to a file in memory and sign with that: openssl pkey -in KEY -out /dev/shm/key.pem; or keep the key in a TPM or token")

// pin finds a PIN: where the source says, in the environment, or by asking. It is
// empty when there is none.
func pin(source, what string, opt Options) (string, error) {
	switch {
	case source != "":
		name, ok := strings.CutPrefix(source, "file:")
		if !ok {
			return "", fmt.Errorf("pin-source %q: want file:PATH", source)
		}
		b, err := readLimited(strings.TrimPrefix(name, "//"), maxPINBytes)
		if err != nil {
			return "", fmt.Errorf("pin-source: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	case os.Getenv(PINVariable) != "":
		return os.Getenv(PINVariable), nil
	case opt.Ask != nil:
		return opt.Ask(what)
	}
	return "", nil
}

// checked is a key in hardware. What it signs is verified before anybody else
// does: a token that chooses another padding than it was asked for is told here.
type checked struct{ crypto.Signer }

func (c checked) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() == 0 {
		return nil, errors.New("the key signs digests only")
	}
	sig, err := c.Signer.Sign(rand, digest, opts)
	if err != nil {
		return nil, err
	}
	return sig, check(c.Public(), digest, sig, opts)
}

func check(public crypto.PublicKey, digest, sig []byte, opts crypto.SignerOpts) error {
	broken := errors.New("what the hardware signed does not verify with its public key")
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(k, digest, sig) {
			return broken
		}
	case *rsa.PublicKey:
		want, pss := opts.(*rsa.PSSOptions)
		if !pss {
			if rsa.VerifyPKCS1v15(k, opts.HashFunc(), digest, sig) != nil {
				return broken
			}
			return nil
		}
		if rsa.VerifyPSS(k, opts.HashFunc(), digest, sig, want) == nil {
			return nil
		}
		any := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: opts.HashFunc()}
		if rsa.VerifyPSS(k, opts.HashFunc(), digest, sig, any) == nil {
			return errors.New("the hardware signs RSA-PSS with a salt of its own length, and verifiers want that of the digest; use an ECDSA key, or hardware that follows FIPS 186")
		}
		return broken
	case ed25519.PublicKey:
		return errors.New("Ed25519 keys in hardware are not supported; use ECDSA P-256 or P-384")
	default:
		return fmt.Errorf("a key of type %T is not supported", public)
	}
	return nil
}

// saltLength is what was asked for, in bytes.
func saltLength(o *rsa.PSSOptions) int {
	if o.SaltLength == rsa.PSSSaltLengthEqualsHash {
		return o.HashFunc().Size()
	}
	return o.SaltLength
}
