// Package inspection reads and signs records of physical inspections: what a
// laboratory or a factory saw of one unit with light, X-rays, probes or a clip.
//
// An *Opened whose Trusted is true proves that somebody whom a grant lets sign
// records of this technique for this manufacturer signed exactly these bytes. It
// does not prove that the unit was looked at, nor that a part is what it looks
// like: a perfect copy under the right marking passes every camera.
package inspection

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/manifest"
)

// Format names the predicate, PredicateType its type in the in-toto Statement.
const (
	Format        = "assay.inspection/v1"
	PredicateType = "https://github.com/assay-hw/assay/inspection/v1"
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// Technique is how a unit was inspected.
type Technique string

// The techniques.
const (
	AOI          Technique = "aoi"           // automated optical inspection against golden images
	Photo        Technique = "photo"         // eyes, a camera, a microscope
	XRay         Technique = "x-ray"         // two-dimensional
	CT           Technique = "ct"            // computed tomography, laminography
	ClipDump     Technique = "clip-dump"     // a flash read with a clip or off the board, the machine without power or in reset
	Impedance    Technique = "impedance"     // of supply rails or lines, against a baseline
	BoundaryScan Technique = "boundary-scan" // IEEE 1149.1: chains, identities, nets
	Weight       Technique = "weight"
	TamperSeal   Technique = "tamper-seal"
	Label        Technique = "label" // printed serial numbers and part numbers
)

// techniques maps each technique to what CycloneDX 2.0 calls its method of
// identification (evidence.identity[].methods[].technique of its hardware draft);
// empty is none there.
var techniques = map[Technique]string{
	AOI: "visual-inspection", Photo: "visual-inspection", TamperSeal: "visual-inspection", Label: "visual-inspection",
	XRay: "x-ray-inspection", CT: "x-ray-inspection", Impedance: "electrical-testing", BoundaryScan: "electrical-testing", ClipDump: "", Weight: "",
}

// Known reports whether the technique is one of those above.
func (t Technique) Known() bool { _, ok := techniques[t]; return ok }

// CycloneDX is the name of the technique in CycloneDX 2.0, "" where it has none.
func (t Technique) CycloneDX() string { return techniques[t] }

// SeesParts reports whether the technique shows that a part sits at a place.
func (t Technique) SeesParts() bool { return slices.Contains([]Technique{AOI, Photo, XRay, CT}, t) }

// Electrical reports whether the technique compares quantities with a baseline.
func (t Technique) Electrical() bool { return t == Impedance || t == Weight }

// Record is the predicate: one inspection of one unit.
type Record struct {
	Format       string        `json:"format"`
	ID           string        `json:"id"` // the inspector's number of the record
	Technique    Technique     `json:"technique"`
	Unit         Unit          `json:"unit"`
	Lot          *Lot          `json:"lot,omitempty"`
	Operator     Operator      `json:"operator"`
	Laboratory   string        `json:"laboratory,omitempty"`
	Instrument   Instrument    `json:"instrument"`
	PerformedAt  time.Time     `json:"performedAt"`
	Reference    Reference     `json:"reference"`
	Coverage     string        `json:"coverage"` // "complete": every place of the reference; "partial": the places listed
	Result       string        `json:"result"`   // "conforms", "deviates" or "undecided"
	Places       []Place       `json:"places"`
	Measurements []Measurement `json:"measurements,omitempty"`
	Attachments  []Attachment  `json:"attachments"`
	Note         string        `json:"note,omitempty"`
}

// Unit is what was inspected: a machine as its system labels name it, or one of
// its boards as the board's own do.
type Unit struct {
	Kind         string `json:"kind"` // "machine" or "board"
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"` // of a board its part number
	Revision     string `json:"revision,omitempty"`
	Serial       string `json:"serial"`
}

// Lot is the production lot that the unit is of. Serials lists its units, all or
// some; a unit that is not inspected itself is known to be of the lot by it.
type Lot struct {
	ID      string   `json:"id"`
	Size    int64    `json:"size"` // units in the lot
	Serials []string `json:"serials,omitempty"`
}

// Operator is who did it.
type Operator struct {
	Organization string `json:"organization"`
	Person       string `json:"person"` // a name or a number
}

// Instrument is what it was done with.
type Instrument struct {
	Maker          string    `json:"maker"`
	Model          string    `json:"model"`
	Serial         string    `json:"serial,omitempty"`
	CalibrationDue time.Time `json:"calibrationDue,omitzero"`
}

// Reference is what the unit was compared with: golden images, design data, a
// baseline.
type Reference struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256,omitempty"`
}

// The results and coverages of a record.
const (
	Complete  = "complete"
	Partial   = "partial"
	Conforms  = "conforms"
	Deviates  = "deviates"
	Undecided = "undecided"
)

