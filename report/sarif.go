package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

const (
	home = "https://github.com/assay-hw/assay"

	// evidenceBase is what locations are relative to (SARIF 2.1.0, 3.14.14).
	evidenceBase = "EVIDENCE"

	attackName = "MITRE ATT&CK"

	// notProved is the rule of what a policy requires and the evidence does not show.
	notProved = "not-proved"
)

// SARIF writes the findings for tools that gather results of many checkers
// (SARIF 2.1.0). What the policy requires and was not proved is a result of kind
// "open" (3.27.9), so that an empty list never stands for an inconclusive verdict;
// what was not checked is a notification of the invocation (3.20.21).
func SARIF(w io.Writer, r *assay.Result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	log := sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{runOf(r)}}
	if err := enc.Encode(log); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

func runOf(r *assay.Result) sarifRun {
	rules := rulesOf(r)
	run := sarifRun{
		Tool:        sarifTool{Driver: sarifDriver{Name: "assay", InformationURI: home, Rules: rules}},
		Automation:  sarifAutomation{ID: automation(r)},
		Invocations: []sarifInvocation{invocationOf(r)},
		Bases: map[string]sarifArtifact{evidenceBase: {
			Description: &sarifText{"The evidence bundle with SHA-256 " + r.Evidence.SHA256},
		}},
		Results: []sarifResult{}, Taxonomies: taxonomies(r),
		Properties: sarifProperties{Verdict: string(r.Verdict), Assurance: r.Assurance.Level, Statement: Plain(r.Assurance.Statement), Policy: Plain(r.Policy.ID), Evidence: r.Evidence.SHA256},
	}
	if len(run.Taxonomies) > 0 {
		run.Tool.Driver.Supported = []sarifComponent{{Name: attackName, Index: 0}}
	}
	index := func(id string) int {
		return slices.IndexFunc(rules, func(x sarifRule) bool { return x.ID == id })
	}
	for _, f := range r.Findings {
		run.Results = append(run.Results, sarifOf(f, index(string(f.Code))))
	}
	for _, q := range r.Required {
		if q.Proved {
			continue
		}
		run.Results = append(run.Results, sarifResult{
			RuleID: notProved, RuleIndex: index(notProved), Level: "none", Kind: "open",
			Message:             sarifText{Plain(fmt.Sprintf("%s: required by the policy and not proved: %s.", q.What, q.Reason))},
			Locations:           []sarifLocation{{Physical: physical("evidence.json"), Logical: []sarifLogical{{FullyQualifiedName: "required:" + Plain(string(q.What))}}}},
			PartialFingerprints: map[string]string{"assayRequirement/v1": Plain(string(q.What))},
			Suppressions:        []sarifSuppression{},
		})
	}
	for _, u := range r.Inspections {
		run.Properties.Inspections = append(run.Properties.Inspections, Plain(InspectionLine(u)))
	}
	return run
}

// automation names the series of runs over one machine (3.17.3), for tools that
// compare a run with the last one.
func automation(r *assay.Result) string {
	var parts []string
	for _, s := range []string{r.Platform.Manufacturer, r.Platform.Model, r.Platform.Serial} {
		parts = append(parts, url.PathEscape(cmp.Or(Plain(s), "unknown")))
	}
	return "assay/" + strings.Join(parts, "/") + "/"
}

func invocationOf(r *assay.Result) sarifInvocation {
	out := sarifInvocation{
		ExecutionSuccessful: true, ExitCode: r.Verdict.ExitCode(), ExitCodeDescription: string(r.Verdict),
		EndTime: r.At.UTC().Format(time.RFC3339), Notifications: []sarifNotification{},
	}
	for _, n := range r.NotChecked {
		out.Notifications = append(out.Notifications, sarifNotification{
			Level: "note", Message: sarifText{Plain(fmt.Sprintf("not checked: %s: %s", n.What, n.Reason))}, Descriptor: sarifReference{ID: "not-checked"},
		})
	}
	return out
}

