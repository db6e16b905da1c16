package firmware

import (
	"fmt"
	"sort"

	"github.com/assay-hw/assay/finding"
)

// piece is a run of bytes that a structure of a processor's maker says is there,
// by its place in the image.
type piece struct {
	path       string
	kind       Kind
	typ, name  string // of the leaf
	start, end int
}

// laid puts pieces in order. Of those inside each other the inner ones count,
// since maps name containers of others too; those that cross others, or leave
// the range, are not followed: a map that says so cannot be trusted with these
// bytes.
func laid(pieces []piece, start, end int) (out, bad []piece) {
	sort.SliceStable(pieces, func(i, j int) bool { // package slices would add 5 KB to the bootable scanner
		a, b := pieces[i], pieces[j]
		return a.start < b.start || a.start == b.start && a.end > b.end
	})
	var around []int // pieces of out that the current one may lie in
	holds, crossed := map[int]bool{}, map[int]bool{}
	for _, p := range pieces {
		if p.start < start || p.end > end || p.end < p.start {
			bad = append(bad, p)
			continue
		}
		for len(around) > 0 && p.start >= out[around[len(around)-1]].end {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 {
			switch top := out[around[n-1]]; {
			case p.start == top.start && p.end == top.end:
				continue // named twice
			case p.end > top.end:
				bad = append(bad, p)
				crossed[around[n-1]] = true
				continue
			}
			holds[around[n-1]] = true
		}
		if p.start == p.end {
			continue
		}
		around = append(around, len(out))
		out = append(out, p)
	}
	kept := out[:0:0]
	for i, p := range out {
		switch {
		case crossed[i]:
			bad = append(bad, p)
		case !holds[i]:
			kept = append(kept, p)
		}
	}
	return kept, bad
}

// between adds what lies before end and belongs to no volume: the pieces that are
// wholly there, and gaps.
func (w *walker) between(after string, end int) {
	for len(w.silicon) > 0 && w.silicon[0].start < end && !w.full {
		p := w.silicon[0]
		w.silicon = w.silicon[1:]
		if p.start < w.pos || p.end > end {
			continue // in a volume, or around one
		}
		w.gap(after, p.start)
		after = w.piece(p)
	}
	w.gap(after, end)
}

// piece adds the leaf of a piece and returns its path.
func (w *walker) piece(p piece) string {
	l := w.add(p.path, p.kind, p.end)
	if l == nil || w.full {
		return p.path
	}
	l.Type, l.Name = p.typ, p.name
	return l.Path
}

// reject says which pieces of a map were not followed.
func (w *walker) reject(bad []piece, what string) {
	for _, p := range bad[:min(len(bad), maxRejected)] {
		w.claims = append(w.claims, claim{
			code: finding.ParsersDisagree, path: p.path, want: "parts side by side or inside each other", got: fmt.Sprintf("0x%x to 0x%x", p.start, p.end),
			why:    what + " has parts that cross each other or leave it; they were not followed",
			offset: min(max(p.start, 0), len(w.data)), length: 0,
		})
	}
}

// maxRejected bounds how often one map is complained about.
const maxRejected = 16

// damaged says that a structure's own checksum does not hold.
func (w *walker) damaged(path, what string, at, length int) {
	w.claims = append(w.claims, claim{
		code: finding.ManagementEngineAnomaly, path: path, want: "a checksum that holds", got: "another checksum",
		why: what + " is damaged: its checksum does not hold", offset: at, length: length,
	})
}
