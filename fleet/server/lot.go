package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/cohort"
)

const lotSubject = "fleet:lot:"

// lotDeviations says what the machines of its lot have, or lack, that those of other
// lots of the board do not, by Fisher's exact test. It costs what one board has,
// since lots are counted as results come. Firmware and registers are left out: lots
// are delivered with the firmware of their day.
func lotDeviations(tx fleet.Tx, h *fleet.Host, has []string) ([]finding.Finding, error) {
	if h.Lot == "" || h.Profile == "" {
		return nil, nil
	}
	p, err := tx.Profile(h.Profile)
	if err != nil {
		return nil, err
	}
	lot, of, err := tx.Lot(h.Profile, h.Lot)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := tx.Features(h.Profile)
	if err != nil {
		return nil, err
	}
	rest := p.Hosts - lot.Hosts
	inLot, others := map[string]int{}, map[string]int{}
	lotLacks, othersLack := map[string]int{}, map[string]int{}
	for _, f := range of {
		inLot[f.Key] = f.Hosts
	}
	for _, f := range all {
		if !strings.HasPrefix(f.Key, "part ") {
			delete(inLot, f.Key)
			continue
		}
		others[f.Key] = f.Hosts - inLot[f.Key]
		lotLacks[f.Key], othersLack[f.Key] = lot.Hosts-inLot[f.Key], rest-others[f.Key]
	}
	var out []finding.Finding
	for _, d := range cohort.ByLot(h.Lot, inLot, lot.Hosts, others, rest) {
		if slices.Contains(has, d.Feature) {
			out = append(out, lotFinding(d, "has it"))
		}
	}
	for _, d := range cohort.ByLot(h.Lot, lotLacks, lot.Hosts, othersLack, rest) {
		if !slices.Contains(has, d.Feature) {
			out = append(out, lotFinding(d, "has it not"))
		}
	}
	return out[:min(len(out), maxOdd)], nil
}

func lotFinding(d cohort.LotDeviation, got string) finding.Finding {
	x := finding.New(finding.CohortOutlier, lotSubject+d.Lot+":"+d.Feature)
	x.Severity, x.Confidence = finding.Medium, finding.Strong
	x.Want, x.Got = "as the other lots of this board", got // counts change, and a finding should not
	x.Why = fmt.Sprintf("%s: %d of %d machines of lot %s, and %d of %d of the other lots (Fisher's exact test, corrected for the number of parts: p = %.1e).", got, d.With, d.Of, d.Lot, d.Others, d.OfRest, d.P)
	return x
}

// batches joins what sticks to a lot (IC-17).
func batches(h *fleet.Host, own []finding.Finding) []assay.Incident {
	var prints, what []string
	for _, f := range own {
		if strings.HasPrefix(f.Subject, lotSubject) {
			prints = append(prints, f.Fingerprint)
			what = append(what, strings.TrimPrefix(f.Subject, lotSubject+h.Lot+":")+" ("+f.Got+")")
		}
	}
	if len(prints) == 0 {
		return nil
	}
	return []assay.Incident{incident(finding.IncidentBatch, finding.High, prints,
		fmt.Sprintf("The machines of lot %s differ together from those of other lots of their board: %s. Keep the lot apart until somebody knows why.", h.Lot, strings.Join(what, "; ")),
		"A change notice of the vendor, or an approved alternate part, that names this lot. Then inspect one machine of the lot beside one of another.")}
}
