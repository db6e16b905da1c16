package finding_test

import (
	"fmt"

	"github.com/assay-hw/assay/finding"
)

// Codes are the stable part of a finding; the catalogue says what they mean.
func ExampleExplain() {
	e, ok := finding.Explain("HW-001")
	fmt.Println(ok, e.Name, e.Severity, e.Attack)
	fmt.Println(e.Meaning)
	// Output:
	// true unexpected-component critical [T1200 T1195.003]
	// The machine shows a part in a class that the manifest declares complete, and no declared line is left for it.
}

// Equal observations have equal fingerprints in every scan.
func ExampleSort() {
	f := finding.New(finding.UnexpectedComponent, "pci:0000:09:00.0")
	f.Got = "8086:10d3"
	fs := finding.Sort([]finding.Finding{f, f, finding.New(finding.KnownQuirk, "dimm:A2")})
	for _, f := range fs {
		fmt.Println(f.Severity, f.Code, f.Subject, f.Fingerprint)
	}
	// Output:
	// critical HW-001 pci:0000:09:00.0 be5a24d338fe06c5ec9ff850614f7e15
	// info CH-010 dimm:A2 1fcf9d407c219b540d3b1af2e0d007c3
}
