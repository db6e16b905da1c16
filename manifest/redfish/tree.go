// Package redfish reads what management controllers tell of a machine's parts, as
// files: a tree of resources in the layout of DMTF's mockups, an archive of one, or
// single resources (DMTF DSP0266, DSP0268).
//
// It proves what a management controller said. A controller lists what it knows:
// it can confirm a part, and never that there is no other. Nothing is fetched, and
// no link leads out of the tree.
package redfish

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"

	"github.com/assay-hw/assay/internal/loss"
)

// Limits of one tree.
const (
	maxFiles    = 50_000
	maxResource = 4 << 20
	maxTotal    = 256 << 20
	maxDepth    = 64 // of JSON
)

// ErrNotTree is wrapped where files hold no resource.
var ErrNotTree = errors.New("no Redfish resource")

// AmbiguousError says that a tree has several systems and none was chosen.
type AmbiguousError struct{ Systems []string }

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("the tree has %d systems: %s", len(e.Systems), strings.Join(e.Systems, ", "))
}

// resource is one JSON object with a type.
type resource struct {
	id   string // path as the service names it, in lower case
	kind string // "Memory" of "#Memory.v1_7_1.Memory"
	file string
	size int
	sum  string
	body object
}

// Tree is a set of resources.
type Tree struct {
	name      string
	resources map[string]*resource // by id
	order     []string
	lost      []Loss
}

// Loss is something of a tree that has no place in an inventory or a manifest.
type Loss = loss.Loss

// IsResource reports whether a file may be one resource.
func IsResource(data []byte) bool {
	head := bytes.TrimLeft(data[:min(len(data), 1<<20)], "\ufeff \t\r\n")
	return bytes.HasPrefix(head, []byte("{")) && (bytes.Contains(head, []byte(`"@odata.type"`)) || bytes.Contains(head, []byte(`"@odata.id"`))) &&
		!bytes.Contains(head, []byte(`"https://in-toto.io/`))
}

// IsTree reports whether a directory looks like a tree of resources, and not like
// evidence.
func IsTree(fsys fs.FS) bool {
	for _, p := range []string{"evidence.json", "sys", "proc", "ipmi", "tpm"} {
		if _, err := fs.Stat(fsys, p); err == nil {
			return false
		}
	}
	found := false
	seen := 0
	_ = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if seen++; err != nil || seen > 2000 || found {
			return fs.SkipAll
		}
		if d.Type().IsRegular() && isJSON(p) {
			f, err := fsys.Open(p)
			if err != nil {
				return fs.SkipAll
			}
			defer f.Close()
			head, _ := io.ReadAll(io.LimitReader(f, 1<<20))
			found = IsResource(head)
		}
		return nil
	})
	return found
}

func isJSON(p string) bool { return strings.EqualFold(path.Ext(p), ".json") }

// Read reads every resource of a directory. Links of the file system are not
// followed.
func Read(name string, fsys fs.FS) (*Tree, error) {
	t := &Tree{name: name, resources: map[string]*resource{}}
	files, total := 0, 0
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || !isJSON(p) {
			return nil
		}
		if files++; files > maxFiles {
			return fmt.Errorf("%s: more than %d files", p, maxFiles)
		}
		f, err := fsys.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxResource+1))
		if err != nil {
			return err
		}
		if total += len(data); total > maxTotal {
			return fmt.Errorf("%s: the files have more than %d bytes", p, maxTotal)
		}
		t.add(p, data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t.complete()
}

