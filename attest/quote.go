package attest

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// Registers are PCR values that an attestation key signed. Only the
// verification of a quote makes one that holds anything: the zero value has
// no registers and proves nothing.
type Registers struct {
	values RegisterValues
}

// Value returns the signed value of a register.
func (r Registers) Value(bank string, pcr int) ([]byte, bool) {
	v, ok := r.values[bank][pcr]
	return bytes.Clone(v), ok
}

// attested is what is known about one quote after its checks.
type attested struct {
	*attestation
	signed   bool // the attestation key's signature holds
	values   RegisterValues
	resolved bool // the values reproduce the quote's digest
}

// quoteSubject names a quote's registers as "quote:sha256".
func (a *attestation) finding(o *Observation, code finding.Code) finding.Finding {
	f := finding.New(code, a.name)
	f.Confidence, f.Sources = finding.Proven, []finding.Source{finding.Cryptographic}
	f.Basis = o.basis(a.path, 0, len(a.raw))
	return f
}

// checkSignature verifies one signed structure under the attestation key. ok
// is false without a finding where there is nothing to check with.
func (ap *appraiser) checkSignature(a *attestation) (ok bool) {
	sigPath := strings.TrimSuffix(a.path, ".attest") + ".sig"
	switch {
	case a.body == nil:
		ap.notChecked(a.name, "the attestation is malformed")
		return false
	case a.sig == nil && ap.o.bundle.Has(sigPath):
		f := a.finding(ap.o, finding.QuoteSignature)
		f.Got, f.Why = "malformed", "The signature beside the attestation cannot be read, so nothing vouches for it."
		ap.add(f)
		return false
	case a.sig == nil:
		ap.notChecked("signature of "+a.name, "no signature in evidence")
		return false
	case ap.o.ak == nil:
		ap.notChecked("signature of "+a.name, "no public part of the attestation key in evidence ("+akPath+")")
		return false
	}
	if err := a.sig.Verify(ap.o.ak, a.raw); err != nil {
		f := a.finding(ap.o, finding.QuoteSignature)
		f.Got, f.Why = err.Error(), "The attestation key in evidence did not make this signature."
		f.Basis = append(f.Basis, ap.o.basis(sigPath, 0, 0)...)
		ap.add(f)
		return false
	}
	return ap.keyIsRestricted
}

// checkKey looks at the attributes of the attestation key: only a restricted
// signing key that never leaves its TPM makes an attestation what it says
// (TPM 2.0 Library Part 1, 24.2).
func (ap *appraiser) checkKey() {
	k := ap.o.ak
	if k == nil {
		return
	}
	const must = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Restricted | tpmwire.Sign
	if k.Attributes&must == must && k.Attributes&tpmwire.Decrypt == 0 {
		ap.keyIsRestricted = true
		return
	}
	f := finding.New(finding.KeyNotResident, "tpm:ak")
	f.Confidence, f.Sources, f.Basis = finding.Proven, []finding.Source{finding.Cryptographic}, ap.o.basis(akPath, 0, 0)
	f.Want, f.Got = attributeText(must), attributeText(k.Attributes)
	f.Why = "The key may exist outside the TPM or may sign what somebody else wrote: its signature proves nothing about this machine."
	ap.add(f)
}

func attributeText(a tpmwire.Attributes) string {
	var out []string
	for _, x := range []struct {
		a tpmwire.Attributes
		s string
	}{
		{tpmwire.FixedTPM, "fixedTPM"},
		{tpmwire.FixedParent, "fixedParent"},
		{tpmwire.SensitiveDataOrigin, "sensitiveDataOrigin"},
		{tpmwire.Restricted, "restricted"},
		{tpmwire.Decrypt, "decrypt"},
		{tpmwire.Sign, "sign"},
	} {
		if a&x.a != 0 {
			out = append(out, x.s)
		}
	}
	return strings.Join(out, " ")
}

// checkQuotes verifies every quote: signature, nonce, selection, digest.
func (ap *appraiser) checkQuotes() {
	ap.checkKey()
	for i := range ap.o.attests {
		a := &ap.o.attests[i]
		q := attested{attestation: a, signed: ap.checkSignature(a)}
		if a.body == nil {
			continue
		}
		if a.body.Quote == nil {
			f := a.finding(ap.o, finding.QuoteSignature)
			f.Got, f.Why = fmt.Sprintf("attestation type 0x%04x", a.body.Type), "The structure is no quote."
			ap.add(f)
			continue
		}
		nonceOK := ap.checkNonce(a)
		q.resolve(ap)
		ap.quotes = append(ap.quotes, q)
		if q.signed && q.resolved {
			ap.anyQuoted = true
			ap.fresh = append(ap.fresh, nonceOK.fresh)
			ap.sealed = append(ap.sealed, nonceOK.sealed)
			ap.registers.merge(q.values)
		}
	}
	if len(ap.o.attests) == 0 {
		ap.notChecked("quote", ap.reasonFor("tpm/quote-sha256.attest", "no quote in evidence"))
	}
}

