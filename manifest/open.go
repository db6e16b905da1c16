package manifest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/strictjson"
)

// Trusted is a manifest whose signatures, signers, times and encoding were
// checked. Only Open, Accept and Apply make one; it holds only what its signers may
// say.
type Trusted struct {
	manifest *Manifest
	digest   string
	base     []string // digests of the statements that a delta was applied to
	signers  []signer
	rights   func(right string) bool
	changes  map[string]Origin // line, as of Golden.Origin, to the delta that set it
}

// signer is one holder of a key whose signature counted.
type signer struct {
	name          string
	organizations []string
	spki          string
}

// The states of a manifest in a Report.
const (
	StatusTrusted    = "trusted"
	StatusUntrusted  = "untrusted"
	StatusUnreadable = "unreadable" // not a manifest at all
)

// Report says what Open found. ID and Version are empty when no signature made
// the payload worth reading.
type Report struct {
	ID         string
	Version    int64
	SHA256     string // of the file
	Signers    []string
	Status     string
	Findings   []finding.Finding
	NotChecked []NotChecked
}

// NotChecked names something that could not be checked, and why.
type NotChecked struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// clockSkew is how far a signer's clock may run ahead.
const clockSkew = 5 * time.Minute

// Manifest returns what the signers said and may say. It is a copy.
func (t *Trusted) Manifest() *Manifest {
	m, err := t.manifest.clone()
	if err != nil { // cannot happen: the manifest was decoded from JSON
		return &Manifest{}
	}
	return m
}

// Digest returns the sha256 of the signed statement, which a delta names as
// its base.
func (t *Trusted) Digest() string { return t.digest }

// Signers returns the names of the signers that counted, sorted.
func (t *Trusted) Signers() []string {
	var out []string
	for _, s := range t.signers {
		out = append(out, s.name)
	}
	slices.Sort(out)
	return out
}

// Open checks an envelope and returns the manifest in it, or nil when it must
// not be used; the report says why, and also what is wrong with a manifest that
// may be used. Signatures are checked over the exact bytes before these are
// parsed. A nil trust trusts nobody.
func Open(raw []byte, trust *Trust, now time.Time) (*Trusted, Report) {
	return Decode(raw).Open(trust, now)
}

type opener struct {
	payloadType string // of the envelope

	trust   *Trust
	now     time.Time
	subject string
	report  Report
	fatal   bool
	notes   []note // told when the subject is known
}

// problem is why a signature does not count.
type problem struct {
	code           finding.Code
	want, got, why string
}

func (o *opener) tell(p problem) *finding.Finding {
	f := finding.New(p.code, o.subject)
	f.Want, f.Got, f.Why, f.Confidence = p.want, p.got, p.why, finding.Proven
	f.Sources = []finding.Source{finding.Cryptographic}
	f.Basis = []finding.Basis{{Artifact: "manifest", SHA256: o.report.SHA256}}
	o.report.Findings = append(o.report.Findings, f)
	return &o.report.Findings[len(o.report.Findings)-1]
}

func (o *opener) refuse(p problem) { o.tell(p); o.fatal = true }

// candidate is one signature and what became of it.
type candidate struct {
	path     path
	identity *Identity // of a signer without a path
	rights   rights
	failed   *problem
}

func (c *candidate) voice() voice { return voice{c.path.certs, c.identity} }

func (o *opener) open(d *Decoded) *Trusted {
	env, payload, ok := o.decoded(d)
	if !ok {
		return nil
	}
	signed := preAuthEncoding(env.PayloadType, payload)
	var cands []*candidate
	for _, s := range env.Signatures {
		cands = append(cands, o.candidate(s, signed))
	}
	if !slices.ContainsFunc(cands, func(c *candidate) bool { return c.failed == nil }) {
		o.refuseAll(cands)
		return nil
	}
	st, err := d.statement()
	if err != nil {
		o.refusePayload(err, payload)
		return nil
	}
	own := st.Predicate // what the signers may not say is left out of this one
	m := &own
	o.report.ID, o.report.Version, o.subject = m.ID, m.Version, "manifest:"+m.ID
	o.subjectHolds(st)
	for _, c := range cands {
		if c.failed == nil {
			o.authorise(c, m)
		}
	}
	return o.trusted(m, hexSum(payload), cands)
}

