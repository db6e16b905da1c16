package manifest

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
)

// timeStamps reads a time stamp token: when an authority saw the signed bytes, and
// the authority's name. It is an error when the token is malformed, is over other
// bytes, or is by nobody who is believed at now.
type timeStamps func(token, signed []byte, now time.Time) (at time.Time, by string, err error)

const (
	// tsaDir lies beside the roots and holds those of time stamping authorities.
	tsaDir        = "tsa"
	maxTokens     = 4
	maxTokenBytes = 64 << 10
)

// TimeAuthorities returns the roots in the directory tsa beside the roots, and
// the revocation lists there. They sign no manifests.
func (t *Trust) TimeAuthorities() ([]*x509.Certificate, []*x509.RevocationList) {
	if t == nil {
		return nil, nil
	}
	var lists []*x509.RevocationList
	for _, l := range t.stampLists {
		lists = append(lists, l.RevocationList)
	}
	return slices.Clone(t.authorities), lists
}

// ReadTimeStamps lets time stamp tokens prove when a manifest was signed. Package
// manifest/timestamp has a reader; where a program has none, tokens prove nothing
// and are told as not checked.
func (t *Trust) ReadTimeStamps(proven func(token, signed []byte, now time.Time) (at time.Time, by string, err error)) {
	t.stamps = proven
}

// addAuthorities reads the directory of time stamping authorities. It holds
// nothing else: grants there would be for nobody.
func (t *Trust) addAuthorities(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	own := &Trust{}
	for _, e := range entries {
		if e.IsDir() || e.Name() == trustFileName {
			return fmt.Errorf("%s: only certificates and revocation lists belong here", filepath.Join(dir, e.Name()))
		}
	}
	if err := own.addDir(dir, true); err != nil {
		return err
	}
	if len(own.roots) == 0 {
		return fmt.Errorf("%s: holds no certificate", dir)
	}
	t.authorities, t.stampLists = append(t.authorities, own.roots...), append(t.stampLists, own.lists...)
	return nil
}

// note is a finding that changes no verdict by itself.
type note struct {
	problem  problem
	severity finding.Severity
}

func (o *opener) tellNotes() {
	for _, n := range o.notes {
		f := o.tell(n.problem)
		f.Subject, f.Severity = o.subject+"/timestamp", n.severity
	}
	o.notes = nil
}

// sighting is what the time stamps of one signature prove.
type sighting struct {
	o     *opener
	chain []*x509.Certificate
	all   []moment
	moment
}

// moment is when an authority saw a signature; a zero time is never.
type moment struct {
	at time.Time
	by string
}

// seen reads the tokens of a signature that holds. Tokens that prove nothing are
// told and do no more: the signature counts as if they were not there.
func (o *opener) seen(s signature, sig []byte, chain []*x509.Certificate) *sighting {
	out := &sighting{o: o, chain: chain}
	if len(s.Timestamps) == 0 {
		return out
	}
	what := "time stamp on the signature of " + nameOf(chain[0])
	switch {
	case len(s.Timestamps) > maxTokens:
		out.bad(fmt.Sprintf("%d time stamps, at most %d are read", len(s.Timestamps), maxTokens))
		return out
	case o.trust.stamps == nil:
		o.report.NotChecked = append(o.report.NotChecked, NotChecked{what, "this program cannot read time stamps; the signature counts as if there were none"})
		return out
	case len(o.trust.authorities) == 0:
		o.report.NotChecked = append(o.report.NotChecked, NotChecked{what, "no root of a time stamping authority is trusted (" + tsaDir + " beside the roots); the signature counts as if there were none"})
		return out
	}
	for i, t := range s.Timestamps {
		at, by, err := o.proven(t, sig)
		if err != nil {
			out.bad(fmt.Sprintf("time stamp %d on the signature of %s proves nothing: %v", i+1, nameOf(chain[0]), err))
			continue
		}
		out.add(moment{at, by})
	}
	return out
}

func (o *opener) proven(text string, sig []byte) (time.Time, string, error) {
	if len(text) > maxTokenBytes*4/3+4 {
		return time.Time{}, "", fmt.Errorf("exceeds the limit of %d bytes", maxTokenBytes)
	}
	token, err := decode64(text)
	if err != nil {
		return time.Time{}, "", err
	}
	at, by, err := o.trust.stamps(token, sig, o.now)
	if err == nil && at.After(o.now.Add(clockSkew)) {
		err = errors.New("is of the future: " + at.UTC().Format(time.RFC3339))
	}
	return at, by, err
}

