package main

import (
	"context"
	"crypto"
	"io"

	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/report/ear"
)

// earFormat is the format that a key signs.
const earFormat = "ear"

// earOptions are what a token needs beside the result. The key is opened before
// anything is appraised: who has it wrong learns that at once.
type earOptions struct {
	key    string
	nonce  []byte
	signer crypto.Signer
}

func (o *earOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.key, "ear-key", "", "with --format ear, the key that signs: "+keystore.Usage)
}

// open opens the key when the format asks for one.
func (o *earOptions) open(ctx context.Context, env *environment, format string) error {
	switch {
	case format != earFormat && o.key == "":
		return nil
	case format != earFormat:
		return usage("--ear-key is for --format %s", earFormat)
	case o.key == "":
		return usage("--format %s needs a key that signs the token: give --ear-key FILE, or make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out verifier.key", earFormat)
	}
	s, err := keystore.Open(ctx, o.key, keystore.Options{Ask: env.askPIN})
	if err != nil {
		return unreadable(err)
	}
	o.signer = s
	return nil
}

// take keeps the nonce that the relying party gave.
func (o *earOptions) take(nonce []byte) error {
	if n := len(nonce); o.signer != nil && n > 0 && (n < ear.MinNonce || n > ear.MaxNonce) {
		return usage("--nonce of %d bytes: --format %s takes %d to %d", n, earFormat, ear.MinNonce, ear.MaxNonce)
	}
	o.nonce = nonce
	return nil
}

func (o *earOptions) write(w io.Writer, r *assay.Result) error {
	return ear.Write(w, r, o.signer, ear.Options{Nonce: o.nonce, Build: programVersion()})
}
