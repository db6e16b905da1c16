package firmware_test

import (
	"fmt"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
)

// Every byte of an image is in one leaf; two images are compared leaf by leaf.
func ExampleRead() {
	b, err := evidence.Open("../testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range firmware.Read(b) {
		fmt.Println(m.Name, m.Size, "bytes,", len(m.Leaves), "leaves")
		fmt.Println(len(firmware.Diff(m, m)), "differences to itself")
	}
	// Output:
	// bios 4194304 bytes, 19 leaves
	// 0 differences to itself
}
