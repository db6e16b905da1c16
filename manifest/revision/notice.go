package revision

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/manifest"
)

// NoticeFormat is the format of a change notice.
const NoticeFormat = "assay.change/v1"

// Notice is a record of intended changes: an engineering change notice, or a
// ticket. It is not signed. It explains the changes that it names and no others,
// so that a change which hides behind an announced one is still open.
type Notice struct {
	Format   string    `json:"format"`
	ID       string    `json:"id"`                 // "ECN-2041"
	Author   string    `json:"author,omitempty"`   // who wrote it
	Approved string    `json:"approved,omitempty"` // who approved it
	Date     time.Time `json:"date,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Changes  []Entry   `json:"changes"`
}

// Entry is one change that a notice announces. What a line becomes has to be
// said where there is a choice: an entry that a part is substituted, but not by
// what, would explain any substitution.
type Entry struct {
	Line string `json:"line"`          // of a manifest: "component:ID"; of a board: the designator
	Kind Kind   `json:"kind"`          // of a board also "revalued", "fitted", "left out", "renumbered"
	Old  string `json:"old,omitempty"` // one of the values before
	New  string `json:"new,omitempty"` // one of the values after
}

// definite are the kinds that say enough by themselves.
var definite = []Kind{Removed, Renamed, Described, "left out", "fitted"}

// rulesOnly are about what is declared: a value that is no longer declared has no
// new one.
var rulesOnly = []Kind{Loosened, Tightened}

var boardKinds = []Kind{"fitted", "left out", "renumbered"}

const (
	maxNoticeBytes = 4 << 20
	maxEntries     = 20_000
)

// ReadNotice reads a change notice: JSON, or separated values with the columns
// id, line, kind, old and new, as a spreadsheet writes them. Errors say where.
func ReadNotice(raw []byte) (*Notice, error) {
	if len(raw) > maxNoticeBytes {
		return nil, fmt.Errorf("offset %d: exceeds the limit of %d bytes", maxNoticeBytes, maxNoticeBytes)
	}
	n := &Notice{}
	var err error
	if strings.HasPrefix(strings.TrimLeft(string(raw[:min(len(raw), 64)]), "\ufeff \t\r\n"), "{") {
		err = strictjson.Decode(raw, n)
	} else {
		err = n.table(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("change notice: %w", err)
	}
	return n, n.check()
}

func (n *Notice) table(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("is not UTF-8")
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(raw), "\ufeff")))
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("row 1: %w", err)
	}
	at := map[string]int{}
	for i, h := range head {
		at[strings.ToLower(strings.TrimSpace(h))] = i
	}
	for _, h := range []string{"id", "line", "kind"} {
		if _, ok := at[h]; !ok {
			return fmt.Errorf("row 1: no column %q; want id, line, kind, old, new", h)
		}
	}
	n.Format = NoticeFormat
	for row := 2; ; row++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		cell := func(h string) string {
			if i, ok := at[h]; ok {
				return strings.TrimSpace(cells[i])
			}
			return ""
		}
		if n.ID == "" {
			n.ID = cell("id")
		}
		if cell("id") != n.ID {
			return fmt.Errorf("row %d: id %q in a notice of %q; give each its own file", row, cell("id"), n.ID)
		}
		n.Changes = append(n.Changes, Entry{Line: cell("line"), Kind: Kind(strings.ToLower(cell("kind"))), Old: cell("old"), New: cell("new")})
	}
}

func (n *Notice) check() error {
	switch {
	case n.Format != NoticeFormat:
		return fmt.Errorf("change notice: format is %.40q, want %q", n.Format, NoticeFormat)
	case strings.TrimSpace(n.ID) == "":
		return errors.New("change notice: id is missing")
	case len(n.Changes) > maxEntries:
		return fmt.Errorf("change notice %s: more than %d changes", n.ID, maxEntries)
	}
	for i, e := range n.Changes {
		switch {
		case e.Line == "":
			return fmt.Errorf("change notice %s: changes[%d]: line is missing", n.ID, i)
		case !slices.Contains(gravity, e.Kind) && !slices.Contains(boardKinds, e.Kind):
			return fmt.Errorf("change notice %s: changes[%d]: unknown kind %.40q", n.ID, i, e.Kind)
		case e.New == "" && !slices.Contains(definite, e.Kind) && (e.Old == "" || !slices.Contains(rulesOnly, e.Kind)):
			return fmt.Errorf("change notice %s: changes[%d]: %s is %s, and new does not say to what", n.ID, i, e.Line, e.Kind)
		}
	}
	return nil
}

// Unused is an announced change that did not happen.
type Unused struct {
	Notice string `json:"notice"`
	Entry  Entry  `json:"entry"`
}

// Explain marks the changes that notices name, and returns what they announce
// and the newer revision does not have.
func Explain(changes []Change, notices []*Notice) []Unused {
	out := []Unused{}
	for _, n := range notices {
		for _, e := range n.Changes {
			used := false
			for i := range changes {
				used = changes[i].explain(n.ID, e) || used
			}
			if !used {
				out = append(out, Unused{n.ID, e})
			}
		}
	}
	return out
}

func (c *Change) explain(id string, e Entry) bool {
	if e.Line != c.Line && e.Line != c.Was || !slices.Contains(c.Kinds, e.Kind) || !c.says(e) {
		return false
	}
	c.close(id, e.Kind)
	return true
}

func (c *Change) close(by string, kinds ...Kind) {
	if !slices.Contains(c.ExplainedBy, by) {
		c.ExplainedBy = append(c.ExplainedBy, by)
	}
	c.Open = slices.DeleteFunc(c.Open, func(k Kind) bool { return slices.Contains(kinds, k) })
}

// says reports whether the values of an entry are values of the change. Values
// that both revisions have prove nothing.
func (c *Change) says(e Entry) bool {
	old, fresh := flat(c.Old), flat(c.New)
	if c.Old != "" && c.New != "" {
		old, fresh = map[string]string{}, map[string]string{}
		for _, f := range c.Fields {
			old[f.Name], fresh[f.Name] = f.Old, f.New
		}
	}
	has := func(m map[string]string, want string) bool {
		if want == "" {
			return true
		}
		for _, v := range m {
			if fold(v) == fold(want) {
				return true
			}
		}
		return false
	}
	return has(old, e.Old) && has(fresh, e.New)
}

// ExplainByDeltas marks the changes that a chain of deltas makes, and returns why
// others of them explain nothing. A delta explains a line when it starts from the
// old revision, or from another one of the chain, and sets the line to exactly
// what the newer revision has.
func ExplainByDeltas(changes []Change, base string, deltas []Delta) ([]string, error) {
	var out []string
	left, starts := slices.Clone(deltas), []string{}
	for {
		i := slices.IndexFunc(left, func(d Delta) bool { return d.Manifest.Delta != nil && d.Manifest.Delta.BaseDigest == base })
		if i < 0 {
			break
		}
		d := left[i]
		if err := d.explain(changes); err != nil {
			return nil, err
		}
		starts, base = append(starts, base), d.Digest
		left = slices.Delete(left, i, i+1)
	}
	for _, d := range left {
		switch {
		case d.Manifest.Delta == nil:
			out = append(out, d.Name+": is no delta")
		case slices.Contains(starts, d.Manifest.Delta.BaseDigest):
			out = append(out, d.Name+": another delta starts from the same statement")
		default:
			out = append(out, fmt.Sprintf("%s: starts from sha256:%s, which is neither the old revision nor a delta of it", d.Name, d.Manifest.Delta.BaseDigest))
		}
	}
	return out, nil
}

// Delta is a change to another manifest, as a file holds it.
type Delta struct {
	Name     string
	Digest   string // of the payload, which the next delta starts from
	Manifest *manifest.Manifest
}

func (d Delta) explain(changes []Change) error {
	set, err := linesOf(d.Manifest)
	if err != nil {
		return err
	}
	by := fmt.Sprintf("%s by %s", d.Manifest.Delta.Ticket, d.Manifest.Delta.Actor)
	for i := range changes {
		c := &changes[i]
		says, ok := set[c.Line]
		gone := c.New == "" && slices.Contains(d.Manifest.Delta.Remove, strings.TrimPrefix(c.Line, component))
		if gone || ok && c.New != "" && says.json == c.New {
			c.close(by, c.Kinds...)
		}
	}
	return nil
}

// BoardChange is a difference between two revisions of a board, and what
// accounts for it.
type BoardChange struct {
	board.Change
	ExplainedBy []string `json:"explainedBy"`
}

// ExplainBoard says which notices name which changes of a board, and what they
// announce that did not happen.
func ExplainBoard(changes []board.Change, notices []*Notice) ([]BoardChange, []Unused) {
	out, unused := make([]BoardChange, len(changes)), []Unused{}
	for i, c := range changes {
		out[i] = BoardChange{c, []string{}}
	}
	for _, n := range notices {
		for _, e := range n.Changes {
			used := false
			for i := range out {
				if out[i].named(e) {
					used = true
					out[i].ExplainedBy = append(out[i].ExplainedBy, n.ID)
				}
			}
			if !used {
				unused = append(unused, Unused{n.ID, e})
			}
		}
	}
	return out, unused
}

func (c BoardChange) named(e Entry) bool {
	if string(e.Kind) != c.Change.Change || !strings.EqualFold(e.Line, c.Designator) && !strings.EqualFold(e.Line, c.From) {
		return false
	}
	is := func(p *board.Part, designator, want string) bool {
		if want == "" {
			return true
		}
		return p != nil && slices.ContainsFunc([]string{p.PartNumber, p.Value, p.Layer, designator}, func(s string) bool { return s != "" && fold(s) == fold(want) })
	}
	return is(c.Old, c.From, e.Old) && is(c.New, c.Designator, e.New)
}