// ReadFile reads one resource, or an archive of a tree: zip, tar.gz, tar.xz.
func ReadFile(name string, data []byte) (*Tree, error) {
	t := &Tree{name: name, resources: map[string]*resource{}}
	var err error
	switch {
	case bytes.HasPrefix(data, []byte("PK")):
		err = t.zip(data)
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
			err = t.tar(z)
		}
	case bytes.HasPrefix(data, []byte("\xfd7zXZ\x00")):
		var z *xz.Reader
		if z, err = (xz.ReaderConfig{DictCap: 64 << 20}).NewReader(bytes.NewReader(data)); err == nil {
			err = t.tar(z)
		}
	default:
		t.add(path.Base(name), data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t.complete()
}

// IsArchive reports whether a file is compressed in a way that a tree may be in.
func IsArchive(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\x1f\x8b")) || bytes.HasPrefix(data, []byte("\xfd7zXZ\x00"))
}

func (t *Tree) zip(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	files, total := 0, 0
	for _, f := range z.File {
		if !f.Mode().IsRegular() || !isJSON(f.Name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		body, err := io.ReadAll(io.LimitReader(r, maxResource+1))
		_ = r.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		files, total = files+1, total+len(body)
		if files > maxFiles || total > maxTotal {
			return fmt.Errorf("%s: more than %d files or %d bytes", f.Name, maxFiles, maxTotal)
		}
		t.add(f.Name, body)
	}
	return nil
}

func (t *Tree) tar(z io.Reader) error {
	in := &io.LimitedReader{R: z, N: maxTotal + 1}
	files := 0
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if in.N <= 0 {
			return fmt.Errorf("offset %d: the archive expands to more than %d bytes", maxTotal, maxTotal)
		}
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !isJSON(h.Name) {
			continue
		}
		if files++; files > maxFiles {
			return fmt.Errorf("%s: more than %d files", h.Name, maxFiles)
		}
		body, err := io.ReadAll(io.LimitReader(tr, maxResource+1))
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		t.add(h.Name, body)
	}
}

func (t *Tree) lose(where, format string, args ...any) {
	t.lost = append(t.lost, Loss{Where: where, What: fmt.Sprintf(format, args...)})
}

// add keeps a file if it is a resource. What cannot be read is told.
func (t *Tree) add(file string, data []byte) {
	if len(data) > maxResource {
		t.lose(file, "not read: more than %d bytes", maxResource)
		return
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	body, err := decode(data)
	if err != nil {
		t.lose(file, "not read: %v", err)
		return
	}
	r := &resource{id: clean(body.text("@odata.id")), file: file, size: len(data), body: body}
	_, kind, _ := strings.Cut(body.text("@odata.type"), "#")
	r.kind, _, _ = strings.Cut(kind, ".")
	for k := range body {
		if strings.HasSuffix(k, "@Redfish.OptionalOnCreate") || strings.HasSuffix(k, "@Redfish.RequiredOnCreate") {
			r.kind = "capabilities of " + r.kind // what could be composed, and not what is there
			break
		}
	}
	if r.id == "" && r.kind == "" {
		t.lose(file, "not read: no resource, it has neither @odata.id nor @odata.type")
		return
	}
	if r.id == "" {
		r.id = clean("/redfish/v1/" + strings.TrimSuffix(strings.TrimSuffix(file, "/index.json"), ".json"))
	}
	if _, twice := t.resources[r.id]; twice {
		// Samples of different services in one folder: each is read, by its file.
		r.id += "#" + clean(file)
	}
	if _, twice := t.resources[r.id]; twice {
		t.lose(file, "says again what another file says")
		return
	}
	sum := sha256.Sum256(data)
	r.sum = hex.EncodeToString(sum[:])
	t.resources[r.id] = r
}

// decode reads one JSON object of bounded depth.
func decode(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for depth := 0; ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", d.InputOffset(), err)
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return nil, fmt.Errorf("offset %d: more than %d nested values", d.InputOffset(), maxDepth)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	d = json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out object
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("offset %d: %w", d.InputOffset(), err)
	}
	return out, nil
}

// clean is the form in which ids are compared: services write them with other
// capitals, a slash at the end or a fragment.
func clean(id string) string {
	id, _, _ = strings.Cut(id, "#")
	if id == "" || len(id) > 1024 {
		return ""
	}
	return strings.ToLower(path.Clean("/" + id))
}

func (t *Tree) complete() (*Tree, error) {
	if len(t.resources) == 0 {
		why := ""
		if len(t.lost) > 0 {
			why = ": " + t.lost[0].String()
		}
		return nil, fmt.Errorf("%s: offset 0: %w%s", t.name, ErrNotTree, why)
	}
	t.order = slices.Sorted(maps.Keys(t.resources))
	return t, nil
}

// Systems lists the ids of the computer systems in the tree.
func (t *Tree) Systems() []string {
	_, names := t.systems()
	return names
}

// systems gives each system a name: its id, or its file where two have one id, as
// samples of different services do.
func (t *Tree) systems() (all []*resource, names []string) {
	same := map[string]int{}
	for _, id := range t.order {
		if r := t.resources[id]; r.kind == "ComputerSystem" {
			all = append(all, r)
			names = append(names, cmp.Or(r.body.text("Id"), path.Base(r.id)))
			same[names[len(names)-1]]++
		}
	}
	for i, n := range names {
		if same[n] > 1 {
			names[i] = all[i].file
		}
	}
	return all, names
}

// upward are links that lead out of a machine: to what contains it, or to others
// that are managed or cooled together with it.
var upward = map[string]bool{"ContainedBy": true, "ManagerForServers": true, "ManagerForChassis": true, "ComputerSystems": true, "Endpoints": true, "ResourceBlocks": true, "ConsumingComputerSystems": true, "SupplyingComputerSystems": true, "PoweredBy": true, "CooledBy": true, "Zones": true}

// of returns the resources of one system: below it, and what its links lead to
// without leading out of the machine. With one system at most, all are its.
func (t *Tree) of(system string) ([]*resource, error) {
	var start *resource
	all, names := t.systems()
	for i, r := range all {
		if system != "" && (names[i] == system || r.id == clean(system)) {
			start = r
		}
	}
	switch {
	case system != "" && start == nil:
		return nil, fmt.Errorf("%s: no system %q; there are: %s", t.name, system, strings.Join(names, ", "))
	case system == "" && len(names) > 1:
		return nil, &AmbiguousError{names}
	case len(names) <= 1:
		return t.all(), nil
	}
	return t.reached(start), nil
}

func (t *Tree) all() []*resource {
	out := make([]*resource, len(t.order))
	for i, id := range t.order {
		out[i] = t.resources[id]
	}
	return out
}

// reached follows links from a system, each resource once.
func (t *Tree) reached(start *resource) []*resource {
	seen := map[string]bool{start.id: true}
	queue := []*resource{start}
	for i := 0; i < len(queue); i++ {
		var links []string
		queue[i].body.links(&links)
		for _, l := range links {
			id := clean(l)
			if r := t.resources[id]; r != nil && !seen[id] && r.kind != "ComputerSystem" && r.kind != "ServiceRoot" && r.kind != "ChassisCollection" && r.kind != "ComputerSystemCollection" && r.kind != "ManagerCollection" {
				seen[id] = true
				queue = append(queue, r)
			}
		}
	}
	slices.SortFunc(queue, func(a, b *resource) int { return strings.Compare(a.id, b.id) })
	return queue
}

// object is a JSON object.
type object map[string]any

func (o object) text(key string) string {
	switch v := o[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (o object) object(keys ...string) object {
	for _, k := range keys {
		m, _ := o[k].(map[string]any)
		o = m
	}
	return o
}

func (o object) list(key string) []object {
	raw, _ := o[key].([]any)
	var out []object
	for _, v := range raw {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// links gathers the targets of all links in a resource.
func (o object) links(out *[]string) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if upward[k] {
			continue
		}
		gather(o[k], out)
	}
}

func gather(v any, out *[]string) {
	switch x := v.(type) {
	case map[string]any:
		if id, ok := x["@odata.id"].(string); ok {
			*out = append(*out, id)
		}
		object(x).links(out)
	case []any:
		for _, e := range x {
			gather(e, out)
		}
	}
}
