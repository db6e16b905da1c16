package auditlog

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint says how far the log had come and what it was. Whoever keeps one
// elsewhere sees when the log is another one later.
type Checkpoint struct {
	Seq  int64
	Hash string // of the line Seq; "" of an empty log
	At   time.Time
}

// heading tells checkpoints from other notes of the same key.
const heading = "assay fleet audit log v1"

// Key signs for a fleet's server, in the form of signed notes of the Go checksum
// database (golang.org/x/mod/sumdb/note: Ed25519).
type Key struct {
	Public string // NAME+HASH+KEY, as verifiers take it
	signer note.Signer
}

// NewKey makes a key, and gives its secret form to be kept.
func NewKey(random io.Reader, name string) (secret string, err error) {
	secret, _, err = note.GenerateKey(random, name)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	return secret, nil
}

// ReadKey reads the secret form of a key.
func ReadKey(secret string) (*Key, error) {
	secret = strings.TrimSpace(secret)
	s, err := note.NewSigner(secret)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	public, err := publicOf(s.Name(), secret)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return &Key{Public: public, signer: s}, nil
}

// publicOf gives the public form that belongs to a secret one, which ends with the
// seed of an Ed25519 key behind a byte that names the algorithm.
func publicOf(name, secret string) (string, error) {
	parts := strings.SplitN(secret, "+", 5) // PRIVATE+KEY+NAME+HASH+KEY
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", errors.New("no Ed25519 key")
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("no Ed25519 key")
	}
	return note.NewEd25519VerifierKey(name, public)
}

// Sign signs a message of another kind than a checkpoint.
func (k *Key) Sign(message []byte) ([]byte, error) { return k.signer.Sign(message) }

// Checkpoint signs a checkpoint.
func (k *Key) Checkpoint(c Checkpoint) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n%s\n", heading, c.Seq, c.Hash, c.At.UTC().Format(time.RFC3339))
	return note.Sign(&note.Note{Text: text}, k.signer)
}

// Verify reports whether the key with a public form signed a message.
func Verify(public string, message, signature []byte) error {
	v, err := note.NewVerifier(public)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if !v.Verify(message, signature) {
		return errors.New("the signature is not by this key")
	}
	return nil
}

// maxNote bounds a signed checkpoint.
const maxNote = 4096

// Open checks a signed checkpoint.
func Open(raw []byte, public string) (*Checkpoint, error) {
	if len(raw) > maxNote {
		return nil, fmt.Errorf("checkpoint: exceeds %d bytes", maxNote)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	f := strings.Split(n.Text, "\n")
	if len(f) != 5 || f[0] != heading || f[4] != "" {
		return nil, errors.New("checkpoint: another kind of note")
	}
	c := &Checkpoint{Hash: f[2]}
	if c.Seq, err = strconv.ParseInt(f[1], 10, 64); err == nil {
		c.At, err = time.Parse(time.RFC3339, f[3])
	}
	if err != nil || c.Seq < 0 {
		return nil, fmt.Errorf("checkpoint: malformed: %w", errors.Join(err, ErrBroken))
	}
	return c, nil
}
