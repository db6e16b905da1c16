package attest

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// Session is what a TPM signed in one scan, when all of it was in order: the
// quotes, which cover the inventory and carry the nonce, and the time.
type Session struct {
	nonceGiven, uptime bool // what there was
	key                *tpmwire.Public
	quotes             []*attestation
	time               *attestation // nil when the TPM signed none
}

// Session returns what a later scan of the same boot can be held against, or nil
// when something that the TPM signed was not in order.
func (a *Appraisal) Session() *Session { return a.session }

func (ap *appraiser) session() *Session {
	inOrder := func(a *attestation) bool { return a != nil && a.body != nil && a.sig != nil }
	s := &Session{nonceGiven: ap.p.NonceGiven, key: ap.o.ak, time: ap.o.time, uptime: ap.o.uptime > 0}
	if !ap.p.Sealed || len(ap.quotes) == 0 || len(ap.quotes) != len(ap.o.attests) || !all(ap.sealed) || ap.p.NonceGiven && !all(ap.fresh) {
		return nil
	}
	for i := range ap.quotes {
		q := &ap.quotes[i]
		if !q.signed || !q.resolved || !inOrder(q.attestation) {
			return nil
		}
		s.quotes = append(s.quotes, q.attestation)
	}
	if s.time != nil && (!inOrder(s.time) || s.time.body.Time == nil || !ap.timed) || ap.has(finding.TPMClock) {
		return nil
	}
	return s
}

// Continues reports whether a bundle is another scan of the same boot, in which
// the TPM signed anew what it signed before and nothing else: the same registers
// with the same values, under the same key, over this inventory and for this
// nonce (nil when the verifier gave none), with no start of the TPM in between, and
// by a TPM that is as old as the system. The bundle has to be Settled as the first
// one was. All that an appraisal finds is then as before.
func (s *Session) Continues(b *evidence.Bundle, nonce []byte) bool {
	if s.nonceGiven != (nonce != nil) || !b.Sealed() {
		return false
	}
	if nonce == nil {
		var err error
		if nonce, err = b.Nonce(); err != nil {
			return false
		}
	}
	want := evidence.QualifyingData(nonce, b.Digest())
	for _, before := range s.quotes {
		now, ok := signedAgain(b, before)
		if !ok || !bytes.Equal(now.ExtraData, want[:]) || !sameQuote(now.Quote, before.body.Quote) || !s.verified(b, before) {
			return false
		}
	}
	return s.timeContinues(b)
}

func (s *Session) timeContinues(b *evidence.Bundle) bool {
	running, err := uptime(b)
	if err != nil || (running > 0) != s.uptime {
		return false
	}
	if s.time == nil {
		return true
	}
	now, ok := signedAgain(b, s.time)
	return ok && now.Time != nil && !younger(now.Time.Time, running) && sameBoot(now.Time.Clock, s.time.body.Time.Clock) &&
		now.Time.FirmwareVersion == s.time.body.Time.FirmwareVersion && s.verified(b, s.time)
}

// signedAgain reads an attestation that takes the place of an earlier one.
func signedAgain(b *evidence.Bundle, before *attestation) (*tpmwire.Attest, bool) {
	raw, err := b.Read(before.path)
	if err != nil || len(raw) != len(before.raw) {
		return nil, false
	}
	now, err := tpmwire.ParseAttest(raw)
	if err != nil {
		return nil, false
	}
	old := before.body
	return now, now.Type == old.Type && bytes.Equal(now.QualifiedSigner, old.QualifiedSigner) && sameBoot(now.Clock, old.Clock) && now.FirmwareVersion == old.FirmwareVersion
}

// sameBoot leaves out the clock, which goes on.
func sameBoot(a, b tpmwire.ClockInfo) bool {
	return a.ResetCount == b.ResetCount && a.RestartCount == b.RestartCount && a.Safe == b.Safe
}

func sameQuote(a, b *tpmwire.QuoteInfo) bool {
	return a != nil && bytes.Equal(a.Digest, b.Digest) && slices.EqualFunc(a.Selections, b.Selections, func(x, y tpmwire.Selection) bool {
		return x.Bank == y.Bank && slices.Equal(x.PCRs, y.PCRs)
	})
}

// verified checks the signature over an attestation of a bundle, of the kind that
// the earlier one had.
func (s *Session) verified(b *evidence.Bundle, before *attestation) bool {
	raw, err := b.Read(before.path)
	if err != nil {
		return false
	}
	own, err := b.Read(strings.TrimSuffix(before.path, ".attest") + ".sig")
	if err != nil {
		return false
	}
	sig, err := tpmwire.ParseSignature(own)
	return err == nil && sig.Scheme == before.sig.Scheme && sig.Hash == before.sig.Hash && sig.Verify(s.key, raw) == nil
}

// until finds when a certificate begins or ends to count; now is such a time too,
// since a certificate counts at the moment of its end and not after it.
func (ap *appraiser) until() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if !t.Before(ap.p.Now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, c := range slices.Concat(ap.p.EKRoots, ap.p.EKIntermediates) {
		at(c.NotBefore)
		at(c.NotAfter)
	}
	for i := range ap.o.certs {
		at(ap.o.certs[i].cert.NotBefore)
		at(ap.o.certs[i].cert.NotAfter)
	}
	return next
}
