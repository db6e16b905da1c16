package assay_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// healthLog is a SMART log of a drive (NVM Express 2.0c, figure 207).
func healthLog(hours, starts uint64) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint64(b[128:], hours)
	binary.LittleEndian.PutUint64(b[112:], starts)
	return b
}

// dated writes the week of manufacture into a module's identity memory, in BCD.
func dated(f files, client string, year, week byte) {
	name := "sys/bus/i2c/devices/" + client + "/eeprom"
	b := bytes.Clone(f[name])
	at := 120 // DDR3 (JESD 21-C 4.1.2.11, bytes 120 and 121)
	if b[2] == 0x0c {
		at = 323 // DDR4 (4.1.2.L-4, bytes 323 and 324)
	}
	if len(b) > at+1 {
		b[at], b[at+1] = year, week
	}
	f[name] = b
}

// A module cannot be made after it was looked at, whatever a policy says. Clocks of
// lines differ by some weeks.
func TestDateOfTheFuture(t *testing.T) {
	base := machine(t, "baseline")
	l := newLab(t, base)
	for name, c := range map[string]struct {
		year, week byte
		want       []string
	}{
		"this week":   {0x26, 0x03, nil},
		"soon":        {0x26, 0x09, nil},
		"next summer": {0x26, 0x25, []string{"dimm:P1-DIMMB1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(base, func(f files) { dated(f, "0-0051", c.year, c.week) }))
			fs := find(r, finding.ImplausibleIdentity)
			require.Equal(t, c.want, subjectsOf(fs))
			for _, f := range fs {
				require.Equal(t, finding.Medium, f.Severity)
				require.NotEmpty(t, f.Basis)
			}
		})
	}
}

func TestAgeOfANewUnit(t *testing.T) {
	base := with(machine(t, "baseline"), func(f files) {
		for _, c := range []string{"0-0050", "0-0051", "0-0052", "0-0053"} {
			dated(f, c, 0x25, 0x10)
		}
	})
	l := newLab(t, base)
	const nvme = "sys/class/nvme/nvme0/smart"
	policy := "id: new\nextends: default\nnew: {notBefore: 2018-01-01T00:00:00Z, built: 2026-01-01T00:00:00Z, powerOnHours: 48, starts: 20}\n"
	for name, c := range map[string]struct {
		machine  files
		policy   string
		subjects []string
		incident bool
	}{
		"nothing is declared": {with(base, func(f files) { f[nvme] = healthLog(20000, 900) }), "id: old\nextends: default\n", nil, false},
		"as new":              {with(base, func(f files) { f[nvme] = healthLog(12, 9) }), policy, nil, false},
		"used drive":          {with(base, func(f files) { f[nvme] = healthLog(20000, 9) }), policy, []string{"storage:nvme 0000:0a:00.0"}, false},
		"one part with two signs is one part": {
			with(base, func(f files) { f[nvme] = healthLog(20000, 900) }), policy,
			[]string{"storage:nvme 0000:0a:00.0", "storage:nvme 0000:0a:00.0"},
			false,
		},
		"used drive, old module": {
			with(base, func(f files) { f[nvme] = healthLog(20000, 9); dated(f, "0-0051", 0x14, 0x20) }), policy,
			[]string{"dimm:P1-DIMMB1", "storage:nvme 0000:0a:00.0"},
			true,
		},
		"module put in later": {with(base, func(f files) { dated(f, "0-0051", 0x26, 0x20) }), policy, []string{"dimm:P1-DIMMB1"}, false},
		"module of the week of the build": {
			with(base, func(f files) { dated(f, "0-0051", 0x26, 0x01) }), policy, nil, false,
		},
		"health log cut short": {with(base, func(f files) { f[nvme] = healthLog(20000, 9)[:100] }), policy, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.appraise(t, c.machine, func(k *assay.Case) { k.Policy = policyOf(t, c.policy) })
			fs := find(r, finding.AgeContradictsNew)
			require.Equal(t, c.subjects, subjectsOf(fs), "%v", codesOf(r))
			for _, f := range fs {
				require.Equal(t, finding.Medium, f.Severity)
				require.NotEmpty(t, f.Sources)
			}
			in := incidentOf(r, finding.IncidentAge)
			require.Equal(t, c.incident, in != nil)
			if in != nil {
				require.Equal(t, finding.Medium, in.Severity)
			}
			if len(c.subjects) == 0 {
				require.Equal(t, assay.Pass, r.Verdict, "%v", codesOf(r))
			} else {
				require.Equal(t, assay.Review, r.Verdict, "%v", codesOf(r))
			}
		})
	}
	for _, bad := range []string{"new: {}", "new: {starts: -1}", "new: {notBefore: 2026-01-02T00:00:00Z, built: 2026-01-01T00:00:00Z}", "new: {hours: 1}"} {
		_, err := assay.ParsePolicy([]byte("id: x\n" + bad + "\n"))
		require.Error(t, err, bad)
	}
}

