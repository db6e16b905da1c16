package server

import (
	"context"
	"time"

	"github.com/assay-hw/assay/fleet"
)

const (
	keepResult = 400 * 24 * time.Hour

	// One run removes at most pruneRuns times pruneBatch of each kind, so that jobs
	// that wait are not kept waiting; the next run goes on.
	pruneBatch = 1000
	pruneRuns  = 100

	// sweepMargin is how much longer bytes are kept than what names them. Who takes
	// evidence in stores its bytes first, and names them after that.
	sweepMargin = 48 * time.Hour
)

// prune removes what is older than it has to be: results and evidence that is not
// the last of a machine, and the bytes that nothing else names.
func (s *Server) prune(ctx context.Context, _ fleet.Job) (func(fleet.Tx) error, error) {
	now := s.now()
	if err := s.Store.Update(ctx, func(tx fleet.Tx) error { return remember(tx, now) }); err != nil {
		return nil, err
	}
	before := now.Add(-keepResult)
	if err := s.Store.Maintain(ctx, now, before); err != nil {
		return nil, err
	}
	for range pruneRuns {
		var removed int64
		err := s.Store.Update(ctx, func(tx fleet.Tx) (err error) {
			removed, err = tx.Prune(now, before, pruneBatch)
			return err
		})
		if err != nil {
			return nil, err
		}
		if removed == 0 {
			return nil, s.sweep(ctx, before)
		}
	}
	return nil, nil
}

// remember keeps what the fleet was like this day.
func remember(tx fleet.Tx, now time.Time) error {
	c, err := tx.Count()
	if err != nil {
		return err
	}
	if c.At = now; c.Hosts == 0 { // nothing is no point of a trend
		return nil
	}
	return tx.PutCounts(c)
}

// sweep removes bytes that were stored, and stored again, for the last time before
// what is kept. What is stored once more becomes young again, so that only old
// results and old evidence can name what is that old: the last of machines that have
// not been heard of since.
func (s *Server) sweep(ctx context.Context, before time.Time) error {
	keep := map[string]bool{}
	if err := s.keptEvidence(ctx, before, keep); err != nil {
		return err
	}
	if err := s.keptResults(ctx, before, keep); err != nil {
		return err
	}
	_, err := s.Blobs.Sweep(ctx, before.Add(-sweepMargin), func(digest string) bool { return keep[digest] })
	return err
}

func (s *Server) keptEvidence(ctx context.Context, before time.Time, keep map[string]bool) error {
	for after := ""; ; {
		var page []fleet.Evidence
		err := s.Store.View(ctx, func(r fleet.Reader) (err error) {
			page, err = r.EvidenceBefore(before, after, pruneBatch)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.Digest
			names, err := s.named(ctx, e.Blob)
			if err != nil {
				return err
			}
			for _, n := range names {
				keep[n] = true
			}
		}
	}
}

func (s *Server) keptResults(ctx context.Context, before time.Time, keep map[string]bool) error {
	at, id := time.Time{}, ""
	for {
		var page []fleet.Result
		err := s.Store.View(ctx, func(r fleet.Reader) (err error) {
			page, err = r.History(at, id, pruneBatch)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if at, id = r.At, r.ID; !at.Before(before) {
				return nil
			}
			keep[r.Blob] = true
		}
	}
}
