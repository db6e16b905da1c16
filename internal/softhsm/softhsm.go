// Package softhsm gives tests PKCS #11 tokens in software: SoftHSM 2.
package softhsm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PIN of every token.
const PIN = "943871"

// modules are where distributions put the library.
var modules = []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"}

func module() string {
	for _, m := range modules {
		if _, err := os.Stat(m); err == nil {
			return m
		}
	}
	return ""
}

// Available says why tests with a token cannot run here, or nil.
func Available() error {
	if _, err := exec.LookPath("softhsm2-util"); err != nil || module() == "" {
		return errors.New("needs SoftHSM (Debian package softhsm2; tools/setup.sh installs it)")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return errors.New("needs a C compiler for assay-pkcs11 (Debian packages gcc and libc6-dev; tools/setup.sh installs them)")
	}
	return nil
}

// Store is a directory of tokens.
type Store struct {
	Config string // for the environment variable SOFTHSM2_CONF
	Module string
}

// NewStore makes an empty store below a directory.
func NewStore(dir string) (*Store, error) {
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return nil, err
	}
	s := &Store{Config: filepath.Join(dir, "softhsm2.conf"), Module: module()}
	return s, os.WriteFile(s.Config, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens), 0o600)
}

func (s *Store) run(args ...string) error {
	cmd := exec.Command("softhsm2-util", args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Config)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("softhsm2-util %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Token makes a token.
func (s *Store) Token(label string) error {
	return s.run("--init-token", "--free", "--label", label, "--so-pin", PIN, "--pin", PIN)
}

// Import puts a private key, PKCS #8 in PEM, into a token. The id is in
// hexadecimal.
func (s *Store) Import(token, label, id, file string) error {
	return s.run("--import", file, "--token", token, "--label", label, "--id", id, "--pin", PIN)
}

// BuildProgram builds assay-pkcs11 into a directory. source is the root of this
// repository.
func BuildProgram(source, dir string) (string, error) {
	out := filepath.Join(dir, "assay-pkcs11")
	cmd := exec.Command("go", "build", "-o", out, "./cmd/assay-pkcs11")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=1")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build assay-pkcs11: %w: %s", err, text)
	}
	return out, nil
}
