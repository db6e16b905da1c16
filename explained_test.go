package assay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// draftOf drafts a manifest of one unit, as the vendor would.
func draftOf(t testing.TB, unit files) *manifest.Manifest {
	t.Helper()
	b := bundle(t, unit)
	m, _, err := assay.Draft([]*evidence.Bundle{b}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	return m
}

// changeTo is a signed delta of the lab's manifest that edit fills with lines of the
// manifest of another unit.
func (l *lab) changeTo(t testing.TB, ticket string, unit files, edit func(change, of *manifest.Manifest)) []byte {
	t.Helper()
	base, rep := manifest.Open(l.golden, l.vendor.trust(t), labTime)
	require.NotNil(t, base, rep.Findings)
	d := &manifest.Manifest{
		ID: base.Manifest().ID, Version: base.Manifest().Version + 1, IssuedAt: labTime, Environment: base.Manifest().Environment,
		Delta: &manifest.Delta{BaseDigest: base.Digest(), Actor: "Assay Lab Computer Inc.", Ticket: ticket},
	}
	edit(d, draftOf(t, unit))
	return l.vendor.signManifest(t, d)
}

func line(t testing.TB, m *manifest.Manifest, subject string) bom.Reference {
	t.Helper()
	for _, r := range m.Components {
		if r.Subject == subject {
			return r
		}
	}
	require.Fail(t, "no line "+subject)
	return bom.Reference{}
}

func TestSignedChangesExplainWhatTheyName(t *testing.T) {
	const at = "dimm:P1-DIMMC1"
	l := newLab(t, machine(t, "baseline"))
	rma := func(c, of *manifest.Manifest) {
		r := line(t, of, at)
		r.ID = line(t, draftOf(t, machine(t, "baseline")), at).ID
		c.Components, c.Known = []bom.Reference{r}, of.Known
	}
	const by = "change by Assay Lab Computer Inc., ticket RMA-7"
	for name, c := range map[string]struct {
		of        string // the unit that the change describes
		edit      func(change, of *manifest.Manifest)
		machine   files
		policy    string
		verdict   assay.Verdict
		code      finding.Code
		subject   string
		explained bool
	}{
		"module replaced under a ticket": {
			of: "dimm-swapped", edit: rma, machine: machine(t, "dimm-swapped"),
			verdict: assay.Pass, code: finding.ChangeReplacement, subject: at, explained: true,
		},
		"the old module although a ticket says new": {of: "dimm-swapped", edit: rma, machine: machine(t, "baseline"), verdict: assay.Fail},
		"a ticket for the module does not cover a card": {
			of: "dimm-swapped", edit: rma,
			machine: with(machine(t, "dimm-swapped"), func(f files) { add(f, machine(t, "extra-nic-norom"), pciBase+"0000:09:00.0/") }),
			verdict: assay.Fail, code: finding.ChangeReplacement, subject: at,
		},
		"a waiver is no record": {
			of: "dimm-swapped", edit: rma,
			machine: with(machine(t, "dimm-swapped"), func(f files) { f["sys/class/nvme/nvme0/serial"] = []byte("S4EVNX0R999999\n") }),
			policy:  "id: w\nwaivers:\n- {code: HW-016, subject: \"storage:nvme 0000:0a:00.0\", reason: known, expires: 2030-01-01T00:00:00Z}\n",
			verdict: assay.Pass, code: finding.ChangeReplacement, subject: at,
		},
		"Secure Boot keys enrolled under a ticket": {
			of: "secure-boot-on", machine: machine(t, "secure-boot-on"),
			edit: func(c, of *manifest.Manifest) {
				for _, r := range of.Boot {
					if r.PCR == 7 {
						c.Boot = append(c.Boot, r)
					}
				}
			},
			verdict: assay.Fail, code: finding.ChangeKeys, subject: "pcr:7",
		},
		"kernel covered by a ticket": {
			of: "different-kernel", machine: machine(t, "different-kernel"),
			edit: func(c, of *manifest.Manifest) {
				for _, r := range of.Boot {
					if r.PCR == 4 || r.PCR >= 8 {
						c.Boot = append(c.Boot, r)
					}
				}
			},
			verdict: assay.Pass, code: finding.ChangeOS, subject: "pcr:4", explained: true,
		},
		"another TPM under a ticket": {
			of: "other-tpm", machine: machine(t, "other-tpm"),
			edit:    func(c, of *manifest.Manifest) { c.Endorsements = of.Endorsements },
			verdict: assay.Pass, code: finding.ChangeTPM, subject: "tpm:ak", explained: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := l.changeTo(t, "RMA-7", machine(t, c.of), c.edit)
			r := l.appraise(t, c.machine, func(k *assay.Case) {
				k.Golden = append(k.Golden, raw)
				if c.policy != "" {
					k.Policy = policyOf(t, c.policy)
				}
			})
			require.Equal(t, c.verdict, r.Verdict, "%v", codesOf(r))
			for _, code := range []finding.Code{finding.ChangeReplacement, finding.ChangeUpdate, finding.ChangeOS, finding.ChangeKeys, finding.ChangeTPM} {
				for _, f := range find(r, code) {
					require.Equal(t, finding.Info, f.Severity)
					require.Contains(t, f.CoveredBy, by)
				}
			}
			if c.code == "" {
				require.Empty(t, find(r, finding.ChangeReplacement))
			} else {
				require.Contains(t, subjectsOf(find(r, c.code)), c.subject)
			}
			require.Equal(t, c.explained, incidentOf(r, finding.IncidentExplained) != nil, "%v", codesOf(r))
		})
	}
}

// What the signer declared from the start is no change.
func TestNothingIsAChangeWithoutARecord(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for _, name := range []string{"baseline", "baseline-reboot", "boot-order"} {
		r := l.verify(t, machine(t, name))
		for _, c := range []finding.Code{finding.ChangeReplacement, finding.ChangeUpdate, finding.ChangeOS, finding.ChangeKeys, finding.ChangeTPM} {
			require.Empty(t, find(r, c))
		}
		require.Nil(t, incidentOf(r, finding.IncidentExplained))
	}
}

func subjectsOf(fs []finding.Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Subject)
	}
	return out
}

// add copies what another machine has below a path.
func add(f, from files, prefix string) {
	for p, b := range from {
		if len(p) > len(prefix) && p[:len(prefix)] == prefix {
			f[p] = b
		}
	}
}
