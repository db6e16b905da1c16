package quirk

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

var at = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// thinkbook is a public case: the log of a laptop gives another PCR 0 than its TPM.
func thinkbook() Entry {
	return Entry{
		ID: "pcr0", Reason: "The firmware logs one of two version events wrongly.", Citations: []string{"https://github.com/fwupd/fwupd/issues/11004"},
		Scope:    Scope{Manufacturer: "LENOVO", Models: []string{"21TK"}, Firmware: Versions{From: "R6CN27WW", Through: "R6CN27WW"}},
		Explains: []Explained{{Code: finding.LogDoesNotReplay, Subject: "pcr:0", Want: "sha256:eae3f584", Got: "sha256:13e77c94"}},
		Issued:   at, Expires: at.AddDate(1, 0, 0),
	}
}

func listOf(es ...Entry) *List {
	return &List{Format: Format, ID: "test", Version: 1, Manufacturer: "Lenovo", IssuedAt: at, NotAfter: at.AddDate(1, 0, 0), Entries: es}
}

func encoded(t testing.TB, l *List) []byte {
	t.Helper()
	raw, err := json.Marshal(l)
	require.NoError(t, err)
	return raw
}

func TestListsThatAreRefused(t *testing.T) {
	_, err := Read(encoded(t, listOf(thinkbook())))
	require.NoError(t, err)
	explains := func(x Explained) func(*List) { return func(l *List) { l.Entries[0].Explains[0] = x } }
	long := "want or got that is long enough"
	for name, edit := range map[string]func(*List){
		"another format":            func(l *List) { l.Format = "assay.known-bad/v1" },
		"no id":                     func(l *List) { l.ID = "" },
		"no version":                func(l *List) { l.Version = 0 },
		"no manufacturer":           func(l *List) { l.Manufacturer = "" },
		"no end":                    func(l *List) { l.NotAfter = time.Time{} },
		"no entry":                  func(l *List) { l.Entries = nil },
		"one entry twice":           func(l *List) { l.Entries = append(l.Entries, l.Entries[0]) },
		"no reason":                 func(l *List) { l.Entries[0].Reason = " " },
		"no citation":               func(l *List) { l.Entries[0].Citations = nil },
		"no model":                  func(l *List) { l.Entries[0].Scope.Models = nil },
		"any model":                 func(l *List) { l.Entries[0].Scope.Models = []string{"*"} },
		"any manufacturer":          func(l *List) { l.Entries[0].Scope.Manufacturer = "*" },
		"another manufacturer":      func(l *List) { l.Entries[0].Scope.Manufacturer = "Dell Inc." },
		"firmware of the future":    func(l *List) { l.Entries[0].Scope.Firmware.Through = "" },
		"firmware backwards":        func(l *List) { l.Entries[0].Scope.Firmware.From = "R6CN28WW" },
		"firmware of two series":    func(l *List) { l.Entries[0].Scope.Firmware.From = "1.2" },
		"never expires":             func(l *List) { l.Entries[0].Expires = time.Time{} },
		"expires in ten years":      func(l *List) { l.Entries[0].Expires = at.AddDate(10, 0, 0) },
		"explains nothing":          func(l *List) { l.Entries[0].Explains = nil },
		"unexpected part":           explains(Explained{finding.UnexpectedComponent, "pci:0000:09:00.0", long, long}),
		"hidden part":               explains(Explained{finding.HiddenFunction, "pci:0000:09:00.0", long, long}),
		"other firmware":            explains(Explained{finding.CodeRegionDiffers, "firmware:bios", long, long}),
		"bad signature":             explains(Explained{finding.ManifestBadSignature, "manifest:x", long, long}),
		"another TPM":               explains(Explained{finding.TPMChanged, "tpm", long, long}),
		"evidence of another day":   explains(Explained{finding.EvidenceReplayed, "evidence", long, long}),
		"PCR that differs":          explains(Explained{finding.PCRDiffers, "pcr:0", long, long}),
		"log of another register":   explains(Explained{finding.LogDoesNotReplay, "pcr:7", long, long}),
		"device against itself":     explains(Explained{finding.SourcesContradict, "pci:0000:01:00.0", long, long}),
		"module against itself":     explains(Explained{finding.SourcesContradict, "dimm:P1", long, long}),
		"driver":                    explains(Explained{finding.UnexpectedEvent, "pcr:2/EV_EFI_BOOT_SERVICES_DRIVER", long, long}),
		"option ROM":                explains(Explained{finding.UnexpectedEvent, "pcr:2/pci:0000:01:00.0", long, long}),
		"boot loader":               explains(Explained{finding.UnexpectedEvent, "pcr:4/x", long, long}),
		"form where values are set": explains(Explained{finding.LogDoesNotReplay, "pcr:0", "sha256:{hex}", "sha256:{hex}"}),
		"unknown form":              explains(Explained{finding.PlaceholderIdentity, "system", "serial", "serial: {any}"}),
		"forms alone":               explains(Explained{finding.SourcesContradict, "system", "{serial}", "{serial}"}),
		"code of nothing":           explains(Explained{"XX-001", "x", long, long}),
	} {
		t.Run(name, func(t *testing.T) {
			l := listOf(thinkbook())
			edit(l)
			_, err := Read(encoded(t, l))
			require.Error(t, err)
		})
	}
	_, err = Read([]byte(strings.Replace(string(encoded(t, listOf(thinkbook()))), `"reason"`, `"Reason"`, 1)))
	require.ErrorContains(t, err, "Reason")
}