// trusted makes the proof when enough signers count, with what they may say.
func (o *opener) trusted(m *Manifest, digest string, cands []*candidate) *Trusted {
	keys := o.count(cands)
	if keys == nil {
		return nil
	}
	if !o.speak(keys, cands) {
		return nil
	}
	o.times(m)
	t := &Trusted{manifest: m, digest: digest, rights: func(right string) bool {
		need, have := agreed(keys, right)
		return need > 0 && have >= need
	}}
	for _, k := range keys {
		leaf := k[0].path.certs[0]
		t.signers = append(t.signers, signer{k[0].voice().name(), leaf.Subject.Organization, hexSum(leaf.RawSubjectPublicKeyInfo)})
	}
	if m.Environment.Manufacturer == AnyPlatform {
		own := t.rights
		t.rights = func(right string) bool {
			return (right == rightBootSoftware || right == rightScanner) && own(right)
		}
	}
	o.narrow(t, keys)
	return t
}

// envelope decodes the outer document and applies its bounds.
func (o *opener) envelope(raw []byte) (*envelope, []byte, bool) { return o.decoded(Decode(raw)) }

func (o *opener) decoded(d *Decoded) (*envelope, []byte, bool) {
	raw := d.raw
	if len(raw) > maxBytes {
		o.refuse(problem{finding.InputLimit, fmt.Sprintf("at most %d bytes", maxBytes), fmt.Sprintf("%d bytes", len(raw)), "the manifest exceeds the limit"})
		return nil, nil, false
	}
	if !isEnvelope(raw) {
		o.noEnvelope(raw)
		return nil, nil, false
	}
	e := d.envelope()
	if e.err != nil {
		o.refusePayload(e.err, raw)
		return nil, nil, false
	}
	switch env := e.env; {
	case len(env.Signatures) == 0:
		o.refuse(problem{finding.ManifestUnsigned, "a signature", "none", "the envelope carries no signature"})
	case len(env.Signatures) > maxSignatures:
		o.refuse(problem{finding.InputLimit, fmt.Sprintf("at most %d signatures", maxSignatures), fmt.Sprint(len(env.Signatures)), "the envelope exceeds the limit"})
	case env.PayloadType != o.payloadType:
		o.refuse(problem{finding.ManifestType, o.payloadType, env.PayloadType, "the envelope's payload is of another type"})
	default:
		return env, e.payload, true
	}
	return nil, nil, false
}

// noEnvelope tells a draft from a document that is no manifest at all.
func (o *opener) noEnvelope(raw []byte) {
	m, err := ReadUntrusted(raw)
	te, otherType := errors.AsType[*typeError](err)
	var object map[string]json.RawMessage
	switch {
	case err == nil:
		o.report.ID, o.report.Version, o.subject = m.ID, m.Version, "manifest:"+m.ID
		o.refuse(problem{finding.ManifestUnsigned, "a signature", "none", "the manifest is a draft without an envelope"})
	case json.Unmarshal(raw, &object) != nil, otherType && te.field == "_type":
		o.report.Status = StatusUnreadable
		o.refuse(problem{finding.ManifestAmbiguous, "a signed manifest", "another document", "the file is neither a DSSE envelope nor a draft"})
	default:
		o.refuse(problem{finding.ManifestUnsigned, "a signature", "none", "the document carries no signature"})
		o.refusePayload(err, raw)
	}
}

