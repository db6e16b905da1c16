package efficacy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Matrix is what became of every vector at every level.
type Matrix struct {
	Vectors  []*Vector
	Outcomes map[string]map[Level]Outcome // by the vector's file
}

// Measure runs vectors at all levels, on as many benches as workers. A level that
// adds nothing to the evidence has the outcome of the one below.
func Measure(root string, vectors []*Vector, workers int) (*Matrix, error) {
	m := &Matrix{Vectors: vectors, Outcomes: map[string]map[Level]Outcome{}}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range workers {
		wg.Go(func() {
			bench, err := NewBench(root)
			for i := w; i < len(vectors) && err == nil; i += workers {
				var row map[Level]Outcome
				if row, err = bench.row(vectors[i]); err == nil {
					mu.Lock()
					m.Outcomes[vectors[i].File] = row
					mu.Unlock()
				}
			}
			errs[w] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (b *Bench) row(v *Vector) (map[Level]Outcome, error) {
	row := map[Level]Outcome{}
	var before string
	for _, l := range Levels() {
		shape, err := b.shape(v, l)
		if err == nil && shape == before && l > L0 {
			row[l] = row[l-1]
			continue
		}
		o, err := b.Judge(v, l)
		if err != nil {
			return nil, err
		}
		o.Result = nil // a table needs the class alone
		row[l], before = o, shape
	}
	return row, nil
}

// shape names what evidence of a level holds: the files before and after, and
// whether records of inspections are used.
func (b *Bench) shape(v *Vector, l Level) (string, error) {
	s, err := b.scene(v)
	if err != nil {
		return "", err
	}
	n := 0
	for _, files := range []map[string][]byte{s.files, b.cleanFiles(v)} {
		for p := range files {
			if l.keeps(p) {
				n++
			}
		}
	}
	notes := 0
	for p := range s.notes {
		if l.keeps(p) {
			notes++
		}
	}
	return fmt.Sprint(n, notes, l >= L3, l >= L2, l == L6 && len(s.records) > 0), nil
}

// shows reports whether evidence of a level holds anything of what a vector does:
// files that differ, or what a TPM signs.
func (b *Bench) shows(v *Vector, l Level) (bool, error) {
	s, err := b.scene(v)
	if err != nil {
		return false, err
	}
	left := func(p string, _ []byte) bool { return !l.keeps(p) }
	before, after := maps.Clone(b.cleanFiles(v)), maps.Clone(s.files)
	maps.DeleteFunc(before, left)
	maps.DeleteFunc(after, left)
	return l >= L3 || len(s.notes) > 0 && l >= L2 || !maps.EqualFunc(before, after, bytes.Equal), nil
}

func (b *Bench) cleanFiles(v *Vector) map[string][]byte {
	ref, err := b.reference(v)
	if err != nil {
		return nil
	}
	return ref.files
}

// Scenario is one line of the catalogue of attacks and harmless changes.
type Scenario struct {
	ID, Level, Name string
	Codes           []string

	Test, Why string // where it is tested when no vector expresses it, and why none does
}

// Catalogue reads what is known of attacks and harmless changes, whether a vector
// expresses it or not.
func Catalogue(root string) ([]Scenario, error) {
	dir := filepath.Join(root, "testdata", "vectors")
	lines, err := table(filepath.Join(dir, "catalogue.tsv"), 4)
	if err != nil {
		return nil, err
	}
	elsewhere, err := table(filepath.Join(dir, "elsewhere.tsv"), 3)
	if err != nil {
		return nil, err
	}
	at := map[string][]string{}
	for _, f := range elsewhere {
		at[f[0]] = f
	}
	var out []Scenario
	for _, f := range lines {
		s := Scenario{ID: f[0], Level: f[1], Codes: strings.Split(f[2], ","), Name: f[3]}
		if e := at[s.ID]; e != nil {
			s.Test, s.Why = strings.TrimPrefix(e[1], "-"), e[2]
		}
		out = append(out, s)
	}
	return out, nil
}

func table(path string, columns int) ([][]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out [][]string
	for i, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if strings.HasPrefix(l, "#") {
			continue
		}
		f := strings.Split(l, "\t")
		if len(f) != columns {
			return nil, fmt.Errorf("%s: line %d: %d columns, want %d", path, i+1, len(f), columns)
		}
		out = append(out, f)
	}
	return out, nil
}
