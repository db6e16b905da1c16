package sqldb

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay/fleet"
)

// Trend lists the counts of days, the oldest first.
func (s *Session) Trend(since time.Time) ([]fleet.Counts, error) {
	out := []fleet.Counts{}
	err := s.query(func(r Rows) error {
		var day, n int64
		var state string
		if err := r.Scan(&day, &state, &n); err != nil {
			return err
		}
		at := time.UnixMicro(day).UTC()
		if len(out) == 0 || !out[len(out)-1].At.Equal(at) {
			out = append(out, fleet.Counts{At: at, ByState: map[fleet.State]int64{}})
		}
		c := &out[len(out)-1]
		c.ByState[fleet.State(state)] = n
		if fleet.State(state) != fleet.Retired {
			c.Hosts += n
		}
		return nil
	}, `SELECT day, state, hosts FROM day_count WHERE day >= $1 ORDER BY day, state`, micros(dayOf(since)))
	if err != nil {
		return nil, fmt.Errorf("trend: %w", err)
	}
	return out, nil
}

// PutCounts keeps the counts of a day. The last of a day stay.
func (s *Session) PutCounts(c fleet.Counts) error {
	if c.At.IsZero() {
		return errors.New("trend: no day")
	}
	day := micros(dayOf(c.At))
	if _, err := s.exec(`DELETE FROM day_count WHERE day = $1`, day); err != nil {
		return fmt.Errorf("trend: %w", err)
	}
	for state, n := range c.ByState {
		if _, err := s.exec(`INSERT INTO day_count (day, state, hosts) VALUES ($1, $2, $3)`, day, string(state), n); err != nil {
			return fmt.Errorf("trend: %w", err)
		}
	}
	return nil
}

func dayOf(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(24 * time.Hour)
}

// Library lists documents without their bytes, which may be many, the newest
// first.
func (s *Session) Library(n int) ([]fleet.Document, error) {
	out := []fleet.Document{}
	err := s.query(func(r Rows) error {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return err
		}
		var d fleet.Document
		err := json.Unmarshal([]byte(doc), &d)
		out = append(out, d)
		return err
	}, `SELECT doc FROM document ORDER BY digest`)
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	slices.SortStableFunc(out, func(a, b fleet.Document) int { return b.Added.Compare(a.Added) })
	return out[:min(len(out), limit(n, 10_000))], nil
}