// candidate checks everything about a signature that needs no payload.
func (o *opener) candidate(s signature, signed []byte) *candidate {
	fail := func(code finding.Code, want, got string, err error) *candidate {
		return &candidate{failed: &problem{code, want, got, err.Error()}}
	}
	chain, err := parseChain(s.X5C)
	if errors.Is(err, errAlgorithm) {
		return fail(finding.ManifestAlgorithm, "Ed25519, ECDSA P-256 or P-384, or RSA-PSS", "another algorithm or size", err)
	}
	if err != nil {
		return fail(finding.ManifestUntrustedSigner, "a certificate chain", "none that can be read", err)
	}
	who := nameOf(chain[0])
	sig, err := decode64(s.Sig)
	if err == nil {
		err = verifySignature(chain[0].PublicKey, signed, sig)
	}
	if errors.Is(err, errAlgorithm) {
		return fail(finding.ManifestAlgorithm, "Ed25519, ECDSA P-256 or P-384, or RSA-PSS", "another algorithm", err)
	}
	if err != nil {
		return fail(finding.ManifestBadSignature, "a signature by "+who, "one that does not hold", fmt.Errorf("signature of %s over the exact bytes: %w", who, err))
	}
	p, err := o.trust.build(chain, o.now)
	if err != nil {
		return fail(finding.ManifestUntrustedSigner, "a chain to a trusted root", who, fmt.Errorf("the signer's certificate does not end in a trusted root: %w", err))
	}
	seen := o.seen(s, sig, chain)
	p = seen.path(p)
	stale, passed, by := o.trust.revoked(p.certs, o.now, seen.at)
	for _, s := range stale {
		o.report.NotChecked = append(o.report.NotChecked, NotChecked{What: "revocation of " + who, Reason: s})
	}
	if by != nil {
		return fail(finding.ManifestRevoked, "a signer that is not revoked", who, by)
	}
	seen.spared(passed)
	return &candidate{path: p}
}

// authorise checks what a signer may say and whether its certificate was valid
// when the manifest was issued and is valid now.
func (o *opener) authorise(c *candidate, m *Manifest) {
	who := c.voice().name()
	c.rights = o.trust.rightsOf(c.voice(), m.Environment.Manufacturer)
	if c.rights.any() && c.rights.deltaOnly && m.Delta == nil {
		c.rights = rights{reason: "a grant lets it sign changes only, and this is a whole manifest"}
	}
	switch {
	case !c.rights.any():
		c.failed = &problem{
			finding.ManifestUntrustedSigner, "a signer for " + m.Environment.Manufacturer, who,
			fmt.Sprintf("%s may not sign this manifest: %s", who, c.rights.reason),
		}
	case c.path.late != nil:
		c.failed = &problem{finding.ManifestTime, "a certificate that is valid now", who, "at the time of checking: " + c.path.late.Error()}
	}
	if c.identity != nil {
		return // its certificate lived for minutes, and the log says when
	}
	if err := validPathAt(c.path.certs, m.IssuedAt); err != nil {
		p := problem{finding.ManifestTime, "a certificate that was valid at " + m.IssuedAt.UTC().Format(time.RFC3339), who, "when the manifest was issued: " + err.Error()}
		if c.failed != nil && c.failed.code == finding.ManifestTime {
			o.refuse(p) // a second result, beside the one about now
			return
		}
		if c.failed == nil {
			c.failed = &p
		}
	}
}

// validPathAt leaves out the root: who is trusted now is the verifier's choice.
func validPathAt(certs []*x509.Certificate, at time.Time) error {
	for i, c := range certs {
		if i > 0 && i == len(certs)-1 {
			break
		}
		if err := validAt(c, at); err != nil {
			return err
		}
	}
	return nil
}

// count groups the signatures that hold by their keys, and holds the number of
// keys against the threshold. A key is its public key: neither a second
// signature, nor a second certificate, nor another key id makes it two.
// Signatures that do not count are findings only when they are missed; otherwise
// they are listed as not checked, so that a second algorithm can be added to a
// manifest before every verifier knows it.
func (o *opener) count(cands []*candidate) (keys [][]*candidate) {
	for _, c := range cands {
		if c.failed != nil {
			continue
		}
		i := slices.IndexFunc(keys, func(k []*candidate) bool { return sameKey(k[0].path.certs[0], c.path.certs[0]) })
		if i < 0 {
			i, keys = len(keys), append(keys, nil)
		}
		keys[i] = append(keys[i], c)
	}
	if len(keys) == 0 {
		o.refuseAll(cands)
		return nil
	}
	if len(keys) < o.least() {
		o.tooFew(cands, o.least(), len(keys))
		return nil
	}
	for i, c := range cands {
		if c.failed != nil {
			o.report.NotChecked = append(o.report.NotChecked, NotChecked{What: fmt.Sprintf("signature %d of %s", i+1, o.subject), Reason: c.failed.why})
		}
	}
	return keys
}

