package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
)

// classes that a line, a closure or an authority may name.
var classes = []bom.Class{
	bom.System, bom.Baseboard, bom.Chassis, bom.Processor, bom.Memory, bom.PCI, bom.USB, bom.Storage, bom.Network,
	bom.I2C, bom.FRU, bom.IPMB, bom.Flash, bom.Power, bom.TPM, bom.BMC, bom.LAN, bom.Firmware, bom.ACPI, bom.Electronic,
}

// Authority is also given over these, which are no component classes. Boot
// references are split the way their owners are: the platform's firmware
// measures PCR 0, 2, 3, 6 and 7, the software it starts 4, 5 and 8 to 14.
const (
	rightBoot         = "boot"
	rightBootPlatform = "boot:platform"
	rightBootSoftware = "boot:software"
	rightFirmware     = "firmware"
	rightEndorsements = "endorsements"
	rightClosures     = "classes"
	rightScanner      = "scanner"
	rightKnownBad     = "known-bad" // lists of known-bad firmware, which package knownbad reads
	rightQuirks       = "quirks"    // lists of what honest machines say against themselves, which package quirk reads

	// Records of physical inspections, which package inspection reads: all, or
	// with a technique behind a colon those of one.
	rightInspection = "inspection"

	// Tickets of a fleet, which package ticket reads: all, or those of one kind.
	rightTicket = "ticket"
)

// The parts that one line and one manifest may declare: a machine has a few
// hundred that can identify themselves, and each costs the verifier work.
const (
	maxQuantity = 4096
	maxParts    = 100_000
)

// maxVersion is the largest integer that every reader of JSON sees alike (RFC 8785,
// 3.2.2.3).
const maxVersion = 1<<53 - 1

func knownRight(s string) bool {
	switch s {
	case rightBoot, rightBootPlatform, rightBootSoftware, rightFirmware, rightEndorsements, rightClosures, rightScanner, rightKnownBad, rightQuirks, rightInspection, rightTicket:
		return true
	}
	for _, r := range []string{rightInspection, rightTicket} {
		if kind, ok := strings.CutPrefix(s, r+":"); ok {
			return kind != "" && strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz-") == ""
		}
	}
	return slices.Contains(classes, bom.Class(s))
}

// checkValues refuses what has no meaning: a reader that does not know a value
// cannot obey it.
func (m *Manifest) checkValues() error {
	switch {
	case m.ID == "":
		return errors.New("id is missing")
	case m.Version > maxVersion:
		return fmt.Errorf("version is %d, want at most %d: readers that keep numbers as floating point see another one", m.Version, int64(maxVersion))
	case m.Version < 1:
		return fmt.Errorf("version is %d, want 1 or more", m.Version)
	case m.IssuedAt.IsZero():
		return errors.New("issuedAt is missing")
	case m.Environment.Manufacturer == "":
		return errors.New("environment: manufacturer is missing")
	case m.Environment.Model == "":
		return errors.New("environment: model is missing")
	}
	if err := m.checkScanner(); err != nil {
		return err
	}
	parts := 0
	for i, c := range m.Components {
		if err := checkComponent(c); err != nil {
			return fmt.Errorf("components[%d] %q: %w", i, c.ID, err)
		}
		if parts += max(1, c.Quantity); parts > maxParts {
			return fmt.Errorf("components[%d] %q: more than %d parts in all", i, c.ID, maxParts)
		}
	}
	for c, v := range m.Classes {
		if !slices.Contains(classes, c) {
			return fmt.Errorf("classes: unknown class %q", c)
		}
		if v != bom.Closed && v != bom.Open && v != bom.NoneThere {
			return fmt.Errorf("classes: %s: %q is not closed, open or absent", c, v)
		}
	}
	for i, r := range m.Boot {
		if r.PCR < 0 || r.PCR > 23 {
			return fmt.Errorf("boot[%d]: PCR %d is out of range", i, r.PCR)
		}
		if r.Order != "" && r.Order != "strict" && r.Order != "any" {
			return fmt.Errorf("boot[%d]: order %q is not strict or any", i, r.Order)
		}
		if err := checkDigests(r.Digests); err != nil {
			return fmt.Errorf("boot[%d]: PCR %d: %w", i, r.PCR, err)
		}
		for j, e := range r.Events {
			if err := checkDigests(e.Digests); err != nil {
				return fmt.Errorf("boot[%d]: event %d: %w", i, j, err)
			}
		}
	}
	return m.checkRest()
}

func checkComponent(c bom.Reference) error {
	switch {
	case c.ID == "":
		return errors.New("id is missing")
	case !slices.Contains(classes, c.Class):
		return fmt.Errorf("unknown class %q", c.Class)
	case c.Quantity < 0 || c.Quantity > maxQuantity:
		return fmt.Errorf("quantity is %d", c.Quantity)
	}
	switch c.Level {
	case "", "instance", "model", "family", "class":
	default:
		return fmt.Errorf("unknown level %q", c.Level)
	}
	switch c.Verifiability {
	case "", "observed", bom.PhysicalOnly:
	default:
		return fmt.Errorf("unknown verifiability %q", c.Verifiability)
	}
	switch c.Position.Side {
	case "", "top", "bottom":
	default:
		return fmt.Errorf("unknown side %q", c.Position.Side)
	}
	return nil
}