// The codes on the closed list are no others than these, whatever is added to the
// catalogue.
func TestWhatNoListMayExplain(t *testing.T) {
	for _, r := range Coverable() {
		_, ok := finding.Lookup(r.Code)
		require.True(t, ok, r.Code)
		require.NotEmpty(t, r.Reason, r.Code)
		for _, domain := range []string{"HW-", "FW-", "EV-", "TP-", "MF-", "FL-", "PO-", "IC-"} {
			require.False(t, strings.HasPrefix(string(r.Code), domain), r.Code)
		}
		require.True(t, r.Most < finding.Critical || r.Code == finding.LogDoesNotReplay, "%s: nothing critical but a register that stays unproved", r.Code)
	}
}

func found(c finding.Code, subject, want, got string) finding.Finding {
	f := finding.New(c, subject)
	f.Want, f.Got = want, got
	return f
}

func TestWhatAnEntryCovers(t *testing.T) {
	labels := thinkbook()
	labels.ID = "labels"
	labels.Explains = []Explained{{finding.SourcesContradict, "chassis", "SMBIOS serial {serial}", "FRU serial {serial}"}}
	e := thinkbook()
	machine := Machine{Manufacturer: "Lenovo", Model: "21tk", Firmware: "R6CN27WW"}
	mb := found(finding.LogDoesNotReplay, "pcr:0", "sha256:eae3f584", "sha256:13e77c94")
	for name, tt := range map[string]struct {
		machine Machine
		now     time.Time
		f       finding.Finding
		why     string // "" is covered, "-" is not looked at
	}{
		"this one":              {machine, at, mb, ""},
		"another value":         {machine, at, found(finding.LogDoesNotReplay, "pcr:0", "sha256:eae3f584", "sha256:00"), "other values"},
		"another register":      {machine, at, found(finding.LogDoesNotReplay, "pcr:7", "sha256:eae3f584", "sha256:13e77c94"), "-"},
		"newer firmware":        {Machine{"Lenovo", "21TK", "R6CN28WW"}, at, mb, "it is for firmware R6CN27WW to R6CN27WW"},
		"unknown firmware":      {Machine{"Lenovo", "21TK", ""}, at, mb, "it is for firmware"},
		"another model":         {Machine{"Lenovo", "21TX", "R6CN27WW"}, at, mb, "it is for LENOVO 21TK"},
		"another maker":         {Machine{"HP", "21TK", "R6CN27WW"}, at, mb, "it is for LENOVO"},
		"after its day":         {machine, at.AddDate(1, 0, 1), mb, "expired"},
		"before its day":        {machine, at.AddDate(0, 0, -1), mb, "dated after"},
		"labels of a unit":      {machine, at, found(finding.SourcesContradict, "chassis", "SMBIOS serial A-1", "FRU serial B-2"), ""},
		"more than a label":     {machine, at, found(finding.SourcesContradict, "chassis", "SMBIOS serial A-1", "FRU serial B-2 and more"), "other values"},
		"labels of a device":    {machine, at, found(finding.SourcesContradict, "pci:0000:01:00.0", "SMBIOS serial A-1", "FRU serial B-2"), "-"},
		"worse than the code's": {machine, at, worse(found(finding.SourcesContradict, "chassis", "SMBIOS serial A-1", "FRU serial B-2")), "-"},
		"an unexpected device":  {machine, at, found(finding.UnexpectedComponent, "pci:0000:09:00.0", "nothing", "x"), "-"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := []finding.Finding{tt.f}
			out := &Outcome{}
			x := &explanation{machine: tt.machine, now: tt.now, out: out}
			x.explain([]*List{listOf(e, labels)}, &fs[0])
			if tt.why != "" {
				require.Equal(t, tt.f, fs[0])
				require.Equal(t, tt.why == "-", len(out.NotChecked) == 0)
				for _, n := range out.NotChecked {
					require.Contains(t, n.Reason, strings.TrimPrefix(tt.why, "-"))
				}
				return
			}
			require.Equal(t, finding.KnownQuirk, fs[0].Code)
			require.Equal(t, finding.Info, fs[0].Severity)
			require.Contains(t, fs[0].CoveredBy, "quirk list test version 1, entry ")
			require.Contains(t, fs[0].Why, "fwupd/issues/11004")
			require.Equal(t, tt.f.Got, fs[0].Got)
			require.Empty(t, out.NotChecked)
			require.Equal(t, tt.f.Code == finding.LogDoesNotReplay, len(out.Findings) == 1)
		})
	}
}

