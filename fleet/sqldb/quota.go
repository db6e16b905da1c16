package sqldb

import (
	"fmt"
	"time"
)

// Spent is what a name has used of a quota on a day.
func (s *Session) Spent(name, what string, day time.Time) (n int64, err error) {
	err = s.query(func(r Rows) error { return r.Scan(&n) }, `SELECT spent FROM quota WHERE name = $1 AND what = $2 AND day = $3`, name, what, micros(day.UTC().Truncate(24*time.Hour)))
	if err != nil {
		return 0, fmt.Errorf("quota of %.60q: %w", name, err)
	}
	return n, nil
}

// Spend uses some of it, and says what was used by then.
func (s *Session) Spend(name, what string, day time.Time, n int64) (spent int64, err error) {
	err = s.query(func(r Rows) error { return r.Scan(&spent) }, `INSERT INTO quota (name, what, day, spent) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name, what, day) DO UPDATE SET spent = quota.spent + excluded.spent RETURNING spent`, name, what, micros(day.UTC().Truncate(24*time.Hour)), n)
	if err != nil {
		return 0, fmt.Errorf("quota of %.60q: %w", name, err)
	}
	return spent, nil
}
