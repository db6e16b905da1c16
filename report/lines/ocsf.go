package lines

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// ocsfVersion is the version of the schema that events are written for. Only what
// is there in every version from 1.2 to 1.8 is used.
const ocsfVersion = "1.3.0"

// The parts of the Open Cybersecurity Schema Framework that a result needs. Names
// and numbers are those of the schema.
type (
	ocsfEvent struct {
		ActivityID   int              `json:"activity_id"`
		ActivityName string           `json:"activity_name"`
		CategoryUID  int              `json:"category_uid"`
		CategoryName string           `json:"category_name"`
		ClassUID     int              `json:"class_uid"`
		ClassName    string           `json:"class_name"`
		TypeUID      int              `json:"type_uid"`
		TypeName     string           `json:"type_name"`
		Time         int64            `json:"time"`
		SeverityID   int              `json:"severity_id"`
		Severity     string           `json:"severity"`
		StatusID     int              `json:"status_id"`
		Status       string           `json:"status"`
		ConfidenceID int              `json:"confidence_id,omitempty"`
		Confidence   string           `json:"confidence,omitempty"`
		Message      string           `json:"message"`
		Metadata     ocsfMetadata     `json:"metadata"`
		Device       ocsfDevice       `json:"device"`
		Info         ocsfInfo         `json:"finding_info"`
		Compliance   *ocsfCompliance  `json:"compliance,omitempty"`
		Resources    []ocsfResource   `json:"resources,omitempty"`
		Evidences    []ocsfEvidence   `json:"evidences,omitempty"`
		Remediation  *ocsfDescription `json:"remediation,omitempty"`
		Unmapped     map[string]any   `json:"unmapped"`
	}
	ocsfMetadata struct {
		Version   string      `json:"version"`
		Product   ocsfProduct `json:"product"`
		EventCode string      `json:"event_code"`
		UID       string      `json:"uid"`
	}
	ocsfProduct struct {
		Name    string `json:"name"`
		Vendor  string `json:"vendor_name"`
		Version string `json:"version"`
	}
	ocsfDevice struct {
		TypeID   int           `json:"type_id"`
		Type     string        `json:"type"`
		Name     string        `json:"name"`
		UID      string        `json:"uid,omitempty"`
		Hardware *ocsfHardware `json:"hw_info,omitempty"`
	}
	ocsfHardware struct {
		Serial string `json:"serial_number"`
	}
	ocsfInfo struct {
		UID      string       `json:"uid"`
		Title    string       `json:"title"`
		Desc     string       `json:"desc"`
		Types    []string     `json:"types,omitempty"`
		Link     string       `json:"src_url,omitempty"`
		Analytic ocsfAnalytic `json:"analytic"`
		Attacks  []ocsfAttack `json:"attacks,omitempty"`
	}
	ocsfAnalytic struct {
		TypeID int    `json:"type_id"`
		Type   string `json:"type"`
		UID    string `json:"uid"`
		Name   string `json:"name"`
	}
	ocsfAttack struct {
		Technique ocsfEntity `json:"technique"`
	}
	ocsfEntity struct {
		UID string `json:"uid"`
	}
	ocsfCompliance struct {
		Standards    []string `json:"standards"`
		Control      string   `json:"control"`
		Requirements []string `json:"requirements"`
		StatusID     int      `json:"status_id"`
		Status       string   `json:"status"`
		StatusCode   string   `json:"status_code"`
	}
	ocsfResource struct {
		UID  string `json:"uid"`
		Name string `json:"name"`
		Type string `json:"type"`
	}
	ocsfEvidence struct {
		Data finding.Basis `json:"data"`
	}
	ocsfDescription struct {
		Desc string `json:"desc"`
	}
)

