package evidence

import "fmt"

// Limits bound what a bundle may hold. A zero field means its default.
type Limits struct {
	ArtifactBytes int64 // bytes in one artefact
	BundleBytes   int64 // bytes in all artefacts together
	Entries       int   // files in the tree
	Expansion     int64 // uncompressed bytes per compressed byte of one zip entry
}

// DefaultLimits are those of the evidence format.
func DefaultLimits() Limits {
	return Limits{ArtifactBytes: 64 << 20, BundleBytes: 512 << 20, Entries: 100_000, Expansion: 200}
}

// smallEntry is the size below which the expansion ratio is not looked at:
// PCI config space is mostly zeros and compresses far better than 200:1, and
// an entry this small bounds itself.
const smallEntry = 64 << 10

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.ArtifactBytes <= 0 {
		l.ArtifactBytes = d.ArtifactBytes
	}
	if l.BundleBytes <= 0 {
		l.BundleBytes = d.BundleBytes
	}
	if l.Entries <= 0 {
		l.Entries = d.Entries
	}
	if l.Expansion <= 0 {
		l.Expansion = d.Expansion
	}
	return l
}

// LimitError reports that an input exceeds a limit. Nothing of the input is
// used then: a partly read bundle could hide the part that matters.
type LimitError struct {
	File   string // the bundle, then the entry
	Offset int64  // byte offset in the entry where the limit was met, or -1
	Limit  string // name of the limit
	Max    int64
}

func (e *LimitError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s: exceeds the limit of %d %s", e.File, e.Max, e.Limit)
	}
	return fmt.Sprintf("%s: offset %d: exceeds the limit of %d %s", e.File, e.Offset, e.Max, e.Limit)
}

// FormatError reports that an input is not what it should be.
type FormatError struct {
	File   string
	Offset int64
	Msg    string
	Err    error
}

func (e *FormatError) Error() string {
	s := e.File + ": "
	if e.Offset > 0 {
		s += fmt.Sprintf("offset %d: ", e.Offset)
	}
	s += e.Msg
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }
