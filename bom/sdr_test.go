package bom_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// sdrRecord is one record of the repository with a name behind its body.
func sdrRecord(kind byte, body []byte, name string) []byte {
	all := slices.Concat(body, []byte{0xc0 | byte(len(name))}, []byte(name))
	return append([]byte{1, 0, 0x51, kind, byte(len(all))}, all...)
}

var (
	boardMemory = sdrRecord(0x11, []byte{0x20, 0, 0x80, 0, 0, 0x10, 0, 7, 1, 0}, "Baseboard FRU")
	engine      = sdrRecord(0x12, []byte{0x2c, 6, 0, 0x3f, 0, 0, 0, 46, 1, 0}, "Mgmt Engine")
	stranger    = sdrRecord(0x10, []byte{0x20, 0x90, 0x02, 0, 0, 0x08, 0, 7, 9, 0}, "EEPROM")
)

func listed(t *testing.T, records ...[]byte) *bom.Inventory {
	t.Helper()
	f := lab(t)
	f["ipmi/sdr.bin"] = slices.Concat(records...)
	f["ipmi/device-guid.bin"] = make([]byte, 16)
	return read(t, f)
}

func TestTheControllersListNamesWhereToLook(t *testing.T) {
	inv := listed(t, boardMemory, engine)
	require.Equal(t, "Baseboard FRU", part(t, inv, "fru:0").Identity.Name)
	require.Equal(t, "ipmb/6/2c", part(t, inv, "ipmb:6/2c").Location.Path)
	require.Equal(t, "management controller Mgmt Engine", part(t, inv, "ipmb:6/2c").Identity.Model)
	require.Equal(t, "0", part(t, inv, "bmc").Attributes["sensors"])
	require.Len(t, part(t, inv, "bmc").Attributes["deviceGUID"], 32)
	require.True(t, inv.Classes[bom.IPMB].Whole)
	require.NotContains(t, read(t, lab(t)).Classes, bom.IPMB, "evidence without a list reads as before")
}

func TestADeviceThatTheListDidNotHave(t *testing.T) {
	refs, closures := bom.Draft(listed(t, boardMemory, engine), true)
	require.Equal(t, bom.Closed, closures[bom.IPMB])
	same := bom.Match(refs, closures, listed(t, boardMemory, engine))
	more := bom.Match(refs, closures, listed(t, boardMemory, engine, stranger))
	require.Len(t, more.Findings, len(same.Findings)+1)
	i := slices.IndexFunc(more.Findings, func(f finding.Finding) bool { return f.Code == finding.UnexpectedLowSpeedDevice })
	require.Equal(t, "ipmb:0/20/2/90", more.Findings[i].Subject)
	require.Equal(t, finding.Medium, more.Findings[i].Severity)

	less := bom.Match(refs, closures, listed(t, boardMemory)).Findings
	i = slices.IndexFunc(less, func(f finding.Finding) bool { return f.Subject == "ipmb:6/2c" })
	require.Equal(t, finding.MissingComponent, less[i].Code)
	require.Equal(t, finding.Medium, less[i].Severity)

	// A manifest from before the list was read says nothing about it.
	refs, closures = bom.Draft(read(t, lab(t)), true)
	require.NotContains(t, closures, bom.IPMB)
	old := bom.Match(refs, closures, listed(t, boardMemory, stranger))
	require.Empty(t, slices.DeleteFunc(old.Findings, func(f finding.Finding) bool { return f.Severity < finding.Low }))
	require.Contains(t, old.NotChecked, bom.NotChecked{What: "class ipmb", Reason: "not declared complete; 2 parts without a line were not judged"})
}

func TestABrokenListIsNotWhole(t *testing.T) {
	inv := listed(t, boardMemory, engine[:9])
	require.False(t, inv.Classes[bom.IPMB].Whole)
	require.NotEmpty(t, findings(inv, finding.InputMalformed))
	require.False(t, listed(t, nil).Classes[bom.IPMB].Whole)
}

// An address that the reference unit's controller does not have is named, and a
// manifest from before they were read says nothing about them.
func TestAddressOfTheControllerThatNobodyListed(t *testing.T) {
	lan := func(addresses ...string) *bom.Inventory {
		f := lab(t)
		for i, a := range addresses {
			f[fmt.Sprintf("ipmi/lan-%d.bin", i+1)] = []byte("\x11" + a)
		}
		return read(t, f)
	}
	const own, other, unused = "\x3c\xec\xef\x01\x02\x03", "\x3c\xec\xef\x09\x09\x09", "\x00\x00\x00\x00\x00\x00"
	require.Equal(t, "3c:ec:ef:01:02:03", part(t, lan(own), "lan:1").Identity.Serial)
	refs, closures := bom.Draft(lan(own, unused), true)
	require.Equal(t, bom.Closed, closures[bom.LAN])
	same := bom.Match(refs, closures, lan(own, unused))
	for what, c := range map[string]struct {
		inv     *bom.Inventory
		subject string
		code    finding.Code
	}{
		"one more":    {lan(own, other), "lan:2", finding.UnexpectedComponent},
		"another one": {lan(other), "lan:1", finding.InstanceReplaced},
	} {
		fs := bom.Match(refs, closures, c.inv).Findings
		require.Len(t, fs, len(same.Findings)+1, what)
		i := slices.IndexFunc(fs, func(f finding.Finding) bool { return f.Subject == c.subject })
		require.GreaterOrEqual(t, i, 0, what)
		require.Equal(t, c.code, fs[i].Code, what)
	}
	refs, closures = bom.Draft(read(t, lab(t)), true)
	require.Len(t, bom.Match(refs, closures, lan(own)).Findings, len(same.Findings))
}

// A port of which the controller did not answer now is not missing.
func TestPortThatCouldNotBeRead(t *testing.T) {
	f := lab(t)
	f["ipmi/lan-1.bin"] = []byte("\x11\x3c\xec\xef\x01\x02\x03")
	f["ipmi/lan-8.bin"] = []byte("\x11\x3c\xec\xef\x01\x02\x04")
	refs, closures := bom.Draft(read(t, f), true)
	f["ipmi/lan-1.bin"] = []byte("\x11")
	c := bom.Match(refs, closures, read(t, f))
	require.False(t, slices.ContainsFunc(c.Findings, func(x finding.Finding) bool { return x.Code == finding.MissingComponent }))
	require.Contains(t, fmt.Sprint(c.NotChecked), "lan")
}
