package unpack

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/cramfs"
	"github.com/assay-hw/assay/internal/fdt"
	"github.com/assay-hw/assay/internal/filetree"
	"github.com/assay-hw/assay/internal/jffs2"
	"github.com/assay-hw/assay/internal/lzo"
	"github.com/assay-hw/assay/internal/squashfs"
	"github.com/assay-hw/assay/internal/ubi"
	"github.com/assay-hw/assay/internal/ubifs"
	"github.com/assay-hw/assay/internal/uboot"
)

// controllerDecoders open what the flash of a management controller holds.
func controllerDecoders() []firmware.Decoder {
	return []firmware.Decoder{
		{Name: "squashfs", Begins: func(b []byte) bool { _, ok := squashfs.ParseHeader(b); return ok }, Open: openSquashFS},
		{Name: "cramfs", Begins: cramfs.Begins, Open: openCramFS},
		{Name: "jffs2", Begins: jffs2.Begins, Open: openJFFS2},
		{Name: "ubi", Begins: ubi.Begins, Open: openUBI},
		{Name: "ubifs", Begins: ubifs.Begins, Open: openUBIFS},
		{Name: "fit", Begins: beginsFIT, Open: openFIT},
		{Name: "uimage", Begins: uboot.BeginsImage, Open: openUImage},
		{Name: "environment", Begins: uboot.Holds, Open: openEnvironment},
		{Name: "tar", Begins: beginsTar, Open: openTar},
		{Name: "jffs2", Begins: jffs2.Holds, Open: openJFFS2}, // behind blocks that hold something else
	}
}

// The types of files, as they are reported.
const (
	typeFile    = "file"
	typeProgram = "program"
	typeListing = "listing"
	typeVolume  = "volume"
)

// fileSystem makes an archive of entries: the listing, the contents of files,
// and a line for what is no file. The opener leaves out what it has no use for.
func fileSystem(es []filetree.Entry, used int, err error) (firmware.Archive, error) {
	if err != nil && (errors.Is(err, filetree.ErrLimit) || len(es) == 0) {
		return firmware.Archive{}, limited(err)
	}
	a := firmware.Archive{Used: used}
	a.Files = append(a.Files, firmware.File{Path: typeListing, Kind: firmware.Data, Type: typeListing, Content: filetree.Listing(es)})
	for _, e := range es {
		if e.Broken != "" {
			a.Notes = append(a.Notes, firmware.Note{
				Code: finding.BytesNotUnderstood, Path: e.Path, Want: "contents that can be read", Got: fmt.Sprintf("%d bytes", e.Size),
				Why: "a file's contents cannot be read: " + e.Broken,
			})
		}
		if e.Type() == filetree.Directory || e.Broken != "" && len(e.Content) == 0 {
			continue
		}
		a.Files = append(a.Files, fileOf(e))
	}
	if err != nil {
		a.Notes = append(a.Notes, firmware.Note{
			Code: finding.InputMalformed, Want: "a file system that can be read to its end", Got: "malformed",
			Why: "not all of a file system can be read: " + err.Error(),
		})
	}
	return a, nil
}

// fileOf is an entry as a file. One that cannot be read has the bytes that are
// stored for it, so that it is compared.
func fileOf(e filetree.Entry) firmware.File {
	f := firmware.File{Path: e.Path, Kind: firmware.Data, Type: typeFile, Content: e.Content, Rewritten: writtenInOperation(e.Path)}
	switch {
	case e.Runs():
		f.Kind, f.Type = firmware.Code, typeProgram
		if e.Broken == "" && len(e.Content) == 0 {
			f.Kind, f.Type = firmware.Data, typeFile // an empty program does nothing
		}
	case e.Broken != "":
		f.Type = "file that cannot be read"
	}
	if e.Broken == "" && len(e.Content) == 0 {
		f.Type, f.Content = firmware.NodeType, []byte(e.String())
	}
	return f
}

// written completes the archive of a file system that is written to: a name that
// a directory has besides of its own, and what older nodes say.
func written(a *firmware.Archive, past []filetree.Entry, twice []string) {
	for _, p := range twice {
		a.Notes = append(a.Notes, firmware.Note{
			Code: finding.BytesNotUnderstood, Path: p, Want: "one name for a directory", Got: "another",
			Why: "a directory has a second name, as when a rename is cut off; it was read under the first",
		})
	}
	for _, e := range past {
		f := fileOf(e)
		f.Type = firmware.SupersededType
		a.Files = append(a.Files, f)
	}
}

// compared reports whether an older version of a file is compared.
func compared(e filetree.Entry) bool {
	return e.Runs() || e.IsDevice() && e.Major|e.Minor != 0 || !writtenInOperation(e.Path)
}

// limited makes the limits of all formats one.
func limited(err error) error {
	for _, l := range []error{filetree.ErrLimit, ubi.ErrLimit, lzo.ErrLimit} {
		if errors.Is(err, l) {
			return fmt.Errorf("%w: %w", firmware.ErrLimit, err)
		}
	}
	return err
}

