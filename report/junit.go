package report

import (
	"encoding/xml"
	"fmt"
	"io"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// The elements in the order that the schema of Jenkins asks for.
type (
	junitSuite struct {
		XMLName    xml.Name        `xml:"testsuite"`
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Skipped string        `xml:"skipped,omitempty"`
		Error   *junitMessage `xml:"error,omitempty"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the result for build servers, in the form that Jenkins reads. A test
// case fails when something contradicts the manifest, is in error when something
// that the policy requires was not proved, and is skipped, never passed, when it
// was not checked. The first case is the verdict: a suite without failures and
// errors is a pass, and no other verdict is one.
func JUnit(w io.Writer, r *assay.Result) error {
	s := junitSuite{
		Name: "assay " + Machine(r), Timestamp: r.At.UTC().Format("2006-01-02T15:04:05"),
		Properties: []junitProperty{
			{"verdict", string(r.Verdict)},
			{"assurance", r.Assurance.Level},
			{"policy", Plain(r.Policy.ID)},
			{"evidence", r.Evidence.SHA256},
		},
	}
	s.add(verdictCase(r))
	for _, q := range r.Required {
		c := junitCase{Class: "required", Name: Plain(string(q.What))}
		if !q.Proved {
			c.Error = &junitMessage{Message: "not proved", Type: "not-proved", Text: Plain(q.Reason)}
		}
		s.add(c)
	}
	for _, f := range r.Findings {
		c := junitCase{Class: string(f.Code), Name: Plain(f.Subject)}
		text := Plain(fmt.Sprintf("want %s, got %s. %s", f.Want, f.Got, f.Why))
		if f.Severity > finding.Low {
			c.Failure = &junitMessage{Message: Plain(f.Title), Type: f.Severity.String(), Text: text}
		} else {
			c.Out = Plain(f.Severity.String() + ": " + f.Title + ": " + text)
		}
		s.add(c)
	}
	for _, u := range r.Inspections {
		c := junitCase{Class: "inspection", Name: Plain(u.ID + " " + u.SHA256)}
		if u.Counts == "no" {
			c.Skipped = Plain(InspectionLine(u))
		}
		s.add(c)
	}
	for _, n := range r.NotChecked {
		s.add(junitCase{Class: "not checked", Name: Plain(n.What), Skipped: Plain("not checked: " + n.Reason)})
	}
	b, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, b); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != "":
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func verdictCase(r *assay.Result) junitCase {
	c := junitCase{Class: "verdict", Name: "verdict"}
	m := &junitMessage{Message: string(r.Verdict), Type: string(r.Verdict), Text: Plain(Sentence(r, nil))}
	switch r.Verdict {
	case assay.Pass:
		c.Out = m.Text
	case assay.Inconclusive:
		c.Error = m
	default:
		c.Failure = m
	}
	return c
}
