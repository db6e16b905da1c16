// Package postgres keeps a fleet in PostgreSQL, for any number of processes.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/queue"
	"github.com/assay-hw/assay/fleet/sqldb"
)

// Store is a fleet in a database.
type Store struct {
	pool  *pgxpool.Pool
	queue *queue.Queue[pgx.Tx]
}

// Open connects to a database, as its URL says, and brings its tables up to date.
// Processes that start together migrate one after the other.
func Open(ctx context.Context, url string) (*Store, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	s := &Store{pool: pool}
	if s.queue, err = queue.New(riverpgxv5.New(pool), s.update); err == nil {
		err = s.migrate(ctx)
	}
	if err == nil {
		now := time.Now()
		err = s.Maintain(ctx, now, time.Time{}) // none is old
	}
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return s, nil
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(sqldb.Migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	one, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName("fleet_version"), goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(one))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	// An advisory lock: River's own migrations and the partitions know of none.
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, migrating); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		if err := s.queue.Migrate(ctx); err != nil {
			return err
		}
		for _, q := range results {
			if _, err := tx.Exec(ctx, q); err != nil {
				return fmt.Errorf("migrate: %w", err)
			}
		}
		return nil
	})
}

const bytewise = ` COLLATE "C"`

const migrating = 0x6173736179 // "assay"

// results are the tables that grow with time: one partition a month, so that
// what is old goes by dropping a table. The indexes in bytes are for what begins with
// a text, whatever the order of the database's language is.
var results = []string{
	`CREATE TABLE IF NOT EXISTS result (id TEXT NOT NULL, host TEXT NOT NULL, at BIGINT NOT NULL, changes INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
	`CREATE TABLE IF NOT EXISTS result_other PARTITION OF result DEFAULT`,
	`CREATE INDEX IF NOT EXISTS result_host ON result (host, at)`,
	`CREATE INDEX IF NOT EXISTS result_at ON result (at, id)`,
	`CREATE INDEX IF NOT EXISTS result_moved ON result (at) WHERE changes > 0`,
	`CREATE INDEX IF NOT EXISTS host_search ON host (search COLLATE "C")`,
	`CREATE INDEX IF NOT EXISTS host_serials ON host (serial COLLATE "C")`,
	`CREATE INDEX IF NOT EXISTS host_ids ON host (id COLLATE "C")`,
	`CREATE TABLE IF NOT EXISTS judged (evidence TEXT PRIMARY KEY, result TEXT NOT NULL)`,
}

// Close lets go of the connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// View reads from one consistent state.
func (s *Store) View(ctx context.Context, f func(fleet.Reader) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return f(sqldb.NewSession(ctx, conn{tx}, sqldb.Dialect{Bytes: bytewise}, false))
	})
}

// Update changes all or nothing. Where the database undoes one of two
// transactions that wait for each other, it is done again.
func (s *Store) Update(ctx context.Context, f func(fleet.Tx) error) error {
	return s.update(ctx, func(_ pgx.Tx, t fleet.Tx) error { return f(t) })
}

const tries = 5

func (s *Store) update(ctx context.Context, f func(pgx.Tx, fleet.Tx) error) error {
	var err error
	for range tries {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			d := sqldb.Dialect{Lock: " FOR UPDATE", Bytes: bytewise, Claim: " FOR UPDATE SKIP LOCKED", Enqueue: func(ctx context.Context, jobs []fleet.Job) error { return s.queue.Enqueue(ctx, tx, jobs) }}
			session := sqldb.NewSession(ctx, conn{tx}, d, true)
			if err := f(tx, session); err != nil {
				return err
			}
			return session.Flush()
		})
		if !again(err) {
			return err
		}
	}
	return err
}

// again tells errors after which a transaction is tried once more: deadlock and
// serialization failure (PostgreSQL, appendix A).
func again(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40P01" || e.Code == "40001")
}

// Waiting is how many jobs wait for a worker.
func (s *Store) Waiting(ctx context.Context) (int, error) { return s.queue.Waiting(ctx) }

// Work runs jobs.
func (s *Store) Work(ctx context.Context, w fleet.Workers) error { return s.queue.Work(ctx, w) }

// Jobs counts what is not done yet.
func (s *Store) Jobs(ctx context.Context) (map[fleet.Kind]map[string]int64, error) {
	rows, err := s.pool.Query(ctx, queue.Counting)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	defer rows.Close()
	return queue.Count(rows)
}

// conn runs statements in a transaction.
type conn struct{ tx pgx.Tx }

func (c conn) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	t, err := c.tx.Exec(ctx, q, args...)
	return t.RowsAffected(), err
}

func (c conn) Query(ctx context.Context, q string, args ...any) (sqldb.Rows, error) {
	return c.tx.Query(ctx, q, args...)
}

// JobPages shows the jobs as pages under a prefix, to whomever the caller lets in.
func (s *Store) JobPages(ctx context.Context, prefix string) (http.Handler, error) {
	return s.queue.Pages(ctx, prefix)
}
