package unpack

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

func zips() firmware.Decoder {
	return firmware.Decoder{Name: "zip", Begins: func(b []byte) bool { return bytes.HasPrefix(b, []byte("PK\x03\x04")) }, Open: openZip}
}

const maxZipFiles = 1 << 12

// openZip reads the files that a zip's directory lists, in its order. The file
// is taken as a whole: what no entry covers is compared with it.
func openZip(b []byte, limit int) (firmware.Archive, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return firmware.Archive{}, err
	}
	if len(z.File) > maxZipFiles {
		return firmware.Archive{}, fmt.Errorf("%w: %d files, at most %d", firmware.ErrLimit, len(z.File), maxZipFiles)
	}
	claimed := uint64(0)
	for _, f := range z.File {
		if claimed += min(f.UncompressedSize64, 1<<40); claimed > uint64(limit) {
			return firmware.Archive{}, fmt.Errorf("%w of %d bytes, by what the zip says", firmware.ErrLimit, limit)
		}
	}
	a := firmware.Archive{Used: len(b)}
	seen := map[string]bool{}
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		name := clean(f.Name)
		data, err := zipped(f, limit)
		if errors.Is(err, firmware.ErrLimit) {
			return firmware.Archive{}, err
		}
		if limit -= len(data); err != nil {
			n := firmware.Note{Code: finding.InputMalformed, Path: name, Want: "a file that holds", Got: "another", Why: "the file cannot be read from the zip: " + err.Error()}
			if errors.Is(err, zip.ErrAlgorithm) {
				n.Code, n.Want = finding.BytesNotUnderstood, "a known compression"
			}
			a.Notes = append(a.Notes, n)
			continue
		}
		if seen[name] {
			a.Notes = append(a.Notes, firmware.Note{
				Code: finding.ParsersDisagree, Path: name, Want: "each name once", Got: "twice",
				Why: "the zip has two files of one name: which is taken depends on who reads it",
			})
		}
		seen[name] = true
		a.Files = append(a.Files, file(name, data))
	}
	return a, nil
}

// zipped reads one file to at most limit bytes; its length is a claim.
func zipped(f *zip.File, limit int) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // nothing was written
	var buf bytes.Buffer
	if f.UncompressedSize64 <= uint64(limit) {
		buf.Grow(int(min(f.UncompressedSize64, 200*f.CompressedSize64+512)))
	}
	n, err := io.Copy(&buf, io.LimitReader(r, int64(limit)+1))
	if n > int64(limit) {
		return nil, fmt.Errorf("%w of %d bytes", firmware.ErrLimit, limit)
	}
	return buf.Bytes(), err
}
