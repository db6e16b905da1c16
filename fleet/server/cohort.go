package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/cohort"
)

// fleetFindings are what only the fleet can see of a machine. Each costs what the
// machine has, not what the fleet has.
func (s *Server) fleetFindings(tx fleet.Tx, h *fleet.Host, jd *judged) ([]finding.Finding, error) {
	out, err := duplicates(tx, h)
	if err != nil {
		return nil, err
	}
	odd, err := outlier(tx, h, jd.profile)
	if err != nil {
		return nil, err
	}
	lots, err := lotDeviations(tx, h, jd.features)
	if err != nil {
		return nil, err
	}
	out = slices.Concat(out, odd, lots)
	if x := whereabouts(h, jd.evidence.From); x != nil {
		out = append(out, *x)
	}
	last, err := lastQuoted(tx, h)
	if err != nil {
		return nil, err
	}
	x := clockOrder(h.Clock, jd.clock, jd.evidence, last)
	if x != nil {
		out = append(out, *x)
	}
	out = append(out, clockMoved(h.Clock, jd.clock, x, jd.result.Policy.ID)...)
	return append(out, moved(h, jd)...), nil
}

// duplicates finds numbers that another live machine has too (FL-001).
func duplicates(tx fleet.Tx, h *fleet.Host) ([]finding.Finding, error) {
	shared, err := tx.Shared(h.ID)
	if err != nil {
		return nil, err
	}
	var out []finding.Finding
	for _, f := range shared {
		all, err := tx.Sharing(f.Kind, f.Value, 20)
		if err != nil {
			return nil, err
		}
		var others []string
		for _, o := range all {
			if o.Host == h.ID {
				continue
			}
			other, err := tx.Host(o.Host)
			if err != nil {
				return nil, err
			}
			if other.State != fleet.Retired {
				others = append(others, other.Name+" ("+other.ID+")")
			}
		}
		if len(others) == 0 {
			continue
		}
		x := finding.New(finding.DuplicateIdentity, "fleet:"+f.Kind+":"+f.Value)
		x.Want, x.Got = "on one machine", fmt.Sprintf("also on %s", strings.Join(others, ", "))
		x.Why = fmt.Sprintf("The %s %s was seen on this machine and on another one that is in use.", f.Kind, f.Value)
		if f.Kind == "ek" || f.Kind == "ak" {
			x.Severity, x.Confidence = finding.Critical, finding.Proven
		}
		out = append(out, x)
	}
	return out, nil
}

// maxOdd bounds what of an outlier is told.
const maxOdd = 10

// outlier says what sets the machine apart from others of its board (FL-002). It
// is for a person to look at, and alone decides nothing.
func outlier(tx fleet.Tx, h *fleet.Host, p fleet.Profile) ([]finding.Finding, error) {
	odd, err := oddities(tx, h.ID, p.ID)
	if err != nil || len(odd) == 0 {
		return nil, err
	}
	var out []finding.Finding
	for _, o := range odd[:min(len(odd), maxOdd)] {
		x := finding.New(finding.CohortOutlier, "fleet:"+o.Feature)
		x.Confidence, x.Severity = finding.Weak, finding.Medium
		x.Want, x.Got = "as the other machines of this board", "has it" // counts change, and a finding should not
		if o.Lacks {
			x.Got = "has it not"
		}
		if strings.HasPrefix(o.Feature, "firmware ") || strings.HasPrefix(o.Feature, "pcr ") {
			x.Severity = finding.Low // updates come in waves
		}
		x.Why = fmt.Sprintf("%d of %d machines with this board have it. Machines with one board are alike; what sets one apart is where to look first.", o.Hosts, o.Of)
		out = append(out, x)
	}
	return out, nil
}

func oddities(r fleet.Reader, host, profile string) ([]cohort.Oddity, error) {
	if profile == "" {
		return nil, nil
	}
	p, err := r.Profile(profile)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, nil
	}
	if err != nil || p.Hosts < cohort.Least {
		return nil, err
	}
	features, err := r.Features(profile)
	if err != nil {
		return nil, err
	}
	has, err := r.HostFeatures(host)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, f := range features {
		counts[f.Key] = f.Hosts
	}
	return cohort.Odd(p.Hosts, counts, has), nil
}

// moved compares with the first manifest that the machine passed (FL-007): small
// steps that were each accepted add up.
func moved(h *fleet.Host, jd *judged) []finding.Finding {
	if h.Golden == "" || len(jd.goldens) == 0 || slices.Contains(jd.goldens, h.Golden) {
		return nil
	}
	x := finding.New(finding.DriftFromFirstGolden, "fleet:golden")
	x.Severity, x.Confidence = finding.Low, finding.Strong
	x.Want, x.Got = "sha256:"+h.Golden, "sha256:"+strings.Join(jd.goldens, ", sha256:")
	x.Why = "The manifests that the machine is judged by are not the one that it first passed; compare the two with golden diff."
	return []finding.Finding{x}
}

// lastQuoted is the evidence with the last quote of a machine that was verified.
func lastQuoted(tx fleet.Tx, h *fleet.Host) (*fleet.Evidence, error) {
	if h.Clock == nil {
		return nil, nil
	}
	e, err := tx.Evidence(h.Clock.Evidence)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, nil
	}
	return e, err
}

const (
	wave      = 5                  // machines with one finding from which on it is no accident
	waveTime  = 3 * 24 * time.Hour // in which they begin
	waveLimit = 200                // that are counted
)

// correlated says when a finding began on many machines of one board at the same
// time (FL-006): one cause to look for, instead of as many alarms.
func correlated(tx fleet.Tx, h *fleet.Host, before []fleet.Open, found []finding.Finding, now time.Time) ([]finding.Finding, error) {
	began := map[string]time.Time{}
	for _, o := range before {
		began[o.Finding.Fingerprint] = o.FirstSeen
	}
	var out []finding.Finding
	seen := map[string]bool{}
	for _, f := range found {
		key := string(f.Code) + " " + f.Subject
		if f.Severity < finding.Medium || h.Profile == "" || seen[key] || len(out) >= maxOdd {
			continue
		}
		seen[key] = true
		at, ok := began[f.Fingerprint]
		if !ok {
			at = now
		}
		with, err := tx.Began(h.Profile, f.Code, f.Subject, at.Add(-waveTime), at.Add(waveTime), waveLimit)
		if err != nil {
			return nil, err
		}
		others := slices.DeleteFunc(with, func(id string) bool { return id == h.ID })
		if len(others)+1 < wave {
			continue
		}
		x := finding.New(finding.CorrelatedDrift, "fleet:"+key)
		x.Severity, x.Confidence = finding.Low, finding.Strong // the finding itself weighs
		x.Want, x.Got = "a finding of one machine", "of many with this board, within three days"
		x.Why = fmt.Sprintf("%s at %s began on %d or more other machines with this board at the same time. Look for one cause: an update, a delivery, a site.", f.Code, f.Subject, len(others))
		out = append(out, x)
	}
	return out, nil
}
