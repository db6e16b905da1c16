package lines_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report/lines"
)

var update = flag.Bool("update", false, "rewrite the golden reports")

// evil is what a SMBIOS string could hold to begin a record of its own in each of
// the formats.
const evil = "x\n::error::y\r\n::stop-commands::z\rCEF:0|a|b|c|d|e|10|act=x\nassay_verdict{verdict=\"pass\"} 1\n{\"class_uid\":2004}\n\x00\x1b[2J\u202e\u2028\u0085%0A%3A | = \\ \" , : \xff\xfe\\"

func result(s string) *assay.Result {
	hw := finding.New(finding.UnexpectedComponent, "pci:0000:09:00.0"+s)
	hw.Location = finding.Location{Slot: "SLOT7 PCIe x8" + s}
	hw.Title += s
	hw.Want, hw.Got, hw.Why = "nothing"+s, "Intel Corporation 8086:10d3"+s, "No line of the manifest covers it."+s
	hw.Basis = []finding.Basis{{Artifact: "sys/bus/pci/devices/0000:09:00.0/config" + s, SHA256: "00", Length: 64}}
	boot := finding.New(finding.UnknownBootComponent, "boot:shim"+s)
	boot.Confidence = finding.Weak
	quirk := finding.New(finding.KnownQuirk, "dimm:A2"+s)
	quirk.Got, quirk.CoveredBy = "checksum 0x00b6"+s, "manifest x version 1"+s
	fs := finding.Sort([]finding.Finding{hw, boot, quirk})
	return &assay.Result{
		Format: assay.ResultFormat, Verdict: assay.Fail, At: time.Date(2026, 1, 15, 13, 0, 0, 0, time.UTC),
		Platform:  assay.Platform{Manufacturer: "Example Computer" + s, Model: "X-1" + s, Serial: "S-1" + s},
		Assurance: assay.Assurance{Level: "L3", Quoted: true, Collector: "unattested", Statement: "the TPM signed the boot measurements." + s},
		Manifests: []assay.ManifestUse{{ID: "example-x-1" + s, Version: 3, SHA256: "ab", Status: "trusted"}, {ID: "example-x-1" + s, Version: 3, SHA256: "ab", Status: "trusted"}},
		Evidence:  assay.EvidenceUse{SHA256: strings.Repeat("cd", 32), CollectedAt: "2026-01-15T12:00:00Z"}, Policy: assay.PolicyUse{ID: "default" + s, SHA256: "ef"},
		Required:   []assay.Required{{What: assay.RequireManifest, Proved: true, Reason: "trusted"}, {What: assay.RequireQuote, Reason: "no quote" + s}},
		Findings:   fs,
		Incidents:  []assay.Incident{{Code: finding.IncidentSilentDMA, Severity: finding.Critical, Title: "x" + s}},
		Coverage:   []bom.Coverage{{Class: bom.PCI, Declared: 21, Matched: 20, Unexpected: 1, NotObservable: 1}},
		NotChecked: []assay.NotChecked{{What: "PCR 10" + s, Reason: "no reference" + s}},
		Summary:    map[string]int{"critical": 1, "high": 0, "medium": 1, "low": 0, "info": 1},
	}
}

var writers = map[string]func(io.Writer, *assay.Result) error{
	"result.cef":        func(w io.Writer, r *assay.Result) error { return lines.CEF(w, r, "v1.2.3") },
	"result.ocsf.jsonl": func(w io.Writer, r *assay.Result) error { return lines.OCSF(w, r, "v1.2.3") },
	"result.prom":       lines.Prometheus,
	"result.github":     lines.GitHub,
}

func text(t testing.TB, name string, r *assay.Result) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, writers[name](&b, r))
	return b.String()
}

func TestGoldenReports(t *testing.T) {
	for name := range writers {
		path := filepath.Join("testdata", name)
		got := text(t, name, result(""))
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err, "make docs writes it")
		require.Equal(t, string(want), got, name)
	}
}

// records splits what is written as its reader would and returns how many records
// there are and what they are called.
var records = map[string]func(t testing.TB, s string) []string{
	"result.cef": func(t testing.TB, s string) (ids []string) {
		for _, l := range split(t, s) {
			head, extension := cef(t, l)
			require.Equal(t, "CEF:0", head[0])
			require.Regexp(t, `^[0-9]+$`, head[6])
			ids = append(ids, head[4])
			require.NotContains(t, extension, "act")
		}
		return ids
	},
	"result.ocsf.jsonl": func(t testing.TB, s string) (ids []string) {
		for _, l := range split(t, s) {
			var e struct {
				Metadata struct {
					EventCode string `json:"event_code"`
				}
			}
			require.NoError(t, json.Unmarshal([]byte(l), &e))
			ids = append(ids, e.Metadata.EventCode)
		}
		return ids
	},
	"result.github": func(t testing.TB, s string) (ids []string) {
		for _, l := range split(t, s) {
			m := regexp.MustCompile(`^::(error|warning|notice) title=([^:,\r\n]*)::(.*)$`).FindStringSubmatch(l)
			require.NotNil(t, m, l)
			ids = append(ids, m[1])
		}
		return ids
	},
	"result.prom": func(t testing.TB, s string) (ids []string) {
		for _, f := range families(t, s) {
			for _, m := range f.Metric {
				id := f.GetName()
				for _, l := range m.Label {
					if l.GetName() != "manufacturer" && l.GetName() != "model" && l.GetName() != "serial" && l.GetName() != "manifest" {
						id += " " + l.GetName() + "=" + l.GetValue()
					}
				}
				ids = append(ids, fmt.Sprintf("%s %g", id, m.GetGauge().GetValue()))
			}
		}
		return ids
	},
}

