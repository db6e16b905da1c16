// Package cab reads Microsoft cabinets (MS-CAB): what fwupd and Windows ship
// firmware in.
//
// It proves that the contents have the lengths and checksums that the cabinet
// gives them, which say nothing about who made it. Folders that are compressed
// with LZX or Quantum are named and not expanded, and so are files that go on in
// another cabinet.
package cab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped when the bytes are no cabinet.
var ErrMalformed = errors.New("malformed cabinet")

// ErrLimit is wrapped when the contents would be longer than allowed.
var ErrLimit = errors.New("contents longer than the limit")

// Cabinet is what a cabinet holds.
type Cabinet struct {
	Files    []File
	Size     int // bytes that the cabinet takes
	Problems []Problem
}

// File is one file. Its data shares memory with those of its folder.
type File struct {
	Name string // as stored, with backslashes
	Data []byte
}

// Problem is something that does not hold.
type Problem struct {
	Where string // the file's name, "" for the cabinet
	What  Kind
	Why   string
}

// Kind says what a problem means.
type Kind int

// The kinds of problems.
const (
	Malformed    Kind = iota // a claim that the bytes do not keep
	Contradicted             // two files claim the same bytes
	Unsupported              // stored in a way that is not read here
)

const (
	fixedHeader = 36
	folderSize  = 8
	fileSize    = 16
	maxFiles    = 1 << 12
	maxFolders  = 1 << 10
	maxBlocks   = 1 << 16
	maxName     = 256
	window      = 32 << 10 // of MSZIP, and of what a block expands to
)

// The flags of a cabinet's header.
const (
	flagPrevious = 1
	flagNext     = 2
	flagReserve  = 4
)

// Begins reports whether b begins as a cabinet does.
func Begins(b []byte) bool {
	return len(b) >= fixedHeader && string(b[:8]) == "MSCF\x00\x00\x00\x00" && b[25] == 1
}

// reader is a cabinet with the sizes of the room that its parts reserve.
type reader struct {
	b       []byte
	reserve [2]int // behind each folder's and each block's header
	left    int    // bytes of files
	room    int    // bytes of folders, which may lie over each other
	steps   int    // blocks of all folders
	out     Cabinet
}

// Open reads a cabinet at the start of b. The contents of all folders and files
// together take at most limit bytes each.
func Open(b []byte, limit int) (Cabinet, error) {
	if !Begins(b) {
		return Cabinet{}, fmt.Errorf("%w: no header", ErrMalformed)
	}
	size := binary.LittleEndian.Uint32(b[8:])
	if size < fixedHeader || uint64(size) > uint64(len(b)) {
		return Cabinet{}, fmt.Errorf("%w: %d bytes, its header says %d", ErrMalformed, len(b), size)
	}
	r := &reader{b: b[:size], left: limit, room: limit, steps: maxBlocks, out: Cabinet{Size: int(size)}}
	at, err := r.header()
	if err != nil {
		return Cabinet{}, err
	}
	folders, files := int(binary.LittleEndian.Uint16(b[26:])), int(binary.LittleEndian.Uint16(b[28:]))
	if files > maxFiles || folders > maxFolders {
		return Cabinet{}, fmt.Errorf("%w: %d files in %d folders, at most %d in %d", ErrLimit, files, folders, maxFiles, maxFolders)
	}
	if len(r.b)-at < folders*(folderSize+r.reserve[0]) {
		return Cabinet{}, fmt.Errorf("%w: %d folders do not fit", ErrMalformed, folders)
	}
	list, err := r.list(files)
	if err != nil {
		return Cabinet{}, err
	}
	for i := range folders {
		if err := r.folder(i, r.b[at+i*(folderSize+r.reserve[0]):], list); err != nil {
			return Cabinet{}, err
		}
	}
	return r.out, nil
}

