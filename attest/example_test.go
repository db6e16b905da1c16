package attest_test

import (
	"fmt"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
)

// An event log is the firmware's word; what it adds up to is computed.
func ExampleParseLog() {
	b, err := evidence.Open("../testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	raw, err := b.Read("sys/kernel/security/tpm0/binary_bios_measurements")
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := attest.ParseLog(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(log.Events()), "events in", log.Banks())
	for _, e := range log.Events()[:3] {
		fmt.Println(e.PCR, e.Type, e.Data)
	}
	// Output:
	// 38 events in [sha1 sha256 sha384]
	// 0 EV_S_CRTM_VERSION covered
	// 0 EV_EFI_PLATFORM_FIRMWARE_BLOB not covered
	// 0 EV_EFI_PLATFORM_FIRMWARE_BLOB not covered
}