// sameKey compares the keys, not their encodings in certificates, of which one
// key may have several.
func sameKey(a, b *x509.Certificate) bool {
	switch k := a.PublicKey.(type) {
	case ed25519.PublicKey:
		return k.Equal(b.PublicKey)
	case *ecdsa.PublicKey:
		return k.Equal(b.PublicKey)
	case *rsa.PublicKey:
		return k.Equal(b.PublicKey)
	}
	return a.Equal(b) // cannot happen: checkKey knows the type
}

func (o *opener) least() int { return max(1, o.trust.threshold) }

func (o *opener) tooFew(cands []*candidate, need, have int) {
	o.refuseAll(cands)
	o.refuse(problem{
		finding.ManifestThreshold, fmt.Sprintf("%d distinct keys", need), fmt.Sprint(have),
		"fewer distinct keys signed than the trust policy asks for",
	})
}

// agreed counts the keys that may say something, and how many are enough. The
// least of what the signers' grants ask for is enough: with the others' signatures
// left out it would be, and nothing keeps anybody from leaving them out.
func agreed(keys [][]*candidate, right string) (need, have int) {
	for _, k := range keys {
		holds := false
		for _, c := range k {
			if n := c.rights.needs(right); n > 0 {
				holds = true
				if need == 0 || n < need {
					need = n
				}
			}
		}
		if holds {
			have++
		}
	}
	return need, have
}

// speak refuses when the signers, taken together, may say nothing at all.
func (o *opener) speak(keys [][]*candidate, cands []*candidate) bool {
	most, at := 0, 0
	for _, k := range keys {
		for _, c := range k {
			for _, right := range slices.Sorted(maps.Keys(c.rights.named())) {
				need, have := agreed(keys, right)
				if have >= need {
					return true
				}
				if most == 0 || need < most {
					most, at = need, have
				}
			}
		}
	}
	o.tooFew(cands, most, at)
	return false
}

func (o *opener) refuseAll(cands []*candidate) {
	for _, c := range cands {
		if c.failed != nil {
			o.refuse(*c.failed)
		}
	}
}

func (o *opener) refusePayload(err error, payload []byte) {
	if t, ok := errors.AsType[*typeError](err); ok {
		o.refuse(problem{finding.ManifestType, t.want, t.got, "the signed document is of another type: " + t.Error()})
		return
	}
	f := o.tell(problem{finding.ManifestAmbiguous, "one meaning", "ambiguous or malformed", err.Error()})
	f.Basis = []finding.Basis{{Artifact: "manifest", SHA256: hexSum(payload), Offset: strictjson.Offset(err)}}
	o.fatal = true
}

// subjectHolds checks that the statement is about the environment it states.
func (o *opener) subjectHolds(st *statement) {
	name, digest, err := st.Predicate.Environment.Subject()
	if err != nil {
		o.refuse(problem{finding.ManifestAmbiguous, "an environment", "malformed", err.Error()})
		return
	}
	if len(st.Subject) != 1 {
		o.refuse(problem{finding.ManifestWrongSubject, "one subject", fmt.Sprint(len(st.Subject)), "a manifest is about exactly one platform"})
		return
	}
	s := st.Subject[0]
	if s.Name != name {
		o.refuse(problem{finding.ManifestWrongSubject, name, s.Name, "the statement names another subject than the environment in it"})
	}
	if len(s.Digest) != 1 || s.Digest["sha256"] != digest {
		o.refuse(problem{finding.ManifestWrongSubject, "sha256:" + digest, "sha256:" + s.Digest["sha256"], "the subject's digest is not that of the environment"})
	}
}

func (o *opener) times(m *Manifest) {
	if !m.NotAfter.IsZero() && o.now.After(m.NotAfter) {
		o.refuse(problem{finding.ManifestTime, "valid now", "expired " + m.NotAfter.UTC().Format(time.RFC3339), "the manifest itself has expired"})
	}
	if m.IssuedAt.After(o.now.Add(clockSkew)) {
		o.refuse(problem{finding.ManifestTime, "issued in the past", "issued " + m.IssuedAt.UTC().Format(time.RFC3339), "the manifest is dated in the future"})
	}
}

