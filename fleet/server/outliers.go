package server

import (
	"cmp"
	"context"
	"slices"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/cohort"
)

// Outlier is a machine that is unlike others of its board.
type Outlier struct {
	Host    string          `json:"host"`
	Name    string          `json:"name"`
	Profile string          `json:"profile"` // manufacturer and product
	Score   float64         `json:"score"`   // the surprises added up, in bits
	Odd     []cohort.Oddity `json:"odd"`     // the most surprising first
}

// maxCandidates bounds the machines of one board that are looked at.
const maxCandidates = 500

// Outliers lists machines that are unlike others of their board, the oddest
// first. Who has something rare is found by what is rare, so that it costs what
// is odd and not what the fleet has; who lacks something is known from its last
// audit.
func (s *Server) Outliers(ctx context.Context, limit int) ([]Outlier, error) {
	out := []Outlier{}
	err := s.Store.View(ctx, func(r fleet.Reader) error {
		profiles, err := r.Profiles("", 0)
		if err != nil {
			return err
		}
		for _, p := range profiles {
			odd, err := outliersOf(r, p)
			if err != nil {
				return err
			}
			out = append(out, odd...)
		}
		return nil
	})
	slices.SortFunc(out, oddest)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, err
}

// OutliersOf lists those of one board, the oddest first.
func (s *Server) OutliersOf(ctx context.Context, profile string) (out []Outlier, err error) {
	err = s.Store.View(ctx, func(r fleet.Reader) error {
		profiles, err := r.Profiles("", 0)
		if err != nil {
			return err
		}
		for _, p := range profiles {
			if p.ID == profile {
				out, err = outliersOf(r, p)
				return err
			}
		}
		return nil
	})
	slices.SortFunc(out, oddest)
	return out, err
}

func oddest(a, b Outlier) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Host, b.Host))
}

func outliersOf(r fleet.Reader, p fleet.Profile) ([]Outlier, error) {
	if p.Hosts < cohort.Least {
		return nil, nil
	}
	hosts, err := candidates(r, p)
	if err != nil {
		return nil, err
	}
	var out []Outlier
	for _, id := range hosts[:min(len(hosts), maxCandidates)] {
		h, err := r.Host(id)
		if err != nil {
			return nil, err
		}
		odd, err := oddities(r, id, p.ID)
		if err != nil {
			return nil, err
		}
		if len(odd) > 0 && h.Profile == p.ID {
			out = append(out, Outlier{id, h.Name, p.Name, cohort.Score(odd), odd})
		}
	}
	return out, nil
}

// candidates are machines that have something rare, or were odd when they were
// last audited.
func candidates(r fleet.Reader, p fleet.Profile) ([]string, error) {
	features, err := r.Features(p.ID)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range features { // the rarest first
		if !cohort.Few(f.Hosts, p.Hosts) || len(out) > maxCandidates {
			break
		}
		with, err := r.HostsWith(p.ID, f.Key, maxCandidates)
		if err != nil {
			return nil, err
		}
		out = append(out, with...)
	}
	open, err := r.OpenFindings(fleet.FindingQuery{Code: string(finding.CohortOutlier)})
	if err != nil {
		return nil, err
	}
	for _, o := range open {
		out = append(out, o.Host)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
