package collect

import (
	"io/fs"
	"strings"
)

// captured copies what other tools put into a captured tree: a TPM's answers,
// FRU images, listings, Redfish documents and flash images. On a running
// machine Assay gets these itself.
func captured(t *task) {
	if t.host.live {
		return
	}
	for _, dir := range []string{"tpm", "ipmi", "i2c", "redfish", "spdm", "firmware"} {
		if !t.host.has(dir) {
			continue
		}
		t.at(dir)
		err := fs.WalkDir(t.host.files, dir, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				t.fail(p, err)
			case t.ctx.Err() != nil:
				return errTimeout
			case d.Type().IsRegular() && strings.Count(p, "/") < 40:
				t.read(p, file{limit: 64 << 20})
			}
			return nil
		})
		if err != nil {
			t.fail(dir, err)
		}
	}
}
