package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

var update = flag.Bool("update", false, "rewrite the golden reports")

// result is one of each thing that a report shows. Its texts are what evidence
// could hold: escapes, markup, a formula, a text that turns around.
func result() *assay.Result {
	hw := finding.New(finding.UnexpectedComponent, "pci:0000:09:00.0")
	hw.Location = finding.Location{Slot: "SLOT7 PCIe x8", Path: "pci0000:00/07.0/00.0"}
	hw.Want, hw.Got = "nothing", "Intel Corporation 8086:10d3 8086:0000 revision 00"
	hw.Why = "No line of the manifest covers it."
	hw.Sources = []finding.Source{finding.SiliconAnswered}
	hw.Basis = []finding.Basis{{Artifact: "sys/bus/pci/devices/0000:09:00.0/config", SHA256: "00", Length: 64}}
	evil := finding.New(finding.ComponentReplaced, "dimm:\x1b[2JA1")
	evil.Location.Designator = "<script>alert(1)</script>"
	evil.Want, evil.Got, evil.Why = "=cmd|' /C calc'!A0", "a|b `c` \u202egnirts\nnext line", "</td></tr> *bold* [link](http://x)"
	quirk := finding.New(finding.KnownQuirk, "dimm:A2")
	quirk.Got, quirk.CoveredBy = "checksum 0x00b6", "manifest x version 1"
	fs := finding.Sort([]finding.Finding{hw, evil, quirk})
	return &assay.Result{
		Format: assay.ResultFormat, Verdict: assay.Fail, At: time.Date(2026, 1, 15, 13, 0, 0, 0, time.UTC),
		Platform:  assay.Platform{Manufacturer: "Example Computer", Model: "X-1", Serial: "S-1"},
		Assurance: assay.Assurance{Level: "L3", Quoted: true, Collector: "unattested", Statement: "the TPM signed the boot measurements."},
		Manifests: []assay.ManifestUse{{ID: "example-x-1", Version: 3, SHA256: "ab", Signers: []string{"Example Computer (Signer)"}, Status: "trusted"}},
		Evidence:  assay.EvidenceUse{SHA256: "cd", CollectedAt: "2026-01-15T12:00:00Z"}, Policy: assay.PolicyUse{ID: "default", SHA256: "ef"},
		Required: []assay.Required{{What: assay.RequireManifest, Proved: true, Reason: "trusted"}, {What: assay.RequireQuote, Reason: "no quote"}},
		Findings: fs,
		Incidents: []assay.Incident{{
			Code: finding.IncidentSilentDMA, Severity: finding.Critical, Title: "Added silent device that can read memory",
			Narrative: "A device that is not in the manifest can read memory.", Findings: []string{fs[0].Fingerprint}, Disprove: "Open the slot and look.",
		}},
		Coverage:      []bom.Coverage{{Class: bom.PCI, Declared: 21, Matched: 21, Unexpected: 1}},
		Verifiability: bom.Verifiability{Lines: 21, Observed: 20, Unseen: 1},
		Boot:          []assay.BootCoverage{{PCR: 0, Bank: "sha256", Result: "explained", Referenced: true}, {PCR: 1, Bank: "sha256", Result: "unexplained", Cause: "x"}},
		NotChecked:    []assay.NotChecked{{What: "PCR 10", Reason: "no reference"}, {What: "board <b>U14</b>", Reason: "no bus can show it; the manifest marks it as physical-only"}},
		Inspections: []inspection.Use{
			{ID: "AOI-1 <b>", SHA256: "12", Technique: "aoi", Unit: "Example Computer/X-1/S-1", PerformedAt: time.Date(2026, 1, 14, 0, 0, 0, 0, time.UTC), Operator: "X-Ray House, Op 7", Result: "conforms", Coverage: "partial", Attachments: 2, Verified: 1, Signers: []string{"X-Ray House"}, Status: "trusted", Counts: "unit"},
			{SHA256: "34", Signers: []string{}, Status: "unreadable", Counts: "no", Reason: "\x1b[2Jit is about another machine"},
		},
		ToInspect: []bom.Unseen{
			{Class: bom.Electronic, Subject: "u14", Designator: "<b>U14</b>", Part: "Example EX1", Position: bom.Position{Side: "top", X: 12_300, Y: -4_000}},
			{Class: bom.Electronic, Subject: "label"},
		},
		Map: []assay.PlaceOnBoard{
			{Designator: "CPU1", Kind: "socket", Subject: "processor:CPU1", Holds: "Example EPYC"},
			{Designator: "A2", Kind: "dimm"},
			{Designator: "<script>alert(1)</script>", Kind: "dimm", Subject: "dimm:A1", Holds: "a & \u202eb", Severity: finding.High, Finding: fs[1].Fingerprint},
			{Designator: "SLOT7 PCIe x8", Kind: "slot", Subject: "pci:0000:09:00.0", Severity: finding.Critical, Finding: fs[0].Fingerprint},
			{Designator: "M.2", Kind: "other"},
		},
		Summary: map[string]int{"critical": 1, "high": 1, "medium": 0, "low": 0, "info": 1},
	}
}

