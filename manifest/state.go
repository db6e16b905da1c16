package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/outfile"
	"github.com/assay-hw/assay/internal/strictjson"
)

const (
	stateFormat   = "assay.state/v1"
	stateName     = "manifests.json"
	maxStateBytes = 16 << 20
)

// State is what a verifier remembers against rollback: the highest version seen
// of each lineage and every id that was superseded. It is data; Check and After
// are pure. The zero value remembers nothing.
type State struct {
	seen       map[string]seen
	superseded map[string]string // old id to the id that replaced it
}

// Equal reports whether two states remember the same.
func (s State) Equal(o State) bool {
	return maps.Equal(s.seen, o.seen) && maps.Equal(s.superseded, o.superseded)
}

type seen struct {
	Version int64  `json:"version"`
	SHA256  string `json:"sha256"` // of the signed statement
}

type stateFile struct {
	Format     string            `json:"format"`
	Manifests  map[string]seen   `json:"manifests"`
	Superseded map[string]string `json:"superseded"`
}

// LoadState reads the state in a directory. A directory without one gives the
// empty state; a damaged file is an error, never an empty state, since that
// would let an old manifest in.
func LoadState(dir string) (State, error) {
	name := filepath.Join(dir, stateName)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return State{}, fmt.Errorf("state: %w", err)
		}
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("state: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStateBytes+1))
	if err != nil {
		return State{}, fmt.Errorf("state %s: %w", name, err)
	}
	s, err := parseState(b)
	if err != nil {
		return State{}, fmt.Errorf("state %s: %w; restore it from a copy, or remove it to start over", name, err)
	}
	return s, nil
}

func parseState(b []byte) (State, error) {
	if len(b) > maxStateBytes {
		return State{}, fmt.Errorf("exceeds the limit of %d bytes", maxStateBytes)
	}
	var f stateFile
	if err := strictjson.Decode(b, &f); err != nil {
		return State{}, err
	}
	if f.Format != stateFormat {
		return State{}, fmt.Errorf("format is %q, want %q", f.Format, stateFormat)
	}
	for id, s := range f.Manifests {
		if id == "" || s.Version < 1 || !isHex(s.SHA256, 64) {
			return State{}, fmt.Errorf("entry %q is malformed", id)
		}
	}
	return State{seen: f.Manifests, superseded: f.Superseded}, nil
}

// Check reports manifests that are older than what was seen before, that were
// superseded, or that have a known version and other contents (MF-006). A base
// that is given together with the deltas that lead to the remembered version is
// not rolled back.
func (s State) Check(trusted ...*Trusted) []finding.Finding {
	var fs []finding.Finding
	report := func(id, want, got, why string) {
		f := finding.New(finding.ManifestRollback, "manifest:"+id)
		f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
		fs = append(fs, f)
	}
	for id, newest := range heads(trusted) {
		m := newest.manifest
		if by, ok := s.superseded[id]; ok {
			report(id, "manifest:"+by, "manifest:"+id, "the manifest was superseded by one that was seen before")
		}
		old, ok := s.seen[id]
		switch {
		case !ok:
		case m.Version < old.Version:
			report(id, fmt.Sprintf("version %d or newer", old.Version), fmt.Sprintf("version %d", m.Version), "a newer version of this manifest was seen before")
		case m.Version == old.Version && newest.digest != old.SHA256:
			report(id, "sha256:"+old.SHA256, "sha256:"+newest.digest, "this version was seen before with other contents")
		}
	}
	return finding.Sort(fs)
}

// heads returns the newest statement of each lineage.
func heads(trusted []*Trusted) map[string]*Trusted {
	out := map[string]*Trusted{}
	for _, t := range sortTrusted(slices.Clone(trusted)) {
		out[t.manifest.ID] = t
	}
	return out
}

// After returns the state that also remembers these manifests. It never forgets
// and never goes back.
func (s State) After(trusted ...*Trusted) State {
	n := State{seen: map[string]seen{}, superseded: map[string]string{}}
	maps.Copy(n.seen, s.seen)
	maps.Copy(n.superseded, s.superseded)
	for id, t := range heads(trusted) {
		if t.manifest.Version > n.seen[id].Version {
			n.seen[id] = seen{t.manifest.Version, t.digest}
		}
	}
	for _, t := range trusted {
		for _, old := range t.manifest.Supersedes {
			if _, ok := n.superseded[old]; !ok && old != t.manifest.ID {
				n.superseded[old] = t.manifest.ID
			}
		}
	}
	return n
}

// merge keeps the higher of two memories.
func (s State) merge(o State) State {
	n := s.After()
	for id, v := range o.seen {
		if v.Version > n.seen[id].Version {
			n.seen[id] = v
		}
	}
	for old, by := range o.superseded {
		if _, ok := n.superseded[old]; !ok {
			n.superseded[old] = by
		}
	}
	return n
}

// Save writes the state to a directory, which is made when it is not there. The
// file is replaced as a whole under a lock, merged with what another run wrote
// meanwhile.
func (s State) Save(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	old, err := LoadState(dir)
	if err != nil {
		return err
	}
	m := s.merge(old)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(stateFile{Format: stateFormat, Manifests: m.seen, Superseded: m.superseded}); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	err = outfile.Write(filepath.Join(dir, stateName), 0o600, func(w io.Writer) error {
		_, err := w.Write(buf.Bytes())
		return err
	})
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