// digestLengths are the hexadecimal digits of digests of a whole image.
var digestLengths = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

func (m *Manifest) checkRest() error {
	for i, f := range m.Firmware {
		if f.Name == "" || strings.ContainsAny(f.Name, "/\\") {
			return fmt.Errorf("firmware[%d]: name %q", i, f.Name)
		}
		if f.SHA256 != "" && !isHex(f.SHA256, 64) {
			return fmt.Errorf("firmware[%d]: sha256 %q", i, f.SHA256)
		}
		for bank, sum := range f.Digests {
			if n := digestLengths[bank]; n == 0 || !isHex(sum, n) {
				return fmt.Errorf("firmware[%d]: digest %s %q", i, bank, sum)
			}
		}
		for j, l := range f.Leaves {
			if l.Path == "" || l.Length < 0 || l.Offset < 0 || l.SHA256 != "" && !isHex(l.SHA256, 64) {
				return fmt.Errorf("firmware[%d]: leaf %d %q is malformed", i, j, l.Path)
			}
		}
	}
	for i, r := range m.SPDM {
		if err := r.Check(); err != nil {
			return fmt.Errorf("spdm[%d] %q: %w", i, r.ID, err)
		}
		if r.Class != "" && !slices.Contains(classes, bom.Class(r.Class)) {
			return fmt.Errorf("spdm[%d] %q: unknown class %q", i, r.ID, r.Class)
		}
	}
	for i, e := range m.Endorsements {
		if e.Kind != "ek" && e.Kind != "ek-certificate" && e.Kind != "ak" {
			return fmt.Errorf("endorsements[%d]: unknown kind %q", i, e.Kind)
		}
		if (e.Issuer == "") != (e.Number == "") || e.Number != "" && (e.Kind != "ek-certificate" || !isHex(e.Number, len(e.Number))) {
			return fmt.Errorf("endorsements[%d]: issuer and number name a certificate together, the number in lower-case hex", i)
		}
		if e.SHA256 == "" && e.Name == "" && e.Number == "" {
			return fmt.Errorf("endorsements[%d]: neither sha256 nor name, nor issuer and number", i)
		}
	}
	for i, a := range m.Authority {
		if a.Signer == "" {
			return fmt.Errorf("authority[%d]: signer is missing", i)
		}
		for _, c := range a.Classes {
			if !knownRight(c) {
				return fmt.Errorf("authority[%d]: unknown class %q", i, c)
			}
		}
	}
	if d := m.Delta; d != nil {
		if !isHex(d.BaseDigest, 64) {
			return fmt.Errorf("delta: baseDigest %q is not a sha256", d.BaseDigest)
		}
		if d.Actor == "" || d.Ticket == "" {
			return errors.New("delta: actor and ticket are needed")
		}
	}
	return nil
}

var bankSizes = map[string]int{"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128, "sm3_256": 64, "sha3_256": 64, "sha3_384": 96, "sha3_512": 128}

func checkDigests(d map[string][]string) error {
	for bank, values := range d {
		size, ok := bankSizes[bank]
		if !ok {
			return fmt.Errorf("unknown bank %q", bank)
		}
		for _, v := range values {
			if !isHex(v, size) {
				return fmt.Errorf("%s digest %q is not %d lower-case hex digits", bank, v, size)
			}
		}
	}
	return nil
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

var guidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// scannerPCRs are the registers that tell which image was booted: the firmware
// measured it into the first, the kernel its command line and initial file
// system into the second.
var scannerPCRs = []int{4, 9}

func (m *Manifest) checkScanner() error {
	switch s := m.Scanner; {
	case s == nil:
		return nil
	case m.Environment.Manufacturer != AnyPlatform || m.Delta != nil:
		return errors.New("scanner: only a manifest about any platform describes a scanner")
	case !isHex(s.Image, 64):
		return fmt.Errorf("scanner: image %q is no SHA-256 in lower-case hexadecimal", s.Image)
	case !guidText.MatchString(s.Disk):
		return fmt.Errorf("scanner: disk %q is no GUID in lower case", s.Disk)
	}
	seen := map[int]bool{}
	for _, r := range m.Boot {
		if seen[r.PCR] {
			return fmt.Errorf("scanner: PCR %d is declared twice", r.PCR)
		}
		seen[r.PCR] = true
		if !r.OfSoftware() || len(r.Events) > 0 && len(r.Digests) > 0 {
			return fmt.Errorf("scanner: PCR %d: want events or values of a register that software owns", r.PCR)
		}
	}
	for _, pcr := range scannerPCRs {
		i := slices.IndexFunc(m.Boot, func(r attest.Reference) bool { return r.PCR == pcr })
		if i < 0 || m.Boot[i].Order == "any" || !slices.ContainsFunc(m.Boot[i].Events, tells) {
			return fmt.Errorf("scanner: no ordered events of PCR %d tell the image", pcr)
		}
	}
	return nil
}

// tells reports whether an expected event pins contents: it has to happen, with
// one digest in the bank that every TPM has.
func tells(e attest.EventReference) bool {
	return !e.Optional && e.Derived == "" && len(e.Digests["sha256"]) == 1
}
