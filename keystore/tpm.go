package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/internal/pkcs11"
)

// tss2Type is the PEM type of a key that only one TPM can load (ASN.1
// Specification for TPM 2.0 Key Files).
const tss2Type = "TSS2 PRIVATE KEY"

// address is what a tpm: URI says.
type address struct {
	handle    uint32 // of a persistent key, or
	file      string // with a TSS2 key
	device    string
	pinSource string
}

// parseAddress reads tpm:handle=0x81000010 or tpm:file=KEY, each with ;device=
// and ;pin-source=file:PATH; %XX as in other URIs. tpm:0x81000010 is short for
// the first.
func parseAddress(uri string) (address, error) {
	var a address
	seen := map[string]bool{}
	for _, part := range strings.Split(uri[len("tpm:"):], ";") {
		name, raw, ok := strings.Cut(part, "=")
		if !ok && strings.HasPrefix(part, "0x") {
			name, raw = "handle", part
		}
		value, err := pkcs11.Unescape(raw)
		if err == nil && (seen[name] || value == "") {
			err = errors.New("is given twice, or is empty")
		}
		if err == nil {
			err = a.set(name, value)
		}
		if err != nil {
			return a, fmt.Errorf("TPM URI: %q: %w", part, err)
		}
		seen[name] = true
	}
	if (a.handle == 0) == (a.file == "") {
		return a, errors.New("TPM URI: give one of handle and file")
	}
	return a, nil
}

// The range of persistent handles (TPM 2.0 Library Part 2, 7.2).
const firstPersistent, lastPersistent = 0x81000000, 0x81ffffff

func (a *address) set(name, value string) error {
	switch name {
	case "handle":
		n, err := strconv.ParseUint(value, 0, 32)
		if err != nil || n < firstPersistent || n > lastPersistent {
			return fmt.Errorf("is no persistent handle (0x%x to 0x%x)", firstPersistent, lastPersistent)
		}
		a.handle = uint32(n)
	case "file":
		a.file = value
	case "device":
		a.device = value
	case "pin-source":
		a.pinSource = value
	case "pin-value":
		return pkcs11.ErrPINValue
	default:
		return errors.New("is not known; want handle, file, device, pin-source")
	}
	return nil
}

// dial opens the TPM: a path below /dev, or what --tpm takes.
func (a address) dial() (transport.TPMCloser, error) {
	text := a.device
	if strings.HasPrefix(text, "/dev/") {
		text = "device:" + text
	}
	addr, err := tpm.ParseAddress(text)
	if err != nil {
		return nil, err
	}
	return tpm.Dial(addr)
}

func openTPM(uri string, opt Options) (crypto.Signer, error) {
	a, err := parseAddress(uri)
	if err != nil {
		return nil, err
	}
	if a.file != "" {
		b, err := readLimited(a.file, maxKeyBytes)
		if err != nil {
			return nil, err
		}
		return openFile(b, a, opt)
	}
	return openHandle(a, opt)
}

// guarded turns a panic of the library, which trusts what it reads, into an
// error.
func guarded[T any](f func() (T, error)) (out T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("TPM key: malformed: %v", r)
		}
	}()
	return f()
}

// parseFile reads a TSS2 key and its public key.
func parseFile(b []byte) (*keyfile.TPMKey, crypto.PublicKey, error) {
	type pair struct {
		key    *keyfile.TPMKey
		public crypto.PublicKey
	}
	p, err := guarded(func() (pair, error) {
		k, err := keyfile.Decode(b)
		if err != nil {
			return pair{}, err
		}
		contents, err := k.Pubkey.Contents()
		if err != nil {
			return pair{}, err
		}
		if err := maySign(contents); err != nil {
			return pair{}, err
		}
		if len(k.Policy) > 0 || len(k.AuthPolicy) > 0 {
			return pair{}, errors.New("the key is bound to a policy, which is not supported; make one with an authorisation value")
		}
		public, err := k.PublicKey()
		return pair{k, public}, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", tss2Type, err)
	}
	return p.key, p.public, supported(p.public)
}

func supported(public crypto.PublicKey) error {
	switch public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return nil
	}
	return fmt.Errorf("a TPM key of type %T is not supported", public)
}

