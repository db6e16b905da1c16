package assay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// A policy that is read requires something, and each of its exceptions says
// what it is for.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("id: a\n"))
	f.Add([]byte("id: a\nextends: strict\nrequire: [seal]\nmaxEvidenceAge: 24h\nmaxManifestAge: 720h\nvolatile: {pcrs: [10, 14], events: ['EV_IPL *']}\n"))
	f.Add([]byte("id: a\nseverity:\n- {code: HW-003, subject: 'dimm:*', severity: low, reason: x}\nwaivers:\n- {code: HW-001, subject: 'pci:*', reason: y, expires: 2026-01-01T00:00:00Z}\n"))
	f.Add([]byte(`{"id":"a","require":["manifest","classes","quote"],"waivers":[{"code":"MB-003","fingerprint":"00","reason":"x","expires":"2027-01-01T00:00:00Z"}]}`))
	f.Add([]byte("id: a\nseverity:\n- {code: HW-001, reason: x}\n"))
	f.Add([]byte("id: a\ninspections:\n- {technique: [x-ray, ct], sample: {oneIn: 50, percent: 2, min: 3}, maxAge: 8760h}\n- {technique: [aoi], classes: [electronic], attachments: true}\n"))
	f.Add([]byte("id: a\nnew: {notBefore: 2026-01-01T00:00:00Z, built: 2026-02-01T00:00:00Z, powerOnHours: 48, starts: 9}\naccounts:\n- {name: root, role: Administrator}\n- {name: x}\n"))
	f.Add([]byte("id: &a b\nextends: *a\n---\nid: c\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := assay.ParsePolicy(in)
		if err != nil {
			require.Nil(t, p)
			return
		}
		require.NotEmpty(t, p.ID)
		require.NotEmpty(t, p.Require)
		for _, o := range p.Severity {
			_, known := finding.Lookup(o.Code)
			require.True(t, known)
			require.NotEmpty(t, o.Reason)
		}
		for _, w := range p.Waivers {
			require.NotEmpty(t, w.Reason)
			require.False(t, w.Expires.IsZero())
			require.NotEmpty(t, w.Subject+w.Fingerprint)
		}
		require.GreaterOrEqual(t, p.MaxEvidenceAge, assay.Duration(0))
	})
}
