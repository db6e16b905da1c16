//go:build cgo

package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ThalesGroup/crypto11"
	driver "github.com/miekg/pkcs11"

	"github.com/assay-hw/assay/internal/pkcs11"
)

// moduleVariable names the module where a URI does not; it is what other
// programs read too.
const moduleVariable = "PKCS11_MODULE_PATH"

func ask(u *pkcs11.URI, req *pkcs11.Request) (*pkcs11.Response, error) {
	module := u.Module
	if module == "" {
		module = os.Getenv(moduleVariable)
	}
	if module == "" {
		return nil, fmt.Errorf("no module: add ?module-path=/path/of/module.so to the URI, or set %s", moduleVariable)
	}
	slot, err := findSlot(module, u, req.PIN != "")
	if err != nil {
		return nil, err
	}
	token, err := crypto11.Configure(&crypto11.Config{Path: module, SlotNumber: &slot, Pin: req.PIN, LoginNotSupported: req.PIN == "", MaxSessions: 2})
	if err != nil {
		return nil, fmt.Errorf("token in slot %d of %s: %w", slot, module, err)
	}
	defer token.Close()
	key, err := findKey(token, u)
	if err != nil {
		return nil, err
	}
	switch req.Operation {
	case pkcs11.Public:
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		return &pkcs11.Response{PublicKey: der}, nil
	case pkcs11.Sign:
		opts, err := options(req)
		if err != nil {
			return nil, err
		}
		sig, err := key.Sign(rand.Reader, req.Digest, opts)
		if err != nil {
			return nil, fmt.Errorf("the token does not sign: %w", err)
		}
		return &pkcs11.Response{Signature: sig}, nil
	}
	return nil, fmt.Errorf("unknown operation %q", req.Operation)
}

// findSlot finds the one slot whose token fits. Two that fit are an error: to
// sign with the wrong key is worse than not to sign.
func findSlot(module string, u *pkcs11.URI, pin bool) (int, error) {
	m := driver.New(module)
	if m == nil {
		return 0, fmt.Errorf("module %s: cannot be loaded: is it a PKCS #11 library for this machine?", module)
	}
	if err := m.Initialize(); err != nil {
		return 0, fmt.Errorf("module %s: %w", module, err)
	}
	defer func() { _ = m.Finalize() }() // crypto11 initialises it again
	slots, err := m.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("module %s: %w", module, err)
	}
	found, seen := []int{}, []string{}
	login := false
	for _, s := range slots {
		t, err := m.GetTokenInfo(s)
		if err != nil || t.Flags&driver.CKF_TOKEN_INITIALIZED == 0 {
			continue // a reader without a usable token
		}
		seen = append(seen, fmt.Sprintf("%q", text(t.Label)))
		if fits(u.Token, t.Label) && fits(u.Manufacturer, t.ManufacturerID) && fits(u.Model, t.Model) && fits(u.Serial, t.SerialNumber) && (u.Slot < 0 || uint(u.Slot) == s) {
			found = append(found, int(s))
			login = t.Flags&driver.CKF_LOGIN_REQUIRED != 0
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("module %s: no token fits the URI; there are: %s", module, strings.Join(seen, ", "))
	case len(found) > 1:
		return 0, fmt.Errorf("module %s: %d tokens fit the URI; add token, serial or slot-id", module, len(found))
	case login && !pin:
		return 0, errors.New("the token asks for a PIN: set ASSAY_KEY_PIN, or add pin-source=file:PATH to the URI")
	}
	return found[0], nil
}

// text takes off the padding of a fixed-size field.
func text(s string) string { return strings.TrimRight(s, " \x00") }

func fits(want, got string) bool { return want == "" || want == text(got) }

func findKey(token *crypto11.Context, u *pkcs11.URI) (crypto11.Signer, error) {
	want := crypto11.NewAttributeSet()
	if u.ID != nil {
		if err := want.Set(crypto11.CkaId, u.ID); err != nil {
			return nil, err
		}
	}
	if u.Object != "" {
		if err := want.Set(crypto11.CkaLabel, u.Object); err != nil {
			return nil, err
		}
	}
	keys, err := token.FindKeyPairsWithAttributes(want)
	switch {
	case err != nil:
		return nil, fmt.Errorf("find the key: %w", err)
	case len(keys) == 0:
		return nil, errors.New("the token holds no private key that fits the URI and has its public key or certificate beside it")
	case len(keys) > 1:
		return nil, fmt.Errorf("%d keys fit the URI; add object or id", len(keys))
	case keys[0].Public() == nil:
		return nil, errors.New("the token does not tell the public key")
	}
	return keys[0], nil
}

func options(req *pkcs11.Request) (crypto.SignerOpts, error) {
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if h.String() != req.Hash {
			continue
		}
		if len(req.Digest) != h.Size() {
			return nil, fmt.Errorf("digest of %d bytes, %s has %d", len(req.Digest), req.Hash, h.Size())
		}
		if req.PSS {
			return &rsa.PSSOptions{SaltLength: req.SaltLength, Hash: h}, nil
		}
		return h, nil
	}
	return nil, fmt.Errorf("unknown hash %q", req.Hash)
}
