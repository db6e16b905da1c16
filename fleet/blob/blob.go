// Package blob keeps bytes under their SHA-256, compressed. What is stored twice
// is stored once: most of a machine's evidence is that of the day before, and
// much of it that of every machine of its kind.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/assay-hw/assay/internal/outfile"
)

// ErrDamaged is wrapped where stored bytes are not those of their name.
var ErrDamaged = errors.New("stored bytes are damaged")

// Store keeps bytes. What Get returns has the digest that was asked for, or it is
// an error: whoever can write to the place cannot change evidence.
type Store interface {
	Put(ctx context.Context, data []byte) (digest string, err error)
	Get(ctx context.Context, digest string) ([]byte, error)
	// Sweep removes what keep does not want and what is older than a time. What
	// is being put at the moment is younger.
	Sweep(ctx context.Context, before time.Time, keep func(digest string) bool) (removed int, err error)
}

// MaxBytes bounds one blob, expanded.
const MaxBytes = 64 << 20

// codec is how bytes are kept, and how they are read back: bounded and checked.
type codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec() (codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return codec{}, fmt.Errorf("blobs: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBytes))
	if err != nil {
		return codec{}, fmt.Errorf("blobs: %w", err)
	}
	return codec{enc, dec}, nil
}

// unpack reads what was kept under a digest.
func (c codec) unpack(digest string, r io.Reader) ([]byte, error) {
	packed, err := io.ReadAll(io.LimitReader(r, MaxBytes+1<<20))
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	data, err := c.decoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("blobs: %s: %w: %w", digest, ErrDamaged, err)
	}
	if Digest(data) != digest {
		return nil, fmt.Errorf("blobs: %s: %w", digest, ErrDamaged)
	}
	return data, nil
}

// nameOf is under which name a digest is kept, below the root.
func nameOf(digest string) (string, error) {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != digest {
		return "", fmt.Errorf("blobs: %.80q is no digest", digest)
	}
	return digest[:2] + "/" + digest + ending, nil
}

const ending = ".zst"

// Directory keeps each blob in a file.
type Directory struct {
	codec
	root string
}

// OpenDirectory makes a directory, when it is not there.
func OpenDirectory(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	c, err := newCodec()
	return &Directory{c, path}, err
}

// Digest is the name of bytes.
func Digest(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func (d *Directory) path(digest string) (string, error) {
	name, err := nameOf(digest)
	return filepath.Join(d.root, filepath.FromSlash(name)), err
}

// Put stores bytes. A file that is there already is made young, so that Sweep
// leaves it.
func (d *Directory) Put(_ context.Context, data []byte) (string, error) {
	if len(data) > MaxBytes {
		return "", fmt.Errorf("blobs: %d bytes, the limit is %d", len(data), MaxBytes)
	}
	digest := Digest(data)
	path, err := d.path(digest)
	if err != nil {
		return "", err
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err == nil {
		return digest, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("blobs: %w", err)
	}
	err = outfile.Write(path, 0o600, func(w io.Writer) error {
		_, err := w.Write(d.encoder.EncodeAll(data, nil))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("blobs: %w", err)
	}
	return digest, nil
}

// Get reads bytes, and checks them.
func (d *Directory) Get(_ context.Context, digest string) ([]byte, error) {
	path, err := d.path(digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	defer f.Close()
	return d.unpack(digest, f)
}

// Sweep removes old files that are not wanted. One that is stored again meanwhile
// stays: it is put aside first, and looked at once more.
func (d *Directory) Sweep(ctx context.Context, before time.Time, keep func(string) bool) (removed int, err error) {
	err = filepath.WalkDir(d.root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(e.Name(), aside) {
			return d.putBack(p) // a sweep that was killed left it
		}
		name, ok := strings.CutSuffix(e.Name(), ending)
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process sweeps too
		}
		if err != nil || !ok || !info.ModTime().Before(before) || keep(name) {
			return err
		}
		gone, err := d.remove(p, before)
		if gone {
			removed++
		}
		return err
	})
	if err != nil {
		return removed, fmt.Errorf("blobs: %w", err)
	}
	return removed, nil
}

// aside ends the name of a file that is about to be removed.
const aside = ".aside"

// remove removes a file unless it became young since it was looked at.
func (d *Directory) remove(p string, before time.Time) (gone bool, err error) {
	if err := os.Rename(p, p+aside); err != nil {
		return false, ignore(err)
	}
	info, err := os.Stat(p + aside)
	if err != nil {
		return false, ignore(err)
	}
	if !info.ModTime().Before(before) {
		return false, d.putBack(p + aside)
	}
	return true, ignore(os.Remove(p + aside))
}

// putBack gives a file its name back, unless somebody has stored the bytes anew.
func (d *Directory) putBack(p string) error {
	if err := os.Link(p, strings.TrimSuffix(p, aside)); err != nil && !errors.Is(err, fs.ErrExist) {
		return ignore(err)
	}
	return ignore(os.Remove(p))
}

// ignore passes over what another process did in the meantime.
func ignore(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
