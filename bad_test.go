package assay_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/knownbad"
)

// signedList is a list of known-bad firmware, signed by a vendor.
func signedList(t *testing.T, v *labVendor, entries ...knownbad.Entry) []byte {
	t.Helper()
	raw, err := json.Marshal(&knownbad.List{Format: knownbad.Format, ID: "test", Version: 1, IssuedAt: labTime, NotAfter: labTime.AddDate(0, 1, 0), Entries: entries})
	require.NoError(t, err)
	out, err := knownbad.Sign(raw, v.key, v.chain)
	require.NoError(t, err)
	return out
}

// The machine is as its manifest declares, and what it has is known to be bad.
func TestKnownBadFirmware(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	tests := map[string]struct {
		entry   knownbad.Entry
		subject string
	}{
		"a driver in the flash": {knownbad.Entry{Kind: knownbad.SHA256, Value: "63c688feb2917885"}, "firmware:bios/48DB5E17-707C-472D-91CD-1613E7EF51B0/9E21FD93-9C72-4C15-8C4B-E77F1DB2D792/7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1/B95E9FDA-26DE-48D2-8807-1F9107AC5E3A"},
		"a driver of a card":    {knownbad.Entry{Kind: knownbad.Authenticode, Value: "5fdd42d1b9ce2aa779d6732619d7dd6b306c4f2f480546c66497e712cc44cced"}, "pcr:2/PciRoot(0x0)/Pci(0x2,0x0)/Pci(0x0,0x0)/Offset(0x12600,0x3cfff)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.entry.Kind == knownbad.SHA256 {
				tt.entry.Value = driverDigest(t)
			}
			tt.entry.Title = "bad"
			r := l.appraise(t, machine(t, "baseline"), func(c *assay.Case) { c.KnownBad = [][]byte{signedList(t, l.vendor, tt.entry)} })
			require.Equal(t, assay.Fail, r.Verdict)
			fs := find(r, finding.KnownVulnerable)
			require.NotEmpty(t, fs)
			require.Equal(t, tt.subject, fs[0].Subject)
			require.Equal(t, "trusted", r.KnownBad[0].Status)
		})
	}
}

// driverDigest is the digest of a driver in the recorded image.
func driverDigest(t *testing.T) string {
	t.Helper()
	const guid = "B95E9FDA-26DE-48D2-8807-1F9107AC5E3A"
	d, _ := draftWith(t, machine(t, "baseline")["firmware/bios.rom"])
	for _, leaf := range d.Firmware[0].Leaves {
		for _, in := range leaf.Inside {
			if bytes.HasSuffix([]byte(in.Path), []byte(guid)) {
				return in.SHA256
			}
		}
	}
	t.Fatal("no such driver")
	return ""
}

// A list can only raise questions, and only when its signer is trusted.
func TestListsThatAreNotTrusted(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	entry := knownbad.Entry{Kind: knownbad.Authenticode, Value: "5fdd42d1b9ce2aa779d6732619d7dd6b306c4f2f480546c66497e712cc44cced", Title: "bad"}
	good := signedList(t, l.vendor, entry)
	for name, raw := range map[string][]byte{
		"signed by somebody": signedList(t, newVendor(t, "Somebody"), entry),
		"tampered":           bytes.Replace(good, []byte(`"sig": "`), []byte(`"sig": "AA`), 1),
		"no list":            []byte("{}"),
		"a manifest":         l.golden,
	} {
		t.Run(name, func(t *testing.T) {
			r := l.appraise(t, machine(t, "baseline"), func(c *assay.Case) { c.KnownBad = [][]byte{raw} })
			require.Equal(t, assay.Review, r.Verdict, "%v", codesOf(r))
			require.Empty(t, find(r, finding.KnownVulnerable))
		})
	}
	t.Run("stale", func(t *testing.T) {
		r := l.appraise(t, machine(t, "baseline"), func(c *assay.Case) { c.KnownBad, c.Now = [][]byte{good}, labTime.AddDate(0, 2, 0).Add(time.Hour) })
		require.NotEmpty(t, find(r, finding.KnownVulnerable), "what was bad stays bad")
		found := false
		for _, n := range r.NotChecked {
			found = found || n.What == "known-bad list test"
		}
		require.True(t, found)
	})
}