// add keeps the moments in order of time.
func (s *sighting) add(m moment) {
	i := len(s.all)
	for i > 0 && m.at.Before(s.all[i-1].at) {
		i--
	}
	s.all = append(s.all, m)
	copy(s.all[i+1:], s.all[i:])
	s.all[i] = m
}

func (s *sighting) bad(why string) {
	s.o.notes = append(s.o.notes, note{problem{finding.ManifestBadSignature, "a time stamp that holds", "one that does not", why + "; the signature counts as if it had none"}, finding.Low})
}

func (s *sighting) proves(code finding.Code, what string) {
	s.o.notes = append(s.o.notes, note{problem{
		code, "a signature older than that", s.at.UTC().Format(time.RFC3339),
		fmt.Sprintf("%s; the time stamp of %s shows that the signature is older", what, s.by),
	}, finding.Info})
}

// path chooses the earliest time at which the signer could sign, and returns the
// path as it was then, if it is not valid any more. What existed at one time
// existed at every later one.
func (s *sighting) path(p path) path {
	var then path
	var why error
	for _, m := range s.all {
		q, err := s.o.trust.build(s.chain, m.at)
		if err == nil {
			err = q.late
		}
		if err == nil {
			s.moment, then = m, q
			break
		}
		if why == nil {
			why = fmt.Errorf("the time stamp of %s, %s, does not help the signature of %s: %w", m.by, m.at.UTC().Format(time.RFC3339), nameOf(s.chain[0]), err)
		}
	}
	switch {
	case s.at.IsZero() && why != nil:
		s.bad(why.Error())
		return p
	case s.at.IsZero() || p.late == nil:
		return p
	}
	s.proves(finding.ManifestTime, p.late.Error())
	s.o.report.NotChecked = append(s.o.report.NotChecked, NotChecked{
		What:   "revocation of " + nameOf(s.chain[0]) + " since it expired",
		Reason: "revocation lists need not name certificates that have expired",
	})
	return then
}

func (s *sighting) spared(passed []string) {
	for _, p := range passed {
		s.proves(finding.ManifestRevoked, p)
	}
}

// Envelope is a signed manifest, for whoever adds time stamps to its signatures.
// Nothing in it is verified.
type Envelope struct{ env *envelope }

// Read reads an envelope.
func (e *Envelope) Read(raw []byte) error {
	if len(raw) > maxBytes {
		return fmt.Errorf("envelope: exceeds the limit of %d bytes", maxBytes)
	}
	if !isEnvelope(raw) {
		return errors.New("is not signed: assay golden sign comes first")
	}
	env, _, err := decodeEnvelope(raw)
	if err != nil {
		return err
	}
	if len(env.Signatures) == 0 || len(env.Signatures) > maxSignatures {
		return fmt.Errorf("envelope: %d signatures, want 1 to %d", len(env.Signatures), maxSignatures)
	}
	e.env = env
	return nil
}

// Signatures is how many there are.
func (e *Envelope) Signatures() int { return len(e.env.Signatures) }

// Signature returns the bytes of a signature, counted from 0, who its certificate
// says made it, and how many time stamps it has.
func (e *Envelope) Signature(number int) (sig []byte, signer string, stamps int, err error) {
	s := e.env.Signatures[number]
	if sig, err = decode64(s.Sig); err != nil {
		return nil, "", 0, fmt.Errorf("envelope: signature %d: %w", number+1, err)
	}
	chain, err := parseChain(s.X5C)
	if err != nil {
		return nil, "", 0, fmt.Errorf("envelope: signature %d: %w", number+1, err)
	}
	return sig, nameOf(chain[0]), len(s.Timestamps), nil
}

// Stamp returns the envelope with a token, DER, beside a signature. The signed
// bytes stay as they are. The caller has checked the token.
func (e *Envelope) Stamp(number int, token []byte) ([]byte, error) {
	s := &e.env.Signatures[number]
	text := base64.StdEncoding.EncodeToString(token)
	switch {
	case len(token) > maxTokenBytes:
		return nil, fmt.Errorf("time stamp: %d bytes, the limit is %d", len(token), maxTokenBytes)
	case slices.Contains(s.Timestamps, text):
		return nil, errors.New("time stamp: it is there already")
	case len(s.Timestamps) >= maxTokens:
		return nil, fmt.Errorf("time stamp: the signature has %d, which is the limit", maxTokens)
	}
	s.Timestamps = append(s.Timestamps, text)
	return e.env.encode()
}
