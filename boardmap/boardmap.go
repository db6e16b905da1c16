// Package boardmap joins the bill of materials of a board with what software can
// ask: which designator is which package, and by which handle, a PCI path or a
// flash id, that package answers.
//
// It proves that what answers at a handle is what the map declares, and says how
// few of a board's parts that is. A part without a handle is for an inspection,
// whose records count here as they do in an appraisal.
package boardmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/strictjson"
)

// Format names the document.
const Format = "assay.board-map/v1"

// Limits of one map.
const (
	MaxBytes    = 16 << 20
	maxPackages = 100_000
	maxList     = 10_000 // designators of a package, or identities of a handle
	maxHandles  = 64
	maxText     = 500
)

// Map says what each package of a board answers to, and where. It is of one part
// number and revision, since designers use designators again.
type Map struct {
	Format   string    `json:"format"`
	Board    Board     `json:"board"`
	Source   string    `json:"source,omitempty"` // the file that it was drafted from
	Packages []Package `json:"packages"`
}

// Board names the board.
type Board struct {
	Manufacturer string `json:"manufacturer,omitempty"`
	PartNumber   string `json:"partNumber,omitempty"`
	Revision     string `json:"revision,omitempty"`
}

// Package is what sits at one place, or the same at several.
type Package struct {
	Designators []string `json:"designators"`
	Maker       string   `json:"maker,omitempty"`
	PartNumber  string   `json:"partNumber,omitempty"`
	Handles     []Handle `json:"handles,omitempty"`
	Open        string   `json:"open,omitempty"` // what is left to decide, for who completes a draft
}

// Handle is one way to ask a package what it is.
type Handle struct {
	Kind      Kind     `json:"kind"`
	At        string   `json:"at,omitempty"`        // where: a PCI or USB path, a locator, a slot's name, BUS-ADDRESS; empty while nobody knows
	IDs       []string `json:"ids,omitempty"`       // what may answer, lower-case; "?" stands for any one character
	Says      string   `json:"says,omitempty"`      // "identity" (default) or "presence": it only acknowledges
	Functions int      `json:"functions,omitempty"` // PCI functions of the package
	Source    string   `json:"source,omitempty"`    // where the identities are from
}

// Kind is the bus or the table that a handle is on.
type Kind string

// The kinds. Of the last four no evidence tells anything yet.
const (
	PCI    Kind = "pci"    // at: path from the root port; ids: VID:DID
	USB    Kind = "usb"    // at: "usb/1-1"; ids: VID:PID
	SPI    Kind = "spi"    // flash; ids: JEDEC id
	DIMM   Kind = "dimm"   // at: locator of the socket
	SMBIOS Kind = "smbios" // at: designation of a slot, connector or device (types 8, 9 and 41)
	I2C    Kind = "i2c"    // at: "0-0050"; acknowledges only
	MAC    Kind = "mac"    // at: path of the port; ids: OUI
	FRU    Kind = "fru"    // at: "fru:0"; ids: part number
	TPM    Kind = "tpm"    // ids: the maker's four letters
	BMC    Kind = "bmc"    // ids: the maker's enterprise number
	JTAG   Kind = "jtag"
	MDIO   Kind = "mdio"
	ULPI   Kind = "ulpi"
	EMMC   Kind = "emmc"
)

var kinds = []Kind{PCI, USB, SPI, DIMM, SMBIOS, I2C, MAC, FRU, TPM, BMC, JTAG, MDIO, ULPI, EMMC}

var (
	designatorForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,31}$`)
	identityForm   = regexp.MustCompile(`^[a-z0-9?:._ -]{1,64}$`)
)

// Read reads a map. What has no meaning here is refused: a handle that a reader
// skips is a part that nobody checks.
func Read(data []byte) (*Map, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("board map: offset %d: exceeds the limit of %d bytes", MaxBytes, MaxBytes)
	}
	var m Map
	if err := strictjson.Decode(data, &m); err != nil {
		return nil, fmt.Errorf("board map: offset %d: %w", strictjson.Offset(err), err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("board map: format %q, want %s", m.Format, Format)
	}
	if max(len(m.Board.Manufacturer), len(m.Board.PartNumber), len(m.Board.Revision), len(m.Source)) > maxText || len(m.Packages) > maxPackages {
		return nil, fmt.Errorf("board map: a text exceeds %d bytes, or there are more than %d packages", maxText, maxPackages)
	}
	at := map[string]int{}
	for i, p := range m.Packages {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("board map: packages[%d]: %w", i, err)
		}
		for _, d := range p.Designators {
			if first, twice := at[d]; twice {
				return nil, fmt.Errorf("board map: packages[%d]: %s stands in packages[%d] too", i, d, first)
			}
			at[d] = i
		}
	}
	return &m, nil
}

func (p *Package) check() error {
	switch {
	case len(p.Designators) == 0 || len(p.Designators) > maxList:
		return errors.New("designators are missing, or too many")
	case len(p.Handles) > maxHandles:
		return fmt.Errorf("%d handles, the limit is %d", len(p.Handles), maxHandles)
	case max(len(p.Maker), len(p.PartNumber), len(p.Open)) > maxText:
		return fmt.Errorf("a text exceeds %d bytes", maxText)
	}
	for _, d := range p.Designators {
		if !designatorForm.MatchString(d) {
			return fmt.Errorf("%.60q is no designator in capital letters and digits", d)
		}
	}
	for i, h := range p.Handles {
		if err := h.check(len(p.Designators)); err != nil {
			return fmt.Errorf("handles[%d]: %w", i, err)
		}
	}
	return nil
}

func (h *Handle) check(designators int) error {
	switch {
	case !slices.Contains(kinds, h.Kind):
		return fmt.Errorf("unknown kind %q", h.Kind)
	case h.At != "" && designators > 1:
		return errors.New("at is one place, and the package has several designators")
	case max(len(h.At), len(h.Source)) > maxText || len(h.IDs) > maxList:
		return errors.New("a text is too long, or there are too many identities")
	case h.Says != "" && h.Says != "identity" && h.Says != "presence":
		return fmt.Errorf("says %q, want identity or presence", h.Says)
	case h.Says == "presence" && len(h.IDs) > 0:
		return errors.New("what only acknowledges has no identities")
	case h.Functions < 0 || h.Functions > 256:
		return fmt.Errorf("%d functions", h.Functions)
	case h.At == "" && slices.Contains([]Kind{DIMM, SMBIOS, I2C, FRU}, h.Kind) && len(h.IDs) > 0:
		return fmt.Errorf("identities of %s need a place", h.Kind)
	}
	for _, id := range h.IDs {
		if h.At == "" && strings.Count(id, "?") > 2 {
			return fmt.Errorf("identity %q fits too much for a handle without a place", id)
		}
		if !identityForm.MatchString(id) || strings.Trim(id, "?:. -_") == "" {
			return fmt.Errorf("identity %.60q is empty or not in lower case", id)
		}
	}
	return nil
}

// Encode writes a map for people to complete.
func (m *Map) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("board map: %w", err)
	}
	return append(b, '\n'), nil
}

// fits reports whether an identity is one of those that may answer.
func (h *Handle) fits(id string) bool {
	return slices.ContainsFunc(h.IDs, func(want string) bool {
		if len(want) != len(id) {
			return false
		}
		for i := range len(want) {
			if want[i] != '?' && want[i] != id[i] {
				return false
			}
		}
		return true
	})
}
