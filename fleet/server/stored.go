package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet/blob"
)

// A bundle is stored as a few packs of its files. Files that change together are in
// one pack, so that what a machine sends each day is stored once, and what machines
// of a kind share is stored once for all. The pack that is new each time begins
// with the list of the others; its digest is what evidence is known by.

// list is the first entry of a stored bundle.
type list struct {
	Host  string   `json:"host"`
	Nonce []byte   `json:"nonce"`
	Packs []string `json:"packs"` // digests
	Cut   bool     `json:"cut"`   // the index lies here without the digests of the files
}

const (
	listName = "assay-list.json" // in front of the files of a pack, and no name of evidence

	// apart is the size from which a file is a pack of its own.
	apart = 64 << 10
	// maxPack bounds one with many small files.
	maxPack = 16 << 20
)

// file is one entry of a pack.
type file struct {
	path string
	data []byte
}

// packOf names the pack of a file, "" for the one that is new each time.
func packOf(path string) string {
	parts := strings.Split(path, "/")
	switch {
	case path == evidence.IndexName, parts[0] == "tpm", parts[0] == "proc":
		return ""
	case parts[0] == "sys" && len(parts) > 3:
		return strings.Join(parts[:3], "/")
	}
	return parts[0]
}

// keep stores what a bundle holds, and returns the digest that it is known by.
func (s *Server) keep(ctx context.Context, host string, nonce []byte, b *evidence.Bundle) (string, error) {
	packs := map[string][]file{}
	l := list{Host: host, Nonce: nonce, Packs: []string{}}
	put := func(fs []file) error {
		digest, err := s.Blobs.Put(ctx, pack(fs))
		l.Packs = append(l.Packs, digest)
		return err
	}
	size := map[string]int{}
	for _, p := range files(b) {
		data, err := b.Read(p)
		if err != nil {
			return "", fmt.Errorf("evidence: %s: %w", p, err)
		}
		name, whole := packOf(p), []file{{p, data}}
		if p == evidence.IndexName {
			whole[0].data, l.Cut = cut(data, digests(b))
		}
		if len(whole[0].data) >= apart && p != evidence.IndexName || size[name]+len(data) > maxPack {
			if err := put(whole); err != nil {
				return "", fmt.Errorf("evidence: %s: %w", p, err)
			}
			continue
		}
		size[name] += len(data)
		packs[name] = append(packs[name], whole...)
	}
	for _, name := range slices.Sorted(maps.Keys(packs)) {
		if name == "" {
			continue
		}
		if err := put(packs[name]); err != nil {
			return "", fmt.Errorf("evidence: %s: %w", name, err)
		}
	}
	head, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("evidence: %w", err)
	}
	return s.Blobs.Put(ctx, pack(append([]file{{listName, head}}, packs[""]...)))
}

// files are the paths of what a bundle holds, its index first.
func files(b *evidence.Bundle) []string {
	out := []string{}
	if b.Sealed() {
		out = append(out, evidence.IndexName)
	}
	for _, a := range b.Artifacts() {
		if b.Has(a.Path) {
			out = append(out, a.Path)
		}
	}
	return out
}

// digests are those of the files of a bundle, by path.
func digests(b *evidence.Bundle) []string {
	var out []string
	for _, p := range files(b) {
		if p != evidence.IndexName {
			out = append(out, b.SHA256(p))
		}
	}
	return out
}

// mark stands for a digest that was cut out of an index. JSON has no such byte.
const mark = 0x01

// cut takes the digests of files out of an index: they are most of it, and follow
// from the files. An index that would not come back the same stays as it is.
func cut(index []byte, digests []string) ([]byte, bool) {
	if bytes.IndexByte(index, mark) >= 0 {
		return index, false
	}
	var out []byte
	rest := index
	for _, d := range digests {
		i := bytes.Index(rest, []byte(d))
		if i < 0 {
			return index, false // it lists another file than the one that is here
		}
		out = append(append(out, rest[:i]...), mark)
		rest = rest[i+len(d):]
	}
	return append(out, rest...), true
}

