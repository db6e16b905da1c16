package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// hostile is the result with everything that evidence could put into a text.
func hostile() *assay.Result {
	const evil = "x\n::error::y\r\nCEF:0|a=b\x00\x1b[2J\u202e\u2028 %0A ]]> \xff\xfe \" ' & < > {} \\"
	r := result()
	r.Platform = assay.Platform{Manufacturer: evil, Model: evil, Serial: evil}
	r.Policy.ID, r.Assurance.Statement = evil, evil
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Subject, f.Want, f.Got, f.Why, f.Title, f.CoveredBy = evil, evil, evil, evil, evil, evil
		f.Location.Slot = evil
		f.Basis = []finding.Basis{{Artifact: "sys/" + evil, Length: 1}, {Artifact: "a:b/\u00e4 %"}}
	}
	for i := range r.NotChecked {
		r.NotChecked[i] = assay.NotChecked{What: evil, Reason: evil}
	}
	for i := range r.Required {
		r.Required[i].Reason = evil
	}
	return r
}

// everyResult is what the formats have to be well formed for.
func everyResult() map[string]*assay.Result {
	empty := result()
	empty.Findings, empty.NotChecked, empty.Required, empty.Inspections, empty.Verdict = nil, nil, nil, nil, assay.Pass
	open := result()
	open.Findings, open.Verdict = nil, assay.Inconclusive
	return map[string]*assay.Result{"failing": result(), "hostile": hostile(), "empty": empty, "inconclusive": open}
}

func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "sarif-schema-2.1.0.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.AssertFormat()
	require.NoError(t, c.AddResource("sarif.json", doc))
	s, err := c.Compile("sarif.json")
	require.NoError(t, err)
	return s
}

