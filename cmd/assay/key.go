package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"

	"github.com/assay-hw/assay/keystore"
)

// keyHelp tells what --key takes, in the help of commands that sign.
const keyHelp = `--key is one of:

  FILE                     a PEM file: PKCS #8, SEC 1 or PKCS #1, not encrypted, or a TSS2
                           PRIVATE KEY, which only the TPM that made it can use
  tpm:handle=0x81000010    a key that is kept in the TPM; tpm:file=FILE for a TSS2 file.
                           ;device=/dev/tpmrm0 or ;device=swtpm:/SOCKET says which TPM
  pkcs11:token=T;object=O  a key in a token (RFC 7512), with ;id=%01, ;serial=, ;slot-id=
                           and ?module-path=/usr/lib/....so; the program assay-pkcs11 has
                           to lie beside assay (make build-pkcs11)

The PIN of a token and the authorisation value of a TPM key are read from the file
that pin-source=file:PATH names, from ASSAY_KEY_PIN, or asked for; never from the
command line.`

// openSigner opens a key and the chain of its certificate, and tells when they
// do not belong together before anything is signed.
func openSigner(ctx context.Context, env *environment, key, cert string) (crypto.Signer, []*x509.Certificate, error) {
	chain, err := keystore.ReadChain(cert)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	signer, err := keystore.Open(ctx, key, keystore.Options{Ask: env.askPIN})
	if err != nil {
		return nil, nil, unreadable(err)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return nil, nil, unreadable(fmt.Errorf("--key %s does not belong to the first certificate in %s (%s): pass its key, or the chain signer first", key, cert, chain[0].Subject))
	}
	return signer, chain, nil
}