// reasonFor gives the collector's own reason for a missing artefact.
func (ap *appraiser) reasonFor(path, otherwise string) string {
	if a, ok := ap.o.bundle.Artifact(path); ok && a.Reason != "" {
		return a.Reason
	}
	return otherwise
}

func (r *Registers) merge(v RegisterValues) {
	if r.values == nil {
		r.values = RegisterValues{}
	}
	for bank, pcrs := range v {
		if r.values[bank] == nil {
			r.values[bank] = make(map[int][]byte, len(pcrs))
		}
		for n, d := range pcrs {
			r.values[bank][n] = d
		}
	}
}

type binding struct{ fresh, sealed bool }

// checkNonce compares a quote's qualifying data with what it must carry. For a
// sealed bundle that is the hash over nonce and inventory, so a difference has
// three possible causes; which one it is follows from the nonce that the index
// states and from the digest of the inventory as it lies here.
func (ap *appraiser) checkNonce(a *attestation) binding {
	got := a.body.ExtraData
	if !ap.p.Sealed {
		if !ap.p.NonceGiven {
			ap.notChecked("freshness of "+a.name, "no nonce was given")
			return binding{}
		}
		if !bytes.Equal(got, ap.p.Nonce) {
			ap.wrongNonce(a, ap.p.Nonce, "The quote answers another request, or it was replayed.")
			return binding{}
		}
		return binding{fresh: true}
	}
	stated, err := ap.o.bundle.Nonce()
	if err != nil {
		stated = nil
	}
	nonce := stated
	if ap.p.NonceGiven {
		nonce = ap.p.Nonce
	} else {
		ap.notChecked("freshness of "+a.name, "no nonce was given")
	}
	binds := func(n []byte) bool {
		q := evidence.QualifyingData(n, ap.p.SealDigest)
		return bytes.Equal(got, q[:])
	}
	otherRequest := ap.p.NonceGiven && !bytes.Equal(stated, ap.p.Nonce)
	switch {
	case binds(nonce):
		return binding{fresh: ap.p.NonceGiven, sealed: true}
	case otherRequest && binds(stated):
		// The inventory is the one that was signed, for another request.
		ap.replayed(a, stated)
		ap.wrongNonce(a, ap.p.Nonce, "The quote covers this inventory, but it was made for another request.")
		return binding{sealed: true}
	}
	if otherRequest {
		ap.replayed(a, stated)
		ap.wrongNonce(a, ap.p.Nonce, "The index states another nonce than the one that was asked for.")
	}
	want := evidence.QualifyingData(nonce, ap.p.SealDigest)
	f := a.finding(ap.o, finding.EvidenceSpliced)
	f.Want, f.Got = fmt.Sprintf("%x", want), fmt.Sprintf("%x", got)
	f.Why = "The TPM did not sign this inventory: the quote's qualifying data is over other artefacts or another index."
	ap.add(f)
	return binding{fresh: ap.p.NonceGiven && len(got) > 0 && bytes.Equal(got, ap.p.Nonce)}
}

func (ap *appraiser) wrongNonce(a *attestation, want []byte, why string) {
	f := a.finding(ap.o, finding.QuoteNonce)
	f.Want, f.Got, f.Why = fmt.Sprintf("%x", want), fmt.Sprintf("%x", a.body.ExtraData), why
	ap.add(f)
}

func (ap *appraiser) replayed(a *attestation, stated []byte) {
	f := a.finding(ap.o, finding.EvidenceReplayed)
	f.Want, f.Got = fmt.Sprintf("%x", ap.p.Nonce), fmt.Sprintf("%x", stated)
	f.Why = "The bundle was made for another request than this one."
	ap.add(f)
}

// maxCombinations bounds the search for the values that a quote signed.
const maxCombinations = 4096

