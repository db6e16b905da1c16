package corim

import (
	"time"
)

// Object identifiers of the profile of OCP S.A.F.E. reviews: that of its text,
// and the other one that the bytes in version 0.1 and in its example are.
const (
	SafeProfile        = "1.3.6.1.4.1.42623.1.1"
	safeProfileExample = "1.3.6.1.4.1.47639.1.1"
)

// Review is a short-form report of OCP S.A.F.E. (profile "ocp-safe-sfr" 0.1).
type Review struct {
	Framework string
	Report    string
	Completed time.Time
	Scope     int64
	Firmware  []Reviewed
	Issues    []Issue
}

// Reviewed is firmware that a review looked at.
type Reviewed struct {
	Version string
	Digests map[string][]string
	Tag     string
}

// Issue is something that the review found.
type Issue struct {
	Title, Score, Vector, CWE, CVE string
}

func (r *reader) review(v any, where string) (*Review, error) {
	m, err := r.object(v, where)
	if err != nil {
		return nil, err
	}
	out := &Review{Framework: textOf(m.take(0)), Report: textOf(m.take(1))}
	if out.Completed, err = timeOf(m.take(2), where); err != nil {
		return nil, err
	}
	if n := number(m.take(3)); n != nil {
		out.Scope = *n
	}
	if out.Framework == "" || out.Completed.IsZero() {
		return nil, bad(where, "framework and date of completion are missing")
	}
	if v := m.take(4); v != nil {
		if out.Firmware, err = r.reviewed(v, where); err != nil {
			return nil, err
		}
	}
	if v := m.take(5); v != nil {
		if out.Issues, err = r.issues(v, where); err != nil {
			return nil, err
		}
	}
	r.rest(m)
	return out, nil
}

func (r *reader) reviewed(v any, where string) ([]Reviewed, error) {
	l, err := list(v, where)
	if err != nil {
		return nil, err
	}
	var out []Reviewed
	for _, x := range l {
		m, err := r.object(x, where+" firmware")
		if err != nil {
			return nil, err
		}
		var f Reviewed
		if v := m.take(0); v != nil {
			if f.Version, _, err = r.version(v, where); err != nil {
				return nil, err
			}
		}
		if v := m.take(1); v != nil {
			if f.Digests, err = r.digests(v, where); err != nil {
				return nil, err
			}
		}
		f.Tag = textOf(m.take(2))
		if m.take(3) != nil {
			r.lose(where, "the digests of single files of source")
		}
		r.rest(m)
		out = append(out, f)
	}
	return out, nil
}

func (r *reader) issues(v any, where string) ([]Issue, error) {
	l, err := list(v, where)
	if err != nil {
		return nil, err
	}
	var out []Issue
	for _, x := range l {
		m, err := r.object(x, where+" issue")
		if err != nil {
			return nil, err
		}
		is := Issue{Title: textOf(m.take(0))}
		_ = m.take(1) // the description is for the people who read the report
		if a, ok := m.take(2).(map[any]any); ok {
			is.Score, is.Vector = textOf(a[int64(0)]), textOf(a[int64(1)])
		}
		is.CWE, is.CVE = textOf(m.take(3)), textOf(m.take(4))
		r.rest(m)
		out = append(out, is)
	}
	return out, nil
}
