package assay

import (
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// Verifier appraises many cases, and each machine again and again: what the
// auditor of a fleet does. Its results are those of Verify, to the byte. It reads
// what cases are held against once, and it remembers of each machine the last
// result that passed. When a machine signs anew what it had signed, and nothing
// else moved, the signatures are verified and the rest is as it was.
//
// A Verifier is safe for concurrent use. What its cases refer to must not change:
// Golden, EKRoots, KnownBad and the rest are known again by where they are in memory,
// not by what they say. Nor must results, which share what they have alike. The zero
// value remembers no machine.
type Verifier struct {
	Machines int // that are remembered, at most; each takes tens of kilobytes

	mu       sync.RWMutex
	opened   []*openedReferences
	machines map[string]*machineMemory // by the digest of the attestation key

	given        [][]byte  // certificates of TPM makers,
	makers       *makerSet // and what they are
	once         sync.Once
	policy       *Policy // when a case has none
	logs         attest.Logs
	whole, again atomic.Uint64
}

// Counts tells how many appraisals were made as a whole, and how many of machines
// that had only signed anew.
func (v *Verifier) Counts() (whole, again uint64) { return v.whole.Load(), v.again.Load() }

// openedReferences were the same at both ends of a stretch of time, and are
// between them: what counts from a time or until a time had counted, or had not,
// at one of the ends.
type openedReferences struct {
	c           Case // what they were read of
	from, until time.Time
	*references
}

// widen joins two stretches that overlap.
func (o *openedReferences) widen(by *openedReferences) {
	if by.from.Before(o.from) {
		o.from = by.from
	}
	if by.until.After(o.until) {
		o.until = by.until
	}
}

// horizon is how far ahead references are read. A manifest, a certificate or a
// list that is valid for less than that may be seen late by as much.
const horizon = 10 * time.Minute

// mostReferences bounds how many sets of references are kept.
const mostReferences = 256

// machineMemory is a result that passed, and what it rests on.
type machineMemory struct {
	refs        *references
	policy      *Policy
	enrolled    []attest.Endorsement
	settled     [32]byte
	session     *attest.Session
	result      *Result
	from, until time.Time         // until is zero when nothing ends it
	exact       map[string]string // digests of files that count, where a finding is about them
	cites       []int             // findings that name an artefact which every scan makes anew
}

// Verify appraises a case, as the function Verify does.
func (v *Verifier) Verify(c Case) (*Result, error) {
	if c.Policy == nil {
		c.Policy = v.defaultPolicy() // one and the same, as it is known again
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	refs, settled := v.references(&c)
	key := ""
	if settled && c.plain() {
		key = c.Evidence.SHA256(attestationKey)
	}
	if m := v.memoryOf(key); m != nil && m.refs == refs {
		if r := m.again(&c); r != nil {
			v.again.Add(1)
			return r, nil
		}
	}
	v.whole.Add(1)
	c.logs = &v.logs
	a := c.appraise(refs)
	if err := a.conclude(); err != nil {
		return nil, err
	}
	if key != "" {
		v.remember(key, a.memory())
	}
	return a.result, nil
}

func (v *Verifier) defaultPolicy() *Policy {
	v.once.Do(func() { v.policy, _ = BuiltInPolicy("default") })
	return v.policy
}

func (v *Verifier) memoryOf(key string) *machineMemory {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.machines[key]
}

const attestationKey = "tpm/ak.pub"

// plain cases depend on nothing but their references, the evidence of the machine
// itself, the keys that it is enrolled with, the nonce and the time.
func (c *Case) plain() bool {
	return c.BOM == nil && c.Inventory == nil && c.Controller == nil && c.Quirks == nil && c.Inspections == nil && len(c.Policy.Inspections) == 0
}

// references returns what a case is held against; settled is false when something
// of it changes within the horizon.
func (v *Verifier) references(c *Case) (r *references, settled bool) {
	v.mu.RLock()
	i := slices.IndexFunc(v.opened, func(o *openedReferences) bool { return sameReferences(&o.c, c) })
	var o *openedReferences
	if i >= 0 {
		o = v.opened[i]
	}
	v.mu.RUnlock()
	if o != nil && !c.Now.Before(o.from) && !c.Now.After(o.until) {
		return o.references, true
	}
	if c.Makers == nil {
		c.read = v.makersOf(c.EKRoots)
	}
	now, later := c.references(), *c
	later.Now = c.Now.Add(horizon)
	if !reflect.DeepEqual(now.told(), later.references().told()) {
		return now, false
	}
	fresh := &openedReferences{c: c.heldAgainst(), from: c.Now, until: later.Now, references: now}
	if o != nil && reflect.DeepEqual(o.told(), now.told()) {
		fresh.references = o.references // what was remembered under them holds on
		if !fresh.from.After(o.until) && !o.from.After(fresh.until) {
			fresh.widen(o)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.opened = slices.DeleteFunc(v.opened, func(o *openedReferences) bool { return sameReferences(&o.c, c) })
	if len(v.opened) >= mostReferences {
		v.opened = v.opened[1:]
	}
	v.opened = append(v.opened, fresh)
	return fresh.references, true
}

// heldAgainst is a case without what is of one machine.
func (c *Case) heldAgainst() Case {
	return Case{
		Golden: c.Golden, Decoded: c.Decoded, Statements: c.Statements, Trust: c.Trust, State: c.State, EKRoots: c.EKRoots, Makers: c.Makers, Policy: c.Policy, KnownBad: c.KnownBad, Decoders: c.Decoders,
	}
}

// makersOf reads certificates of TPM makers once.
func (v *Verifier) makersOf(given [][]byte) *makerSet {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.makers == nil || !slices.EqualFunc(v.given, given, sameBytes) {
		v.makers, v.given = readMakers(given), given
	}
	return v.makers
}

// told is all of references that a verdict can depend on.
func (r *references) told() []any {
	return []any{r.golden, r.manifests, r.lists, r.bad, r.found, r.unchecked, len(r.roots), len(r.below)}
}

// sameReferences reports whether two cases are held against the same.
func sameReferences(a, b *Case) bool {
	return a.Trust == b.Trust && a.Policy.MaxManifestAge == b.Policy.MaxManifestAge && a.Makers == b.Makers && a.State.Equal(b.State) &&
		slices.EqualFunc(a.Golden, b.Golden, sameBytes) && slices.Equal(a.Decoded, b.Decoded) && slices.EqualFunc(a.EKRoots, b.EKRoots, sameBytes) && slices.EqualFunc(a.KnownBad, b.KnownBad, sameBytes) &&
		slices.EqualFunc(a.Statements, b.Statements, sameStatement) &&
		slices.EqualFunc(a.Decoders, b.Decoders, func(x, y firmware.Decoder) bool { return x.Name == y.Name && x.GUID == y.GUID })
}

// sameStatement compares by what became of a document; of one that must not be used
// that is the report alone.
func sameStatement(x, y Statement) bool {
	return x.Trusted == y.Trusted && (x.Trusted != nil || reflect.DeepEqual(x.Report, y.Report))
}

func sameBytes(x, y []byte) bool { return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0]) }

// remember keeps a machine's memory, or forgets the machine. When there is no
// room, any other machine is forgotten: it costs it one whole appraisal.
func (v *Verifier) remember(key string, m *machineMemory) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m == nil {
		delete(v.machines, key)
		return
	}
	if v.machines == nil {
		v.machines = map[string]*machineMemory{}
	}
	for k := range v.machines {
		if _, known := v.machines[key]; known || len(v.machines) < v.Machines {
			break
		}
		delete(v.machines, k)
	}
	if v.Machines > 0 {
		v.machines[key] = m
	}
}

// memory is what a later appraisal of the same machine can use, or nil.
func (a *appraisal) memory() *machineMemory {
	s := a.boot.Session()
	if s == nil || a.result.Verdict != Pass || len(a.Evidence.Check()) > 0 || len(a.result.Devices) > 0 {
		return nil
	}
	m := &machineMemory{refs: a.refs, policy: a.Policy, enrolled: slices.Clone(a.Enrolled), settled: a.Evidence.Settled(), session: s, result: shared(a.result), from: a.Now, exact: map[string]string{}}
	for i, f := range a.result.Findings {
		if f.Code == finding.ImplausibleIdentity || f.Code == finding.EvidenceTime {
			return nil // about a time
		}
		for _, b := range f.Basis {
			if evidence.Counts(b.Artifact) {
				m.exact[b.Artifact] = a.Evidence.SHA256(b.Artifact)
			}
			if evidence.MadeAnew(b.Artifact) {
				m.cites = append(m.cites, i)
			}
		}
	}
	m.ends(a.boot.Until)
	for _, w := range a.Policy.Waivers {
		m.ends(w.Expires)
	}
	return m
}

// ends shortens the time for which a memory is good. One that ends when it begins is
// good for nothing: what counts until a moment counts at it, and not after it.
func (m *machineMemory) ends(t time.Time) {
	if !t.IsZero() && !t.Before(m.from) && (m.until.IsZero() || t.Before(m.until)) {
		m.until = t
	}
}

// holds reports whether a memory is good at a time.
func (m *machineMemory) holds(now time.Time) bool {
	return !now.Before(m.from) && (m.until.IsZero() || now.Before(m.until))
}

// again is the result of a case in which the machine signed anew what it had
// signed, and nothing else moved; nil when that is not so.
func (m *machineMemory) again(c *Case) *Result {
	e := c.Evidence
	if !m.holds(c.Now) || e.Settled() != m.settled || !slices.Equal(c.Enrolled, m.enrolled) || !m.policy.same(c.Policy) || len(e.Check()) > 0 {
		return nil
	}
	at, ok := e.CollectedAt()
	if age := c.Now.Sub(at); !ok || -age > clockSkew || c.Policy.MaxEvidenceAge > 0 && age > time.Duration(c.Policy.MaxEvidenceAge) {
		return nil
	}
	for path, sum := range m.exact {
		if e.SHA256(path) != sum {
			return nil
		}
	}
	if !m.session.Continues(e, c.Nonce) {
		return nil
	}
	r := shared(m.result)
	digest := e.Digest()
	r.At, r.Evidence = c.Now.UTC(), EvidenceUse{SHA256: hex.EncodeToString(digest[:]), CollectedAt: at.UTC().Format(time.RFC3339)}
	for _, i := range m.cites {
		f := &r.Findings[i]
		f.Basis = slices.Clone(f.Basis)
		for j := range f.Basis {
			if b := &f.Basis[j]; evidence.MadeAnew(b.Artifact) {
				b.SHA256 = e.SHA256(b.Artifact)
			}
		}
	}
	return r
}

// shared is a result with findings and sums of its own; the rest is common to all
// results about one machine, and appending to it makes a copy.
func shared(of *Result) *Result {
	r := *of
	r.Findings, r.Summary = slices.Clone(r.Findings), maps.Clone(r.Summary)
	r.Manifests, r.KnownBad, r.Required, r.Incidents = slices.Clip(r.Manifests), slices.Clip(r.KnownBad), slices.Clip(r.Required), slices.Clip(r.Incidents)
	r.Coverage, r.Boot, r.NotChecked, r.ToInspect, r.Map = slices.Clip(r.Coverage), slices.Clip(r.Boot), slices.Clip(r.NotChecked), slices.Clip(r.ToInspect), slices.Clip(r.Map)
	return &r
}
