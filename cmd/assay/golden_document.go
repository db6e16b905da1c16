package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/safe"
)

// document is what a file, or a document of another format with what belongs to
// it, says as a manifest. No signature was checked.
type document struct {
	manifest *manifest.Manifest
	digest   string   // of a manifest's statement: what a delta starts from
	foreign  bool     // it was imported
	lost     []string // what of it has no place in a manifest
}

// openDocument reads a manifest, or imports documents of another format.
func openDocument(names ...string) (*document, error) {
	name := names[0]
	raw, err := readInput(name, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	m, first := manifest.ReadUntrusted(raw)
	switch {
	case first == nil && len(names) > 1:
		return nil, usage("%s is a manifest; %q does not belong to it", name, names[1])
	case first == nil:
		digest, err := manifest.PayloadDigest(raw)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		return &document{manifest: m, digest: digest}, nil
	case bytes.Contains(raw, []byte(manifest.PredicateType)), bytes.Contains(raw, []byte("payloadType")):
		return nil, unreadable(fmt.Errorf("%s: %w", name, first)) // meant as ours
	case safe.IsReport(raw):
		return nil, unreadable(fmt.Errorf("%s: a S.A.F.E. report is read with the key of its provider: draft of it first (golden import --safe-key)", name))
	}
	opt := importOptions{}
	m, lost, err := opt.read(names)
	if err != nil {
		return nil, err
	}
	opt.header(m, time.Time{})
	return &document{manifest: m, foreign: true, lost: lost}, nil
}
