package evidence

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"
)

// FS returns the collected artefacts as a read-only file system, for parsers
// and tools that walk a tree.
func (b *Bundle) FS() fs.FS { return treeFS{b} }

type treeFS struct{ b *Bundle }

// Open implements fs.FS over the artefact map; directories are implied by the
// paths below them.
func (t treeFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if data, ok := t.b.files[name]; ok {
		return &openFile{entry: entry{name: path.Base(name), size: int64(len(data))}, Reader: bytes.NewReader(data)}, nil
	}
	list, ok := t.b.list(name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openDir{entry: entry{name: path.Base(name), dir: true}, list: list}, nil
}

// list returns the entries directly under a directory. Artefacts are sorted
// by path, so one directory is one contiguous run.
func (b *Bundle) list(dir string) ([]fs.DirEntry, bool) {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	i := sort.Search(len(b.artifacts), func(i int) bool { return b.artifacts[i].Path >= prefix })
	var out []fs.DirEntry
	last := ""
	for ; i < len(b.artifacts); i++ {
		rest, ok := strings.CutPrefix(b.artifacts[i].Path, prefix)
		if !ok {
			break
		}
		data, have := b.files[b.artifacts[i].Path]
		if !have {
			continue
		}
		name, _, deeper := strings.Cut(rest, "/")
		if name == last {
			continue
		}
		last = name
		e := entry{name: name, dir: deeper}
		if !deeper {
			e.size = int64(len(data))
		}
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name() < out[j].Name() })
	return out, len(out) > 0 || dir == "."
}

// entry is both fs.FileInfo and fs.DirEntry.
type entry struct {
	name string
	size int64
	dir  bool
}

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return e.size }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) IsDir() bool                { return e.dir }
func (e entry) Sys() any                   { return nil }
func (e entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type openFile struct {
	entry
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.entry, nil }
func (f *openFile) Size() int64                { return f.entry.size }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	entry
	list []fs.DirEntry
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.entry, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.list[d.next:]
	if n <= 0 {
		d.next = len(d.list)
		return rest, nil
	}
	if len(rest) == 0 {
		return nil, io.EOF
	}
	rest = rest[:min(n, len(rest))]
	d.next += len(rest)
	return rest, nil
}