// maySign refuses keys that sign only what the TPM itself made, or nothing.
func maySign(p *tpm2.TPMTPublic) error {
	switch a := p.ObjectAttributes; {
	case !a.SignEncrypt:
		return errors.New("the key's attributes do not let it sign")
	case a.Restricted:
		return errors.New("the key is restricted: it signs only what its TPM made, such as quotes")
	}
	return nil
}

func openFile(b []byte, a address, opt Options) (crypto.Signer, error) {
	key, public, err := parseFile(b)
	if err != nil {
		return nil, err
	}
	var auth string
	if key.HasAuth() {
		if auth, err = pin(a.pinSource, "the authorisation value of the TPM key", opt); err != nil {
			return nil, err
		}
		if auth == "" {
			return nil, fmt.Errorf("the key has an authorisation value: set %s, or add pin-source=file:PATH (tpm:file=KEY;pin-source=...)", PINVariable)
		}
	}
	return checked{&tpmKey{public, func(t transport.TPMCloser, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		s, err := key.Signer(t, nil, []byte(auth))
		if err != nil {
			return nil, err
		}
		return s.Sign(nil, digest, opts)
	}, a}}, nil
}

func openHandle(a address, opt Options) (crypto.Signer, error) {
	t, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	h := tpm2.TPMHandle(a.handle)
	read, err := guarded(func() (*tpm2.ReadPublicResponse, error) { return tpm2.ReadPublic{ObjectHandle: h}.Execute(t) })
	if err != nil {
		return nil, fmt.Errorf("no key at 0x%08x can be read: %w", a.handle, err)
	}
	p, err := read.OutPublic.Contents()
	if err != nil {
		return nil, err
	}
	if err := maySign(p); err != nil {
		return nil, err
	}
	public, err := guarded(func() (crypto.PublicKey, error) { return tpm2.Pub(*p) })
	if err == nil {
		err = supported(public)
	}
	if err != nil {
		return nil, err
	}
	auth, err := pin(a.pinSource, "", Options{})
	if err != nil {
		return nil, err
	}
	k := &handleKey{handle: tpm2.NamedHandle{Handle: h, Name: read.Name}, public: public, kind: p.Type, auth: auth, ask: opt.Ask}
	return checked{&tpmKey{public, k.sign, a}}, nil
}

// handleKey is a persistent key. Whether it has an authorisation value is seen
// only when it is used.
type handleKey struct {
	handle tpm2.NamedHandle
	public crypto.PublicKey
	kind   tpm2.TPMAlgID
	auth   string
	ask    func(string) (string, error)
}

func (k *handleKey) sign(t transport.TPMCloser, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := k.once(t, digest, opts)
	if !refusedAuth(err) {
		return sig, err
	}
	if k.ask == nil || k.auth != "" {
		return nil, fmt.Errorf("%w: set %s to the authorisation value of the key, or add ;pin-source=file:PATH", err, PINVariable)
	}
	if k.auth, err = k.ask(fmt.Sprintf("the authorisation value of the TPM key at 0x%08x", uint32(k.handle.Handle))); err != nil {
		return nil, err
	}
	return k.once(t, digest, opts)
}

func (k *handleKey) once(t transport.TPMCloser, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	size := 0
	if r, ok := k.public.(*rsa.PublicKey); ok {
		size = r.Size()
	}
	s := keyfile.NewTPMHandleSigner(t, k.public, k.kind, size, tpm2.AuthHandle{Handle: k.handle.Handle, Name: k.handle.Name, Auth: tpm2.PasswordAuth([]byte(k.auth))})
	return s.Sign(nil, digest, opts)
}

func refusedAuth(err error) bool {
	return errors.Is(err, tpm2.TPMRCAuthFail) || errors.Is(err, tpm2.TPMRCBadAuth)
}

// tpmKey opens its TPM for each signature: a device may serve one program at a
// time.
type tpmKey struct {
	public crypto.PublicKey
	sign   func(t transport.TPMCloser, digest []byte, opts crypto.SignerOpts) ([]byte, error)
	addr   address
}

// Public returns the public key.
func (k *tpmKey) Public() crypto.PublicKey { return k.public }

// Sign signs a digest.
func (k *tpmKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	t, err := k.addr.dial()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	sig, err := guarded(func() ([]byte, error) { return k.sign(t, digest, opts) })
	if err != nil {
		return nil, fmt.Errorf("the TPM does not sign: %w", err)
	}
	return sig, nil
}
