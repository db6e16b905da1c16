package server

import (
	"context"
	"sync"
	"time"

	"github.com/assay-hw/assay/fleet"
)

// backlog is how many jobs waited when somebody last looked.
type backlog struct {
	mu      sync.Mutex
	at      time.Time
	waiting int
}

const (
	lookAgain = 2 * time.Second // at the queue
	retryBusy = time.Minute     // when it was too long
)

// Room refuses while the queue is too long: what cannot be judged soon is not taken
// in, and machines are not asked for it (H15).
func (s *Server) Room(ctx context.Context) error {
	q, now := &s.queue, s.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at.IsZero() || now.Sub(q.at) >= lookAgain {
		n, err := s.Store.Waiting(ctx)
		if err != nil {
			return err
		}
		q.at, q.waiting = now, n
	}
	if q.waiting < s.MaxQueue {
		return nil
	}
	return &Refusal{Reason: "too much evidence waits to be judged; send later", Status: Busy, Retry: retryBusy}
}

// enrolments is the quota of names that enrol machines.
const enrolments = "enrolments"

// full are names that have used up their enrolments, with the day.
type full struct {
	mu    sync.Mutex
	names map[string]time.Time
}

func (f *full) on(name string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	day, ok := f.names[name]
	return ok && day.Equal(now.Truncate(24*time.Hour))
}

func (f *full) add(name string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		f.names = map[string]time.Time{}
	}
	f.names[name] = now.Truncate(24 * time.Hour) // as many as there are accounts
}

// mayEnrol refuses a name that has begun as many enrolments in a day as it may,
// before anything else is looked at.
func (s *Server) mayEnrol(ctx context.Context, name string, now time.Time) error {
	if s.full.on(name, now) {
		return s.tooMany(now)
	}
	var spent int64
	err := s.Store.View(ctx, func(r fleet.Reader) (err error) {
		spent, err = r.Spent(name, enrolments, now)
		return err
	})
	if err != nil || spent < s.Enrolments {
		return err
	}
	s.full.add(name, now)
	return s.tooMany(now)
}

func (s *Server) tooMany(now time.Time) error {
	tomorrow := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	return &Refusal{Reason: "as many enrolments of one name as there may be in a day", Status: TooMany, Retry: tomorrow.Sub(now)}
}

// spendEnrolment counts one.
func (s *Server) spendEnrolment(tx fleet.Tx, name string, now time.Time) error {
	n, err := tx.Spend(name, enrolments, now, 1)
	if err != nil || n <= s.Enrolments {
		return err
	}
	return s.tooMany(now)
}