var writers = map[string]func(io.Writer, *assay.Result) error{
	"result.txt": func(w io.Writer, r *assay.Result) error { return report.Text(w, r, report.Style{}) },
	"result.wide.txt": func(w io.Writer, r *assay.Result) error {
		return report.Text(w, r, report.Style{Width: 120, All: true})
	},
	"result.check.txt":  func(w io.Writer, r *assay.Result) error { return report.Check(w, r, report.Style{}) },
	"result.spoken.txt": func(w io.Writer, r *assay.Result) error { return report.Spoken(w, r, report.Style{All: true}) },
	"result.json":       report.JSON,
	"result.md":         func(w io.Writer, r *assay.Result) error { return report.Markdown(w, r, nil) },
	"result.html":       func(w io.Writer, r *assay.Result) error { return html.Write(w, r, nil) },
	"result.sarif":      report.SARIF,
	"result.xml":        report.JUnit,
}

func TestGoldenReports(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, write(&b, result()))
			path := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err, "make docs writes it")
			require.Equal(t, string(want), b.String())
		})
	}
}

func TestReportsAreWellFormed(t *testing.T) {
	var b bytes.Buffer
	for _, w := range []func(io.Writer, *assay.Result) error{report.JSON, report.SARIF} {
		b.Reset()
		require.NoError(t, w(&b, result()))
		require.True(t, json.Valid(b.Bytes()))
	}
	b.Reset()
	require.NoError(t, report.JUnit(&b, result()))
	dec := xml.NewDecoder(&b)
	for {
		_, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
}

// Evidence is written by whoever owns the machine: no report may let it move
// the cursor, run as markup or read as something else than text.
func TestHostileTextIsOnlyText(t *testing.T) {
	for name, write := range writers {
		if strings.HasSuffix(name, "json") || strings.HasSuffix(name, "sarif") {
			continue
		}
		var b bytes.Buffer
		require.NoError(t, write(&b, result()))
		require.NotContains(t, b.String(), "\x1b", name)
		require.NotContains(t, b.String(), "\u202e", name)
		if !strings.HasSuffix(name, ".txt") {
			require.NotContains(t, b.String(), "<script>alert", name)
			require.NotContains(t, b.String(), "</td></tr> ", name)
		}
	}
}

// Two metres from a screen of 80 columns nobody reads a line of text.
func TestTheVerdictIsLarge(t *testing.T) {
	for _, v := range []assay.Verdict{assay.Pass, assay.Fail, assay.Review, assay.Inconclusive} {
		for _, width := range []int{40, 80, 132} {
			r := result()
			r.Verdict = v
			var b bytes.Buffer
			require.NoError(t, report.Check(&b, r, report.Style{Width: width}))
			head, _, _ := strings.Cut(b.String(), "Example Computer")
			lines := strings.Split(strings.Trim(head, "\n"), "\n")
			for _, l := range lines {
				require.LessOrEqual(t, utf8.RuneCountInString(l), width, "%s at %d", v, width)
			}
			if len(v)*6 <= width {
				require.GreaterOrEqual(t, len(lines), 5, "%s at %d", v, width)
			} else {
				require.Contains(t, head, strings.ToUpper(string(v)))
			}
		}
	}
}

// A console without scrollback shows the end: 25 lines, of which the scanner
// needs some itself.
func TestTheEndOfACheckIsTheVerdict(t *testing.T) {
	r := result()
	r.Findings[0].Location.Slot = "SLOT7 " + strings.Repeat("PCIe x8 ", 30)
	for i := range 10 {
		f := r.Findings[0]
		f.Location.Slot += strings.Repeat("x", i)
		r.Findings = append(r.Findings, f)
	}
	for _, v := range []assay.Verdict{assay.Pass, assay.Fail, assay.Review, assay.Inconclusive} {
		r.Verdict = v
		var b bytes.Buffer
		require.NoError(t, report.Check(&b, r, report.Style{Width: 80}))
		lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		end := strings.Join(lines[max(0, len(lines)-20):], "\n")
		banner, _, _ := strings.Cut(b.String(), "Example Computer")
		require.Contains(t, end, strings.Trim(banner, "\n"), "%s: the banner", v)
		require.Contains(t, end, "serial S-1")
		require.Contains(t, end, "Look at SLOT7")
		require.Contains(t, end, "more places, named above")
	}
}

// The map is drawn from names that evidence gives, so it has to stay a drawing.
func TestTheMapIsAWellFormedDrawing(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, html.Write(&b, result(), nil))
	_, svg, ok := strings.Cut(b.String(), "<svg")
	require.True(t, ok)
	svg, _, ok = strings.Cut(svg, "</svg>")
	require.True(t, ok)
	places := 0
	for dec := xml.NewDecoder(strings.NewReader("<svg" + svg + "</svg>")); ; {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if e, ok := tok.(xml.StartElement); ok {
			require.Contains(t, []string{"svg", "g", "rect", "text", "title"}, e.Name.Local)
			if e.Name.Local == "rect" {
				places++
			}
		}
	}
	require.Equal(t, len(result().Map), places)
	require.Contains(t, svg, `<g class="critical"><title>SLOT7 PCIe x8`)
	r := result()
	r.Map = nil
	b.Reset()
	require.NoError(t, html.Write(&b, r, nil))
	require.NotContains(t, b.String(), "<svg")
}