// narrow drops what the signers may not say and reports it.
func (o *opener) narrow(t *Trusted, keys [][]*candidate) {
	m, dropped := t.manifest, map[string]int{}
	keep := func(right string) bool {
		if t.rights(right) {
			return true
		}
		dropped[right]++
		return false
	}
	m.Components = slices.DeleteFunc(slices.Clone(m.Components), func(c bom.Reference) bool { return !keep(string(c.Class)) })
	m.Boot = slices.DeleteFunc(slices.Clone(m.Boot), func(r attest.Reference) bool { return !keep(bootRight(r.PCR)) })
	if len(m.Firmware) > 0 && !keep(rightFirmware) {
		m.Firmware = nil
	}
	if len(m.SPDM) > 0 && !keep(rightFirmware) {
		m.SPDM = nil
	}
	if len(m.Endorsements) > 0 && !keep(rightEndorsements) {
		m.Endorsements = nil
	}
	m.Classes = maps.Clone(m.Classes)
	for c := range m.Classes {
		if !keep(string(c)) {
			delete(m.Classes, c)
		}
	}
	// What silences findings, retires other statements or hands out rights
	// needs a signer who may say everything.
	if len(m.Known) > 0 && !keep("known") {
		m.Known = nil
	}
	if len(m.Supersedes) > 0 && !keep("supersedes") {
		m.Supersedes = nil
	}
	if len(m.Authority) > 0 && !keep("authority") {
		m.Authority = nil
	}
	if m.Scanner != nil && (!keep(rightScanner) || m.checkScanner() != nil) {
		m.Scanner = nil
	}
	var names []string
	for r := range dropped {
		names = append(names, r)
	}
	slices.Sort(names)
	for _, r := range names {
		p := problem{
			finding.ManifestUntrustedSigner, "statements within its authority", r,
			fmt.Sprintf("the signers may not speak for %s; these lines were left out", r),
		}
		if need, have := agreed(keys, r); have > 0 && have < need {
			p = problem{
				finding.ManifestThreshold, fmt.Sprintf("%d distinct keys for %s", need, r), fmt.Sprint(have),
				fmt.Sprintf("fewer distinct keys than the trust policy asks for speak for %s; these lines were left out", r),
			}
		}
		f := o.tell(p)
		f.Subject, f.Severity = o.subject+"/"+r, finding.Medium
	}
}

// bootRight names who owns a PCR (TCG PC Client PFP 1.06, 3.3.4): firmware the
// first ones and 7, the software it starts 4, 5 and 8 to 14.
func bootRight(pcr int) string {
	if (attest.Reference{PCR: pcr}).OfSoftware() {
		return rightBootSoftware
	}
	return rightBootPlatform
}

// Stale reports that the manifest is older than a policy allows. A zero age
// allows any.
func (t *Trusted) Stale(maxAge time.Duration, now time.Time) []finding.Finding {
	age := now.Sub(t.manifest.IssuedAt)
	if maxAge <= 0 || age <= maxAge {
		return nil
	}
	f := finding.New(finding.ManifestStale, "manifest:"+t.manifest.ID)
	f.Want, f.Got = "issued after "+now.Add(-maxAge).UTC().Format(time.RFC3339), t.manifest.IssuedAt.UTC().Format(time.RFC3339)
	f.Why, f.Confidence = "the manifest is older than the policy allows; a newer one may have been withheld", finding.Proven
	return []finding.Finding{f}
}

// Sidecar reports a readable copy that says something else than the signed
// manifest. The copy is a draft in the form that Encode writes.
func Sidecar(t *Trusted, name string, beside []byte) []finding.Finding {
	f := finding.New(finding.ManifestSidecar, "manifest:"+t.manifest.ID)
	f.Basis = []finding.Basis{{Artifact: name, SHA256: hexSum(beside), Length: int64(len(beside))}}
	f.Want, f.Confidence = "the signed contents", finding.Proven
	m, err := ReadUntrusted(beside)
	if err != nil {
		f.Got, f.Why = "another document", "the copy beside the manifest cannot be read: "+err.Error()
		return []finding.Finding{f}
	}
	a, errA := Encode(m)
	b, errB := Encode(t.manifest)
	if errA == nil && errB == nil && string(a) == string(b) {
		return nil
	}
	f.Got, f.Why = "other contents", "the copy beside the manifest says something else than what was signed"
	return []finding.Finding{f}
}