func TestAccountsOfTheController(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	const dir = "redfish/10.0.0.7/redfish/v1/AccountService/Accounts/"
	has := func(accounts ...string) files {
		return with(machine(t, "baseline"), func(f files) {
			f[dir+"index.json"] = []byte(`{"Members":[]}`)
			for i, a := range accounts {
				f[fmt.Sprintf("%s%d/index.json", dir, i+1)] = []byte(a)
			}
		})
	}
	const root = `{"Id":"1","UserName":"root","RoleId":"Administrator","Enabled":true}`
	policy := "id: p\nextends: default\naccounts:\n- {name: root, role: Administrator}\n- {name: watch}\n"
	for name, c := range map[string]struct {
		machine  files
		policy   string
		severity []finding.Severity
	}{
		"as declared":                {has(root, `{"UserName":"watch","RoleId":"ReadOnly"}`), policy, nil},
		"unknown administrator":      {has(root, `{"UserName":"svc","RoleId":"Administrator","Enabled":true}`), policy, []finding.Severity{finding.High}},
		"unknown operator":           {has(root, `{"UserName":"svc","RoleId":"Operator","Enabled":true}`), policy, []finding.Severity{finding.Medium}},
		"unknown, switched off":      {has(root, `{"UserName":"svc","RoleId":"Administrator","Enabled":false}`), policy, []finding.Severity{finding.Low}},
		"unused place":               {has(root, `{"UserName":"","RoleId":"NoAccess","Enabled":false}`), policy, nil},
		"declared one made admin":    {has(root, `{"UserName":"watch","RoleId":"Administrator"}`), policy, []finding.Severity{finding.High}},
		"no account at all":          {has(root, `[]`), policy, nil},
		"nothing declared":           {has(root, `{"UserName":"svc","RoleId":"Administrator"}`), "id: p\nextends: default\n", nil},
		"evidence without accounts":  {machine(t, "baseline"), policy, nil},
		"account of something else":  {with(machine(t, "baseline"), func(f files) { f["redfish/h/redfish/v1/Systems/Accounts/1/index.json"] = []byte(root) }), policy, nil},
		"declared none, and has one": {has(root), "id: p\nextends: default\naccounts: []\n", []finding.Severity{finding.High}},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.appraise(t, c.machine, func(k *assay.Case) { k.Policy = policyOf(t, c.policy) })
			var got []finding.Severity
			for _, f := range find(r, finding.ConfigurationDrift) {
				got = append(got, f.Severity)
				require.Equal(t, []finding.Source{finding.BMCTold}, f.Sources)
			}
			require.Equal(t, c.severity, got)
			told := slices.ContainsFunc(r.NotChecked, func(n assay.NotChecked) bool { return strings.HasPrefix(n.What, "account") })
			require.Equal(t, name == "nothing declared" || name == "evidence without accounts" || name == "account of something else" || name == "no account at all", told)
		})
	}
	_, err := assay.ParsePolicy([]byte("id: x\naccounts: [{name: a}, {name: a}]\n"))
	require.ErrorContains(t, err, "twice")
}

// A source of which an index says nothing is no source that failed.
func TestIndexThatIsSilentAboutASource(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	inventory := policyOf(t, "id: p\nextends: inventory\n")
	without := func(prefix string, edit func(*evidence.Index)) files {
		f := machine(t, "baseline")
		drop(f, prefix)
		return sealedBy(t, f, edit)
	}
	for name, c := range map[string]struct {
		machine files
		subject string
	}{
		"whole":               {sealedBy(t, machine(t, "baseline"), nil), ""},
		"not sealed":          {with(machine(t, "baseline"), func(f files) { drop(f, "sys/bus/usb/") }), ""},
		"cut out":             {without("sys/bus/usb/", nil), "evidence:sys/bus/usb"},
		"denied":              {without("sys/bus/usb/", func(ix *evidence.Index) { deny(ix, "sys/bus/usb/devices") }), ""},
		"of another scanner":  {without("sys/bus/usb/", func(ix *evidence.Index) { ix.Collector.Name = "other" }), ""},
		"a device is missing": {without("sys/bus/usb/devices/1-1.1/", nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.appraise(t, c.machine, func(k *assay.Case) { k.Policy, k.Nonce = inventory, nil })
			fs := find(r, finding.EvidenceIncomplete)
			if c.subject == "" {
				require.Empty(t, fs)
				return
			}
			require.Equal(t, []string{c.subject}, subjectsOf(fs))
			require.NotEqual(t, assay.Pass, r.Verdict)
		})
	}
}

// What is declared and cannot be decided is named, and changes no verdict.
func TestClaimsBeyondTheEvidence(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, c := range map[string]struct {
		machine files
		claims  []string
		voices  []string
	}{
		"everything": {machine(t, "baseline"), nil, nil},
		"no image":   {with(machine(t, "baseline"), func(f files) { drop(f, "firmware/") }), []string{"claim:firmware"}, nil},
		"no TPM":     {with(machine(t, "baseline"), func(f files) { drop(f, "tpm/") }), []string{"claim:boot"}, nil},
		"no USB":     {with(machine(t, "baseline"), func(f files) { drop(f, "sys/bus/usb/") }), []string{"claim:parts"}, nil},
		"one voice": {with(machine(t, "baseline"), func(f files) {
			drop(f, "tpm/")
			drop(f, "ipmi/fru")
			drop(f, "sys/bus/i2c/")
		}), []string{"claim:boot", "claim:parts"}, []string{"identity:machine", "identity:memory"}},
		"the TPM is a second voice": {with(machine(t, "baseline"), func(f files) { drop(f, "ipmi/fru") }), []string{"claim:parts"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, c.machine)
			require.Equal(t, c.claims, subjectsOf(find(r, finding.LevelTooLow)))
			require.Equal(t, c.voices, subjectsOf(find(r, finding.SourcesNotIndependent)))
			for _, f := range append(find(r, finding.LevelTooLow), find(r, finding.SourcesNotIndependent)...) {
				require.Equal(t, finding.Info, f.Severity)
			}
			if len(c.claims) > 0 && c.claims[0] != "claim:firmware" { // an image is not required by the default policy
				require.NotEqual(t, assay.Pass, r.Verdict)
			}
		})
	}
}
