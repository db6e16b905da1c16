package finding

import "fmt"

// Severity orders findings by what they mean for the machine.
type Severity uint8

// The severities, mildest first.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = []string{"info", "low", "medium", "high", "critical"}

// String returns the lower-case name used in results and policies.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the lower-case name.
func (s Severity) MarshalText() ([]byte, error) {
	if int(s) >= len(severityNames) {
		return nil, fmt.Errorf("severity %d out of range", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads the lower-case name; any other text is an error.
func (s *Severity) UnmarshalText(b []byte) error {
	for i, n := range severityNames {
		if n == string(b) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("severity %q: want info, low, medium, high or critical", b)
}

// Confidence says how strongly the evidence supports a finding.
type Confidence uint8

// The confidences. Proven rests on a signature or on bytes compared with a
// signed reference; strong on an independent source; weak on a hint.
const (
	Weak Confidence = iota
	Strong
	Proven
)

var confidenceNames = []string{"weak", "strong", "proven"}

// String returns the lower-case name.
func (c Confidence) String() string {
	if int(c) < len(confidenceNames) {
		return confidenceNames[c]
	}
	return fmt.Sprintf("confidence(%d)", uint8(c))
}

// MarshalText writes the lower-case name.
func (c Confidence) MarshalText() ([]byte, error) {
	if int(c) >= len(confidenceNames) {
		return nil, fmt.Errorf("confidence %d out of range", uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText reads the lower-case name; any other text is an error.
func (c *Confidence) UnmarshalText(b []byte) error {
	for i, n := range confidenceNames {
		if n == string(b) {
			*c = Confidence(i)
			return nil
		}
	}
	return fmt.Errorf("confidence %q: want weak, strong or proven", b)
}