func TestSARIFFollowsItsSchema(t *testing.T) {
	schema := sarifSchema(t)
	all := everyResult()
	for i, r := range judged(t, "..", 120) {
		all[fmt.Sprint(i)] = r
	}
	for name, r := range all {
		var b bytes.Buffer
		require.NoError(t, report.SARIF(&b, r))
		v, err := jsonschema.UnmarshalJSON(&b)
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v), name)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"version":"2.1.0","runs":[{"tool":{"driver":{}}}]}`))
	require.NoError(t, err)
	require.Error(t, schema.Validate(v), "the schema refuses what it should")
}

type sarifRead struct {
	Runs []struct {
		Tool struct {
			Driver struct {
				Rules []struct {
					ID, HelpURI string
					Properties  struct {
						Severity string `json:"security-severity"`
					}
					Relationships []struct{ Target struct{ ID string } }
				}
			}
		}
		Invocations []struct {
			ExitCode                   int
			ExitCodeDescription        string
			ToolExecutionNotifications []any
		}
		Results []struct {
			RuleID, Kind, Level string
			RuleIndex           int
			Suppressions        []struct{ Kind, Status, Justification string }
			PartialFingerprints map[string]string
			Locations           []struct {
				PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
			}
			Taxa []struct{ ID string }
		}
		Taxonomies []struct{ Taxa []struct{ ID string } }
	}
}

// What code scanning reads: rules with help and a number to sort by, a place, a
// fingerprint, and which findings somebody has signed for.
func TestSARIFForCodeScanning(t *testing.T) {
	for name, r := range everyResult() {
		var b bytes.Buffer
		require.NoError(t, report.SARIF(&b, r))
		var log sarifRead
		require.NoError(t, json.Unmarshal(b.Bytes(), &log))
		run := log.Runs[0]
		require.Equal(t, r.Verdict.ExitCode(), run.Invocations[0].ExitCode)
		require.Equal(t, string(r.Verdict), run.Invocations[0].ExitCodeDescription)
		require.Len(t, run.Invocations[0].ToolExecutionNotifications, len(r.NotChecked))
		open := 0
		for _, x := range run.Results {
			rule := run.Tool.Driver.Rules[x.RuleIndex]
			require.Equal(t, x.RuleID, rule.ID)
			require.Contains(t, rule.HelpURI, "https://github.com/assay-hw/assay/blob/main/docs/")
			require.NotEmpty(t, x.PartialFingerprints)
			require.NotEmpty(t, x.Locations)
			require.NotNil(t, x.Suppressions, "all results have the property, or none (3.27.23)")
			if x.Kind != "fail" {
				require.Equal(t, "none", x.Level)
			} else {
				require.NotEmpty(t, rule.Properties.Severity)
			}
			if x.Kind == "open" {
				open++
			}
			for _, n := range x.Taxa {
				require.Contains(t, run.Taxonomies[0].Taxa, n)
			}
		}
		if r.Verdict == assay.Inconclusive {
			require.Positive(t, open, "an empty list would read as a pass")
		}
		if name == "failing" {
			covered := run.Results[2]
			require.Equal(t, "CH-010", covered.RuleID)
			require.Equal(t, "covered by manifest x version 1", covered.Suppressions[0].Justification)
			require.Equal(t, "9.5", run.Tool.Driver.Rules[1].Properties.Severity, "HW-001 is critical")
		}
	}
}

func TestRulesPointAtHeadingsThatExist(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "findings.md"))
	require.NoError(t, err)
	for _, e := range finding.Catalogue() {
		require.Contains(t, string(doc), "\n## "+string(e.Code)+" "+e.Name+"\n")
	}
}

// Jenkins publishes a schema; xmllint knows it better than we do.
func TestJUnitFollowsItsSchema(t *testing.T) {
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("needs xmllint (Debian: libxml2-utils)")
	}
	for name, r := range everyResult() {
		var b bytes.Buffer
		require.NoError(t, report.JUnit(&b, r))
		file := filepath.Join(t.TempDir(), "result.xml")
		require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
		out, err := exec.Command("xmllint", "--noout", "--nonet", "--schema", filepath.Join("testdata", "jenkins-junit.xsd"), file).CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
	}
}

type junitRead struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Skipped  int `xml:"skipped,attr"`
	Cases    []struct {
		Class   string    `xml:"classname,attr"`
		Skipped *struct{} `xml:"skipped"`
		Error   *struct{} `xml:"error"`
		Failure *struct{} `xml:"failure"`
	} `xml:"testcase"`
}

// A build server is green for a pass and for nothing else, and what was not checked
// is not among what passed.
func TestJUnitCountsWhatItSays(t *testing.T) {
	results := everyResult()
	review := result()
	review.Findings, review.Required, review.Verdict = nil, nil, assay.Review
	results["review"] = review
	for name, r := range results {
		var b bytes.Buffer
		require.NoError(t, report.JUnit(&b, r))
		var s junitRead
		require.NoError(t, xml.Unmarshal(b.Bytes(), &s))
		var failures, inError, skipped int
		for _, c := range s.Cases {
			kinds := 0
			for _, k := range []struct {
				there bool
				count *int
			}{{c.Failure != nil, &failures}, {c.Error != nil, &inError}, {c.Skipped != nil, &skipped}} {
				if k.there {
					*k.count++
					kinds++
				}
			}
			require.LessOrEqual(t, kinds, 1)
			if c.Class == "not checked" {
				require.NotNil(t, c.Skipped)
			}
		}
		require.Equal(t, []int{len(s.Cases), failures, inError, skipped}, []int{s.Tests, s.Failures, s.Errors, s.Skipped}, name)
		require.Equal(t, r.Verdict == assay.Pass, failures+inError == 0, name)
		require.Equal(t, "verdict", s.Cases[0].Class)
		require.Equal(t, r.Verdict == assay.Inconclusive, s.Cases[0].Error != nil, name)
	}
	dec := xml.NewDecoder(strings.NewReader(string(mustJUnit(t, hostile()))))
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if c, ok := tok.(xml.CharData); ok {
			require.NotContains(t, string(c), "\x1b")
		}
	}
}

func mustJUnit(t *testing.T, r *assay.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, report.JUnit(&b, r))
	return b.Bytes()
}

// judged are verdicts of the efficacy bench: attacks and harmless changes, at every
// level of evidence.
func judged(t testing.TB, root string, every int) (out []*assay.Result) {
	t.Helper()
	b, err := efficacy.NewBench(root)
	require.NoError(t, err)
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	for i := 0; i < len(vectors); i += every {
		for _, l := range efficacy.Levels() {
			r, err := b.Result(vectors[i], l)
			if errors.Is(err, efficacy.ErrNotHere) {
				continue
			}
			require.NoError(t, err)
			out = append(out, r)
		}
	}
	require.NotEmpty(t, out)
	return out
}
