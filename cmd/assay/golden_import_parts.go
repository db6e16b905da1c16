package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/lshw"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/cerberus"
	"github.com/assay-hw/assay/manifest/design"
	"github.com/assay-hw/assay/manifest/redfish"
)

// board drafts of the bill of materials of a board, or returns nothing when the
// first file is none.
func (o *importOptions) board(files []string) (*manifest.Manifest, []string, error) {
	is, err := boardAt(files[0])
	if err != nil || !is {
		return nil, nil, err
	}
	if len(files) > 1 {
		return nil, nil, usage("one board at a time; %q is not needed", files[1])
	}
	m, lost, err := draftBoard(files[0], o.mapping)
	if err != nil || o.placement == "" {
		return m, lost, err
	}
	raw, err := readInput(o.placement, board.MaxBytes)
	if err != nil {
		return nil, nil, err
	}
	p, err := board.ReadPlacement(o.placement, raw)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	return m, append(lost, texts(design.Place(m, p))...), nil
}

func draftBoard(path, mapping string) (*manifest.Manifest, []string, error) {
	b, err := readBoard(path, mapping)
	if err != nil {
		return nil, nil, err
	}
	m, lost, err := design.Import(b)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	if m.Environment.Model == "" {
		m.Environment.Model = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return m, texts(lost), nil
}

// cerberus drafts of manifests of Project Cerberus, or returns nothing when the
// first file is none.
func (o *importOptions) cerberus(files []string) (*manifest.Manifest, []string, error) {
	raw, err := readInput(files[0], maxDump)
	if err != nil || !cerberus.IsManifest(raw) {
		return nil, nil, err
	}
	var all []cerberus.File
	for _, name := range files {
		if raw, err = readInput(name, cerberus.MaxBytes); err != nil {
			return nil, nil, err
		}
		all = append(all, cerberus.File{Name: name, Data: raw})
	}
	m, lost, err := cerberus.Import(all...)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	return m, texts(lost), nil
}

// parts drafts of a Redfish tree or of what a tool printed, or returns nothing
// when the first file is neither.
func (o *importOptions) parts(files []string) (*manifest.Manifest, []string, error) {
	info, err := os.Stat(files[0])
	if err != nil {
		return nil, nil, unreadable(err)
	}
	if info.IsDir() {
		if !redfish.IsTree(os.DirFS(files[0])) {
			return nil, nil, unreadable(fmt.Errorf("%s: no Redfish tree; drafts of evidence are made by golden draft", files[0]))
		}
	} else {
		raw, err := readInput(files[0], maxDump)
		if err != nil {
			return nil, nil, err
		}
		if !isTreeFile(raw) && !lshw.Is(raw) {
			var format *evidence.FormatError
			if _, err := bom.ReadDump(files[0], raw); errors.As(err, &format) {
				return nil, nil, nil
			}
		}
	}
	if len(files) > 1 {
		return nil, nil, usage("one tree or output at a time; %q is not needed", files[1])
	}
	l, err := openParts(files[0], o.system, evidence.Limits{})
	if err != nil {
		return nil, nil, err
	}
	m, lost := l.draft(o.scope != "model")
	return m, lost, nil
}
