package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// The parts of SARIF 2.1.0 (OASIS) that a result needs.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
	Properties  *sarifProperties  `json:"properties,omitempty"`
}

// sarifProperties is a property bag (SARIF 2.1.0, 3.8).
type sarifProperties struct {
	Inspections []string `json:"inspections"`
}

type sarifInvocation struct {
	ExecutionSuccessful bool `json:"executionSuccessful"`
	ExitCode            int  `json:"exitCode"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	ShortDescription sarifText `json:"shortDescription"`
	FullDescription  sarifText `json:"fullDescription"`
	Help             sarifText `json:"help"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID              string            `json:"ruleId"`
	Level               string            `json:"level"`
	Kind                string            `json:"kind"`
	Message             sarifText         `json:"message"`
	Locations           []sarifLocation   `json:"locations,omitempty"`
	PartialFingerprints map[string]string `json:"partialFingerprints"`
	Properties          map[string]string `json:"properties"`
}

type sarifLocation struct {
	Physical *sarifPhysical `json:"physicalLocation,omitempty"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	Artifact struct {
		URI string `json:"uri"`
	} `json:"artifactLocation"`
	Region *sarifRegion `json:"region,omitempty"`
}

type sarifRegion struct {
	ByteOffset int64 `json:"byteOffset"`
	ByteLength int64 `json:"byteLength"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
}

// SARIF writes the findings for tools that gather results of many checkers.
func SARIF(w io.Writer, r *assay.Result) error {
	run := sarifRun{
		Tool:        sarifTool{Driver: sarifDriver{Name: "assay", InformationURI: "https://github.com/assay-hw/assay"}},
		Invocations: []sarifInvocation{{ExecutionSuccessful: true, ExitCode: r.Verdict.ExitCode()}},
		Results:     []sarifResult{},
	}
	var codes []finding.Code
	for _, f := range r.Findings {
		codes = append(codes, f.Code)
		run.Results = append(run.Results, sarifOf(f))
	}
	slices.Sort(codes)
	for _, c := range slices.Compact(codes) {
		e, _ := finding.Explain(c)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: string(c), Name: e.Name, ShortDescription: sarifText{e.Title}, FullDescription: sarifText{e.Meaning}, Help: sarifText{e.Action},
		})
	}
	for _, u := range r.Inspections {
		if run.Properties == nil {
			run.Properties = &sarifProperties{}
		}
		run.Properties.Inspections = append(run.Properties.Inspections, Plain(InspectionLine(u)))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	log := sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
	if err := enc.Encode(log); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func sarifOf(f finding.Finding) sarifResult {
	out := sarifResult{
		RuleID: string(f.Code), Level: sarifLevel(f.Severity), Kind: "fail",
		Message:             sarifText{Plain(fmt.Sprintf("%s: %s. Want: %s. Got: %s. %s", f.Subject, f.Title, f.Want, f.Got, f.Why))},
		PartialFingerprints: map[string]string{"assay/v1": f.Fingerprint},
		Properties:          map[string]string{"severity": f.Severity.String(), "confidence": f.Confidence.String(), "coveredBy": f.CoveredBy},
	}
	if f.Severity == finding.Info {
		out.Kind, out.Level = "informational", "none"
	}
	logical := []sarifLogical{{FullyQualifiedName: f.Subject}}
	if len(f.Basis) == 0 {
		out.Locations = []sarifLocation{{Logical: logical}}
	}
	for _, b := range f.Basis {
		p := &sarifPhysical{}
		p.Artifact.URI = b.Artifact
		if b.Length > 0 {
			p.Region = &sarifRegion{b.Offset, b.Length}
		}
		out.Locations = append(out.Locations, sarifLocation{Physical: p, Logical: logical})
	}
	return out
}

func sarifLevel(s finding.Severity) string {
	switch s {
	case finding.Critical, finding.High:
		return "error"
	case finding.Medium:
		return "warning"
	}
	return "note"
}