func split(t testing.TB, s string) []string {
	t.Helper()
	require.True(t, strings.HasSuffix(s, "\n"))
	return strings.FieldsFunc(strings.TrimSuffix(s, "\n"), func(r rune) bool { return strings.ContainsRune("\r\n\v\f\u0085\u2028\u2029", r) })
}

func families(t testing.TB, s string) []*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	got, err := p.TextToMetricFamilies(strings.NewReader(s))
	require.NoError(t, err, s)
	var out []*dto.MetricFamily
	for _, f := range got {
		out = append(out, f)
	}
	return out
}

// cef reads a record as the format says: seven bars that no backslash escapes, then
// pairs whose keys stand before an equals sign that none escapes.
func cef(t testing.TB, l string) ([]string, map[string]string) {
	t.Helper()
	var head []string
	field := ""
	i := 0
	for ; i < len(l) && len(head) < 7; i++ {
		switch {
		case l[i] == '\\':
			require.Less(t, i+1, len(l))
			require.Contains(t, `\|`, string(l[i+1]))
			i++
			field += string(l[i])
		case l[i] == '|':
			head = append(head, field)
			field = ""
		default:
			field += string(l[i])
		}
	}
	require.Len(t, head, 7, l)
	pairs := map[string]string{}
	key := regexp.MustCompile(`(?:^| )([A-Za-z0-9]+)=`)
	rest := l[i:]
	for at := key.FindStringSubmatchIndex(rest); at != nil; {
		name := rest[at[2]:at[3]]
		rest = rest[at[1]:]
		value := rest
		if at = key.FindStringSubmatchIndex(rest); at != nil {
			value = rest[:at[0]]
		}
		for j := 0; j < len(value); j++ {
			if value[j] == '\\' {
				require.Less(t, j+1, len(value), l)
				require.Contains(t, `\=rn`, string(value[j+1]))
				j++
				continue
			}
			require.NotEqual(t, byte('='), value[j], l)
		}
		require.NotContains(t, pairs, name)
		pairs[name] = strings.NewReplacer(`\\`, `\`, `\=`, "=").Replace(value)
	}
	return head, pairs
}

// What a machine says of itself begins no record, no field and no metric.
func TestNoTextOfAMachineIsARecord(t *testing.T) {
	for name, read := range records {
		plain, hostile := read(t, text(t, name, result(""))), read(t, text(t, name, result(evil)))
		require.ElementsMatch(t, plain, hostile, name)
		s := text(t, name, result(evil))
		require.True(t, utf8.ValidString(s), name)
		for _, bad := range []string{"\x00", "\x1b", "\r", "\u202e", "\u2028", "\u0085"} {
			require.NotContains(t, s, bad, name)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add(evil)
	f.Add("\\")
	f.Add("a=b|c\\\\|")
	f.Add(" act=1")
	f.Fuzz(func(t *testing.T, s string) {
		for name, read := range records {
			require.ElementsMatch(t, read(t, text(t, name, result(""))), read(t, text(t, name, result(s))), name)
		}
	})
}

func TestCEFFields(t *testing.T) {
	all := strings.Split(strings.TrimSpace(text(t, "result.cef", result(""))), "\n")
	require.Len(t, all, 4, "the verdict and three findings")
	head, fields := cef(t, all[0])
	require.Equal(t, []string{"CEF:0", "Assay", "assay", "v1.2.3", "verdict", "Verdict fail", "9"}, head)
	require.Equal(t, "fail", fields["outcome"])
	require.Equal(t, "1", fields["cn1"])
	require.Equal(t, "1768482000000", fields["rt"])
	head, fields = cef(t, all[1])
	require.Equal(t, "HW-001", head[4])
	require.Equal(t, "10", head[6])
	require.Equal(t, "SLOT7 PCIe x8", fields["cs4"])
	require.Equal(t, "place", fields["cs4Label"])
	require.Len(t, fields["externalId"], 32)
	long := result("")
	long.Findings[0].Why = strings.Repeat("=", 5000)
	_, fields = cef(t, strings.Split(text(t, "result.cef", long), "\n")[1])
	require.Len(t, fields["msg"], 1023)
}

func TestMetricsAreOnesThatPrometheusLikes(t *testing.T) {
	for _, s := range []string{"", evil} {
		problems, err := promlint.New(strings.NewReader(text(t, "result.prom", result(s)))).Lint()
		require.NoError(t, err)
		require.Empty(t, problems)
	}
	empty := &assay.Result{Verdict: assay.Inconclusive}
	require.Contains(t, text(t, "result.prom", empty), `assay_verdict{manufacturer="",model="",serial="",verdict="inconclusive"} 1`)
	require.NotEmpty(t, families(t, text(t, "result.prom", empty)))
}

// No verdict but pass has only notices, and an inconclusive one is no quieter than
// one that fails.
func TestTheVerdictIsAnAnnotation(t *testing.T) {
	for v, want := range map[assay.Verdict]string{assay.Pass: "::notice", assay.Review: "::warning", assay.Inconclusive: "::error", assay.Fail: "::error"} {
		r := result("")
		r.Verdict, r.Findings = v, nil
		got := text(t, "result.github", r)
		require.True(t, strings.HasPrefix(got, want+" title="+strings.ToUpper(string(v))), got)
		require.Equal(t, 1, strings.Count(got, "\n"))
	}
}
