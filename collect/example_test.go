package collect_test

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/evidence"
)

// A tree that standard tools captured is scanned as a machine is; what is not there
// is listed, not left out.
func ExampleScan() {
	captured, err := evidence.Open("../testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := collect.Scan(context.Background(), collect.Captured(captured.FS()), collect.Options{
		Collector: evidence.Collector{Name: "example", Version: "1"}, Now: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := w.Bundle()
	if err != nil {
		fmt.Println(err)
		return
	}
	n := map[evidence.Status]int{}
	for _, a := range w.Artifacts() {
		n[a.Status]++
	}
	fmt.Println(n[evidence.Collected], "collected,", n[evidence.Absent], "absent; sealed:", b.Sealed())
	vendor, err := b.Read("sys/bus/pci/devices/0000:00:00.0/vendor")
	fmt.Printf("%q %v\n", vendor, err)
	// Output:
	// 381 collected, 2 absent; sealed: false
	// "0x8086\n" <nil>
}
