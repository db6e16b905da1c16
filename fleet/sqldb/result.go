package sqldb

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// Evidence finds a bundle that was taken in.
func (s *Session) Evidence(digest string) (*fleet.Evidence, error) {
	return one[fleet.Evidence](s, "evidence "+digest, `SELECT doc FROM evidence WHERE digest = $1`+s.lock(), digest)
}

// PutEvidence inserts evidence, or replaces what its own machine sent. Evidence of
// another machine with this digest is fleet.ErrExists.
func (s *Session) PutEvidence(e *fleet.Evidence) error {
	doc, err := document(e)
	if err != nil {
		return fmt.Errorf("evidence %s: %w", e.Digest, err)
	}
	if e.Status == fleet.Accepted {
		n, err := s.exec(`INSERT INTO evidence (digest, host, received, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING`, e.Digest, e.Host, micros(e.Received), doc)
		switch {
		case err != nil:
			return fmt.Errorf("evidence %s: %w", e.Digest, err)
		case n == 0:
			return fmt.Errorf("evidence %s: %w", e.Digest, fleet.ErrExists)
		}
		return nil
	}
	n, err := s.exec(`UPDATE evidence SET doc = $1 WHERE digest = $2 AND host = $3`, doc, e.Digest, e.Host)
	if err == nil && n == 0 {
		err = fleet.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("evidence %s: %w", e.Digest, err)
	}
	return nil
}

// EvidenceBefore lists evidence that came before a time.
func (s *Session) EvidenceBefore(t time.Time, after string, n int) ([]fleet.Evidence, error) {
	return list[fleet.Evidence](s, `SELECT doc FROM evidence WHERE received < $1 AND digest > $2 ORDER BY digest LIMIT $3`, micros(t), after, limit(n, 1000))
}

// Result finds a result.
func (s *Session) Result(id string) (*fleet.Result, error) {
	return one[fleet.Result](s, "result "+id, `SELECT doc FROM result WHERE id = $1`, id)
}

// Results lists the results of a machine, the newest first.
func (s *Session) Results(host string, before time.Time, n int) ([]fleet.Result, error) {
	if before.IsZero() {
		return list[fleet.Result](s, `SELECT doc FROM result WHERE host = $1 ORDER BY at DESC, id DESC LIMIT $2`, host, limit(n, 1000))
	}
	return list[fleet.Result](s, `SELECT doc FROM result WHERE host = $1 AND at < $2 ORDER BY at DESC, id DESC LIMIT $3`, host, micros(before), limit(n, 1000))
}

// Moved lists results that changed something, the newest first.
func (s *Session) Moved(since time.Time, n int) ([]fleet.Result, error) {
	return list[fleet.Result](s, `SELECT doc FROM result WHERE at >= $1 AND changes > 0 ORDER BY at DESC, id DESC LIMIT $2`, micros(since), limit(n, 1000))
}

// History lists results, the oldest first, after one.
func (s *Session) History(after time.Time, id string, n int) ([]fleet.Result, error) {
	return list[fleet.Result](s, `SELECT doc FROM result WHERE (at, id) > ($1, $2) ORDER BY at, id LIMIT $3`, micros(after), id, limit(n, 1000))
}

// PutResult stores a result. Evidence is judged once: a second result of the
// same evidence is fleet.ErrExists.
func (s *Session) PutResult(r *fleet.Result) error {
	doc, err := document(r)
	if err != nil {
		return fmt.Errorf("result %s: %w", r.ID, err)
	}
	n, err := s.exec(`INSERT INTO judged (evidence, result) VALUES ($1, $2) ON CONFLICT (evidence) DO NOTHING`, r.Evidence, r.ID)
	if err == nil && n == 0 {
		err = fleet.ErrExists
	}
	if err == nil {
		_, err = s.exec(`INSERT INTO result (id, host, at, changes, doc) VALUES ($1, $2, $3, $4, $5)`, r.ID, r.Host, micros(r.At), len(r.Changes), doc)
	}
	if err != nil {
		return fmt.Errorf("result %s: %w", r.ID, err)
	}
	return nil
}

// severities are the ranks under which findings are found.
var severities = []finding.Severity{finding.Info, finding.Low, finding.Medium, finding.High, finding.Critical}

func rankOf(severity string) (int, error) {
	rank := slices.IndexFunc(severities, func(v finding.Severity) bool { return v.String() == severity })
	if rank < 0 {
		return 0, fmt.Errorf("findings: unknown severity %.20q", severity)
	}
	return rank, nil
}

// OpenFindings lists findings that stand, the worst first.
func (s *Session) OpenFindings(q fleet.FindingQuery) ([]fleet.Open, error) {
	w := &where{}
	w.equal("host", q.Host)
	w.equal("code", q.Code)
	if q.AtLeast != "" {
		rank, err := rankOf(q.AtLeast)
		if err != nil {
			return nil, err
		}
		w.add("rank >= $?", rank)
	}
	if q.After != "" {
		var k [3]string
		if err := json.Unmarshal([]byte(q.After), &k); err != nil {
			return nil, fmt.Errorf("findings: the page begins after %.60q, which is no key: %w", q.After, err)
		}
		rank, err := rankOf(k[0])
		if err != nil {
			return nil, err
		}
		w.add("(rank < $? OR rank = $? AND (host, fingerprint) > ($?, $?))", rank, rank, k[1], k[2])
	}
	w.args = append(w.args, limit(q.Limit, 10_000))
	return list[fleet.Open](s, fmt.Sprintf(`SELECT doc FROM finding%s ORDER BY rank DESC, host, fingerprint LIMIT $%d`, w.sql(), len(w.args)), w.args...)
}

// Began lists machines of a profile on which a finding began within a time.
func (s *Session) Began(profile string, code finding.Code, subject string, from, to time.Time, n int) ([]string, error) {
	return s.texts(`SELECT f.host FROM finding f JOIN host h ON h.id = f.host
		WHERE f.code = $1 AND f.subject = $2 AND f.first_seen BETWEEN $3 AND $4 AND h.profile = $5 LIMIT $6`,
		string(code), subject, micros(from), micros(to), profile, limit(n, 10_000))
}

// PutOpen replaces the findings of a machine that stand.
func (s *Session) PutOpen(host string, open []fleet.Open) error {
	if _, err := s.exec(`DELETE FROM finding WHERE host = $1`, host); err != nil {
		return fmt.Errorf("findings of %s: %w", host, err)
	}
	var rows [][]any
	for _, o := range open {
		doc, err := document(o)
		if err != nil {
			return fmt.Errorf("findings of %s: %w", host, err)
		}
		rows = append(rows, []any{host, o.Finding.Fingerprint, string(o.Finding.Code), slices.Index(severities, o.Finding.Severity), doc, o.Finding.Subject, micros(o.FirstSeen)})
	}
	if err := s.many(`INSERT INTO finding (host, fingerprint, code, rank, doc, subject, first_seen) VALUES `, rows, ` ON CONFLICT (host, fingerprint) DO NOTHING`); err != nil {
		return fmt.Errorf("findings of %s: %w", host, err)
	}
	return nil
}
