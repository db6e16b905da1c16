package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/manifest/redfish"
	"github.com/assay-hw/assay/report"
)

// judged is what appraising evidence found, before it is held against the fleet.
type judged struct {
	evidence *fleet.Evidence
	result   *assay.Result
	blob     string
	facts    []fleet.Fact
	profile  fleet.Profile
	features []string
	goldens  []string // digests of the manifests that were trusted
	clock    *fleet.Clock

	inventory *bom.Inventory
}

// appraise judges one bundle. Reading and judging happen outside of the
// transaction; what the fleet knows of the machine changes in it.
func (s *Server) appraise(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
	jd, err := s.judge(ctx, j.Key)
	if err != nil {
		return nil, err
	}
	if jd.result == nil {
		return nil, nil
	}
	id, err := s.id("r-")
	if err != nil {
		return nil, err
	}
	return func(tx fleet.Tx) error { return s.settle(tx, jd, id) }, nil
}

func (s *Server) judge(ctx context.Context, digest string) (*judged, error) {
	jd := &judged{}
	h, c, err := s.begin(ctx, jd, digest)
	if err != nil || jd.evidence.Status != fleet.Accepted {
		return jd, err // it was judged before
	}
	b, err := s.Bundle(ctx, jd.evidence.Blob)
	if err != nil {
		return nil, err
	}
	inv, err := inventoryOf(h, b)
	if err != nil {
		return nil, err
	}
	c.Evidence = b
	if h.Mode == fleet.ByRedfish {
		c.Inventory = inv
	} else if told, err := redfish.Inventory(b, ""); err == nil && len(b.Dir("redfish")) > 0 {
		c.Controller = told
	}
	if err := s.Store.View(ctx, func(r fleet.Reader) error { return s.references(r, inv, h.Identity.Chassis, &c) }); err != nil {
		return nil, err
	}
	if jd.result, err = s.verifier.Verify(c); err != nil {
		return nil, err
	}
	var doc bytes.Buffer
	if err := report.JSON(&doc, jd.result); err != nil {
		return nil, err
	}
	if jd.blob, err = s.Blobs.Put(ctx, doc.Bytes()); err != nil {
		return nil, err
	}
	jd.describe(inv, measured(b))
	jd.inventory = inv
	jd.clock = clockOf(b, jd.result.Assurance, digest)
	return jd, nil
}

// begin finds whose evidence it is, and by which policy it is judged.
func (s *Server) begin(ctx context.Context, jd *judged, digest string) (h *fleet.Host, c assay.Case, err error) {
	c = assay.Case{Trust: s.Trust, EKRoots: s.EKDER, Makers: s.makers, Decoders: s.Decoders}
	err = s.Store.View(ctx, func(r fleet.Reader) (err error) {
		if jd.evidence, err = r.Evidence(digest); err != nil {
			return err
		}
		if h, err = r.Host(jd.evidence.Host); err != nil {
			return err
		}
		c.Policy, err = s.policyOf(r, h, s.now())
		return err
	})
	if err != nil {
		return nil, c, err
	}
	c.Nonce, c.Now = jd.evidence.Nonce, jd.evidence.Received
	if h.Mode != fleet.ByRedfish {
		c.Enrolled = []attest.Endorsement{{Kind: "ak", Name: h.Identity.AKName}, {Kind: "ek", SHA256: h.Identity.EKSHA256, Algorithm: h.Identity.EKKind, Optional: true}}
	}
	return h, c, nil
}

// describe keeps of a machine what is compared with others.
func (jd *judged) describe(inv *bom.Inventory, pcrs map[int]string) {
	jd.facts = partFacts(inv)
	jd.profile, _ = profileOf(inv)
	jd.features = features(inv, pcrs)
	for _, m := range jd.result.Manifests {
		if m.Status == "trusted" {
			jd.goldens = append(jd.goldens, m.SHA256)
		}
	}
}

