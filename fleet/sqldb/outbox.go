package sqldb

import (
	"fmt"
	"time"

	"github.com/assay-hw/assay/fleet/outbox"
)

// Told lists what the sinks hold of a subject.
func (s *Session) Told(subject string) ([]outbox.Entry, error) {
	return s.entries(`SELECT sink, subject, '', at, doc FROM alert_told WHERE subject = $1 ORDER BY sink`+s.lock(), subject)
}

// ToldBefore lists what a sink was told before a time, the oldest first.
func (s *Session) ToldBefore(sink string, before time.Time, n int) ([]outbox.Entry, error) {
	return s.entries(`SELECT sink, subject, '', at, doc FROM alert_told WHERE sink = $1 AND at < $2 ORDER BY at, subject LIMIT $3`, sink, micros(before), limit(n, 10_000))
}

func (s *Session) entries(sql string, args ...any) ([]outbox.Entry, error) {
	out := []outbox.Entry{}
	err := s.query(func(r Rows) error {
		var e outbox.Entry
		var at int64
		var doc string
		err := r.Scan(&e.Sink, &e.Subject, &e.Batch, &at, &doc)
		e.At, e.Doc = time.UnixMicro(at).UTC(), []byte(doc)
		out = append(out, e)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	return out, nil
}

// PutTold remembers what a sink was told of a subject.
func (s *Session) PutTold(e outbox.Entry) error {
	return s.alert(`INSERT INTO alert_told (sink, subject, at, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (subject, sink) DO UPDATE SET at = excluded.at, doc = excluded.doc`,
		e.Sink, e.Subject, micros(e.At), string(e.Doc))
}

// DropTold forgets what a sink was told of a subject.
func (s *Session) DropTold(sink, subject string) error {
	return s.alert(`DELETE FROM alert_told WHERE sink = $1 AND subject = $2`, sink, subject)
}

// Gather gives the batch that is open for things of a kind. The row is locked until
// the transaction ends, so that the batch is not told without what is put in now.
func (s *Session) Gather(sink, kind, id string, now, until time.Time) (batch string, err error) {
	err = s.query(func(r Rows) error { return r.Scan(&batch) }, `INSERT INTO alert_batch (sink, kind, id, until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (sink, kind) DO UPDATE SET id = CASE WHEN alert_batch.until > $5 THEN alert_batch.id ELSE excluded.id END,
			until = CASE WHEN alert_batch.until > $5 THEN alert_batch.until ELSE excluded.until END
		RETURNING id`, sink, kind, id, micros(until), micros(now))
	if err != nil {
		return "", fmt.Errorf("alerts: %w", err)
	}
	return batch, nil
}

// CloseBatch lets nothing more into a batch.
func (s *Session) CloseBatch(batch string) error {
	return s.alert(`DELETE FROM alert_batch WHERE id = $1`, batch)
}

// PutWaiting puts something into a batch.
func (s *Session) PutWaiting(e outbox.Entry) error {
	return s.alert(`INSERT INTO alert_waiting (batch, subject, sink, at, doc) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (batch, subject) DO UPDATE SET at = excluded.at, doc = excluded.doc`,
		e.Batch, e.Subject, e.Sink, micros(e.At), string(e.Doc))
}

// Waiting lists what is in a batch, by subject.
func (s *Session) Waiting(batch string, n int) ([]outbox.Entry, int, error) {
	es, err := s.entries(`SELECT sink, subject, batch, at, doc FROM alert_waiting WHERE batch = $1 ORDER BY subject LIMIT $2`, batch, limit(n, 10_000))
	if err != nil {
		return nil, 0, err
	}
	var total int64
	err = s.query(func(r Rows) error { return r.Scan(&total) }, `SELECT count(*) FROM alert_waiting WHERE batch = $1`, batch)
	if err != nil {
		return nil, 0, fmt.Errorf("alerts: %w", err)
	}
	return es, int(total), nil
}

// Behind reports whether something older waits about a subject of the batch.
func (s *Session) Behind(batch string) (bool, error) {
	var n int64
	err := s.query(func(r Rows) error { return r.Scan(&n) }, `SELECT count(*) FROM alert_waiting mine JOIN alert_waiting other
		ON other.subject = mine.subject AND other.sink = mine.sink AND other.at < mine.at AND other.batch <> mine.batch WHERE mine.batch = $1`, batch)
	if err != nil {
		return false, fmt.Errorf("alerts: %w", err)
	}
	return n > 0, nil
}

// Oldest is since when something waits for a sink.
func (s *Session) Oldest(sink string) (time.Time, error) {
	var at int64
	err := s.query(func(r Rows) error { return r.Scan(&at) }, `SELECT at FROM alert_waiting WHERE sink = $1 ORDER BY at LIMIT 1`, sink)
	if err != nil {
		return time.Time{}, fmt.Errorf("alerts: %w", err)
	}
	if at == 0 {
		return time.Time{}, nil
	}
	return time.UnixMicro(at).UTC(), nil
}

// DropWaiting removes what waits about a subject.
func (s *Session) DropWaiting(sink, subject string) error {
	return s.alert(`DELETE FROM alert_waiting WHERE sink = $1 AND subject = $2`, sink, subject)
}

// DropBatch removes a batch.
func (s *Session) DropBatch(batch string) error {
	if err := s.CloseBatch(batch); err != nil {
		return err
	}
	return s.alert(`DELETE FROM alert_waiting WHERE batch = $1`, batch)
}

func (s *Session) alert(sql string, args ...any) error {
	if !s.changes {
		return errReadOnly
	}
	if _, err := s.exec(sql, args...); err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	return nil
}
