package efficacy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/evidence"
)

// fileVerbs change artefacts as bytes, as somebody does with an editor or a
// programmer.
func fileVerbs() map[string]verb {
	return map[string]verb{
		"write":   {"bc", 2, false, "PATH TEXT: the file holds this text and nothing else", (*scene).write},
		"raw":     {"bc", 2, false, "PATH SECTION: the file holds the bytes of a section in hexadecimal", (*scene).raw},
		"text":    {"bc", 2, false, "PATH SECTION: the file holds the text of a section", (*scene).text},
		"fill":    {"bc", 3, false, "PATH LENGTH BYTE: the file holds so many equal bytes", (*scene).fill},
		"append":  {"bc", 2, false, "PATH HEX: bytes are added at the end", (*scene).appendBytes},
		"rewrite": {"bc", 3, false, "PATH OLD NEW: everywhere in the file, at equal length", (*scene).rewrite},
		"replace": {"bc", 3, false, "PATH OLD NEW: everywhere in a text file, at any length", (*scene).replace},
		"swap":    {"bc", 3, false, "PATH ONE OTHER: two texts of equal length change places", (*scene).swap},
		"poke":    {"bc", 3, false, "PATH OFFSET HEX: bytes at an offset; a negative one counts from the end", (*scene).poke},
		"flip":    {"bc", 3, false, "PATH OFFSET MASK: bits of one byte", (*scene).flip},
		"cut":     {"bc", 2, false, "PATH LENGTH: the rest of the file is gone", (*scene).cut},
		"drop":    {"bc", 1, true, "PREFIX...: files are gone, and nobody says that they were looked for", (*scene).drop},
		"copy":    {"bc", 2, false, "FROM TO: a file, or a device with all its files", (*scene).copy},
		"move":    {"bc", 2, false, "FROM TO: a file, or a device with all its files", (*scene).move},
		"exchange": {
			"bc", 2, false, "ONE OTHER: two files change places", (*scene).exchange,
		},
		"recorded": {"bc", 2, true, "MACHINE PREFIX...: files as another recording has them", (*scene).recordedAs},
		"note":     {"bc", 3, false, "PATH STATUS REASON: the collector could not read it: absent, denied, failed, timeout", (*scene).note},
		"after-seal": {
			"c", 1, true, "VERB ARGUMENT...: a step on files, made after the TPM signed", (*scene).later,
		},
	}
}

func (s *scene) write(a []string) error { s.files[a[0]] = []byte(a[1]); return nil }

func (s *scene) raw(a []string) error {
	b, ok := s.vector.sections[a[1]]
	if !ok {
		return fmt.Errorf("no section %s", a[1])
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(b)), ""))
	s.files[a[0]] = data
	return err
}

func (s *scene) text(a []string) error {
	b, ok := s.vector.sections[a[1]]
	if !ok {
		return fmt.Errorf("no section %s", a[1])
	}
	s.files[a[0]] = bytes.TrimSpace(b)
	return nil
}

func (s *scene) fill(a []string) error {
	n, err := strconv.Atoi(a[1])
	b, err2 := hex.DecodeString(a[2])
	if err = errors.Join(err, err2); err != nil || len(b) != 1 || n < 0 || n > 128<<20 {
		return fmt.Errorf("want a length and one byte: %w", err)
	}
	s.files[a[0]] = bytes.Repeat(b, n)
	return nil
}

func (s *scene) appendBytes(a []string) error {
	b, err := hex.DecodeString(a[1])
	s.files[a[0]] = append(bytes.Clone(s.files[a[0]]), b...)
	return err
}

// file gives a copy of a file that has to be there.
func (s *scene) file(path string) ([]byte, error) {
	b, ok := s.files[path]
	if !ok {
		return nil, fmt.Errorf("%s is not there", path)
	}
	return bytes.Clone(b), nil
}

func (s *scene) rewrite(a []string) error {
	if len(a[1]) != len(a[2]) {
		return fmt.Errorf("%q and %q have different lengths", a[1], a[2])
	}
	return s.replace(a)
}

func (s *scene) replace(a []string) error {
	b, err := s.file(a[0])
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(a[1])) {
		return fmt.Errorf("%q is not in %s", a[1], a[0])
	}
	s.files[a[0]] = bytes.ReplaceAll(b, []byte(a[1]), []byte(a[2]))
	return nil
}

