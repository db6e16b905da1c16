package lines_test

import (
	"fmt"
	"os"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/report/lines"
)

func ExampleGitHub() {
	r := &assay.Result{Verdict: assay.Pass, Platform: assay.Platform{Manufacturer: "Example", Model: "X,1", Serial: "S:1"}, Assurance: assay.Assurance{Level: "L3", Statement: "the TPM signed the boot measurements."}, At: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
	if err := lines.GitHub(os.Stdout, r); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ::notice title=PASS Example X%2C1  serial S%3A1::Everything that the policy requires was proved, and nothing contradicts the manifest. Assurance L3: the TPM signed the boot measurements.
}
