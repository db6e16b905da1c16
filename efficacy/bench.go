package efficacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tpmroots"
	"github.com/assay-hw/assay/manifest"
)

// labTime is when everything in the vectors happens.
var labTime = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// ErrNotHere wraps why a vector cannot run: a public file that the checkout does
// not have.
var ErrNotHere = errors.New("not beside the checkout")

// Bench runs vectors: it has the recorded machines, a vendor for each maker, a
// maker of TPMs, and what was drafted and signed so far. It is not safe for
// concurrent use.
type Bench struct {
	root     string // of the module, seen from the caller
	recorded map[string]map[string][]byte
	maker    *softtpm.Maker
	stranger *softtpm.Maker // whom no verifier knows
	tpms     map[string]*softtpm.TPM
	people   map[string]*signer
	makers   *assay.Makers
	golden   map[string]*reference
	codes    map[string][]string // of the catalogue, by scenario
	last     *scene
}

// reference is a machine in its good state, and what was signed about it.
type reference struct {
	files map[string][]byte
	draft *manifest.Manifest
	clean map[Level]*assay.Result
	scene *scene // unchanged

	unsealed map[string][]byte // its evidence, for Evidence
}

// NewBench makes a bench. root is the path from the caller to the module's root.
func NewBench(root string) (*Bench, error) {
	b := &Bench{
		root: root, recorded: map[string]map[string][]byte{}, tpms: map[string]*softtpm.TPM{}, people: map[string]*signer{}, golden: map[string]*reference{},
	}
	all, err := Catalogue(root)
	if err != nil {
		return nil, err
	}
	b.codes = map[string][]string{}
	for _, s := range all {
		b.codes[s.ID] = s.Codes
	}
	if b.maker, err = softtpm.NewMaker("Test TPM maker", labTime); err != nil {
		return nil, err
	}
	if b.stranger, err = softtpm.NewMaker("Unknown TPM maker", labTime); err != nil {
		return nil, err
	}
	return b, b.readMakers()
}

// readMakers reads the certificates of TPM makers once for all cases.
func (b *Bench) readMakers() error {
	b.makers = &assay.Makers{}
	roots, err := tpmroots.Roots()
	if err != nil {
		return fmt.Errorf("roots of TPM makers: %w", err)
	}
	below, err := tpmroots.Intermediates()
	if err != nil {
		return fmt.Errorf("certificates of TPM makers: %w", err)
	}
	for _, x := range []struct {
		ders [][]byte
		to   *[]*ekcert.Certificate
	}{{append(roots, b.maker.Certificate.Raw), &b.makers.Roots}, {below, &b.makers.Below}} {
		for _, der := range x.ders {
			c, err := ekcert.Parse(der)
			if err != nil {
				return fmt.Errorf("certificate of a TPM maker: %w", err)
			}
			*x.to = append(*x.to, c)
		}
	}
	return nil
}

const vectorSuffix = ".txtar"

// Load reads every vector of the project, sorted by file. One that is done on several
// machines is as many vectors.
func Load(root string) ([]*Vector, error) {
	dir := filepath.Join(root, "testdata", "vectors")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []*Vector
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), vectorSuffix) {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		v, err := Parse(e.Name(), raw)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		for _, m := range v.Also {
			if v, err = Parse(e.Name(), raw); err != nil {
				return nil, err
			}
			v.File, v.Machine, v.Also = strings.TrimSuffix(e.Name(), vectorSuffix)+"@"+strings.ReplaceAll(m, "/", "-")+vectorSuffix, m, nil
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no vector in %s", dir)
	}
	return out, nil
}

// tpm is the TPM with a name, made when it is first asked for.
func (b *Bench) tpm(name string, m *softtpm.Maker) (*softtpm.TPM, error) {
	if t := b.tpms[name]; t != nil {
		return t, nil
	}
	t, err := m.TPM(int64(len(b.tpms)) + 2)
	b.tpms[name] = t
	return t, err
}

// recording is a machine of testdata/machines, of the vectors' own folder, or of
// the public corpus beside the checkout, without what its TPM said of itself:
// that is made anew.
func (b *Bench) recording(name string) (map[string][]byte, error) {
	if f := b.recorded[name]; f != nil {
		return maps.Clone(f), nil
	}
	f, err := b.readRecording(name)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(f, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") && p != "tpm/properties.json" || strings.Contains(p, "/ima/") || p == evidence.IndexName
	})
	if f["proc/uptime"] == nil && f[logAt] != nil {
		f["proc/uptime"] = []byte("300.00 280.00\n")
	}
	b.recorded[name] = f
	return maps.Clone(f), nil
}

func (b *Bench) readRecording(name string) (map[string][]byte, error) {
	switch kind, rest, _ := strings.Cut(name, ":"); kind {
	case "corpus":
		path := filepath.Join(b.root, "..", "shared", "corpus", filepath.FromSlash(rest))
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s: %w", rest, ErrNotHere)
		}
		bundle, err := evidence.Open(path, evidence.Limits{})
		if err != nil {
			return nil, err
		}
		return contents(bundle)
	case "tree":
		return readTree(os.DirFS(filepath.Join(b.root, "testdata", "vectors", "machines", rest)))
	}
	return fixture.Machine(b.root, name)
}

