package bom_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

func told(fs []finding.Finding) map[finding.Code]finding.Severity {
	out := map[finding.Code]finding.Severity{}
	for _, f := range fs {
		out[f.Code] = max(out[f.Code], f.Severity)
	}
	return out
}

func all(classes ...bom.Class) map[bom.Class]bom.Closure {
	out := map[bom.Class]bom.Closure{}
	for _, c := range classes {
		out[c] = bom.Closed
	}
	return out
}

func stick(port, ids string, change func(*bom.Part)) bom.Part {
	return card(ids, "usb/"+port, func(p *bom.Part) {
		p.Class, p.Subject, p.Attributes = bom.USB, "usb:"+port, map[string]string{}
		change(p)
	})
}

// The ids of a management controller's keyboard can be programmed into any
// chip: they excuse a device only where the manifest knows the controller.
func TestIDsOfTheManagementControllerExcuseNothingElsewhere(t *testing.T) {
	virtual := func(p *bom.Part) { p.Volatile = bom.BMCVirtual }
	hub := line("046b:ff01", "usb/1-14", func(r *bom.Reference) { r.Class, r.Optional = bom.USB, true })
	match := func(refs []bom.Reference, parts ...bom.Part) map[finding.Code]finding.Severity {
		return told(bom.Match(refs, all(bom.USB), whole(parts...)).Findings)
	}
	behind := match([]bom.Reference{hub}, stick("1-14", "046b:ff01", virtual), stick("1-14.3", "046b:ff10", virtual))
	require.Equal(t, finding.Low, behind[finding.UnexpectedLowSpeedDevice])
	require.Contains(t, behind, finding.ChangeHotPlug)
	require.Equal(t, finding.Medium, match([]bom.Reference{hub}, stick("1-3", "046b:ff10", virtual))[finding.UnexpectedLowSpeedDevice])
	require.Equal(t, finding.Medium, match(nil, stick("1-14.3", "046b:ff10", virtual))[finding.UnexpectedLowSpeedDevice])
	media := stick("1-14.2", "046b:ff20", func(p *bom.Part) { virtual(p); p.Attributes["interfaces"] = "080250" })
	require.Equal(t, finding.Medium, match([]bom.Reference{hub}, media)[finding.UnexpectedLowSpeedDevice], "a medium is inserted")
}

// A word of a hub or a drive that it can be pulled out makes an unexpected
// device milder, never unnamed.
func TestRemovableDevicesStayNamed(t *testing.T) {
	usb := stick("1-4", "0781:5567", func(p *bom.Part) { p.Volatile = bom.Removable; p.Attributes["interfaces"] = "080650" })
	got := told(bom.Match(nil, all(bom.USB), whole(usb)).Findings)
	require.Equal(t, finding.Low, got[finding.UnexpectedLowSpeedDevice])
	require.Contains(t, got, finding.ChangeHotPlug)

	drive := card("disk", "", func(p *bom.Part) { p.Class, p.Subject, p.Volatile = bom.Storage, "storage:disk x", bom.Removable })
	require.Equal(t, finding.High, told(bom.Match(nil, all(bom.Storage), whole(drive)).Findings)[finding.UnexpectedComponent],
		"a drive says by itself whether its medium can be removed")
	require.Equal(t, finding.Low, told(bom.Match(nil, all(bom.Storage, bom.USB), whole(drive, usb)).Findings)[finding.UnexpectedComponent])
}

// A spare board has a blank label; a machine's own manifest asks for its
// serial number.
func TestBlankSerialNumberIsNotTheDeclaredOne(t *testing.T) {
	want := []bom.Reference{line("X11", "", func(r *bom.Reference) { r.Class, r.Identity.Serial = bom.Baseboard, "LB19" })}
	board := func(change func(*bom.Part)) *bom.Inventory {
		return whole(card("X11", "", func(p *bom.Part) { p.Class, p.Subject = bom.Baseboard, "baseboard"; change(p) }))
	}
	out := bom.Match(want, all(bom.Baseboard), board(func(p *bom.Part) {}))
	require.Len(t, out.Findings, 1)
	require.Equal(t, finding.NotTheCertifiedPlatform, out.Findings[0].Code)
	require.Equal(t, finding.Weak, out.Findings[0].Confidence)

	// Where nobody read the number, it is not shown, and no difference.
	card1 := []bom.Reference{line("8086:10d3", "1", func(r *bom.Reference) { r.Class, r.Identity.Serial = bom.PCI, "dsn:01" })}
	out = bom.Match(card1, all(bom.PCI), whole(card("8086:10d3", "1", func(p *bom.Part) { p.Class, p.Subject = bom.PCI, "pci:1" })))
	require.Empty(t, out.Findings)
	require.Equal(t, []string{"serial number of pci:1"}, out.Unproved[bom.PCI])
	out = bom.Match(card1, map[bom.Class]bom.Closure{bom.PCI: bom.Open}, whole(card("8086:10d3", "1", func(p *bom.Part) { p.Class, p.Subject = bom.PCI, "pci:1" })))
	require.Empty(t, out.Unproved, "an open class asks for nothing")
}

