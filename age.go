package assay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
)

// newRule declares that a unit is new, and what a new one may show.
type newRule struct {
	NotBefore    time.Time `json:"notBefore,omitzero" yaml:"notBefore"`       // no part was made before
	Built        time.Time `json:"built,omitzero" yaml:"built"`               // when the unit was built: no part was made after
	PowerOnHours uint64    `json:"powerOnHours,omitzero" yaml:"powerOnHours"` // of drives, at most; 0 is not looked at
	Starts       int64     `json:"starts,omitzero" yaml:"starts"`             // of the TPM and of drives, at most; 0 is not looked at
}

func (n *newRule) check() error {
	switch {
	case n == nil:
		return nil
	case n.NotBefore.IsZero() && n.Built.IsZero() && n.PowerOnHours == 0 && n.Starts == 0:
		return errors.New("one of notBefore, built, powerOnHours and starts is needed")
	case n.Starts < 0:
		return errors.New("starts is negative")
	case !n.NotBefore.IsZero() && !n.Built.IsZero() && n.Built.Before(n.NotBefore):
		return errors.New("built lies before notBefore")
	}
	return nil
}

// futureSlack is how far a part's date may lie ahead: clocks of lines differ, and
// makers write the week of a lot.
const futureSlack = 60 * 24 * time.Hour

// aged holds what parts tell of their past against the day on which somebody looked
// (ID-005), and against a policy that says that the unit is new (ID-011). What the
// evidence does not have is listed.
func (a *appraisal) aged() {
	n := a.Policy.New
	dated := false
	for i := range a.inventory.Parts {
		p := &a.inventory.Parts[i]
		v, told := p.Values["made"]
		if !told {
			continue
		}
		from, to, err := madeIn(v.Text)
		if err != nil {
			continue
		}
		dated = true
		var want, why string
		code := finding.AgeContradictsNew
		switch {
		case n != nil && !n.NotBefore.IsZero() && to.Before(n.NotBefore):
			want, why = "made in "+n.NotBefore.Format(time.DateOnly)+" or later", "The part is older than a part of a new unit may be."
		case n != nil && !n.Built.IsZero() && from.After(n.Built):
			want, why = "made by "+n.Built.Format(time.DateOnly), "The part was made after the unit was built: somebody put it in later."
		case from.After(a.Now.Add(futureSlack)):
			code, want, why = finding.ImplausibleIdentity, "made in the past", "The part says that it was made in the future."
		}
		if want != "" {
			a.old(code, p.Subject, p.Location, want, "made in "+v.Text, why, v.Source, v.Basis)
		}
	}
	if n == nil {
		return
	}
	if !dated && !(n.NotBefore.IsZero() && n.Built.IsZero()) {
		a.skip("dates of manufacture", "no part in the evidence tells one")
	}
	if n.Starts > 0 {
		switch s := a.boot.Starts; {
		case s < 0:
			a.skip("starts of the TPM", "no quote by a key that the TPM shows its count to")
		case s > n.Starts:
			a.old(finding.AgeContradictsNew, "tpm", finding.Location{}, fmt.Sprintf("at most %d starts", n.Starts), fmt.Sprintf("%d starts", s),
				"The TPM signs that it was started more often than one in a new unit may have been.", finding.Cryptographic, finding.Basis{})
		}
	}
	a.worn(n)
}

// old adds one sign of age.
func (a *appraisal) old(code finding.Code, subject string, at finding.Location, want, got, why string, source finding.Source, basis finding.Basis) {
	f := finding.New(code, subject)
	f.Location, f.Want, f.Got, f.Why, f.Sources = at, want, got, why, []finding.Source{source}
	if basis.Artifact != "" {
		f.Basis = []finding.Basis{basis}
	}
	a.found = append(a.found, f)
}

// madeIn reads a day, or a week after ISO 8601 as identity memories of modules have
// it: the first and the last moment of it.
func madeIn(s string) (from, to time.Time, err error) {
	if from, err = time.Parse(time.DateOnly, s); err == nil {
		return from, from.AddDate(0, 0, 1), nil
	}
	var year, week int
	if n, err := fmt.Sscanf(s, "%04d-W%02d", &year, &week); n != 2 || err != nil || week < 1 || week > 53 {
		return from, to, fmt.Errorf("%.20q is no date", s)
	}
	first := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC) // always in week 1
	from = first.AddDate(0, 0, -(int(first.Weekday())+6)%7+7*(week-1))
	return from, from.AddDate(0, 0, 7), nil
}

// Places in the SMART / Health Information log page (NVM Express Base Specification
// 2.0c, figure 207), numbers of 128 bits in little-endian order.
const (
	healthBytes  = 512
	healthCycles = 112
	healthHours  = 128
)

// worn reads the health log of drives, where a capture has it: the collector sends
// drives nothing but Identify.
func (a *appraisal) worn(n *newRule) {
	const dir, name = "sys/class/nvme/", "/smart"
	logs := a.Evidence.Glob(dir + "*" + name)
	if len(logs) == 0 && n.PowerOnHours > 0 {
		a.skip("hours of drives", "no health log of a drive is in the evidence")
	}
	for _, path := range logs {
		raw, err := a.Evidence.Read(path)
		if err != nil || len(raw) < healthBytes {
			a.skip("hours of drives", path+" is no health log")
			continue
		}
		drive := strings.TrimSuffix(path, name)
		subject := "storage:nvme " + a.Evidence.Text(drive+"/address")
		p, _ := a.inventory.Part(subject)
		for _, x := range []struct {
			at    int
			limit uint64
			what  string
		}{{healthHours, n.PowerOnHours, "hours of power"}, {healthCycles, uint64(n.Starts), "starts"}} {
			got := binary.LittleEndian.Uint64(raw[x.at:])
			if high := binary.LittleEndian.Uint64(raw[x.at+8:]); x.limit == 0 || high != 0 || got <= x.limit {
				continue // a number beyond 64 bits is none
			}
			a.old(finding.AgeContradictsNew, subject, p.Location, fmt.Sprintf("at most %d %s", x.limit, x.what), fmt.Sprintf("%d %s", got, x.what), "The drive counts more use than a drive in a new unit may have had.",
				finding.SiliconAnswered, finding.Basis{Artifact: path, SHA256: a.Evidence.SHA256(path), Offset: int64(x.at), Length: 16})
		}
	}
}