// The observations at a place.
const (
	Placed  = "placed"  // a part, and nothing against it
	Missing = "missing" // no part where the reference has one
	Extra   = "extra"   // a part where the reference has none
	Other   = "other"   // another part than the reference has
	Rework  = "rework"  // somebody soldered here after production
	Value   = "value"   // an electrical value is not the reference's
)

// Place is what was seen at one designator. Places without a designator, as an
// extra part on bare board, are named by the nearest one with a note.
type Place struct {
	Designator string `json:"designator"`
	Observed   string `json:"observed"`
	PartNumber string `json:"partNumber,omitempty"` // as the inspector identified it
	Marking    string `json:"marking,omitempty"`    // as printed on the part
	Confidence string `json:"confidence,omitempty"` // "high" (default), "medium" or "low"
	Attachment string `json:"attachment,omitempty"` // name of the one that shows it
	Note       string `json:"note,omitempty"`
}

// Measurement is one quantity with the range of the baseline. Numbers are decimal
// text, since a signed document holds no fractions otherwise.
type Measurement struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Value string `json:"value"`
	Low   string `json:"low,omitempty"`
	High  string `json:"high,omitempty"`
}

// Attachment is a file that belongs to the record: an image, a dump, a trace.
type Attachment struct {
	Name      string `json:"name"` // relative path in the directory of attachments
	MediaType string `json:"mediaType"`
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`            // bytes
	Flash     string `json:"flash,omitempty"` // of a clip dump: the image in evidence that is of the same part, as "bios"
}

// statement is an in-toto Statement v1.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Record    `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

func (u Unit) subject() (subject, error) {
	e := manifest.Environment{Manufacturer: u.Manufacturer, Model: u.Model, Revision: u.Revision, Serial: u.Serial}
	name, digest, err := e.Subject()
	return subject{name, map[string]string{"sha256": digest}}, err
}

// Encode returns a record as an unsigned statement, indented, for people to
// review and for Sign.
func Encode(r *Record) ([]byte, error) {
	c := *r
	c.Places, c.Attachments = nonNil(r.Places), nonNil(r.Attachments)
	s, err := c.Unit.subject()
	if err != nil {
		return nil, fmt.Errorf("inspection: %w", err)
	}
	b, err := json.MarshalIndent(statement{Type: statementType, Subject: []subject{s}, PredicateType: PredicateType, Predicate: c}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("inspection: %w", err)
	}
	return append(b, '\n'), nil
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Decode reads a statement whose signature was or will be checked elsewhere. A
// value without a meaning here is refused: a reader that skips it misses what it
// warns of.
func Decode(payload []byte) (*Record, error) {
	if len(payload) > MaxBytes {
		return nil, fmt.Errorf("inspection: offset %d: exceeds the limit of %d bytes", MaxBytes, MaxBytes)
	}
	var st statement
	if err := strictjson.Decode(payload, &st); err != nil {
		return nil, fmt.Errorf("inspection: offset %d: %w", strictjson.Offset(err), err)
	}
	if st.Type != statementType || st.PredicateType != PredicateType {
		return nil, fmt.Errorf("inspection: the statement is of type %q with predicate %q, want %s", st.Type, st.PredicateType, PredicateType)
	}
	r := &st.Predicate
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("inspection: %w", err)
	}
	want, err := r.Unit.subject()
	if err != nil {
		return nil, fmt.Errorf("inspection: %w", err)
	}
	if len(st.Subject) != 1 || st.Subject[0].Name != want.Name || len(st.Subject[0].Digest) != 1 || st.Subject[0].Digest["sha256"] != want.Digest["sha256"] {
		return nil, fmt.Errorf("inspection: the subject is not the unit that the record names, %s sha256:%s", want.Name, want.Digest["sha256"])
	}
	return r, nil
}

// Use is what became of one record in an appraisal.
type Use struct {
	ID          string    `json:"id"`
	SHA256      string    `json:"sha256"`
	Technique   string    `json:"technique"`
	Unit        string    `json:"unit"` // manufacturer/model/serial
	Lot         string    `json:"lot,omitempty"`
	PerformedAt time.Time `json:"performedAt,omitzero"`
	Operator    string    `json:"operator,omitempty"`
	Result      string    `json:"result,omitempty"`
	Coverage    string    `json:"coverage,omitempty"`
	Deviations  int       `json:"deviations"`
	Attachments int       `json:"attachments"` // that were signed
	Verified    int       `json:"verified"`    // of them, that are at hand and what was signed
	Signers     []string  `json:"signers"`
	Status      string    `json:"status"` // "trusted", "untrusted" or "unreadable"
	Counts      string    `json:"counts"` // "unit", "lot" or "no"
	Reason      string    `json:"reason,omitempty"`
}