// A manifest may name a part by its number alone; a part may not know its
// maker. Two makers that differ are two parts.
func TestMakerThatIsNotSaidDecidesNothing(t *testing.T) {
	dimm := func(maker, number string) bom.Identity { return bom.Identity{Maker: maker, PartNumber: number} }
	match := func(want, got bom.Identity) []finding.Finding {
		r := line("", "A1", func(r *bom.Reference) {
			r.Class, r.Identity, r.Location = bom.Memory, want, finding.Location{Designator: "A1"}
		})
		p := card("", "A1", func(p *bom.Part) {
			p.Class, p.Subject, p.Identity, p.Location = bom.Memory, "dimm:A1", got, finding.Location{Designator: "A1"}
		})
		return bom.Match([]bom.Reference{r}, all(bom.Memory), whole(p)).Findings
	}
	require.Empty(t, match(dimm("", "9ASF1G72PZ"), dimm("Micron", "9ASF1G72PZ")))
	require.Empty(t, match(dimm("Micron", "9ASF1G72PZ"), dimm("", "9ASF1G72PZ")))
	require.Len(t, match(dimm("Micron", "9ASF1G72PZ"), dimm("Samsung", "9ASF1G72PZ")), 1)
	require.Len(t, match(dimm("Micron", ""), dimm("Samsung", "")), 1, "modules without a number, of two makers")
	require.Len(t, match(dimm("a|b", "c"), dimm("a", "b|c")), 1, "where one text ends is part of it")
}

// An approved alternate is held against itself, not against what it stands in
// for.
func TestApprovedAlternateIsHeldAgainstItself(t *testing.T) {
	r := line("8086:10d3 1:2", "1", func(r *bom.Reference) {
		r.Class, r.Identity.Revision, r.Attributes = bom.PCI, "01", map[string]string{"capabilities": "aa", "linkMaxWidth": "4"}
		r.Alternates = []bom.Identity{{Model: "14e4:1657 1:2", Revision: "03"}}
	})
	match := func(revision, width string) []finding.Finding {
		return bom.Match([]bom.Reference{r}, all(bom.PCI), whole(card("14e4:1657 1:2", "1", func(p *bom.Part) {
			p.Class, p.Subject, p.Identity.Revision = bom.PCI, "pci:1", revision
			p.Attributes = map[string]string{"capabilities": "bb", "linkMaxWidth": width}
		}))).Findings
	}
	require.Empty(t, match("03", "4"))
	require.Len(t, match("02", "4"), 1)
	require.Len(t, match("03", "1"), 1)
}

// A waiver of one function must not cover one that comes later.
func TestFurtherFunctionsChangeTheFinding(t *testing.T) {
	fn := func(subject string, change func(*bom.Part)) bom.Part {
		return card("8086:10d3 1:2", subject, func(p *bom.Part) { p.Class, p.Subject = bom.PCI, subject; change(p) })
	}
	one := bom.Match(nil, all(bom.PCI), whole(fn("pci:0000:09:00.0", func(*bom.Part) {}))).Findings
	two := bom.Match(nil, all(bom.PCI), whole(fn("pci:0000:09:00.0", func(*bom.Part) {}), fn("pci:0000:09:00.1", func(p *bom.Part) {
		p.Attributes = map[string]string{"dma": "capable"}
	}))).Findings
	require.Len(t, one, 1)
	require.Len(t, two, 1)
	require.NotEqual(t, one[0].Fingerprint, two[0].Fingerprint)
	require.Equal(t, finding.Critical, two[0].Severity, "the worst function counts")
}

// Parts of a class that is not declared complete are not judged, and that is
// said.
func TestPartsOfOpenClassesAreNotPassedOver(t *testing.T) {
	out := bom.Match(nil, nil, whole(card("x", "", func(p *bom.Part) { p.Class, p.Subject = bom.Power, "power:1" })))
	require.Empty(t, out.Findings)
	require.Contains(t, out.NotChecked, bom.NotChecked{What: "class power", Reason: "not declared complete; 1 parts without a line were not judged"})
}

// A device that is handed to a guest shows no ports and no drive; they are not
// missing.
func TestDeviceHandedToAGuestLosesNothing(t *testing.T) {
	refs := []bom.Reference{
		line("8086:10d3", "1", func(r *bom.Reference) { r.Class = bom.PCI }),
		line("network port", "1", func(r *bom.Reference) {
			r.ID, r.Class, r.Attributes = "port", bom.Network, map[string]string{"host": "pci:0000:01:00.0"}
		}),
	}
	match := func(driver string) []finding.Finding {
		inv := whole(card("8086:10d3", "1", func(p *bom.Part) {
			p.Class, p.Subject, p.Attributes = bom.PCI, "pci:0000:01:00.0", map[string]string{"driver": driver}
		}))
		inv.Classes[bom.Network] = bom.Observation{Observed: true, Whole: true}
		return bom.Match(refs, all(bom.PCI, bom.Network), inv).Findings
	}
	require.Empty(t, match("vfio-pci"))
	require.Len(t, match("e1000e"), 1)
}
