package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/assay-hw/assay/internal/pkcs11"
	"github.com/assay-hw/assay/internal/strictjson"
)

// HelperVariable names the program that speaks to tokens, when it lies neither
// beside the running program nor on PATH.
const HelperVariable = "ASSAY_PKCS11_HELPER"

// answerTime bounds one operation; a token may wait for a finger.
const answerTime = 2 * time.Minute

// token is a key in a PKCS #11 token. Modules are C libraries, which a static
// program cannot load: another program does, once for each operation.
type token struct {
	ctx     context.Context // crypto.Signer has no other way in
	program string
	uri     string
	pin     string
	public  crypto.PublicKey
}

func openToken(ctx context.Context, uri string, opt Options) (crypto.Signer, error) {
	u, err := pkcs11.ParseURI(uri)
	if err != nil {
		return nil, err
	}
	t := &token{ctx: ctx, uri: uri}
	if t.program, err = helper(); err != nil {
		return nil, err
	}
	if t.pin, err = pin(u.PINSource, "the PIN of "+uri, opt); err != nil {
		return nil, err
	}
	r, err := t.ask(pkcs11.Request{Operation: pkcs11.Public})
	if err != nil {
		return nil, err
	}
	if t.public, err = x509.ParsePKIXPublicKey(r.PublicKey); err != nil {
		return nil, fmt.Errorf("the token's public key: %w", err)
	}
	return checked{t}, nil
}

// helper finds the program: the named one, the one beside this, one on PATH.
func helper() (string, error) {
	if p := os.Getenv(HelperVariable); p != "" {
		if _, err := exec.LookPath(p); err != nil {
			return "", fmt.Errorf("%s: %w", HelperVariable, err)
		}
		return p, nil
	}
	if self, err := os.Executable(); err == nil {
		if p, err := exec.LookPath(filepath.Join(filepath.Dir(self), pkcs11.Program)); err == nil {
			return p, nil
		}
	}
	if p, err := exec.LookPath(pkcs11.Program); err == nil {
		return p, nil
	}
	return "", fmt.Errorf("keys in PKCS #11 tokens need the program %s, which is neither beside assay nor on PATH: build it on a machine with a C compiler (make build-pkcs11) and put it beside assay, or name it in %s", pkcs11.Program, HelperVariable)
}

// Public returns the public key.
func (t *token) Public() crypto.PublicKey { return t.public }

// Sign signs a digest.
func (t *token) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	req := pkcs11.Request{Operation: pkcs11.Sign, Digest: digest, Hash: opts.HashFunc().String()}
	if o, ok := opts.(*rsa.PSSOptions); ok {
		req.PSS, req.SaltLength = true, saltLength(o)
	}
	r, err := t.ask(req)
	if err != nil {
		return nil, err
	}
	return r.Signature, nil
}

// ask runs the program once. The PIN goes over the pipe: arguments and
// environments of processes are seen by others.
func (t *token) ask(req pkcs11.Request) (*pkcs11.Response, error) {
	req.Version, req.URI, req.PIN = pkcs11.Version, t.uri, t.pin
	in, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(t.ctx, answerTime)
	defer stop()
	var out, trouble limited
	cmd := exec.CommandContext(ctx, t.program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &trouble
	cmd.Env = withoutPIN(os.Environ())
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(t.program), err, bytes.TrimSpace(trouble.Bytes()))
	}
	var r pkcs11.Response
	if err := strictjson.Decode(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("%s: answer: %w", filepath.Base(t.program), err)
	}
	switch {
	case r.Error != "":
		return nil, errors.New(r.Error)
	case r.Version != pkcs11.Version:
		return nil, fmt.Errorf("%s answers in version %d, want %d; install the one of the same version as assay", filepath.Base(t.program), r.Version, pkcs11.Version)
	}
	return &r, nil
}

func withoutPIN(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, PINVariable+"=") {
			out = append(out, e)
		}
	}
	return out
}

// limited is a buffer that does not grow without end.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > pkcs11.MaxMessage {
		return 0, errors.New("the answer is too long")
	}
	return l.Buffer.Write(b)
}