// OCSF writes events of the Open Cybersecurity Schema Framework, one JSON object a
// line: a Compliance Finding (class 2003) for the verdict, then a Detection Finding
// (class 2004) for each finding. build is the version of the program.
func OCSF(w io.Writer, r *assay.Result, build string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(verdictEvent(r, build)); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, f := range r.Findings {
		if err := enc.Encode(findingEvent(r, f, build)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return write(w, b.Bytes())
}

const (
	complianceFinding = 2003
	detectionFinding  = 2004
)

// event fills what both classes share. same names what has to be alike for an event
// to be about the same thing again on the same machine.
func event(r *assay.Result, class int, name, build, code, same string) ocsfEvent {
	p := r.Platform
	e := ocsfEvent{
		ActivityID: 1, ActivityName: "Create", CategoryUID: 2, CategoryName: "Findings",
		ClassUID: class, ClassName: name, TypeUID: class*100 + 1, TypeName: name + ": Create",
		Time: r.At.UnixMilli(), StatusID: 1, Status: "New",
		Metadata: ocsfMetadata{
			Version: ocsfVersion, Product: ocsfProduct{"Assay", "Assay", cmp.Or(build, "unknown")},
			EventCode: code, UID: digest(p.Manufacturer, p.Model, p.Serial, same, r.Evidence.SHA256, r.At.UTC().String()),
		},
		Device: ocsfDevice{TypeID: 1, Type: "Server", Name: report.Machine(r), UID: report.Plain(p.Serial)},
		Info: ocsfInfo{
			UID: digest(p.Manufacturer, p.Model, p.Serial, same), Analytic: ocsfAnalytic{TypeID: 1, Type: "Rule", UID: code},
		},
	}
	if p.Serial != "" {
		e.Device.Hardware = &ocsfHardware{report.Plain(p.Serial)}
	}
	return e
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func verdictEvent(r *assay.Result, build string) ocsfEvent {
	e := event(r, complianceFinding, "Compliance Finding", build, "verdict", "verdict")
	e.SeverityID, e.Severity = verdictSeverity(r)
	e.Message = report.Sentence(r, nil)
	e.Info.Title = "Verdict " + string(r.Verdict) + ": " + report.Machine(r)
	e.Info.Desc = "Assurance " + r.Assurance.Level + ": " + report.Plain(r.Assurance.Statement)
	e.Info.Analytic.Name = "verdict"
	c := &ocsfCompliance{
		Standards: []string{"Assay policy " + report.Plain(r.Policy.ID)}, Control: "golden manifest", Requirements: []string{}, StatusCode: string(r.Verdict),
	}
	for _, m := range r.Manifests {
		c.Control += fmt.Sprintf(" %s version %d (%s)", report.Plain(m.ID), m.Version, report.Plain(m.Status))
	}
	for _, q := range r.Required {
		state := "proved"
		if !q.Proved {
			state = "not proved"
		}
		c.Requirements = append(c.Requirements, report.Plain(string(q.What)+": "+state+": "+q.Reason))
	}
	switch r.Verdict {
	case assay.Pass:
		c.StatusID, c.Status = 1, "Pass"
	case assay.Review:
		c.StatusID, c.Status = 2, "Warning"
	case assay.Fail:
		c.StatusID, c.Status = 3, "Fail"
	default:
		c.StatusID, c.Status = 99, "Inconclusive"
	}
	e.Compliance = c
	e.Unmapped = map[string]any{
		"verdict": string(r.Verdict), "exit_code": r.Verdict.ExitCode(), "evidence_sha256": r.Evidence.SHA256,
		"assurance": r.Assurance.Level, "summary": r.Summary, "not_checked": len(r.NotChecked),
	}
	return e
}

func findingEvent(r *assay.Result, f finding.Finding, build string) ocsfEvent {
	e := event(r, detectionFinding, "Detection Finding", build, string(f.Code), f.Fingerprint)
	e.SeverityID, e.Severity = ocsfSeverity(f.Severity)
	e.ConfidenceID, e.Confidence = ocsfConfidence(f.Confidence)
	if f.CoveredBy != "" {
		e.StatusID, e.Status = 3, "Suppressed"
	}
	e.Message = report.Plain(f.Subject + ": " + f.Title)
	e.Info.Title = report.Plain(f.Title)
	e.Info.Desc = report.Plain(f.Why)
	e.Info.Types = []string{string(f.Claim)}
	e.Info.Link = report.CodeURL(f.Code)
	e.Info.Analytic.Name = f.Name
	for _, id := range f.Attack {
		e.Info.Attacks = append(e.Info.Attacks, ocsfAttack{ocsfEntity{id}})
	}
	kind, _, _ := strings.Cut(f.Subject, ":")
	e.Resources = []ocsfResource{{UID: report.Plain(f.Subject), Name: report.Plain(cmp.Or(report.Place(f), f.Subject)), Type: report.Plain(kind)}}
	for _, x := range f.Basis {
		x.Artifact = report.Plain(x.Artifact)
		e.Evidences = append(e.Evidences, ocsfEvidence{x})
	}
	if f.Action != "" {
		e.Remediation = &ocsfDescription{report.Plain(f.Action)}
	}
	e.Unmapped = map[string]any{
		"want": report.Plain(f.Want), "got": report.Plain(f.Got), "fingerprint": f.Fingerprint, "verdict": string(r.Verdict),
		"evidence_sha256": r.Evidence.SHA256, "covered_by": report.Plain(f.CoveredBy),
	}
	return e
}

func ocsfSeverity(s finding.Severity) (int, string) {
	i := min(s, finding.Critical)
	return int(i) + 1, [...]string{"Informational", "Low", "Medium", "High", "Critical"}[i]
}

func ocsfConfidence(c finding.Confidence) (int, string) {
	i := min(c, finding.Proven)
	return int(i) + 1, [...]string{"Low", "Medium", "High"}[i]
}

// verdictSeverity is that of the worst finding, and at least what the verdict is
// worth: nothing that was found is no reason to look away from what was not proved.
func verdictSeverity(r *assay.Result) (int, string) {
	least := map[assay.Verdict]finding.Severity{assay.Fail: finding.High, assay.Inconclusive: finding.Medium, assay.Review: finding.Medium}[r.Verdict]
	for _, f := range r.Findings {
		least = max(least, f.Severity)
	}
	return ocsfSeverity(least)
}
