package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	partitionName = "result_2006_01"
	ahead         = 3  // months that have a partition: this one and the next ones
	atOnce        = 24 // partitions that one run makes or drops
	longestWait   = "5s"
)

// Maintain makes the partitions of the months that come and of what has none, and
// drops those that end before a time. Each is a transaction of its own, which waits
// only shortly for others: what cannot be had now is done the next time.
func (s *Store) Maintain(ctx context.Context, now, before time.Time) error {
	make, drop, err := s.months(ctx, now, before)
	if err != nil {
		return fmt.Errorf("partitions: %w", err)
	}
	for _, m := range make {
		err = errors.Join(err, s.locked(ctx, func(tx pgx.Tx) error { return partition(ctx, tx, m) }))
	}
	for _, m := range drop {
		err = errors.Join(err, s.locked(ctx, func(tx pgx.Tx) error { return unpartition(ctx, tx, m) }))
	}
	if err != nil {
		return fmt.Errorf("partitions: %w", err)
	}
	return nil
}

// locked runs one change of the tables. Who waits for a table keeps all others
// waiting behind it, so that it does not wait for long.
func (s *Store) locked(ctx context.Context, f func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '`+longestWait+`'`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, migrating); err != nil {
			return err
		}
		return f(tx)
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "55P03" { // lock_not_available
		return nil
	}
	return err
}

// months lists those that need a partition, and those whose partition can go.
func (s *Store) months(ctx context.Context, now, before time.Time) (missing, past []time.Time, err error) {
	there := map[time.Time]bool{}
	rows, err := s.pool.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'result'::regclass ORDER BY 1`)
	if err != nil {
		return nil, nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		m, err := time.Parse(partitionName, n)
		if err != nil {
			continue // the one for all others
		}
		there[m] = true
		if !m.AddDate(0, 1, 0).After(before) && len(past) < atOnce {
			past = append(past, m)
		}
	}
	last := month(now).AddDate(0, ahead, 0)
	for m := month(now); m.Before(last); m = m.AddDate(0, 1, 0) {
		if !there[m] {
			missing = append(missing, m)
		}
	}
	// Results that came while their month had no partition, and are kept.
	for from := month(before).AddDate(0, 1, 0); from.Before(last) && len(missing) < atOnce; from = from.AddDate(0, 1, 0) {
		var at *int64
		if err := s.pool.QueryRow(ctx, `SELECT min(at) FROM result_other WHERE at >= $1 AND at < $2`, from.UnixMicro(), last.UnixMicro()).Scan(&at); err != nil {
			return nil, nil, err
		}
		if at == nil {
			break
		}
		if from = month(time.UnixMicro(*at)); !there[from] && from.Before(month(now)) {
			missing = append(missing, from)
		}
	}
	return missing, past, nil
}

func month(t time.Time) time.Time {
	return time.Date(t.UTC().Year(), t.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
}

// partition makes the one of a month. What of that month is in the partition for
// all others is moved.
func partition(ctx context.Context, tx pgx.Tx, m time.Time) error {
	name, from, to := m.Format(partitionName), m.UnixMicro(), m.AddDate(0, 1, 0).UnixMicro()
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, name).Scan(&there); err != nil || there {
		return err // another process was faster
	}
	for _, q := range []string{
		`LOCK TABLE result IN ACCESS EXCLUSIVE MODE`,
		`CREATE TABLE ` + name + ` (LIKE result)`,
		fmt.Sprintf(`WITH moved AS (DELETE FROM result_other WHERE at >= %d AND at < %d RETURNING *) INSERT INTO %s SELECT * FROM moved`, from, to, name),
		fmt.Sprintf(`ALTER TABLE result ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)`, name, from, to),
	} {
		if _, err := tx.Exec(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// unpartition drops the one of a month. The last result of a machine stays, in the
// partition for all others.
func unpartition(ctx context.Context, tx pgx.Tx, m time.Time) error {
	name := m.Format(partitionName)
	for _, q := range []string{
		`LOCK TABLE result IN ACCESS EXCLUSIVE MODE`,
		`ALTER TABLE result DETACH PARTITION ` + name,
		`INSERT INTO result SELECT * FROM ` + name + ` old WHERE NOT EXISTS (SELECT 1 FROM result WHERE result.host = old.host)
			AND NOT EXISTS (SELECT 1 FROM ` + name + ` newer WHERE newer.host = old.host AND (newer.at > old.at OR newer.at = old.at AND newer.id > old.id))`,
		`DROP TABLE ` + name,
	} {
		if _, err := tx.Exec(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
