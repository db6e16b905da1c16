package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report"
)

// machinePage is what is known of one machine.
type machinePage struct {
	Host       *fleet.Host
	Profile    *fleet.Profile
	Open       []openFinding
	MoreOpen   int
	Places     []openFinding // those with a place on the board, the worst first
	Last       *fleet.Result
	Report     *assay.Result // what the last appraisal found; nil when there is none
	Unread     string        // why it cannot be shown
	History    []pastResult
	Doubtful   bool         // a result of the history is not as the server wrote it
	Older      template.URL // the query of older results
	Newest     bool
	Timeline   *timeline
	Exceptions []fleet.Exception
}

// pastResult is a result, and why it should not be believed.
type pastResult struct {
	fleet.Result
	Doubt string
}

// openFinding is a finding that stands.
type openFinding struct {
	fleet.Open
	Place     string
	Exception *fleet.Exception // that covers it
	Ask       template.URL     // the query of the form to ask for one
	Folded    bool             // the fourth and more of one code, and in no place
}

const (
	historySize = 60
	maxOpen     = 300
)

func (p *pages) machine(q *request) error {
	before, err := earlier(q.r.URL.Query().Get("before"))
	if err != nil {
		return err
	}
	b := machinePage{Newest: before.IsZero()}
	err = p.view(q, func(r fleet.Reader) (err error) {
		if b.Host, err = r.Host(q.r.PathValue("id")); err != nil {
			return err
		}
		open, err := r.OpenFindings(fleet.FindingQuery{Host: b.Host.ID})
		if err != nil {
			return err
		}
		all, err := r.Exceptions(time.Time{})
		if err != nil {
			return err
		}
		b.stand(open, all)
		if b.Host.Result != "" {
			if b.Last, err = r.Result(b.Host.Result); err != nil {
				return err
			}
		}
		if b.Profile, err = profileOf(r, b.Host.Profile); err != nil {
			return err
		}
		history, err := r.Results(b.Host.ID, before, historySize)
		if err != nil {
			return err
		}
		b.Timeline = newTimeline(history)
		b.History, err = p.past(r, history)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range b.History {
		b.Doubtful = b.Doubtful || r.Doubt != ""
	}
	if len(b.History) == historySize {
		b.Older = query(map[string]string{"before": b.History[historySize-1].At.Format(time.RFC3339Nano)})
	}
	if b.Last != nil {
		b.Report, b.Unread = p.appraisal(q, b.Last)
	}
	return p.show(q, "machine", "machines", report.Plain(b.Host.Name), b)
}

// past looks at results as at the audit log: whether the server signed them, and
// whether one between them is missing.
func (p *pages) past(r fleet.Reader, history []fleet.Result) ([]pastResult, error) {
	here := map[string]bool{}
	for _, x := range history {
		here[x.ID] = true
	}
	out := make([]pastResult, len(history))
	for i, x := range history {
		out[i] = pastResult{x, p.doubt(&x)}
		if x.Prev == "" || here[x.Prev] || out[i].Doubt != "" {
			continue
		}
		_, err := r.Result(x.Prev)
		switch {
		case notFound(err):
			out[i].Doubt = "the result before it is not here: removed, or older than results are kept"
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}

// doubt says why a result is not what the server wrote, where it signs results.
func (p *pages) doubt(r *fleet.Result) string {
	if p.server.Key == nil {
		return ""
	}
	return server.Unsealed(p.server.Key.Public, r)
}

// earlier reads the end of a page of history.
func earlier(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, &server.Refusal{Reason: "The page is not known.", Status: server.Invalid}
	}
	return t, nil
}

// profileOf finds the kind of a machine; nil when it has none.
func profileOf(r fleet.Reader, id string) (*fleet.Profile, error) {
	if id == "" {
		return nil, nil
	}
	for after := ""; ; {
		ps, err := r.Profiles(after, 1000)
		if err != nil || len(ps) == 0 {
			return nil, err
		}
		if i := slices.IndexFunc(ps, func(p fleet.Profile) bool { return p.ID == id }); i >= 0 {
			return &ps[i], nil
		}
		after = ps[len(ps)-1].ID
	}
}

// stand sorts what stands against the machine.
func (b *machinePage) stand(open []fleet.Open, all []fleet.Exception) {
	for i := range all {
		if x := &all[i]; x.Host == b.Host.ID || x.Host == "" && x.Profile != "" && x.Profile == b.Host.Profile {
			b.Exceptions = append(b.Exceptions, *x)
		}
	}
	of := map[finding.Code]int{}
	b.MoreOpen = max(0, len(open)-maxOpen)
	for _, o := range open[:len(open)-b.MoreOpen] {
		f := openFinding{Open: o, Place: report.Place(o.Finding)}
		for i := range all {
			if all[i].ID == o.Exception {
				f.Exception = &all[i]
			}
		}
		f.Ask = query(map[string]string{"host": b.Host.ID, "code": string(o.Finding.Code), "subject": o.Finding.Subject})
		of[o.Finding.Code]++
		f.Folded = f.Place == "" && of[o.Finding.Code] > 3
		b.Open = append(b.Open, f)
		if f.Place != "" && o.Finding.Severity >= finding.Medium {
			b.Places = append(b.Places, f)
		}
	}
}

// appraisal reads what an appraisal found. That it cannot be read is no reason to
// hide the rest of the machine.
func (p *pages) appraisal(q *request, r *fleet.Result) (*assay.Result, string) {
	raw, err := p.server.Blobs.Get(q.ctx, r.Blob)
	if err != nil {
		return nil, "the stored result cannot be read: " + unread(err)
	}
	out := &assay.Result{}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, "the stored result is not one of this version"
	}
	return out, ""
}

func unread(err error) string {
	if isDamaged(err) {
		return blob.ErrDamaged.Error()
	}
	return "it is not there"
}

// Observed are the places of the board, for who does not see the picture.
func (b machinePage) Observed() []assay.PlaceOnBoard { return placesOf(b.Report) }

func placesOf(r *assay.Result) []assay.PlaceOnBoard {
	if r == nil {
		return nil
	}
	out := slices.Clone(r.Map)
	slices.SortStableFunc(out, func(a, b assay.PlaceOnBoard) int { return cmp.Compare(b.Severity, a.Severity) })
	return out
}

// resultPage is one result of the history.
type resultPage struct {
	Result   *fleet.Result
	Host     *fleet.Host
	Evidence *fleet.Evidence // nil when it was removed
	Report   *assay.Result
	Unread   string
	Doubt    string
}

// Observed are the places of the board, for who does not see the picture.
func (b resultPage) Observed() []assay.PlaceOnBoard { return placesOf(b.Report) }

// found reads a result with its machine.
func (p *pages) found(q *request) (*resultPage, error) {
	b := &resultPage{}
	err := p.view(q, func(r fleet.Reader) (err error) {
		if b.Result, err = r.Result(q.r.PathValue("id")); err != nil {
			return err
		}
		if b.Host, err = r.Host(b.Result.Host); err != nil {
			return err
		}
		b.Evidence, err = r.Evidence(b.Result.Evidence)
		if notFound(err) {
			return nil
		}
		return err
	})
	return b, err
}

func (p *pages) result(q *request) error {
	b, err := p.found(q)
	if err != nil {
		return err
	}
	b.Report, b.Unread = p.appraisal(q, b.Result)
	b.Doubt = p.doubt(b.Result)
	title := fmt.Sprintf("%s, result of %s", report.Plain(b.Host.Name), moment{b.Result.At, q.now}.Text())
	return p.show(q, "result", "machines", title, b)
}

// resultJSON gives the Attestation Result as it was stored.
func (p *pages) resultJSON(q *request) error {
	b, err := p.found(q)
	if err != nil {
		return err
	}
	raw, err := p.server.Blobs.Get(q.ctx, b.Result.Blob)
	if err != nil {
		return err
	}
	download(q.w, "application/json", b.Result.ID+".result.json")
	http.ServeContent(q.w, q.r, "", time.Time{}, bytes.NewReader(raw))
	return nil
}

// download has the browser save a file. Names are ids that the server gave.
func download(w http.ResponseWriter, kind, name string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

func (p *pages) auditNow(q *request) error {
	id := q.r.PathValue("id")
	if err := p.api.AuditNow(q.ctx, q.who, id); err != nil {
		return err
	}
	return q.done("/machines/"+url.PathEscape(id), "audit")
}

func (p *pages) retire(q *request) error {
	id := q.r.PathValue("id")
	reason, err := q.field("reason", 1000)
	if err != nil {
		return err
	}
	if reason == "" || q.r.PostFormValue("sure") == "" {
		return &server.Refusal{Reason: "A machine is retired for a reason, by somebody who is sure: its keys are never used again.", Status: server.Invalid}
	}
	if err := p.server.Retire(q.ctx, q.who, id, reason); err != nil {
		return err
	}
	return q.done("/machines/"+url.PathEscape(id), "retire")
}

// done sends the browser to a page that says what was done.
func (q *request) done(path, what string) error {
	http.Redirect(q.w, q.r, path+"?done="+what, http.StatusSeeOther)
	return nil
}
