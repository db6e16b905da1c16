// Package jcat reads a catalogue of what vouches for files: digests, signatures
// and proofs of a log, in the gzip'd JSON of libjcat 0.1.
//
// It proves what the catalogue says. It verifies no signature.
package jcat

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed is wrapped when the bytes are no catalogue.
var ErrMalformed = errors.New("malformed jcat")

// Bounds of one catalogue.
const (
	maxSize  = 4 << 20 // expanded
	maxItems = 1 << 10
	maxBlobs = 64
)

// Item is what vouches for one file.
type Item struct {
	ID    string // file name
	Blobs []Blob
}

// Blob is one digest, signature or proof.
type Blob struct {
	Kind   Kind
	Target Kind // of the item's digest that is signed, 0 for the file itself
	Data   []byte
}

// Kind is what a blob is (libjcat, JcatBlobKind).
type Kind int

// The kinds that are told apart here.
const (
	SHA256 Kind = 1
	GPG    Kind = 2
	PKCS7  Kind = 3
	SHA1   Kind = 4
	SHA512 Kind = 10
)

var names = map[Kind]string{
	SHA256: "sha256", GPG: "gpg", PKCS7: "pkcs7", SHA1: "sha1", 5: "bt-manifest", 6: "bt-checkpoint", 7: "bt-inclusion-proof", 8: "bt-verifier",
	9: "ed25519", SHA512: "sha512", 11: "bt-logindex",
}

func (k Kind) String() string {
	if n, ok := names[k]; ok {
		return n
	}
	return fmt.Sprintf("kind-%d", int(k))
}

// Digest reports whether the blob is a digest of its file.
func (k Kind) Digest() bool { return k == SHA256 || k == SHA1 || k == SHA512 }

const utf8Flag = 1 // the data stands as text, else in base64

// Parse reads a catalogue.
func Parse(b []byte) ([]Item, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxSize)
	}
	var file struct {
		Items []struct {
			ID    string `json:"Id"`
			Blobs []struct {
				Kind   Kind   `json:"Kind"`
				Target Kind   `json:"Target"`
				Flags  int    `json:"Flags"`
				Data   string `json:"Data"`
			} `json:"Blobs"`
		} `json:"Items"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(file.Items) > maxItems {
		return nil, fmt.Errorf("%w: %d items, at most %d", ErrMalformed, len(file.Items), maxItems)
	}
	var out []Item
	for _, i := range file.Items {
		if len(i.Blobs) > maxBlobs {
			return nil, fmt.Errorf("%w: %d blobs for one item, at most %d", ErrMalformed, len(i.Blobs), maxBlobs)
		}
		item := Item{ID: i.ID}
		for _, c := range i.Blobs {
			data := []byte(c.Data)
			if c.Flags&utf8Flag == 0 {
				if data, err = base64.StdEncoding.DecodeString(c.Data); err != nil {
					return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
				}
			}
			item.Blobs = append(item.Blobs, Blob{Kind: c.Kind, Target: c.Target, Data: data})
		}
		out = append(out, item)
	}
	return out, nil
}
