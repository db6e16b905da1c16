package firmware

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// Protection is one lock that keeps software from writing the flash: its state
// in a reference, or as the machine shows it.
type Protection struct {
	Name  string `json:"name"`  // "bios-control:1f.0:lock-enable", "descriptor:bios:write"
	Value string `json:"value"` // "closed" or "open"; of a descriptor the regions that may be written
}

const (
	closed = "closed"
	open   = "open"

	grants = "descriptor:" // begins the names of what is a list of regions
)

// hostFirmware is the image that the locks of the chipset are about.
const hostFirmware = "bios"

// protections lists the locks that the evidence shows, by name.
func protections(b *evidence.Bundle, m *Image) []Protection {
	var out []Protection
	if d, ok := m.Descriptor(); ok {
		for _, x := range d.Masters {
			out = append(out, Protection{grants + x.Name + ":write", strings.Join(x.Write, ",")})
		}
	}
	for _, a := range b.Artifacts() {
		dir, name := path.Split(a.Path)
		if !strings.HasPrefix(dir, "sys/bus/pci/devices/") || strings.Count(dir, "/") != 5 {
			continue
		}
		bdf := path.Base(dir)
		if name == "config" {
			out = append(out, biosControl(b, dir, bdf)...)
		} else if l, ok := lockFiles[name]; ok {
			if v := b.Text(a.Path); v == "0" || v == "1" {
				out = append(out, Protection{l, state(v == "1")})
			}
		}
	}
	// Two chipsets, or evidence that was added: what is open counts.
	slices.SortStableFunc(out, func(x, y Protection) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(y.Value, x.Value)) })
	return slices.CompactFunc(out, func(x, y Protection) bool { return x.Name == y.Name })
}

// lockFiles are what drivers tell of locks that no register in reach shows
// (Linux ABI sysfs-driver-spi-intel, sysfs-driver-ccp).
var lockFiles = map[string]string{
	"intel_spi_protected": "spi:protected-ranges", "intel_spi_locked": "spi:locked", "intel_spi_bios_locked": "spi:bios-lock",
	"rom_armor_enforced": "psp:rom-armor", "anti_rollback_status": "psp:anti-rollback", "debug_lock_on": "psp:debug-lock", "fused_part": "psp:fused",
	"rpmc_production_enabled": "psp:rpmc",
}

func state(isClosed bool) string {
	if isClosed {
		return closed
	}
	return open
}

// biosControl reads the BIOS control register of Intel's chipsets: register DCh
// of the LPC bridge 1F.0 and, since the 100 series, of the SPI controller 1F.5
// too (ICH9 datasheet 13.1.33; 100 series datasheet volume 2, 8.1.8).
func biosControl(b *evidence.Bundle, dir, bdf string) []Protection {
	const register = 0xdc
	function := bdf[max(0, len(bdf)-4):]
	if _, bus, _ := strings.Cut(bdf, ":"); bus != "00:"+function || function != "1f.0" && function != "1f.5" || b.Text(dir+"vendor") != "0x8086" {
		return nil
	}
	class := b.Text(dir + "class")
	if function == "1f.0" && !strings.HasPrefix(class, "0x0601") || function == "1f.5" && !strings.HasPrefix(class, "0x0c80") {
		return nil
	}
	raw, err := b.Read(dir + "config")
	if err != nil || len(raw) <= register {
		return nil
	}
	v := raw[register]
	name := "bios-control:" + function + ":"
	return []Protection{
		{name + "lock-enable", state(v&0x02 != 0)},       // BLE, LE: setting the write enable raises an SMI
		{name + "smm-write-protect", state(v&0x20 != 0)}, // SMM_BWP, EISS: only SMM may write
		{name + "write-enable", state(v&0x01 == 0)},      // BIOSWE, WPD
	}
}

// protection compares the locks of the machine with the declared ones. What is
// open although it was declared closed is a finding; what the evidence does not
// show is listed.
func (c *Comparison) protection(refs []Reference, m *Image) {
	declared := slices.ContainsFunc(refs, func(r Reference) bool { return len(r.Protection) > 0 })
	if !declared {
		return
	}
	shown := map[string]string{}
	for _, p := range m.Protection {
		shown[p.Name] = p.Value
	}
	allowed := map[string][]string{}
	for _, r := range refs {
		for _, p := range r.Protection {
			allowed[p.Name] = append(allowed[p.Name], p.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(allowed)) {
		want := allowed[name]
		got, ok := shown[name]
		switch {
		case !ok:
			c.NotChecked = append(c.NotChecked, NotChecked{What: "firmware:" + m.Name + "/protection/" + name, Reason: "the evidence does not show this lock"})
		case slices.Contains(want, got):
		default:
			c.Findings = append(c.Findings, lockDiffers(m, name, want, got))
		}
	}
}

func lockDiffers(m *Image, name string, want []string, got string) finding.Finding {
	f := finding.New(finding.WriteProtectionOpen, "firmware:"+m.Name+"/protection/"+name)
	f.Want, f.Got, f.Confidence = strings.Join(want, " or "), got, finding.Strong
	f.Sources = []finding.Source{finding.SiliconAnswered}
	f.Why = fmt.Sprintf("%s was declared %s and is %s: software may write where it could not when the reference was made.", name, f.Want, got)
	if strings.HasPrefix(name, grants) {
		f.Sources = []finding.Source{finding.PartMemory}
		f.Why = "The flash descriptor grants other write access than declared."
	}
	if !slices.ContainsFunc(want, func(w string) bool { return wider(name, w, got) }) {
		f.Severity = finding.Info
		f.Why = name + " is closed further than declared."
	}
	return f
}

// wider reports whether got lets more be written than want.
func wider(name, want, got string) bool {
	if !strings.HasPrefix(name, grants) {
		return want == closed && got == open
	}
	granted := strings.Split(want, ",")
	return got != "" && slices.ContainsFunc(strings.Split(got, ","), func(r string) bool { return !slices.Contains(granted, r) })
}

// common keeps the locks that both units have in the same state.
func common(a, b []Protection) []Protection {
	return slices.DeleteFunc(slices.Clone(a), func(p Protection) bool { return !slices.Contains(b, p) })
}
