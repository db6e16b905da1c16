package report

import (
	"encoding/xml"
	"fmt"
	"io"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes the result for build servers: what the policy requires and each
// class are test cases, findings that count are failures, and what was not
// checked is skipped, never passed.
func JUnit(w io.Writer, r *assay.Result) error {
	s := junitSuite{Name: "assay " + Machine(r), Time: r.At.Format("2006-01-02T15:04:05")}
	add := func(c junitCase) {
		s.Tests++
		if c.Failure != nil {
			s.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
		s.Cases = append(s.Cases, c)
	}
	for _, q := range r.Required {
		c := junitCase{Class: "required", Name: string(q.What)}
		if !q.Proved {
			c.Failure = &junitMessage{Message: "not proved", Text: Plain(q.Reason)}
		}
		add(c)
	}
	for _, f := range r.Findings {
		c := junitCase{Class: string(f.Code), Name: Plain(f.Subject)}
		if f.Severity > finding.Low {
			c.Failure = &junitMessage{Message: Plain(f.Title), Type: f.Severity.String(), Text: Plain(fmt.Sprintf("want %s, got %s. %s", f.Want, f.Got, f.Why))}
		}
		add(c)
	}
	for _, u := range r.Inspections {
		c := junitCase{Class: "inspection", Name: Plain(u.ID + " " + u.SHA256)}
		if u.Counts == "no" {
			c.Skipped = &junitMessage{Message: Plain(InspectionLine(u))}
		}
		add(c)
	}
	for _, n := range r.NotChecked {
		add(junitCase{Class: "not checked", Name: Plain(n.What), Skipped: &junitMessage{Message: Plain(n.Reason)}})
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