// measured are registers that tell kinds of firmware apart, as the machine lists
// them. They only group machines; what they prove is the appraisal's to say.
func measured(b *evidence.Bundle) map[int]string {
	raw, err := b.Read("tpm/pcrs.json")
	if err != nil {
		return nil
	}
	var banks map[string]map[string]string
	if json.Unmarshal(raw, &banks) != nil {
		return nil
	}
	out := map[int]string{}
	for _, pcr := range []int{0, 2, 4, 7} {
		if v := banks["sha256"][fmt.Sprint(pcr)]; len(v) == 64 {
			out[pcr] = v
		}
	}
	return out
}

// settle holds what was found against what the fleet knows, and stores both.
func (s *Server) settle(tx fleet.Tx, jd *judged, id string) error {
	e := jd.evidence
	h, err := tx.Host(e.Host)
	if err != nil {
		return err
	}
	now := s.now()
	if h.Judged.After(e.Received) { // a job that was tried again; what is known now is newer
		e.Status = fleet.Appraised
		r := &fleet.Result{ID: id, Host: h.ID, Evidence: e.Digest, At: now, State: stateOf(jd.result.Verdict), Verdict: jd.result.Verdict, Level: jd.result.Assurance.Level, Blob: jd.blob}
		return errors.Join(s.seal(r, ""), tx.PutResult(r), tx.PutEvidence(e))
	}
	before, err := tx.OpenFindings(fleet.FindingQuery{Host: h.ID})
	if err != nil {
		return err
	}
	exceptions, err := tx.Exceptions(now)
	if err != nil {
		return err
	}
	own, err := s.compare(tx, h, jd, before, exceptions, now)
	if err != nil {
		return err
	}
	incidents := slices.Concat(cloned(own), batches(h, own), poisoned(own, jd.result.Findings))
	open := opened(h, exceptions, before, append(slices.Clone(jd.result.Findings), own...), now)
	if doubtful := abuse(exceptions, open); len(doubtful) > 0 {
		own = finding.Sort(append(own, doubtful...))
		open = append(open, opened(h, nil, before, doubtful, now)...)
	}
	r := &fleet.Result{ID: id, Host: h.ID, Evidence: e.Digest, At: now, Verdict: jd.result.Verdict, Level: jd.result.Assurance.Level, Blob: jd.blob, Fleet: own, Incidents: incidents}
	r.State = worse(stateOf(r.Verdict), open)
	r.Changes = changes(h, r, before, open)
	if err := s.seal(r, h.Result); err != nil {
		return err
	}
	was := h.State
	if r.State != h.State {
		h.State, h.Since = r.State, now
	}
	h.Result, h.Judged, h.Level, h.NextDue, h.AuditNow = id, e.Received, r.Level, e.Received.Add(h.Interval), time.Time{}
	if jd.result.Assurance.Quoted && jd.result.Assurance.KeyBound {
		h.LastAttested = e.Received
	}
	if jd.clock != nil {
		h.Clock = jd.clock
	}
	if n := networkOf(e.From); n != "" && len(h.Networks) == 0 && h.Placed == "" {
		h.Networks = []string{n}
	}
	h.Findings, h.Worst = weigh(open)
	if r.State == fleet.Pass && h.Golden == "" && len(jd.goldens) > 0 {
		h.Golden = jd.goldens[0]
	}
	e.Status = fleet.Appraised
	return errors.Join(tx.PutResult(r), tx.PutOpen(h.ID, open), tx.PutHost(h), tx.PutEvidence(e), s.tell(tx, was, h, open, true))
}

// compare keeps what a machine has, and holds it against what others have.
func (s *Server) compare(tx fleet.Tx, h *fleet.Host, jd *judged, before []fleet.Open, exceptions []fleet.Exception, now time.Time) ([]finding.Finding, error) {
	exchanged := itself(h, jd.inventory)
	if err := tx.PutFacts(h.ID, append(hostFacts(h), jd.facts...)); err != nil {
		return nil, err
	}
	jd.profile.Lot = h.Lot
	if err := tx.PutFeatures(h.ID, jd.profile, jd.features); err != nil {
		return nil, err
	}
	h.Profile = jd.profile.ID
	own, err := s.fleetFindings(tx, h, jd)
	if err != nil {
		return nil, err
	}
	together, err := correlated(tx, h, before, jd.result.Findings, now)
	if err != nil {
		return nil, err
	}
	early := foreseen(exceptions, h, before, jd.result.Findings, now)
	return finding.Sort(sticky(before, slices.Concat(own, together, exchanged, early))), nil
}