func TestTheCodeNamesThisVeryResult(t *testing.T) {
	r := result()
	var b bytes.Buffer
	require.NoError(t, report.JSON(&b, r))
	d, err := report.Digest(r)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(b.Bytes())), d, "sha256sum of the JSON result gives the same")
	require.Equal(t, "ASSAY FAIL S-1 "+strings.ToUpper(d), report.CodeText(r, d))
	r.Platform.Serial = "s\u00fc_1\x1b"
	require.NotContains(t, report.CodeText(r, d), "\x1b")
	r.Verdict = assay.Pass
	other, err := report.Digest(r)
	require.NoError(t, err)
	require.NotEqual(t, d, other)
}

func TestNoTerminalLineIsWiderThanAsked(t *testing.T) {
	for _, width := range []int{40, 60, 80, 132} {
		var b bytes.Buffer
		require.NoError(t, report.Text(&b, result(), report.Style{Width: width}))
		for line := range strings.SplitSeq(b.String(), "\n") {
			if strings.HasPrefix(line, "  ") && !strings.Contains(line, "HW-") && !strings.Contains(line, "IC-") && !strings.HasPrefix(line, "  class") && !strings.HasPrefix(line, "  pci") {
				require.LessOrEqual(t, utf8.RuneCountInString(line), max(width, 60), line)
			}
		}
	}
}

func TestColourIsOnlyForTerminals(t *testing.T) {
	var plain, colour bytes.Buffer
	require.NoError(t, report.Text(&plain, result(), report.Style{}))
	require.NoError(t, report.Text(&colour, result(), report.Style{Color: true}))
	require.NotContains(t, plain.String(), "\x1b[")
	require.Contains(t, colour.String(), "\x1b[")
}

func FuzzPlain(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\x07\u202e\xff\xc0\n")
	f.Fuzz(func(t *testing.T, s string) {
		out := report.Plain(s)
		require.True(t, utf8.ValidString(out))
		for _, r := range out {
			require.False(t, r < 0x20 || r == 0x7f || r == 0x202e || r == 0x2028, "%q", out)
		}
	})
}
