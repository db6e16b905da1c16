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
	finding.IdentityMemoryWritable: "no artefact shows it", finding.AgeContradictsNew: "no vector yet", finding.SuspiciousVariable: "no vector yet",
	finding.TPMBus: "no artefact shows it", finding.WeakTPMKey: "no vector yet",
	finding.LevelTooLow: "no vector yet", finding.SourcesNotIndependent: "no vector yet", finding.ChangeReboot: "no vector yet", finding.ChangeReplacement: "no vector yet",
	finding.ChangeKeys: "no vector yet", finding.ChangeTPM: "no vector yet", finding.ChangeClock: "no vector yet", finding.MACNotOfMaker: "no vector yet", finding.PartNumberGrammar: "no vector yet",
	finding.IncidentBusInTheMiddle: "no artefact shows it",
	finding.IncidentBMCUnderRug:    "no vector yet", finding.IncidentAge: "no vector yet", finding.IncidentInterdiction: "no vector yet", finding.IncidentOpenDoor: "no vector yet",
	finding.IncidentCounterfeit: "no vector yet", finding.IncidentExplained: "no vector yet",

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