// worse lowers a state by what the fleet found. It never makes one better.
func worse(s fleet.State, open []fleet.Open) fleet.State {
	for _, o := range open {
		f := o.Finding
		switch {
		case f.Claim != finding.ClaimFleet && f.Code != finding.ExceptionAbuse || o.Exception != "": // the verdict has the others
		case f.Severity >= finding.High && f.Confidence >= finding.Strong:
			return fleet.Fail
		case f.Severity >= finding.Medium && s == fleet.Pass:
			s = fleet.Review
		}
	}
	return s
}

// opened joins what stands now with its history, and marks what an exception
// covers.
func opened(h *fleet.Host, exceptions []fleet.Exception, before []fleet.Open, found []finding.Finding, now time.Time) []fleet.Open {
	first := map[string]time.Time{}
	for _, o := range before {
		first[o.Finding.Fingerprint] = o.FirstSeen
	}
	var out []fleet.Open
	for _, f := range found {
		o := fleet.Open{Host: h.ID, Finding: f, FirstSeen: now, LastSeen: now}
		if t, ok := first[f.Fingerprint]; ok {
			o.FirstSeen = t
		}
		for _, x := range exceptions { // the appraisal has lowered what it found itself
			if x.InForce(h, now) && x.Code == f.Code && x.Subject == f.Subject {
				o.Exception = x.ID
			}
		}
		if f.Severity > finding.Info || o.Exception != "" {
			out = append(out, o)
		}
	}
	return out
}

func changes(h *fleet.Host, r *fleet.Result, before, open []fleet.Open) []fleet.Change {
	var out []fleet.Change
	if h.State != r.State {
		out = append(out, fleet.Change{Kind: "state", Subject: h.ID, Old: string(h.State), New: string(r.State)})
	}
	had, has := map[string]bool{}, map[string]bool{}
	for _, o := range before {
		had[o.Finding.Fingerprint] = true
	}
	for _, o := range open {
		has[o.Finding.Fingerprint] = true
		if !had[o.Finding.Fingerprint] {
			out = append(out, fleet.Change{Kind: "finding", Subject: o.Finding.Subject, New: string(o.Finding.Code) + " " + o.Finding.Title})
		}
	}
	for _, o := range before {
		if !has[o.Finding.Fingerprint] {
			out = append(out, fleet.Change{Kind: "resolved", Subject: o.Finding.Subject, Old: string(o.Finding.Code) + " " + o.Finding.Title})
		}
	}
	return out
}

func weigh(open []fleet.Open) (n int, worst finding.Severity) {
	for _, o := range open {
		if o.Finding.Severity > finding.Low && o.Exception == "" {
			n++
			worst = max(worst, o.Finding.Severity)
		}
	}
	return n, worst
}

// giveUp ends a job that failed for good. Evidence that cannot be judged is an
// error of the machine's state, and never a pass.
func (s *Server) giveUp(j fleet.Job, cause error) func(fleet.Tx) error {
	return func(tx fleet.Tx) error {
		now := s.now()
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: "server", Action: "job given up", Subject: string(j.Kind) + " " + j.Key, Detail: cause.Error()}); err != nil {
			return err
		}
		if j.Kind == fleet.Alert {
			return s.Alerts.GaveUp(tx, j)
		}
		if j.Kind != fleet.Appraise {
			return nil
		}
		e, err := tx.Evidence(j.Key)
		if errors.Is(err, fleet.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		h, err := tx.Host(e.Host)
		if err != nil {
			return err
		}
		was := h.State
		if h.State != fleet.Error {
			h.State, h.Since = fleet.Error, now
		}
		e.Status, e.Reason = fleet.Refused, cause.Error()
		h.NextDue = e.Received.Add(h.Interval)
		open, err := tx.OpenFindings(fleet.FindingQuery{Host: h.ID})
		return errors.Join(err, tx.PutHost(h), tx.PutEvidence(e), s.tell(tx, was, h, open, false))
	}
}
