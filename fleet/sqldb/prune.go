package sqldb

import (
	"fmt"
	"time"
)

// answered is how long after its deadline a challenge is kept: until then whoever is
// late is told so, and not that nobody asked.
const answered = time.Hour

// Prune removes results before a time but never the last of a machine, what was only
// for them, and challenges that nobody answers any more: of each so many at most.
func (s *Session) Prune(now, before time.Time, n int) (removed int64, err error) {
	if !s.changes {
		return 0, errReadOnly
	}
	old := micros(before)
	for _, q := range []struct {
		sql string
		at  int64
	}{
		{`DELETE FROM result WHERE (id, at) IN (SELECT r.id, r.at FROM result r WHERE r.at < $1 AND
			EXISTS (SELECT 1 FROM result newer WHERE newer.host = r.host AND (newer.at > r.at OR newer.at = r.at AND newer.id > r.id)) ORDER BY r.at, r.id LIMIT $2)`, old},
		{`DELETE FROM judged WHERE evidence IN (SELECT j.evidence FROM judged j JOIN evidence e ON e.digest = j.evidence
			WHERE e.received < $1 AND NOT EXISTS (SELECT 1 FROM result r WHERE r.id = j.result) ORDER BY e.received, e.digest LIMIT $2)`, old},
		{`DELETE FROM evidence WHERE digest IN (SELECT e.digest FROM evidence e
			WHERE e.received < $1 AND NOT EXISTS (SELECT 1 FROM judged j WHERE j.evidence = e.digest) ORDER BY e.received, e.digest LIMIT $2)`, old},
		{`DELETE FROM challenge WHERE nonce IN (SELECT nonce FROM challenge WHERE deadline < $1 ORDER BY deadline LIMIT $2)`, micros(now.Add(-answered))},
		{`DELETE FROM quota WHERE (name, what, day) IN (SELECT name, what, day FROM quota WHERE day < $1 ORDER BY day LIMIT $2)`, micros(now.AddDate(0, 0, -2))},
	} {
		gone, err := s.exec(q.sql, q.at, n)
		if err != nil {
			return removed, fmt.Errorf("prune: %w", err)
		}
		removed += gone
	}
	return removed, nil
}
