package assay_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// expectation is what a verdict on one recorded machine must say.
type expectation struct {
	set     string
	base    string // the machine that the manifest was drafted from
	verdict []assay.Verdict
	all     []string // codes that must be there
	any     []string // at least one of these
	info    []string // informational codes that must be there
	none    []string // prefixes of codes that must not count
	at      string   // subject of the first of all or any
}

var (
	pass         = []assay.Verdict{assay.Pass}
	fail         = []assay.Verdict{assay.Fail}
	passOrReview = []assay.Verdict{assay.Pass, assay.Review}
)

// expectations is the table of the main job. The option ROM itself is not among
// the recorded files, so what needs its bytes is in sharedExpectations.
var expectations = []expectation{
	{set: "baseline", verdict: pass},
	{set: "baseline-reboot", verdict: pass},
	{set: "extra-nic-norom", verdict: fail, all: []string{"HW-001", "IC-02"}, none: []string{"MB-002", "MB-003"}, at: "pci:0000:09:00.0"},
	{set: "extra-pci-with-optionrom", verdict: fail, all: []string{"HW-001", "MB-003"}, at: "pci:0000:09:00.0"},
	{set: "dimm-swapped", verdict: fail, all: []string{"HW-003"}, none: []string{"HW-001", "HW-002"}, at: "dimm:P1-DIMMC1"},
	{set: "missing-dimm", verdict: fail, any: []string{"HW-002", "HW-004"}, at: "dimm:P1-DIMMD1"},
	{set: "fw-patched-dxe", verdict: fail, all: []string{"FW-002", "IC-04"}, any: []string{"MB-002", "MB-003"}, none: []string{"HW-"}},
	{set: "fw-patched-sec", verdict: fail, all: []string{"IC-06"}, any: []string{"FW-002", "FW-003"}, none: []string{"MB-002", "HW-"}},
	{set: "other-tpm", verdict: fail, any: []string{"TP-002", "TP-003"}, all: []string{"IC-12"}},
	{set: "stale-nonce", verdict: fail, all: []string{"TP-006"}},
	{set: "eventlog-edited", verdict: fail, all: []string{"MB-001"}},
	{set: "eventlog-data-edited", verdict: fail, all: []string{"MB-006"}, none: []string{"MB-001"}},
	{set: "different-kernel", verdict: fail, any: []string{"MB-011", "MB-003", "MB-004"}, none: []string{"HW-", "FW-"}},
	{set: "boot-order", verdict: passOrReview, info: []string{"CH-003"}, none: []string{"HW-", "FW-", "MB-002"}},
	{set: "secure-boot-on-reboot", base: "secure-boot-on", verdict: passOrReview, none: []string{"HW-"}},
}

func TestRecordedMachines(t *testing.T) {
	labs := map[string]*lab{}
	for _, e := range expectations {
		base := e.base
		if base == "" {
			base = "baseline"
		}
		if labs[base] == nil {
			labs[base] = newLab(t, machine(t, base))
		}
		t.Run(e.set, func(t *testing.T) {
			e.check(t, labs[base].verify(t, machine(t, e.set)))
		})
	}
}

// TestSharedEvidence is the same table over the original captures, option ROMs
// included.
func TestSharedEvidence(t *testing.T) {
	dir := filepath.Join("..", "shared", "evidence")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs shared/evidence beside the checkout")
	}
	load := func(t *testing.T, name string) map[string][]byte {
		b, err := evidence.Open(filepath.Join(dir, name+".evidence.zip"), evidence.Limits{})
		require.NoError(t, err)
		files := map[string][]byte{}
		for _, a := range b.Artifacts() {
			files[a.Path], err = b.Read(a.Path)
			require.NoError(t, err)
		}
		return files
	}
	labs := map[string]*lab{}
	for _, e := range expectations {
		base := e.base
		if base == "" {
			base = "baseline"
		}
		if labs[base] == nil {
			labs[base] = newLab(t, load(t, base))
			labs[base].roots = tpmRoots(t, filepath.Join(dir, "tpm"))
		}
		t.Run(e.set, func(t *testing.T) {
			if e.set == "extra-pci-with-optionrom" {
				e.all = []string{"HW-001", "MB-003", "IC-01"}
			}
			e.check(t, labs[base].verify(t, load(t, e.set)))
		})
	}
}

func (e expectation) check(t *testing.T, r *assay.Result) {
	t.Helper()
	codes := codesOf(r)
	var text bytes.Buffer
	require.NoError(t, report.Text(&text, r, report.Style{}))
	require.Contains(t, e.verdict, r.Verdict, text.String())
	for _, c := range e.all {
		require.Contains(t, codes, finding.Code(c), text.String())
	}
	for _, c := range e.info {
		require.NotEmpty(t, find(r, finding.Code(c)), text.String())
	}
	if len(e.any) > 0 {
		hit := false
		for _, c := range codes {
			for _, want := range e.any {
				hit = hit || string(c) == want
			}
		}
		require.True(t, hit, "none of %v in %v\n%s", e.any, codes, text.String())
	}
	for _, c := range codes {
		for _, bad := range e.none {
			require.False(t, strings.HasPrefix(string(c), bad), "%s must not be there\n%s", c, text.String())
		}
	}
	if e.verdict[0] == assay.Pass && len(e.verdict) == 1 {
		for _, f := range r.Findings {
			require.LessOrEqual(t, f.Severity, finding.Low, text.String())
		}
	}
	if e.at != "" {
		for _, f := range find(r, finding.Code(append(e.all, e.any...)[0])) {
			require.Equal(t, e.at, f.Subject)
		}
	}
}

func TestResultIsAPureFunctionOfItsInputs(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	write := func() string {
		var b bytes.Buffer
		require.NoError(t, report.JSON(&b, l.verify(t, machine(t, "extra-nic-norom"))))
		return b.String()
	}
	require.Equal(t, write(), write())
}