// uncut puts them back.
func uncut(index []byte, digests []string) ([]byte, error) {
	parts := bytes.Split(index, []byte{mark})
	if len(parts) != len(digests)+1 {
		return nil, fmt.Errorf("an index of %d files, and %d are here: %w", len(parts)-1, len(digests), blob.ErrDamaged)
	}
	out := bytes.Clone(parts[0])
	for i, d := range digests {
		out = append(append(out, d...), parts[i+1]...)
	}
	return out, nil
}

// pack writes files one after the other, each with the lengths of its path and of
// its bytes in front.
func pack(fs []file) []byte {
	n := 0
	for _, f := range fs {
		n += 2*binary.MaxVarintLen64 + len(f.path) + len(f.data)
	}
	out := make([]byte, 0, n)
	for _, f := range fs {
		out = binary.AppendUvarint(out, uint64(len(f.path)))
		out = binary.AppendUvarint(out, uint64(len(f.data)))
		out = append(append(out, f.path...), f.data...)
	}
	return out
}

var errPack = errors.New("no pack of files")

// unpack reads what pack wrote.
func unpack(b []byte) (out []file, err error) {
	for len(b) > 0 {
		var n [2]uint64
		for i := range n {
			v, used := binary.Uvarint(b)
			if used <= 0 {
				return nil, errPack
			}
			n[i], b = v, b[used:]
		}
		if n[0] > uint64(len(b)) || n[1] > uint64(len(b))-n[0] {
			return nil, errPack
		}
		out = append(out, file{string(b[:n[0]]), b[n[0] : n[0]+n[1]]})
		b = b[n[0]+n[1]:]
	}
	return out, nil
}

// Bundle reads evidence from the blob store.
func (s *Server) Bundle(ctx context.Context, digest string) (*evidence.Bundle, error) {
	fail := func(err error) (*evidence.Bundle, error) { return nil, fmt.Errorf("evidence %.80s: %w", digest, err) }
	fs, err := s.packed(ctx, digest)
	if err != nil {
		return fail(err)
	}
	l, err := readList(fs)
	if err != nil {
		return fail(err)
	}
	content := map[string][]byte{}
	for _, f := range fs[1:] {
		content[f.path] = f.data
	}
	for _, p := range l.Packs {
		fs, err := s.packed(ctx, p)
		if err != nil {
			return fail(err)
		}
		for _, f := range fs {
			content[f.path] = f.data
		}
	}
	if l.Cut {
		index := content[evidence.IndexName]
		delete(content, evidence.IndexName)
		var sums []string
		for _, p := range slices.Sorted(maps.Keys(content)) {
			sums = append(sums, blob.Digest(content[p]))
		}
		if content[evidence.IndexName], err = uncut(index, sums); err != nil {
			return fail(err)
		}
	}
	return evidence.FromFiles(content, "evidence "+digest[:12], s.Limits)
}

func (s *Server) packed(ctx context.Context, digest string) ([]file, error) {
	raw, err := s.Blobs.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	fs, err := unpack(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", blob.ErrDamaged, err)
	}
	return fs, nil
}

// readList reads the list in front of a stored bundle.
func readList(fs []file) (l list, err error) {
	if len(fs) == 0 || fs[0].path != listName {
		return l, fmt.Errorf("no list of files: %w", blob.ErrDamaged)
	}
	d := json.NewDecoder(bytes.NewReader(fs[0].data))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, fmt.Errorf("the list of files: %w: %w", blob.ErrDamaged, err)
	}
	return l, nil
}

// named lists the blobs that a stored bundle is made of. Of one that was damaged
// only its own name is known, and it stays for whoever looks into that.
func (s *Server) named(ctx context.Context, digest string) ([]string, error) {
	fs, err := s.packed(ctx, digest)
	var l list
	if err == nil {
		l, err = readList(fs)
	}
	if err != nil && !errors.Is(err, blob.ErrDamaged) && !errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("evidence %.80s: %w", digest, err)
	}
	return append(l.Packs, digest), nil
}
