package web

import (
	"net/url"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// exceptionsPage lists what was accepted for a while, and what somebody asks to
// have accepted.
type exceptionsPage struct {
	Waiting, InForce, Over []fleet.Exception
	MoreOver               int
	Names                  map[string]string // of machines and profiles
	Form                   exceptionForm
	Codes                  []finding.Explained
	Latest                 string // day after which none may end
}

// exceptionForm is what the form begins with.
type exceptionForm struct {
	Host, Profile, Code, Subject string
	Given                        bool // by the link of a finding
}

const (
	maxOver    = 100
	maxSubject = 500
	longest    = 180 * 24 * time.Hour // as the server has it, which refuses more
)

func (p *pages) exceptions(q *request) error {
	v := q.r.URL.Query()
	b := exceptionsPage{Names: map[string]string{}, Latest: q.now.Add(longest - 24*time.Hour).Format(time.DateOnly)}
	b.Form = exceptionForm{cut(v.Get("host")), cut(v.Get("profile")), cut(v.Get("code")), cut(v.Get("subject")), v.Get("code") != ""}
	for _, e := range finding.Catalogue() {
		if !e.Code.Incident() {
			b.Codes = append(b.Codes, e)
		}
	}
	err := p.view(q, func(r fleet.Reader) error {
		all, err := r.Exceptions(time.Time{})
		if err != nil {
			return err
		}
		for _, x := range all {
			switch {
			case !q.now.Before(x.Expires):
				b.Over = append(b.Over, x)
			case x.Approved == "":
				b.Waiting = append(b.Waiting, x)
			default:
				b.InForce = append(b.InForce, x)
			}
		}
		slices.Reverse(b.Over) // those that ended last
		b.MoreOver = max(0, len(b.Over)-maxOver)
		b.Over = b.Over[:len(b.Over)-b.MoreOver]
		return b.name(r)
	})
	if err != nil {
		return err
	}
	return p.show(q, "exceptions", "exceptions", "Exceptions", b)
}

func cut(s string) string { return s[:min(len(s), maxSubject)] }

// name finds the names of what exceptions are about.
func (b *exceptionsPage) name(r fleet.Reader) error {
	for _, x := range slices.Concat(b.Waiting, b.InForce, b.Over, []fleet.Exception{{Host: b.Form.Host}}) {
		if x.Host == "" || b.Names[x.Host] != "" {
			continue
		}
		h, err := r.Host(x.Host)
		if notFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		b.Names[x.Host] = h.Name
	}
	ps, err := r.Profiles("", maxProfiles)
	for _, p := range ps {
		b.Names[p.ID] = p.Name
	}
	return err
}

func (p *pages) askException(q *request) error {
	fields := map[string]string{}
	for _, name := range []string{"code", "subject", "host", "profile", "reason", "expires"} {
		s, err := q.field(name, maxSubject)
		if err != nil {
			return err
		}
		fields[name] = s
	}
	day, err := time.Parse(time.DateOnly, fields["expires"])
	if err != nil {
		return refused("expires: want a day, as 2027-01-31")
	}
	_, err = p.server.AskException(q.ctx, q.who, fleet.Exception{
		Code: finding.Code(fields["code"]), Subject: fields["subject"], Host: fields["host"], Profile: fields["profile"], Reason: fields["reason"],
		Expires: day.Add(24*time.Hour - time.Second), // the whole of the day
	})
	if err != nil {
		return err
	}
	return q.done("/exceptions", "asked")
}

func (p *pages) approve(q *request) error {
	id, err := url.PathUnescape(q.r.PathValue("id"))
	if err != nil {
		return fleet.ErrNotFound
	}
	if err := p.server.Approve(q.ctx, q.who, id); err != nil {
		return err
	}
	return q.done("/exceptions", "approved")
}
