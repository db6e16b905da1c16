package collect

import (
	"bytes"
	"time"

	"github.com/assay-hw/assay/evidence"
)

const (
	eventLogPath = "sys/kernel/security/tpm0/binary_bios_measurements"
	imaPath      = "sys/kernel/security/ima/binary_runtime_measurements"
	lockdownPath = "sys/kernel/security/lockdown"
	tpmClass     = "sys/class/tpm/tpm0"
)

// eventLog reads the log of measured boot. The limit is above what a verifier
// takes, so that an overlong log is judged there and not lost here.
func eventLog(t *task) { t.twice(eventLogPath, 16<<20) }

// imaLog reads the list of measured files.
func imaLog(t *task) { t.twice(imaPath, 32<<20) }

// twice stores a log that was read twice with the same result. securityfs
// gives short reads, and a log can grow in between.
func (t *task) twice(name string, limit int64) {
	const attempts = 5
	t.at(name)
	var before []byte
	for i := range attempts {
		data, err := t.host.read(t.ctx, name, limit, 3*time.Second)
		if err != nil {
			t.fail(name, err)
			return
		}
		if i > 0 && bytes.Equal(before, data) {
			t.add(name, data)
			return
		}
		before = data
	}
	t.note(name, evidence.Failed, "two readings in a row were never the same")
}

// tpmSysfs reads what the kernel shows of the TPM, where it shows it. The TPM
// itself answers later, when everything else is there to be signed.
func tpmSysfs(t *task) {
	t.read(tpmClass+"/tpm_version_major", file{optional: true})
	for _, bank := range []string{"pcr-sha1", "pcr-sha256", "pcr-sha384", "pcr-sha512", "pcr-sm3-256"} {
		dir := tpmClass + "/" + bank
		if !t.host.has(dir) {
			continue
		}
		for _, n := range t.list(dir) {
			t.read(dir+"/"+n, file{patience: 3 * time.Second})
		}
	}
}
