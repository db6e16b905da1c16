package report_test

import (
	"fmt"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/report"
)

// Text from a machine is made safe before anybody's terminal sees it.
func ExamplePlain() {
	fmt.Println(report.Plain("DIMM \x1b[2J\u202eA1"))
	// Output:
	// DIMM \x1b[2J\u202eA1
}

// What a verdict rests on, in one sentence for people.
func ExampleSentence() {
	r := &assay.Result{Verdict: assay.Inconclusive, Required: []assay.Required{{What: assay.RequireManifest, Proved: true}, {What: assay.RequireQuote}}}
	fmt.Println(report.Sentence(r, nil))
	// Output:
	// Nothing contradicts the manifest, but the policy requires what was not proved: quote.
}
