package collect

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
)

// moving are artefacts that change while a machine runs; a second reading of
// them says nothing.
func moving(name string) bool {
	return strings.HasPrefix(name, "redfish/") || slices.ContainsFunc([]string{"proc/*", "sys/devices/system/cpu/*/*/*", "sys/firmware/efi/efivars/MTC-*"}, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok
	})
}

// secondPass keeps what the second reading gave differently, under pass2/. The
// verifier compares the two (EV-007); nothing is judged here.
func secondPass(first, second []entry) []entry {
	before := map[string]entry{}
	for _, e := range first {
		before[e.path] = e
	}
	var out []entry
	keep := func(e entry) { e.path = evidence.SecondPass + e.path; out = append(out, e) }
	for _, e := range second {
		b, had := before[e.path]
		delete(before, e.path)
		if moving(e.path) || had && b.status == e.status && bytes.Equal(b.data, e.data) {
			continue
		}
		keep(e)
	}
	for _, e := range first {
		if _, gone := before[e.path]; gone && !moving(e.path) {
			keep(entry{path: e.path, status: evidence.Absent, reason: "not there in the second reading"})
		}
	}
	return out
}