// resolve finds the register values that reproduce the quote's digest. A quote
// holds only a hash over them, so that listings and the log can be no more
// than guesses which the hash confirms.
func (q *attested) resolve(ap *appraiser) {
	info := q.body.Quote
	h := q.digestHash()
	if h == 0 {
		ap.notChecked("registers of "+q.name, fmt.Sprintf("the digest of %d bytes has no known hash", len(info.Digest)))
		return
	}
	type slot struct {
		alg  tpmwire.Algorithm
		pcr  int
		vals [][]byte
	}
	slots, guesses := make([]slot, 0, maxRegisters), make([][]byte, 0, 2*maxRegisters)
	for _, s := range info.Selections {
		for _, n := range s.PCRs {
			from := len(guesses)
			guesses = ap.candidates(guesses, s.Bank, n)
			c := guesses[from:]
			if len(c) == 0 {
				ap.notChecked(fmt.Sprintf("registers of %s", q.name), fmt.Sprintf("no value of PCR %d in bank %s is in evidence", n, s.Bank))
				return
			}
			slots = append(slots, slot{s.Bank, n, c})
		}
	}
	pick := make([]int, len(slots))
	d := h.New()
	var sum [tpmwire.MaxDigest]byte
	for range maxCombinations {
		d.Reset()
		for i, s := range slots {
			d.Write(s.vals[pick[i]])
		}
		if bytes.Equal(d.Sum(sum[:0]), info.Digest) {
			q.values, q.resolved = RegisterValues{}, true
			for i, s := range slots {
				if q.values[s.alg.String()] == nil {
					q.values[s.alg.String()] = make(map[int][]byte, len(slots))
				}
				q.values[s.alg.String()][s.pcr] = s.vals[pick[i]]
			}
			return
		}
		i := 0
		for ; i < len(slots); i++ {
			if pick[i]++; pick[i] < len(slots[i].vals) {
				break
			}
			pick[i] = 0
		}
		if i == len(slots) {
			break
		}
	}
	f := q.finding(ap.o, finding.LogDoesNotReplay)
	f.Want, f.Got = fmt.Sprintf("%x", info.Digest), "no values in evidence"
	f.Why = "Neither the listed register values nor those that the log gives reproduce the digest that the TPM signed."
	ap.add(f)
}

// digestHash is the hash over the selected registers: that of the signing
// scheme (TPM 2.0 Library Part 3, 18.4), or by length when there is no
// signature.
func (q *attested) digestHash() crypto.Hash {
	if q.sig != nil && q.sig.Hash.Size() == len(q.body.Quote.Digest) {
		return q.sig.Hash.Hash()
	}
	for _, a := range []tpmwire.Algorithm{tpmwire.SHA256, tpmwire.SHA384, tpmwire.SHA512, tpmwire.SHA1} {
		if a.Size() == len(q.body.Quote.Digest) {
			return a.Hash()
		}
	}
	return 0
}

// candidates adds distinct guesses at a register's value, best first.
func (ap *appraiser) candidates(out [][]byte, a tpmwire.Algorithm, pcr int) [][]byte {
	from := len(out)
	add := func(v []byte) {
		if v == nil {
			return
		}
		for _, o := range out[from:] {
			if bytes.Equal(o, v) {
				return
			}
		}
		out = append(out, v)
	}
	for _, l := range ap.o.listings {
		add(l.values.value(a, pcr))
	}
	replayed := ap.replay(a).given(pcr)
	add(replayed)
	if pcr == imaRegister {
		for _, v := range ap.imaValues(a) {
			add(v)
		}
	}
	if replayed == nil && ap.o.log() != nil {
		add(resetValue(a, pcr))
	}
	return out
}

// checkSelection asks whether verified quotes cover what must be covered in
// the chosen bank.
func (ap *appraiser) checkSelection() {
	if len(ap.quotes) == 0 {
		return
	}
	var have [maxRegisters]bool
	var empty []attested
	for _, q := range ap.quotes {
		selected := 0
		for _, s := range q.body.Quote.Selections {
			selected += len(s.PCRs)
			if s.Bank == ap.bank {
				for _, n := range s.PCRs {
					if n < maxRegisters {
						have[n] = true
					}
				}
			}
		}
		if selected == 0 {
			empty = append(empty, q)
		}
	}
	var missing []string
	for n := range maxRegisters {
		if (n < 8 || ap.referenced(n)) && !have[n] {
			missing = append(missing, fmt.Sprint(n))
		}
	}
	for _, q := range empty {
		f := q.finding(ap.o, finding.QuoteNonce)
		f.Want, f.Got, f.Why = "PCR 0 to 7", "no register", "The quote selects no register at all: it proves nothing about the boot (CVE-2022-0317)."
		if len(missing) == 0 {
			f.Severity, f.Why = finding.Low, "The quote selects no register, as TPMs answer for a bank that is not active; another quote selects every register that counts."
		}
		ap.add(f)
	}
	if len(missing) == 0 {
		return
	}
	f := finding.New(finding.QuoteNonce, "quote:selection")
	f.Confidence, f.Sources = finding.Proven, []finding.Source{finding.Cryptographic}
	f.Want, f.Got = "PCR "+strings.Join(missing, ", ")+" in "+ap.bank.String(), "not selected"
	f.Why = "No quote selects these registers, although the firmware's and every referenced register must be covered."
	f.Basis = ap.o.basis(ap.quotes[0].path, 0, len(ap.quotes[0].raw))
	ap.add(f)
}
