package evidence_test

import (
	"fmt"

	"github.com/assay-hw/assay/evidence"
)

// A bundle is opened within limits; what it holds is not parsed here.
func ExampleOpen() {
	b, err := evidence.Open("../testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(b.Artifacts()), "artefacts, sealed:", b.Sealed(), fmt.Sprintf("%x", b.Digest())[:16])
	vendor, err := b.Read("sys/bus/pci/devices/0000:00:00.0/vendor")
	fmt.Printf("%q %v\n", vendor, err)
	// Output:
	// 608 artefacts, sealed: false 56d38193bd2e46e9
	// "0x8086\n" <nil>
}
