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
		slices.Contains([]finding.Code{finding.TransportIdentity, finding.AuditLog, finding.IncidentClone, finding.IncidentBatch, finding.IncidentPoisonedApproval, finding.IncidentShopping}, c)
}

// waiting are codes for which no rule is there yet, or that no vector can raise;
// the reason says which. A code that gets a vector has to leave the list.
var waiting = map[finding.Code]string{
	finding.BusMasterWithoutDriver: "no rule yet", finding.IdentityMemoryWritable: "no rule yet", finding.AgeContradictsNew: "no rule yet", finding.SuspiciousVariable: "no rule yet",
	finding.TPMBus: "no rule yet", finding.WeakTPMKey: "no rule yet", finding.EvidenceIncomplete: "no rule yet", finding.DangerousEncoding: "no rule yet",
	finding.LevelTooLow: "no rule yet", finding.SourcesNotIndependent: "no rule yet", finding.ChangeReboot: "no rule yet", finding.ChangeReplacement: "no rule yet",
	finding.ChangeKeys: "no rule yet", finding.ChangeTPM: "no rule yet", finding.ChangeClock: "no rule yet", finding.MACNotOfMaker: "no rule yet", finding.PartNumberGrammar: "no rule yet",
	finding.IncidentBMCBehindVersion: "no rule yet", finding.IncidentMemoryLies: "no rule yet", finding.IncidentBusInTheMiddle: "no rule yet", finding.IncidentCollectorUnderRug: "no rule yet",
	finding.IncidentBMCUnderRug: "no rule yet", finding.IncidentAge: "no rule yet", finding.IncidentInterdiction: "no rule yet", finding.IncidentOpenDoor: "no rule yet",
	finding.IncidentCounterfeit: "no rule yet", finding.IncidentExplained: "no rule yet",

	finding.PlaceholderIdentity: "low", finding.ImplausibleIdentity: "low, from a field that no recording has", finding.EvidenceUnauthenticated: "told with every verdict that has no seal",
	finding.BlindSpot: "told with every verdict", finding.BytesNotUnderstood: "informational", finding.KnownQuirk: "told with nearly every verdict", finding.ChangeUpdate: "needs a second maker's manifest",
	finding.ChangeOS: "needs a second maker's manifest", finding.ChangeVirtualFunction: "no recording has such a card",
	finding.VendorSignatureInvalid: "no recording has a signed image", finding.ManagementEngineAnomaly: "no recording has such a region", finding.ManifestAlgorithm: "needs a key of a weak kind",
	finding.ManifestSidecar: "a file beside the manifest is no part of an appraisal", finding.InputLimit: "limits are tested where they are", finding.InputBomb: "limits are tested where they are",
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
