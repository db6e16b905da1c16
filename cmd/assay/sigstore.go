package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/sigstore"
	"github.com/assay-hw/assay/manifest/vendor"
)

func addSigstoreFlag(fs *pflag.FlagSet, root *string) {
	fs.StringVar(root, "sigstore-root", "", "trusted root (trusted_root.json) for manifests signed with Sigstore; nothing is fetched")
}

// openSigstore takes the Sigstore bundles out of a list of files, with the files
// that they sign, and verifies them.
func openSigstore(files []vendor.File, rootFile string, t *manifest.Trust, at time.Time) ([]vendor.Statement, []vendor.File, error) {
	var bundles, rest []vendor.File
	for _, f := range files {
		if sigstore.IsBundle(f.Data) {
			bundles = append(bundles, f)
		} else {
			rest = append(rest, f)
		}
	}
	var root *sigstore.Root
	if rootFile != "" {
		raw, err := readInput(rootFile, sigstore.MaxRoot)
		if err != nil {
			return nil, nil, err
		}
		if root, err = sigstore.ReadRoot(raw); err != nil {
			return nil, nil, unreadable(fmt.Errorf("%s: %w", rootFile, err))
		}
	}
	var out []vendor.Statement
	for _, f := range bundles {
		b, err := sigstore.Read(f.Data)
		if err != nil {
			return nil, nil, unreadable(fmt.Errorf("%s: %w", f.Name, err))
		}
		var signed []byte
		if needs, _ := b.NeedsFile(nil); needs {
			if signed, rest, err = besideBundle(b, f.Name, rest); err != nil {
				return nil, nil, err
			}
		}
		opened, rep := sigstore.Open(b, signed, root, t, at)
		out = append(out, vendor.Statement{Trusted: opened, Report: rep})
	}
	return out, rest, nil
}

// besideBundle finds the file that a bundle signs: among those that were given,
// or beside the bundle under its name without .sigstore.json.
func besideBundle(b *sigstore.Bundle, name string, rest []vendor.File) ([]byte, []vendor.File, error) {
	for i, f := range rest {
		if _, fits := b.NeedsFile(f.Data); fits {
			return f.Data, append(rest[:i:i], rest[i+1:]...), nil
		}
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(name, ".json"), ".sigstore")
	raw, err := readInput(stem, maxManifestBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist) || stem == name:
		return nil, rest, nil // told with the result: the file was not given
	case err != nil:
		return nil, nil, err
	}
	return raw, rest, nil
}