func (s *scene) swap(a []string) error {
	hold := strings.Repeat("\xfe", len(a[1]))
	for _, x := range [][]string{{a[0], a[1], hold}, {a[0], a[2], a[1]}, {a[0], hold, a[2]}} {
		if err := s.rewrite(x); err != nil {
			return err
		}
	}
	return nil
}

// at reads an offset into bytes.
func at(b []byte, text string, length int) (int, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	if n < 0 {
		n += int64(len(b))
	}
	if err != nil || n < 0 || n+int64(length) > int64(len(b)) {
		return 0, fmt.Errorf("offset %s: %d bytes from there are not in %d", text, length, len(b))
	}
	return int(n), nil
}

func (s *scene) poke(a []string) error {
	b, err := s.file(a[0])
	if err != nil {
		return err
	}
	data, err := hex.DecodeString(a[2])
	if err != nil {
		return err
	}
	n, err := at(b, a[1], len(data))
	if err != nil {
		return err
	}
	copy(b[n:], data)
	s.files[a[0]] = b
	return nil
}

func (s *scene) flip(a []string) error {
	b, err := s.file(a[0])
	if err != nil {
		return err
	}
	mask, err := strconv.ParseUint(a[2], 0, 8)
	if err != nil {
		return err
	}
	n, err := at(b, a[1], 1)
	if err != nil {
		return err
	}
	b[n] ^= byte(mask)
	s.files[a[0]] = b
	return nil
}

func (s *scene) cut(a []string) error {
	b, err := s.file(a[0])
	if err != nil {
		return err
	}
	n, err := at(b, a[1], 0)
	s.files[a[0]] = b[:n]
	return err
}

func (s *scene) drop(a []string) error {
	for _, prefix := range a {
		n := len(s.files)
		maps.DeleteFunc(s.files, func(p string, _ []byte) bool { return strings.HasPrefix(p, prefix) })
		if n == len(s.files) {
			return fmt.Errorf("no file begins with %s", prefix)
		}
	}
	return nil
}

// below lists a file, or the files of a directory.
func (s *scene) below(name string) ([]string, error) {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(s.files)) {
		if p == name || strings.HasPrefix(p, name+"/") {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is not there", name)
	}
	return out, nil
}

func (s *scene) copy(a []string) error {
	from, err := s.below(a[0])
	for _, p := range from {
		s.files[a[1]+strings.TrimPrefix(p, a[0])] = s.files[p]
	}
	return err
}

func (s *scene) move(a []string) error {
	if err := s.copy(a); err != nil {
		return err
	}
	from, err := s.below(a[0])
	for _, p := range from {
		delete(s.files, p)
	}
	return err
}

func (s *scene) exchange(a []string) error {
	one, err := s.file(a[0])
	if err != nil {
		return err
	}
	other, err := s.file(a[1])
	s.files[a[0]], s.files[a[1]] = other, one
	return err
}

// recordedAs takes over what another recording has under some prefixes, and what
// it lacks goes.
func (s *scene) recordedAs(a []string) error {
	other, err := s.bench.recording(a[0])
	if err != nil {
		return err
	}
	for _, prefix := range a[1:] {
		maps.DeleteFunc(s.files, func(p string, _ []byte) bool { return strings.HasPrefix(p, prefix) && other[p] == nil })
		for p, b := range other {
			if strings.HasPrefix(p, prefix) {
				s.files[p] = b
			}
		}
	}
	return nil
}

func (s *scene) note(a []string) error {
	st := evidence.Status(a[1])
	if !slices.Contains([]evidence.Status{evidence.Absent, evidence.Denied, evidence.Failed, evidence.TimedOut}, st) {
		return fmt.Errorf("status %q", a[1])
	}
	delete(s.files, a[0])
	s.notes[a[0]] = evidence.Artifact{Status: st, Reason: a[2]}
	return nil
}

// later makes a step on the files of the sealed bundle.
func (s *scene) later(a []string) error {
	v, ok := fileVerbs()[a[0]]
	if !ok || a[0] == "after-seal" || a[0] == "note" {
		return fmt.Errorf("%q is no step on files", a[0])
	}
	if n := len(a) - 1; n < v.args || n > v.args && !v.more {
		return fmt.Errorf("usage: %s %s", a[0], v.use)
	}
	s.afterSeal = append(s.afterSeal, lateStep{a[1], func(files map[string][]byte) error {
		hold := s.files
		s.files = files
		err := v.do(s, a[1:])
		s.files = hold
		return err
	}})
	return nil
}
