package bom_test

import (
	"fmt"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
)

// What a machine is made of, and what a manifest with one line less would say of it.
func ExampleMatch() {
	b, err := evidence.Open("../testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	parts := bom.Read(b)
	for _, p := range parts.ByClass(bom.Memory) {
		fmt.Println(p.Subject, bom.Describe(p.Identity))
	}
	declared, closed := bom.Draft(parts, true)
	for i, r := range declared {
		if r.Class == bom.Memory {
			declared = append(declared[:i], declared[i+1:]...)
			break
		}
	}
	for _, f := range bom.Match(declared, closed, parts).Findings {
		fmt.Println(f.Code, f.Subject, f.Severity)
	}
	// Output:
	// dimm:P1-DIMMA1 Micron Technology 9ASF1G72PZ-2G9E1 serial 2F4A1101
	// dimm:P1-DIMMB1 Micron Technology 9ASF1G72PZ-2G9E1 serial 2F4A1102
	// dimm:P1-DIMMC1 Micron Technology 9ASF1G72PZ-2G9E1 serial 2F4A1103
	// dimm:P1-DIMMD1 Micron Technology 9ASF1G72PZ-2G9E1 serial 2F4A1104
	// HW-001 dimm:P1-DIMMA1 critical
}