// header reads what follows the fixed header and returns where folders begin.
func (r *reader) header() (at int, err error) {
	flags := binary.LittleEndian.Uint16(r.b[30:])
	at = fixedHeader
	if flags&flagReserve != 0 {
		if len(r.b) < at+4 {
			return 0, fmt.Errorf("%w: header cut off", ErrMalformed)
		}
		r.reserve = [2]int{int(r.b[at+2]), int(r.b[at+3])}
		at += 4 + int(binary.LittleEndian.Uint16(r.b[at:]))
	}
	texts := 0
	for _, f := range []uint16{flagPrevious, flagNext} { // each names a cabinet and a disk
		if flags&f != 0 {
			texts += 2
		}
	}
	for range texts {
		if at > len(r.b) {
			return 0, fmt.Errorf("%w: header cut off", ErrMalformed)
		}
		n := bytes.IndexByte(r.b[at:min(len(r.b), at+maxName)], 0)
		if n < 0 {
			return 0, fmt.Errorf("%w: name of another cabinet", ErrMalformed)
		}
		at += n + 1
	}
	if at > len(r.b) {
		return 0, fmt.Errorf("%w: header cut off", ErrMalformed)
	}
	return at, nil
}

// entry is one file of the list.
type entry struct {
	name         string
	folder       int
	offset, size uint64
}

// Folder numbers of files that another cabinet has a part of.
const continued = 0xfffd

func (r *reader) list(files int) ([]entry, error) {
	at := uint64(binary.LittleEndian.Uint32(r.b[16:]))
	out := make([]entry, 0, files)
	for range files {
		if at+fileSize > uint64(len(r.b)) {
			return nil, fmt.Errorf("%w: %d files do not fit", ErrMalformed, files)
		}
		h := r.b[at:]
		n := bytes.IndexByte(h[fileSize:min(len(h), fileSize+maxName)], 0)
		if n < 0 {
			return nil, fmt.Errorf("%w: name of a file", ErrMalformed)
		}
		e := entry{
			name: string(h[fileSize : fileSize+n]), folder: int(binary.LittleEndian.Uint16(h[8:])),
			size: uint64(binary.LittleEndian.Uint32(h)), offset: uint64(binary.LittleEndian.Uint32(h[4:])),
		}
		at += uint64(fileSize + n + 1)
		switch folders := int(binary.LittleEndian.Uint16(r.b[26:])); {
		case e.folder >= continued:
			r.problem(e.name, Unsupported, "the file goes on in another cabinet")
		case e.folder >= folders:
			r.problem(e.name, Malformed, fmt.Sprintf("the file is in folder %d of %d", e.folder, folders))
		default:
			out = append(out, e)
		}
	}
	return out, nil
}

func (r *reader) problem(where string, what Kind, why string) {
	r.out.Problems = append(r.out.Problems, Problem{where, what, why})
}

// folder expands folder i, whose header h begins with, and cuts its files out.
func (r *reader) folder(i int, h []byte, list []entry) error {
	data, err := r.expand(h)
	switch {
	case errors.Is(err, ErrLimit):
		return err
	case errors.Is(err, errUnsupported):
		r.problem("", Unsupported, fmt.Sprintf("folder %d: %v", i, err))
	case err != nil:
		r.problem("", Malformed, fmt.Sprintf("folder %d: %v", i, err))
	}
	end := uint64(0)
	for _, e := range list {
		if e.folder != i {
			continue
		}
		if e.offset+e.size > uint64(len(data)) {
			if err == nil || !errors.Is(err, errUnsupported) {
				r.problem(e.name, Malformed, fmt.Sprintf("%d bytes at %d of a folder of %d", e.size, e.offset, len(data)))
			}
			continue
		}
		if e.offset < end {
			r.problem(e.name, Contradicted, "the file has bytes of the one before it")
		}
		end = max(end, e.offset+e.size)
		if r.left -= int(e.size); r.left < 0 {
			return fmt.Errorf("%w: files that share their bytes", ErrLimit)
		}
		r.out.Files = append(r.out.Files, File{Name: e.name, Data: data[e.offset : e.offset+e.size : e.offset+e.size]})
	}
	return nil
}
