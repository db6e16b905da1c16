package inspection

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
)

// Limits of one record.
const (
	MaxBytes        = 4 << 20
	maxPlaces       = 50_000
	maxMeasurements = 10_000
	maxAttachments  = 1000
	maxSerials      = 100_000
	maxText         = 500
	maxAttached     = 4 << 30 // bytes of one attachment: a tomography
)

func (r *Record) check() error {
	switch {
	case r.Format != Format:
		return fmt.Errorf("format %q, want %s", r.Format, Format)
	case r.ID == "":
		return errors.New("id is missing")
	case !r.Technique.Known():
		return fmt.Errorf("unknown technique %q", r.Technique)
	case r.PerformedAt.IsZero():
		return errors.New("performedAt is missing")
	case r.Operator.Organization == "" || r.Operator.Person == "":
		return errors.New("operator: organization and person are needed")
	case r.Reference.ID == "":
		return errors.New("reference: id is missing: what was the unit compared with?")
	case r.Reference.SHA256 != "" && !isDigest(r.Reference.SHA256):
		return fmt.Errorf("reference: sha256 %q is no lower-case SHA-256", r.Reference.SHA256)
	case r.Coverage != Complete && r.Coverage != Partial:
		return fmt.Errorf("coverage %q, want %s or %s", r.Coverage, Complete, Partial)
	case !slices.Contains([]string{Conforms, Deviates, Undecided}, r.Result):
		return fmt.Errorf("result %q, want %s, %s or %s", r.Result, Conforms, Deviates, Undecided)
	}
	for _, s := range []string{r.ID, r.Operator.Organization, r.Operator.Person, r.Laboratory, r.Instrument.Maker, r.Instrument.Model, r.Instrument.Serial, r.Reference.ID, r.Note} {
		if len(s) > maxText {
			return fmt.Errorf("a text of %d bytes, the limit is %d", len(s), maxText)
		}
	}
	if err := r.Unit.check(); err != nil {
		return fmt.Errorf("unit: %w", err)
	}
	if err := r.Lot.check(r.Unit.Serial); err != nil {
		return fmt.Errorf("lot: %w", err)
	}
	return r.checkLists()
}

func (u Unit) check() error {
	switch {
	case u.Kind != "machine" && u.Kind != "board":
		return fmt.Errorf("kind %q, want machine or board", u.Kind)
	case u.Manufacturer == "" || u.Model == "" || u.Serial == "":
		return errors.New("manufacturer, model and serial are needed: a record is about one unit")
	case max(len(u.Manufacturer), len(u.Model), len(u.Revision), len(u.Serial)) > maxText:
		return fmt.Errorf("a text exceeds %d bytes", maxText)
	}
	return nil
}

func (l *Lot) check(unit string) error {
	switch {
	case l == nil:
		return nil
	case l.ID == "" || len(l.ID) > maxText:
		return errors.New("an id of a few letters is needed")
	case l.Size < 1 || l.Size > 1_000_000_000:
		return fmt.Errorf("size %d, want the number of units in the lot", l.Size)
	case len(l.Serials) > maxSerials:
		return fmt.Errorf("%d serial numbers, the limit is %d", len(l.Serials), maxSerials)
	case int64(len(l.Serials)) > l.Size:
		return fmt.Errorf("%d serial numbers in a lot of %d", len(l.Serials), l.Size)
	case len(l.Serials) > 0 && !slices.Contains(l.Serials, unit):
		return fmt.Errorf("its serial numbers leave out the inspected unit, %s", unit)
	}
	seen := map[string]bool{}
	for i, s := range l.Serials {
		if s == "" || len(s) > maxText || seen[s] {
			return fmt.Errorf("serials[%d] %.60q is empty, too long, or stands twice", i, s)
		}
		seen[s] = true
	}
	return nil
}

