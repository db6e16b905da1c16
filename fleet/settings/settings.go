// Package settings reads what an operator of a fleet's server writes for it: files in
// YAML, and files with a secret beside them.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds a file; real ones have a few lines.
const maxFile = 1 << 20

// Read reads a file into v, a pointer. A key that v does not have is an error, with its
// line; an empty file leaves v as it is.
func Read(name string, v any) error {
	raw, err := limited(name)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Secret reads the one line of a file that lies beside another, unless its name is
// absolute.
func Secret(beside, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(beside), name)
	}
	raw, err := limited(name)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(raw), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return secret, nil
}

func limited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s: exceeds the limit of %d bytes", name, maxFile)
	}
	return raw, err
}
