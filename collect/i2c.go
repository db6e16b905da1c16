package collect

import (
	"regexp"
	"time"

	"github.com/assay-hw/assay/evidence"
)

const i2cDir = "sys/bus/i2c/devices"

var i2cClient = regexp.MustCompile(`^\d+-[0-9a-f]{4}$`)

// i2c reads the clients that kernel drivers bound and the EEPROMs behind them.
// No address is probed: a probe can lock a bus or change a part.
func i2c(t *task) {
	names, clients := t.list(i2cDir), 0
	for _, n := range names {
		dir := i2cDir + "/" + n
		if !i2cClient.MatchString(n) || t.over(dir) {
			continue
		}
		clients++
		t.attributes(dir, []string{"name"}, nil)
		t.read(dir+"/eeprom", file{limit: 64 << 10, optional: true, patience: 5 * time.Second})
	}
	if clients == 0 && len(names) > 0 {
		t.note(i2cDir, evidence.Absent, "no driver bound a client")
	}
}
