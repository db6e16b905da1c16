package efficacy_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
)

// results runs every vector of the project once, at its level.
func results(t *testing.T) map[*efficacy.Vector][2]*assay.Result {
	t.Helper()
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	out := map[*efficacy.Vector][2]*assay.Result{}
	for _, v := range vectors {
		r, err := bench.Result(v, v.Level)
		if errors.Is(err, efficacy.ErrNotHere) {
			continue
		}
		require.NoError(t, err)
		clean, err := bench.Clean(v, v.Level)
		require.NoError(t, err)
		out[v] = [2]*assay.Result{r, clean}
	}
	return out
}

// without is a verifier that lacks one rule: its findings, or its incidents, are
// not there.
func without(r *assay.Result, code finding.Code) *assay.Result {
	out := *r
	out.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f finding.Finding) bool { return f.Code == code })
	out.Incidents = slices.DeleteFunc(slices.Clone(r.Incidents), func(i assay.Incident) bool { return i.Code == code })
	return &out
}

// fleetOnly are codes that an appraisal of one machine cannot raise.
func fleetOnly(c finding.Code) bool {
	return strings.HasPrefix(string(c), "FL-") || strings.HasPrefix(string(c), "PO-") ||
		slices.Contains([]finding.Code{finding.TransportIdentity, finding.AuditLog, finding.IncidentClone, finding.IncidentBatch, finding.IncidentPoisonedApproval, finding.IncidentShopping, finding.ChangeReboot, finding.ChangeClock}, c)
}

// waiting are codes that no vector can raise; the reason says why. A code that
// gets a vector has to leave the list.
var waiting = map[finding.Code]string{
	finding.IdentityMemoryWritable: "no artefact of a bundle shows the write protection of a part's memory, and no rule raises it",
	finding.TPMBus:                 "no artefact of a bundle shows a TPM's bus, and no rule raises it",
	finding.IncidentBusInTheMiddle: "rests on TP-008, which no rule raises",
	finding.ManifestSidecar:        "a file beside the manifest is no part of an appraisal; the command that reads one tells it",
}

// Every rule is load-bearing: a verifier without it differs from at least one
// vector. Codes that nothing raises are told apart: they wait, or belong to a
// fleet.
func TestEveryRuleIsNeeded(t *testing.T) {
	rs := results(t)
	var dead []string
	for _, e := range finding.Catalogue() {
		if fleetOnly(e.Code) {
			continue
		}
		flips := false
		for v, r := range rs {
			if v.Differs(r[0], r[1]) == "" && v.Differs(without(r[0], e.Code), r[1]) != "" {
				flips = true
				break
			}
		}
		_, waits := waiting[e.Code]
		switch {
		case flips && waits:
			t.Errorf("%s has a vector now: take it off the list", e.Code)
		case !flips && !waits:
			dead = append(dead, string(e.Code))
		}
	}
	require.Empty(t, dead, "no vector needs these codes")
	t.Logf("%d codes wait: %v", len(waiting), slices.Sorted(maps.Keys(waiting)))
}

// farFrom are codes that no vector can nearly raise; the reason says why.
var farFrom = map[finding.Code]string{
	finding.BlindSpot:              "told with every verdict",
	finding.IdentityMemoryWritable: "no rule raises it",
	finding.TPMBus:                 "no rule raises it",
	finding.IncidentBusInTheMiddle: "no rule raises it",
	finding.ManifestSidecar:        "no appraisal raises it",
}

// Every code has a near miss: a vector in which things are nearly as the code says,
// and it is not raised. TestVectors holds it to that.
func TestEveryRuleHasANearMiss(t *testing.T) {
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	near := map[finding.Code]bool{}
	for _, v := range vectors {
		for _, c := range v.Near {
			near[c] = near[c] || !strings.HasPrefix(v.Machine, "corpus:") // others run everywhere
		}
	}
	for _, e := range finding.Catalogue() {
		_, far := farFrom[e.Code]
		switch {
		case fleetOnly(e.Code):
		case near[e.Code] && far:
			t.Errorf("%s has a near miss now: take it off the list", e.Code)
		case !near[e.Code] && !far:
			t.Errorf("%s has no near miss", e.Code)
		}
	}
}
