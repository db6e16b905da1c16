package procure

import (
	"bytes"
	"embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/bom"
)

// Profile says what a manifest for one kind of machine has to hold.
type Profile struct {
	Name        string                 `json:"name"`
	Title       string                 `json:"title"`
	Classes     []bom.Class            `json:"classes"`     // each declared, and closed or absent
	Fields      map[bom.Class][]string `json:"fields"`      // what a line has to say: "maker", "serial", "model|partNumber"
	Boot        bool                   `json:"boot"`        // boot references
	Firmware    []string               `json:"firmware"`    // images with reference values
	Origin      []bom.Class            `json:"origin"`      // classes whose lines say where the part was made and assembled
	Lists       []string               `json:"lists"`       // lists of prohibited sources that apply
	MaxValidity int                    `json:"maxValidity"` // days from issue to expiry; 0 is any
	Signed      bool                   `json:"signed"`
}

// List names sources that must not be bought from, as of a date.
type List struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	AsOf    string   `json:"asOf"` // the day it was taken down
	Source  string   `json:"source"`
	Entries []Source `json:"entries"`
}

// Source is one maker, by name and by the numbers that its parts answer with.
type Source struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	IDs     []string `json:"ids,omitempty"` // "jedec:0a11", "pci:1e49", "oui:…"
	Note    string   `json:"note,omitempty"`
}

// ListUse says which state of a list was used.
type ListUse struct {
	ID   string `json:"id"`
	AsOf string `json:"asOf"`
}

// Lifecycle is what a maker says about the future of a part.
type Lifecycle struct {
	Maker, PartNumber string
	Status            string // "active", "nrnd", "last-time-buy", "eol", "obsolete"
	Date              string
}

//go:embed data
var data embed.FS

// BuiltInProfile returns one of the profiles default, dc-server and us-federal.
func BuiltInProfile(name string) (Profile, bool) {
	raw, err := data.ReadFile("data/profile-" + name + ".json")
	if err != nil {
		return Profile{}, false
	}
	p, err := ParseProfile(raw)
	return p, err == nil
}

// ParseProfile reads a profile.
func ParseProfile(raw []byte) (Profile, error) {
	var p Profile
	if err := strict(raw, &p); err != nil {
		return p, fmt.Errorf("profile: %w", err)
	}
	if p.Name == "" {
		return p, errors.New("profile: name is missing")
	}
	for c, fields := range p.Fields {
		for _, f := range fields {
			for _, one := range strings.Split(f, "|") {
				if _, ok := fieldValue(bom.Reference{}, one); !ok {
					return p, fmt.Errorf("profile: class %s: unknown field %q", c, one)
				}
			}
		}
	}
	return p, nil
}

// BuiltInLists returns the lists of prohibited sources.
func BuiltInLists() ([]List, error) {
	names, err := fs.Glob(data, "data/list-*.json")
	if err != nil {
		return nil, err
	}
	var out []List
	for _, n := range names {
		raw, err := data.ReadFile(n)
		if err != nil {
			return nil, err
		}
		l, err := ParseList(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out = append(out, l)
	}
	return out, nil
}

// ParseList reads a list of prohibited sources.
func ParseList(raw []byte) (List, error) {
	var l List
	if err := strict(raw, &l); err != nil {
		return l, fmt.Errorf("list: %w", err)
	}
	if l.ID == "" || len(l.Entries) == 0 {
		return l, errors.New("list: id and entries are needed")
	}
	if _, err := time.Parse(time.DateOnly, l.AsOf); err != nil {
		return l, fmt.Errorf("list: asOf: %w", err)
	}
	for i, e := range l.Entries {
		if e.Name == "" {
			return l, fmt.Errorf("list: entries[%d] has no name", i)
		}
	}
	return l, nil
}

func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data behind the document")
	}
	return nil
}

const maxLifecycle = 200_000

// ParseLifecycle reads a table of comma-separated values with the columns maker,
// partNumber, status and date, in any order and under these names.
func ParseLifecycle(r io.Reader) ([]Lifecycle, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	col := map[string]int{}
	for i, h := range head {
		col[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))] = i
	}
	for _, need := range []string{"maker", "partnumber", "status"} {
		if _, ok := col[need]; !ok {
			return nil, fmt.Errorf("lifecycle: line 1: no column %q", need)
		}
	}
	out := []Lifecycle{}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("lifecycle: %w", err)
		}
		if len(out) == maxLifecycle {
			return nil, fmt.Errorf("lifecycle: more than %d lines", maxLifecycle)
		}
		at := func(name string) string {
			if i, ok := col[name]; ok && i < len(row) {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		l := Lifecycle{Maker: at("maker"), PartNumber: at("partnumber"), Status: strings.ToLower(at("status")), Date: at("date")}
		if !slices.Contains([]string{"active", "nrnd", "last-time-buy", "eol", "obsolete"}, l.Status) {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("lifecycle: line %d: status %.40q: want active, nrnd, last-time-buy, eol or obsolete", line, l.Status)
		}
		out = append(out, l)
	}
}