func (r *Record) checkLists() error {
	switch {
	case len(r.Places) > maxPlaces:
		return fmt.Errorf("%d places, the limit is %d", len(r.Places), maxPlaces)
	case len(r.Measurements) > maxMeasurements:
		return fmt.Errorf("%d measurements, the limit is %d", len(r.Measurements), maxMeasurements)
	case len(r.Attachments) > maxAttachments:
		return fmt.Errorf("%d attachments, the limit is %d", len(r.Attachments), maxAttachments)
	}
	names := map[string]bool{}
	for i, a := range r.Attachments {
		if err := a.check(r.Technique); err != nil {
			return fmt.Errorf("attachments[%d] %.60q: %w", i, a.Name, err)
		}
		if names[a.Name] {
			return fmt.Errorf("attachments[%d] %.60q stands twice", i, a.Name)
		}
		names[a.Name] = true
	}
	places := map[string]bool{}
	for i, p := range r.Places {
		if err := p.check(names); err != nil {
			return fmt.Errorf("places[%d] %.60q: %w", i, p.Designator, err)
		}
		if places[p.Designator] {
			return fmt.Errorf("places[%d] %.60q stands twice", i, p.Designator)
		}
		places[p.Designator] = true
	}
	for i, m := range r.Measurements {
		if _, err := m.Outside(); err != nil {
			return fmt.Errorf("measurements[%d] %.60q: %w", i, m.Name, err)
		}
	}
	return nil
}

// designator is the form of reference designators (ASME Y14.44) as boards have
// them.
var designator = regexp.MustCompile(`^[A-Z][A-Z0-9_.+-]{0,31}$`)

func (p Place) check(attachments map[string]bool) error {
	switch {
	case !designator.MatchString(p.Designator):
		return errors.New("is no designator in capital letters and digits")
	case !slices.Contains([]string{Placed, Missing, Extra, Other, Rework, Value}, p.Observed):
		return fmt.Errorf("observed %q, want placed, missing, extra, other, rework or value", p.Observed)
	case !slices.Contains([]string{"", "high", "medium", "low"}, p.Confidence):
		return fmt.Errorf("confidence %q, want high, medium or low", p.Confidence)
	case p.Attachment != "" && !attachments[p.Attachment]:
		return fmt.Errorf("no attachment is called %.60q", p.Attachment)
	case max(len(p.PartNumber), len(p.Marking), len(p.Note)) > maxText:
		return fmt.Errorf("a text exceeds %d bytes", maxText)
	}
	return nil
}

func (a Attachment) check(t Technique) error {
	switch {
	case !fs.ValidPath(a.Name) || a.Name == "." || len(a.Name) > maxText:
		return errors.New("the name is no clean relative path")
	case !isDigest(a.SHA256):
		return fmt.Errorf("sha256 %.70q is no lower-case SHA-256", a.SHA256)
	case a.Size < 0 || a.Size > maxAttached:
		return fmt.Errorf("size %d, the limit is %d", a.Size, int64(maxAttached))
	case a.MediaType == "" || len(a.MediaType) > maxText:
		return errors.New("mediaType is missing")
	case a.Flash != "" && t != ClipDump:
		return fmt.Errorf("flash is for the technique %s", ClipDump)
	case len(a.Flash) > maxText:
		return errors.New("flash is too long")
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}

// Outside reports whether a measurement lies outside the range of its baseline.
// One without a range lies nowhere.
func (m Measurement) Outside() (bool, error) {
	if m.Name == "" || max(len(m.Name), len(m.Unit)) > maxText {
		return false, errors.New("a short name is needed")
	}
	v, err := decimal("value", m.Value)
	if err != nil {
		return false, err
	}
	out := false
	if m.Low != "" {
		low, err := decimal("low", m.Low)
		if err != nil {
			return false, err
		}
		out = v < low
	}
	if m.High != "" {
		high, err := decimal("high", m.High)
		if err != nil {
			return false, err
		}
		out = out || v > high
	}
	return out, nil
}

var decimals = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,15})?$`)

func decimal(what, s string) (float64, error) {
	if !decimals.MatchString(s) {
		return 0, fmt.Errorf("%s %.40q is no decimal number", what, s)
	}
	return strconv.ParseFloat(s, 64)
}
