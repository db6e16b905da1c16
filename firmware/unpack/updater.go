package unpack

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/iflash"
	"github.com/assay-hw/assay/internal/lzma"
	"github.com/assay-hw/assay/internal/pfat"
	"github.com/assay-hw/assay/internal/pfs"
	"github.com/assay-hw/assay/internal/tdk"
)

// insydePacker is what stands before the archive of Insyde's packer: 7-Zip, with
// a password, or scrambled.
var insydePacker = []string{"\r\n;!@InstallEnd@!\r\n7z\xbc\xaf\x27", "\r\n;!@InstallEnd@!\r\n\x6e\xf4\x79\x5f\x4e"}

// beginsUpdater reports whether b is a program in which firmware is packed in a
// known way, or a run of Insyde's images without the program.
func beginsUpdater(b []byte) bool {
	if bytes.HasPrefix(b, []byte("$_IFLASH")) {
		return true
	}
	if !beginsProgram(b) {
		return false
	}
	if len(pfs.Sections(b)) > 0 || len(iflash.Find(b)) > 0 || guarded(b) >= 0 || packed(b) >= 0 {
		return true
	}
	_, _, ok := tdk.Find(b)
	return ok
}

// guarded is where an image for BIOS Guard begins in a program, or -1.
func guarded(b []byte) int {
	i := bytes.Index(b, []byte("_AMIPFAT")) - 8
	if i < 0 || !pfat.Begins(b[i:]) {
		return -1
	}
	return i
}

// packed is where the archive of Insyde's packer begins, or -1.
func packed(b []byte) int {
	for _, p := range insydePacker {
		if i := bytes.Index(b, []byte(p)); i >= 0 {
			return i + len(p) - 5
		}
	}
	return -1
}

func openUpdater(b []byte, limit int) (firmware.Archive, error) {
	u := &updater{b: b, left: limit}
	if s := pfs.Sections(b); len(s) > 0 {
		u.sections(s)
		return u.archive()
	}
	if images := iflash.Find(b); len(images) > 0 {
		for _, i := range images {
			u.piece(i.Offset)
			u.add(clean(i.Tag), firmware.Unknown, i.Name, i.Data)
			u.at = i.Offset + i.Length
		}
		return u.archive()
	}
	if files, bad, ok := tdk.Find(b); ok {
		return openTDK(b, files, bad, limit)
	}
	if at := guarded(b); at >= 0 {
		u.piece(at)
		u.add("pfat", firmware.Unknown, "", b[at:])
		u.at = len(b)
		return u.archive()
	}
	if at := packed(b); at >= 0 {
		u.piece(at)
		u.add("packed", firmware.Data, "Insyde packer", b[at:])
		u.at = len(b)
		u.notes = append(u.notes, firmware.Note{
			Code: finding.BytesNotUnderstood, Path: "packed", Want: "a known archive", Got: fmt.Sprintf("%d bytes", len(b)-at),
			Why: "Insyde's packer keeps the firmware in a 7-Zip archive with a password; it is compared as it stands",
		})
		return u.archive()
	}
	return firmware.Archive{}, errors.New("no firmware in the program")
}

// openTDK opens Phoenix's packer. Its files may lie anywhere in the program, which
// is compared as a whole beside them.
func openTDK(b []byte, files []tdk.File, bad, limit int) (firmware.Archive, error) {
	a := firmware.Archive{Used: len(b)}
	if bad > 0 {
		a.Notes = append(a.Notes, doesNotHold("", fmt.Sprintf("%d files of the packer's list leave the program", bad)))
	}
	for _, f := range files {
		out := file(f.Name, f.Data)
		switch {
		case f.Compressed:
			data, _, err := lzma.Decode(f.Data, limit)
			if err != nil {
				if errors.Is(err, lzma.ErrLimit) {
					return firmware.Archive{}, bounded(err, true)
				}
				limit -= len(data) // work all the same: files may share their bytes
				a.Notes = append(a.Notes, doesNotHold(f.Name, "the file cannot be expanded: "+err.Error()))
				break
			}
			out.Content = data
		case f.Unknown > 0:
			a.Notes = append(a.Notes, firmware.Note{Code: finding.BytesNotUnderstood, Path: out.Path, Want: "a known compression", Got: fmt.Sprintf("number %d", f.Unknown), Why: "the file is packed in a way that is not known here"})
		}
		if limit -= len(out.Content); limit < 0 {
			return firmware.Archive{}, firmware.ErrLimit
		}
		a.Files = append(a.Files, out)
	}
	return a, nil
}
