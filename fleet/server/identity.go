package server

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/internal/tpmwire"
)

const (
	clockSubject = "fleet:clock"
	placeSubject = "fleet:place"
)

// saveEvery is how far a TPM's clock may fall back when it loses power without
// notice: the longest interval at which it saves it, 2^22 ms (TPM 2.0 Library part
// 1, on Clock among the timing components).
const saveEvery = 1 << 22

// clockOf reads the TPM's clock from a quote that was verified.
func clockOf(b *evidence.Bundle, a assay.Assurance, digest string) *fleet.Clock {
	if !a.Quoted || !a.KeyBound {
		return nil
	}
	for _, p := range append([]string{"tpm/quote-sha256.attest"}, b.Glob("tpm/quote-*.attest")...) {
		raw, err := b.Read(p)
		if err != nil {
			continue
		}
		if q, err := tpmwire.ParseAttest(raw); err == nil && q.Quote != nil {
			return &fleet.Clock{Evidence: digest, Millis: q.Clock.Clock, Resets: q.Clock.ResetCount, Restarts: q.Clock.RestartCount}
		}
	}
	return nil
}

// clockOrder compares the TPM's clock with that of the quote before. One TPM's
// counters only grow, unless it is cleared; two that share their keys, as copies
// of one state do, give themselves away when they answer in turn (IC-09).
func clockOrder(before, now *fleet.Clock, e, last *fleet.Evidence) *finding.Finding {
	if before == nil || now == nil || last == nil || e.Asked.Before(last.Received) {
		return nil // the quotes may have been made in either order
	}
	var got string
	switch {
	case less(now.Resets, before.Resets):
		got = fmt.Sprintf("%d resets after %d", now.Resets, before.Resets)
	case now.Resets == before.Resets && less(now.Restarts, before.Restarts):
		got = fmt.Sprintf("%d restarts after %d, and no reset between", now.Restarts, before.Restarts)
	case now.Resets == before.Resets && now.Millis < before.Millis:
		got = fmt.Sprintf("a clock of %s after %s, and no reset between", hours(now.Millis), hours(before.Millis))
	case now.Millis+saveEvery < before.Millis:
		got = fmt.Sprintf("a clock of %s after %s", hours(now.Millis), hours(before.Millis))
	default:
		return nil
	}
	x := finding.New(finding.DuplicateIdentity, clockSubject)
	x.Want, x.Got = "counters of one TPM, which only grow", got
	if elapsed := e.Received.Sub(last.Received); time.Duration(now.Millis)*time.Millisecond <= elapsed {
		x.Severity, x.Confidence = finding.Medium, finding.Strong
		x.Why = "The TPM was cleared since the last audit, or another one with the same keys answered. Ask who cleared it."
	} else {
		x.Severity, x.Confidence = finding.Critical, finding.Strong
		x.Why = fmt.Sprintf("The TPM counts %s of power, more than the %s since the last audit, so that it was not cleared meanwhile: another TPM with the same keys answered.", hours(now.Millis), elapsed.Round(time.Minute))
	}
	return &x
}

// less orders counters as they grow, over their end too: for a key outside of the
// endorsement hierarchy a TPM adds a secret number to them, which stays until it is
// cleared (TPM 2.0 Library part 1, on obfuscation).
func less(a, b uint32) bool { return int32(a-b) < 0 }

func hours(millis uint64) string {
	return (time.Duration(min(millis, 1<<52)) * time.Millisecond).Round(time.Second).String()
}

// sticky are findings about what happened once: they stand until somebody accepts
// them, since the next evidence looks good again.
func sticky(before []fleet.Open, found []finding.Finding) []finding.Finding {
	for _, o := range before {
		f := o.Finding
		if f.Code != finding.DuplicateIdentity || f.Subject != clockSubject || o.Exception != "" {
			continue
		}
		if !slices.ContainsFunc(found, func(x finding.Finding) bool { return x.Subject == clockSubject && x.Severity >= f.Severity }) {
			found = slices.DeleteFunc(found, func(x finding.Finding) bool { return x.Subject == clockSubject })
			found = append(found, f)
		}
	}
	return found
}

// networkOf is the part of an address by which a place is told: that of a rack or a
// site, not of one lease.
func networkOf(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil {
		return ""
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// whereabouts says when evidence came from another place than the machine stands
// at (FL-003). What a signed ticket says counts; where it was seen first is a hint.
func whereabouts(h *fleet.Host, from string) *finding.Finding {
	a, err := netip.ParseAddr(from)
	if err != nil || len(h.Networks) == 0 {
		return nil
	}
	a = a.Unmap().WithZone("")
	for _, n := range h.Networks {
		if p, err := netip.ParsePrefix(n); err == nil && p.Contains(a) {
			return nil
		}
	}
	x := finding.New(finding.AssetMoved, placeSubject)
	x.Want, x.Got = strings.Join(h.Networks, ", "), networkOf(from)
	if h.Placed != "" {
		x.Severity, x.Confidence = finding.Medium, finding.Strong
		x.Why = fmt.Sprintf("A signed ticket says that the machine stands at %s and speaks from other networks.", h.Site)
	} else {
		x.Severity, x.Confidence = finding.Low, finding.Weak
		x.Why = "Evidence came from another network than the first time. A signed ticket says where the machine stands (assay fleet ticket place)."
	}
	return &x
}

// cloned joins what speaks for a second machine with this one's identity (IC-09).
func cloned(own []finding.Finding) []assay.Incident {
	var prints []string
	worst := finding.Info
	for _, f := range own {
		copied := f.Subject == clockSubject || strings.HasPrefix(f.Subject, "fleet:ek:") || strings.HasPrefix(f.Subject, "fleet:ak:") || strings.HasPrefix(f.Subject, "fleet:dsn:")
		if f.Code == finding.DuplicateIdentity && copied {
			prints = append(prints, f.Fingerprint)
			worst = max(worst, f.Severity)
		}
	}
	if len(prints) == 0 {
		return nil
	}
	return []assay.Incident{incident(finding.IncidentClone, worst, prints,
		"What only one machine can have was seen twice, or the TPM's counters ran backwards: the identity was copied, the TPM's state was cloned, or the TPM was cleared.",
		"Audit this machine and the ones that are named at the same time, and look at both: one of them has to be missing. Where the TPM was cleared, who did it can say so.")}
}

func incident(code finding.Code, s finding.Severity, prints []string, narrative, disprove string) assay.Incident {
	d, _ := finding.Lookup(code)
	slices.Sort(prints)
	return assay.Incident{Code: code, Severity: s, Title: d.Title, Narrative: narrative, Findings: slices.Compact(prints), Disprove: disprove}
}