func worse(f finding.Finding) finding.Finding {
	f.Severity = finding.Critical
	return f
}

func TestListThatNobodySigned(t *testing.T) {
	raw := encoded(t, listOf(thinkbook()))
	require.True(t, IsList(raw))
	fs := []finding.Finding{found(finding.LogDoesNotReplay, "pcr:0", "sha256:eae3f584", "sha256:13e77c94")}
	out := Lists{raw}.Explain(Machine{"Lenovo", "21TK", "R6CN27WW"}, &manifest.Trust{}, at, fs)
	require.Equal(t, finding.LogDoesNotReplay, fs[0].Code)
	require.Equal(t, finding.ManifestUnsigned, out.Findings[0].Code)
	require.Equal(t, finding.Medium, out.Findings[0].Severity)
	require.Contains(t, out.Findings[0].Why, "explains nothing")
}

// The list of public quirks in testdata is read; each entry has a source that
// anybody can look up.
func TestPublicQuirks(t *testing.T) {
	raw, err := os.ReadFile("testdata/public.json")
	require.NoError(t, err)
	l, err := Read(raw)
	require.NoError(t, err)
	require.NotEmpty(t, l.Entries)
	for _, e := range l.Entries {
		for _, c := range e.Citations {
			require.True(t, strings.HasPrefix(c, "https://"), "%s: %s", e.ID, c)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(encoded(f, listOf(thinkbook())))
	raw, err := os.ReadFile("testdata/public.json")
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"format":"assay.quirks/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		IsList(b)
		l, err := Read(b)
		if err != nil {
			return
		}
		for _, e := range l.Entries {
			for _, x := range e.Explains {
				g := found(x.Code, "pci:0000:09:00.0", x.Want, x.Got)
				before := g
				(&explanation{machine: Machine{e.Scope.Manufacturer, e.Scope.Models[0], e.Scope.Firmware.From}, now: e.Issued, out: &Outcome{}}).explain([]*List{l}, &g)
				rule, _ := ruleOf(x.Code)
				if !rule.allows(before.Subject) {
					require.Equal(t, before, g)
				}
			}
		}
	})
}