func openSquashFS(b []byte, limit int) (firmware.Archive, error) {
	h, _ := squashfs.ParseHeader(b)
	es, err := squashfs.Parse(b, expander(h.Compression), limit)
	const pad = 4096 // mksquashfs fills the last block of the device with zeros
	used := h.Used
	if end := min((used+pad-1)&^(pad-1), len(b)); len(bytes.Trim(b[used:end], "\x00")) == 0 {
		used = end
	}
	return fileSystem(es, used, err)
}

func openCramFS(b []byte, limit int) (firmware.Archive, error) {
	h, ok := cramfs.ParseHeader(b)
	if !ok {
		return firmware.Archive{}, fmt.Errorf("cramfs: %w", filetree.ErrMalformed)
	}
	es, err := cramfs.Parse(b, limit)
	a, err := fileSystem(es, h.Size, err)
	if err == nil && h.Damaged {
		a.Notes = append(a.Notes, damaged("the checksum of the file system does not hold"))
	}
	return a, err
}

func damaged(why string) firmware.Note {
	return firmware.Note{Code: finding.InputMalformed, Want: "a checksum that holds", Got: "another checksum", Why: why}
}

// unfinished says how many nodes do not hold. A controller that loses power
// while it writes leaves some, so that it is no alarm.
func unfinished(n int) firmware.Note {
	return firmware.Note{
		Code: finding.BytesNotUnderstood, Want: "0 nodes", Got: fmt.Sprintf("%d nodes", n),
		Why: "nodes of a file system have checksums that do not hold; they do not count, as for the controller",
	}
}

func openJFFS2(b []byte, limit int) (firmware.Archive, error) {
	fs, err := jffs2.Parse(b, limit, compared)
	a, err := fileSystem(fs.Entries, len(b), err)
	if err != nil {
		return a, err
	}
	written(&a, fs.Past, fs.Twice)
	if fs.Damaged > 0 {
		a.Notes = append(a.Notes, unfinished(fs.Damaged))
	}
	return a, nil
}

func openUBIFS(b []byte, limit int) (firmware.Archive, error) {
	fs, err := ubifs.Parse(b, expandUBIFS, limit, compared)
	a, err := fileSystem(fs.Entries, len(b), err)
	if err != nil {
		return a, err
	}
	written(&a, fs.Past, fs.Twice)
	if fs.Damaged > 0 {
		a.Notes = append(a.Notes, unfinished(fs.Damaged))
	}
	if fs.Scanned != "" {
		a.Notes = append(a.Notes, firmware.Note{
			Code: finding.BytesNotUnderstood, Want: "an index that leads to all files", Got: "none", Why: "all nodes of a file system were taken, files that were removed among them: " + fs.Scanned,
		})
	}
	return a, nil
}

func expandUBIFS(c ubifs.Compression, b []byte, limit int) ([]byte, error) {
	switch c {
	case ubifs.LZO:
		out, _, err := lzo.Decode(b, limit)
		return out, err
	case ubifs.Zlib:
		return readAll(flate.NewReader(bytes.NewReader(b)), limit)
	case ubifs.Zstd:
		return expandZstd(b, limit)
	}
	return nil, errors.New("not known")
}

// openUBI makes a file of every volume. What the controller writes to is
// volatile; blocks move, so that all is compared by what it holds.
func openUBI(b []byte, limit int) (firmware.Archive, error) {
	m, err := ubi.Parse(b, limit)
	if err != nil {
		return firmware.Archive{}, limited(err)
	}
	a := firmware.Archive{Used: len(b)}
	for _, v := range m.Volumes {
		name := v.Name
		if name == "" {
			name = fmt.Sprintf("volume-%d", v.ID)
		}
		kind := firmware.Unknown
		if !v.Static && writtenTo(v.Content) {
			kind = firmware.Volatile
		}
		a.Files = append(a.Files, firmware.File{Path: name, Kind: kind, Type: typeVolume, Name: v.Name, Content: v.Content})
		if v.Damaged != "" {
			a.Notes = append(a.Notes, damaged("a volume does not hold: "+v.Damaged))
		}
	}
	if len(m.Unused) > 0 {
		a.Files = append(a.Files, firmware.File{Path: "unused", Kind: firmware.Unknown, Type: "unused blocks that are not erased", Content: m.Unused})
	}
	if len(m.Superseded) > 0 {
		a.Files = append(a.Files, firmware.File{Path: "superseded", Kind: firmware.Volatile, Type: "superseded blocks", Content: m.Superseded})
	}
	for _, d := range m.Damaged {
		a.Notes = append(a.Notes, damaged(d))
	}
	return a, nil
}

// writtenTo reports whether a dynamic volume holds what a controller writes to:
// UBIFS, an environment, or nothing yet. Others are compared.
func writtenTo(b []byte) bool {
	_, ok := uboot.ParseEnvironment(b)
	return ok || ubifs.Begins(b) || len(bytes.Trim(b, "\xff")) == 0
}

// beginsFIT reports whether b begins with a device tree that holds images;
// others describe hardware.
func beginsFIT(b []byte) bool {
	if !fdt.Begins(b) {
		return false
	}
	t, err := fdt.Parse(b)
	return err == nil && t.Root.Node("images") != nil
}

func readAll(r io.Reader, limit int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(out) > limit {
		err = fmt.Errorf("%w of %d bytes", firmware.ErrLimit, limit)
	}
	return out, err
}