func readTree(fsys fs.FS) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[p], err = fs.ReadFile(fsys, p)
		return err
	})
	return out, err
}

func contents(b *evidence.Bundle) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, a := range b.Artifacts() {
		if a.Status != evidence.Collected {
			continue
		}
		data, err := b.Read(a.Path)
		if err != nil {
			return nil, err
		}
		out[a.Path] = bytes.Clone(data)
	}
	return out, nil
}

// reference gives the good state that a vector starts from, with a manifest
// drafted from it.
func (b *Bench) reference(v *Vector) (*reference, error) {
	key := fmt.Sprint(v.Machine, v.Scope, steps(v.base), steps(v.draft), v.Policy, string(v.sections["policy"]))
	if r := b.golden[key]; r != nil {
		return r, nil
	}
	files, err := b.recording(v.Machine)
	if err != nil {
		return nil, err
	}
	s := b.newScene(v, files)
	if err := s.apply(v.base); err != nil {
		return nil, err
	}
	bundle, err := s.seal(L6)
	if err != nil {
		return nil, err
	}
	m, err := draft(bundle, v.Scope)
	if err != nil {
		return nil, fmt.Errorf("%s: draft of %s: %w", v.File, v.Machine, err)
	}
	s.draft = m
	if err := s.apply(v.draft); err != nil {
		return nil, err
	}
	r := &reference{files: s.files, draft: s.draft, clean: map[Level]*assay.Result{}}
	b.golden[key] = r
	return r, nil
}

func steps(ss []step) string {
	var out []string
	for _, s := range ss {
		out = append(out, fmt.Sprintf("%q", append([]string{s.verb}, s.args...)))
	}
	return strings.Join(out, ";")
}

// Result appraises the machine of a vector, after what the vector does to it, at
// a level of evidence.
func (b *Bench) Result(v *Vector, l Level) (*assay.Result, error) {
	s, err := b.scene(v)
	if err != nil {
		return nil, err
	}
	return s.verify(l)
}

// Clean appraises the machine as it was before.
func (b *Bench) Clean(v *Vector, l Level) (*assay.Result, error) {
	ref, err := b.reference(v)
	if err != nil {
		return nil, err
	}
	if r := ref.clean[l]; r != nil {
		return r, nil
	}
	s, err := b.unchanged(v)
	if err != nil {
		return nil, err
	}
	r, err := s.verify(l)
	ref.clean[l] = r
	return r, err
}

// unchanged is the machine of a vector in its good state.
func (b *Bench) unchanged(v *Vector) (*scene, error) {
	ref, err := b.reference(v)
	if err != nil {
		return nil, err
	}
	if ref.scene == nil {
		ref.scene = b.newScene(v, maps.Clone(ref.files))
		ref.scene.draft = ref.draft
	}
	return ref.scene, nil
}

// Evidence gives the files of a machine before and after what a vector does to
// it, and the nonce that was asked for, for whoever compares in another way. Quotes
// are over the nonce alone, since the seal is this project's.
func (b *Bench) Evidence(v *Vector) (before, after map[string][]byte, nonce []byte, err error) {
	const l = L5
	ref, err := b.reference(v)
	if err != nil {
		return nil, nil, nil, err
	}
	clean := b.newScene(v, maps.Clone(ref.files))
	clean.draft = ref.draft
	s, err := b.scene(v)
	if err != nil {
		return nil, nil, nil, err
	}
	out := [2]map[string][]byte{ref.unsealed}
	for i, x := range []*scene{clean, s} {
		if out[i] != nil {
			continue
		}
		sealed := x.unsealed
		x.unsealed = true
		bundle, err := x.seal(l)
		x.unsealed = sealed
		if err != nil {
			return nil, nil, nil, err
		}
		if out[i], err = contents(bundle); err != nil {
			return nil, nil, nil, err
		}
	}
	ref.unsealed = out[0]
	return out[0], out[1], s.asked, nil
}

// scene is the vector's machine with all its changes made. The last one is kept,
// since one vector after the other is looked at on all levels.
func (b *Bench) scene(v *Vector) (*scene, error) {
	if b.last != nil && b.last.vector == v {
		return b.last, nil
	}
	ref, err := b.reference(v)
	if err != nil {
		return nil, err
	}
	s := b.newScene(v, maps.Clone(ref.files))
	if s.draft, err = copyManifest(ref.draft); err != nil {
		return nil, err
	}
	if err := s.apply(v.change); err != nil {
		return nil, err
	}
	b.last = s
	return s, nil
}

func copyManifest(m *manifest.Manifest) (*manifest.Manifest, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	out := &manifest.Manifest{}
	return out, json.Unmarshal(raw, out)
}

// keeps reports whether evidence of a level has a file.
func (l Level) keeps(p string) bool {
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(x string) bool { return strings.HasPrefix(p, x) })
	}
	switch {
	case has("ipmi/", "redfish/"):
		return l >= L1
	case has("pass2/", "spdm/"), has("firmware/") && strings.Contains(p, "-second"):
		return l >= L5
	case has("firmware/"), strings.HasPrefix(p, "sys/bus/pci/") && strings.HasSuffix(p, "/rom"):
		return l >= L4
	case has("tpm/", "sys/class/tpm/", "sys/kernel/security/tpm0/"):
		return l >= L3
	}
	return l >= L2
}
