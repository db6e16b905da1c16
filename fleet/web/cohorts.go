package web

import (
	"cmp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/cohort"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report"
)

// cohortsPage lists the kinds of machines.
type cohortsPage struct {
	Profiles []fleet.Profile
	Least    int
	Next     string
}

const cohortsSize = 500

func (p *pages) cohorts(q *request) error {
	b := cohortsPage{Least: cohort.Least}
	err := p.view(q, func(r fleet.Reader) (err error) {
		b.Profiles, err = r.Profiles(q.r.URL.Query().Get("after"), cohortsSize)
		return err
	})
	if err != nil {
		return err
	}
	if len(b.Profiles) == cohortsSize {
		b.Next = b.Profiles[cohortsSize-1].ID
	}
	slices.SortStableFunc(b.Profiles, func(x, y fleet.Profile) int {
		return cmp.Or(cmp.Compare(y.Hosts, x.Hosts), cmp.Compare(x.Name, y.Name))
	})
	return p.show(q, "cohorts", "cohorts", "Cohorts", b)
}

// cohortPage is one kind of machine: what its machines have, and who is unlike.
type cohortPage struct {
	Profile  *fleet.Profile
	Least    int
	Outliers []outlierRow
	More     int
	Alike    int // machines that nothing sets apart
	Groups   []featureGroup
	Height   float64
}

// outlierRow is a machine with a bar as long as it is odd.
type outlierRow struct {
	server.Outlier
	Y, Long float64
	More    int // oddities that are not listed
}

// featureGroup is the features of one sort, the rarest first.
type featureGroup struct {
	Name     string
	Features []featureRow
	More     int
}

type featureRow struct {
	fleet.Feature
	Text string
	Rare bool
	Long float64 // of 100
}

const (
	maxOutliers = 25
	maxOddities = 6
	maxFeatures = 400
	rowStep     = 26.0
)

func (p *pages) cohort(q *request) error {
	b := cohortPage{Least: cohort.Least}
	err := p.view(q, func(r fleet.Reader) (err error) {
		if b.Profile, err = profileOf(r, q.r.PathValue("id")); err != nil {
			return err
		}
		if b.Profile == nil {
			return fleet.ErrNotFound
		}
		fs, err := r.Features(b.Profile.ID)
		b.Groups = features(fs, b.Profile.Hosts)
		return err
	})
	if err != nil {
		return err
	}
	odd, err := p.server.OutliersOf(q.ctx, b.Profile.ID)
	if err != nil {
		return err
	}
	b.Alike = max(0, b.Profile.Hosts-len(odd))
	b.More = max(0, len(odd)-maxOutliers)
	for i, o := range odd[:len(odd)-b.More] {
		row := outlierRow{Outlier: o, Y: float64(i) * rowStep, Long: max(2, o.Score/odd[0].Score*400)}
		row.More = max(0, len(o.Odd)-maxOddities)
		row.Odd = row.Odd[:len(o.Odd)-row.More]
		b.Outliers = append(b.Outliers, row)
	}
	b.Height = rowStep * float64(len(b.Outliers))
	return p.show(q, "cohort", "cohorts", report.Plain(b.Profile.Name), b)
}

// features sorts what machines have by what it is: a part, a version, a
// measurement.
func features(all []fleet.Feature, machines int) []featureGroup {
	groups := []featureGroup{{Name: "Parts"}, {Name: "Firmware versions"}, {Name: "Measurements"}, {Name: "Other"}}
	for _, f := range all {
		kind, text, _ := strings.Cut(f.Key, " ")
		i := slices.Index([]string{"part", "firmware", "pcr"}, kind)
		switch i {
		case -1:
			i, text = 3, f.Key
		case 2:
			text = "PCR " + text
		}
		if len(groups[i].Features) == maxFeatures {
			groups[i].More++
			continue
		}
		groups[i].Features = append(groups[i].Features, featureRow{f, text, cohort.Few(f.Hosts, machines) && machines >= cohort.Least, 100 * min(1, float64(f.Hosts)/float64(max(1, machines)))})
	}
	return slices.DeleteFunc(groups, func(g featureGroup) bool { return len(g.Features) == 0 })
}
