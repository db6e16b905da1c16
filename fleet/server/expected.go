package server

import (
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// clockMoved tells what an honest machine's clock does between two audits: the
// machine was started again (CH-001), or its TPM lost the time since it last saved
// its clock when the power went (CH-012). What clockOrder holds against the machine
// is none of both. The policy covers it: it lets machines be started.
func clockMoved(before, now *fleet.Clock, against *finding.Finding, policy string) []finding.Finding {
	if before == nil || now == nil || against != nil || !less(before.Resets, now.Resets) {
		return nil
	}
	x := finding.New(finding.ChangeReboot, clockSubject)
	x.Want, x.Got = fmt.Sprintf("%d resets", before.Resets), fmt.Sprintf("%d resets", now.Resets)
	x.Why = "The TPM signs that the machine was started since the last audit."
	out := []finding.Finding{x}
	if now.Millis < before.Millis {
		y := finding.New(finding.ChangeClock, clockSubject)
		y.Want, y.Got = "a clock of at least "+hours(before.Millis), hours(now.Millis)
		y.Why = "The TPM's clock fell back by less than the time after which it saves it, as after a loss of power (TPM 2.0 Library part 1, on Clock)."
		out = append(out, y)
	}
	for i := range out {
		out[i].CoveredBy = "policy " + policy
		out[i].Sources = []finding.Source{finding.Cryptographic}
	}
	return out
}

// planted are findings of a part that was put in. Nobody knows one before it is seen
// but who put it there, or ordered it: then there is a signed change of the manifest.
var planted = []finding.Code{finding.UnexpectedComponent, finding.UnexpectedLowSpeedDevice, finding.ComponentReplaced}

// foreseen finds exceptions that were asked for before their finding was there
// (PO-003): the allow-list was made for the anomaly. An exception for a profile is
// asked for once and for machines to come.
func foreseen(exceptions []fleet.Exception, h *fleet.Host, before []fleet.Open, found []finding.Finding, now time.Time) []finding.Finding {
	var out []finding.Finding
	for _, f := range found {
		if !slices.Contains(planted, f.Code) {
			continue
		}
		first := now
		for _, o := range before {
			if o.Finding.Fingerprint == f.Fingerprint {
				first = o.FirstSeen
			}
		}
		for _, x := range exceptions {
			if x.Host != h.ID || x.Code != f.Code || x.Subject != f.Subject || !x.InForce(h, now) || !x.AskedAt.Before(first) {
				continue
			}
			y := finding.New(finding.ExceptionAbuse, "exception:"+x.ID)
			y.Want, y.Got = "asked for after "+first.UTC().Format(time.RFC3339), fmt.Sprintf("%s %s, asked for by %s at %s", f.Code, f.Subject, x.Asked, x.AskedAt.UTC().Format(time.RFC3339))
			y.Why = fmt.Sprintf("%s asked for the exception before any audit had found what it excuses, and %s granted it.", x.Asked, x.Approved)
			y.Sources = f.Sources
			y.Seal()
			out = append(out, y)
		}
	}
	return out
}

// poisoned is IC-18: an exception that was made for a part that nobody had seen yet.
func poisoned(own, found []finding.Finding) []assay.Incident {
	var prints []string
	for _, f := range own {
		if f.Code == finding.ExceptionAbuse {
			prints = append(prints, f.Fingerprint)
		}
	}
	if len(prints) == 0 {
		return nil
	}
	for _, f := range found {
		if slices.Contains(planted, f.Code) && f.CoveredBy != "" {
			prints = append(prints, f.Fingerprint)
		}
	}
	return []assay.Incident{incident(finding.IncidentPoisonedApproval, finding.High, prints,
		"An exception was asked for and granted before the part that it excuses was in the machine: whoever asked knew of it.",
		"Ask both who signed for the order and for the delivery of the part, and take the exception back. A part that was ordered belongs into a signed change of the manifest.")}
}