// rulesOf describes the codes of this result.
func rulesOf(r *assay.Result) []sarifRule {
	worst := map[finding.Code]finding.Severity{}
	for _, f := range r.Findings {
		worst[f.Code] = max(worst[f.Code], f.Severity)
	}
	out := []sarifRule{}
	for _, f := range r.Findings {
		if !slices.ContainsFunc(out, func(x sarifRule) bool { return x.ID == string(f.Code) }) {
			out = append(out, ruleOf(f.Code, worst[f.Code]))
		}
	}
	if slices.ContainsFunc(r.Required, func(q assay.Required) bool { return !q.Proved }) {
		text := sarifText{"The policy requires it, and the evidence does not prove it."}
		out = append(out, sarifRule{
			ID: notProved, Name: notProved, ShortDescription: text, FullDescription: text, HelpURI: home + "/blob/main/docs/trust.md",
			Help:          sarifHelp{Text: "Collect the evidence that is missing, or choose a policy that does not ask for it."},
			Configuration: sarifConfiguration{Level: "none"}, Properties: sarifRuleProperties{Tags: []string{"security", "claim:evidence"}},
		})
	}
	slices.SortFunc(out, func(x, y sarifRule) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// CodeURL is where a code is explained.
func CodeURL(c finding.Code) string {
	e, _ := finding.Lookup(c)
	return home + "/blob/main/docs/findings.md#" + strings.ToLower(string(c)) + "-" + e.Name // as GitHub makes it of the heading
}

func ruleOf(c finding.Code, worst finding.Severity) sarifRule {
	e, _ := finding.Explain(c)
	level, _ := sarifLevel(worst)
	rule := sarifRule{
		ID: string(c), Name: e.Name, ShortDescription: sarifText{e.Title}, FullDescription: sarifText{cmp.Or(e.Meaning, e.Title)}, HelpURI: CodeURL(c),
		Help: sarifHelp{
			Text:     e.Meaning + " What to do: " + e.Action + " What would disprove it: " + e.Disproof,
			Markdown: fmt.Sprintf("%s\n\n**What to do:** %s\n\n**What would disprove it:** %s\n\n[%s in the list of codes](%s)", e.Meaning, e.Action, e.Disproof, c, CodeURL(c)),
		},
		Configuration: sarifConfiguration{Level: level},
		Properties:    sarifRuleProperties{Tags: []string{"security", "claim:" + string(e.Claim)}, Severity: securitySeverity(worst)},
	}
	for _, id := range e.Attack {
		rule.Relationships = append(rule.Relationships, sarifRelationship{Target: techniqueOf(id), Kinds: []string{"relevant"}})
	}
	return rule
}

// securitySeverity is a number as GitHub code scanning sorts by: above 9 critical,
// from 7 high, from 4 medium, below that low.
func securitySeverity(s finding.Severity) string {
	switch s {
	case finding.Critical:
		return "9.5"
	case finding.High:
		return "8.0"
	case finding.Medium:
		return "5.0"
	case finding.Low:
		return "2.0"
	}
	return ""
}

// taxonomies lists the techniques of ATT&CK that findings belong to (3.14.8).
func taxonomies(r *assay.Result) []sarifTaxonomy {
	var ids []string
	for _, f := range r.Findings {
		ids = append(ids, f.Attack...)
		e, _ := finding.Lookup(f.Code)
		ids = append(ids, e.Attack...)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return nil
	}
	t := sarifTaxonomy{Name: attackName, Organization: "MITRE", InformationURI: "https://attack.mitre.org/"}
	for _, id := range ids {
		t.Taxa = append(t.Taxa, sarifTaxon{ID: id, HelpURI: "https://attack.mitre.org/techniques/" + strings.ReplaceAll(id, ".", "/") + "/"})
	}
	return []sarifTaxonomy{t}
}

func techniqueOf(id string) sarifReference {
	return sarifReference{ID: id, Component: &sarifComponent{Name: attackName, Index: 0}}
}

func sarifOf(f finding.Finding, rule int) sarifResult {
	level, kind := sarifLevel(f.Severity)
	out := sarifResult{
		RuleID: string(f.Code), RuleIndex: rule, Level: level, Kind: kind,
		Message:             sarifText{Plain(fmt.Sprintf("%s: %s. Want: %s. Got: %s. %s", f.Subject, f.Title, f.Want, f.Got, f.Why))},
		PartialFingerprints: map[string]string{"assay/v1": f.Fingerprint},
		Suppressions:        []sarifSuppression{},
		Properties: map[string]string{
			"severity": f.Severity.String(), "confidence": f.Confidence.String(), "claim": string(f.Claim), "coveredBy": Plain(f.CoveredBy), "place": Plain(Place(f)),
		},
	}
	if f.CoveredBy != "" {
		out.Suppressions = append(out.Suppressions, sarifSuppression{Kind: "external", Status: "accepted", Justification: "covered by " + Plain(f.CoveredBy)})
	}
	for _, id := range f.Attack {
		out.Taxa = append(out.Taxa, techniqueOf(id))
	}
	logical := []sarifLogical{{FullyQualifiedName: Plain(f.Subject)}}
	if len(f.Basis) == 0 {
		// Tools show no result without a file; the index is what says of the
		// machine what no artefact does.
		out.Locations = []sarifLocation{{Physical: physical("evidence.json"), Logical: logical}}
	}
	for _, b := range f.Basis {
		l := sarifLocation{Physical: physical(b.Artifact), Logical: logical}
		if b.Length > 0 {
			// Not the region of the location: GitHub takes only lines there.
			l.Annotations = []sarifRegion{{b.Offset, b.Length}}
		}
		out.Locations = append(out.Locations, l)
	}
	return out
}

// physical names an artefact of the bundle. Its name may be anything that a file
// name may be, so it is written as a relative reference (RFC 3986, 4.2).
func physical(artifact string) *sarifPhysical {
	return &sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: strings.TrimLeft(artifact, "/")}).String(), Base: evidenceBase}}
}

// sarifLevel gives level and kind (3.27.9, 3.27.10): only failures have a level.
func sarifLevel(s finding.Severity) (level, kind string) {
	switch s {
	case finding.Critical, finding.High:
		return "error", "fail"
	case finding.Medium:
		return "warning", "fail"
	case finding.Low:
		return "note", "fail"
	}
	return "none", "informational"
}
