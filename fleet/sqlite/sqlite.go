// Package sqlite keeps a fleet in one file, with nothing to set up. One process
// works on it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	_ "modernc.org/sqlite" // the driver

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/queue"
	"github.com/assay-hw/assay/fleet/sqldb"
)

// Store is a fleet in a file.
type Store struct {
	write, read *sql.DB
	queue       *queue.Queue[*sql.Tx]
	unlock      func() error
}

// Open opens a file, makes it when it is not there, and brings its tables up to
// date. It is this process's alone until it is closed, or the process ends.
func Open(ctx context.Context, path string) (*Store, error) {
	s := &Store{}
	var err error
	if s.unlock, err = lock(path + ".lock"); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), err)
	}
	// One writer: SQLite has no more, and waiting here is fairer than in the file.
	if s.write, err = sql.Open("sqlite", source(path, "immediate")); err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, s.Close()))
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", source(path, "deferred")); err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, s.Close()))
	}
	if s.queue, err = queue.New(riversqlite.New(s.write), s.update); err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, s.Close()))
	}
	return s, nil
}

func source(path, lock string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func (s *Store) migrate(ctx context.Context) error {
	shared, err := fs.Sub(sqldb.Migrations, "migrations")
	if err != nil {
		return err
	}
	for table, files := range map[string]fs.FS{"fleet_version": shared} {
		p, err := goose.NewProvider(goose.DialectSQLite3, s.write, files, goose.WithTableName(table), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return fmt.Errorf("migrations: %w", err)
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	for _, q := range results {
		if _, err := s.write.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	if err := s.queue.Migrate(ctx); err != nil {
		return err
	}
	if _, err := s.write.ExecContext(ctx, queue.Orphaned); err != nil {
		return fmt.Errorf("jobs of the process before: %w", err)
	}
	return nil
}

// results are the tables that PostgreSQL has in partitions, and indexes that it has
// another way.
var results = []string{
	`CREATE TABLE IF NOT EXISTS result (id TEXT NOT NULL, host TEXT NOT NULL, at BIGINT NOT NULL, changes INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (id))`,
	`CREATE INDEX IF NOT EXISTS result_host ON result (host, at)`,
	`CREATE INDEX IF NOT EXISTS result_at ON result (at, id)`,
	`CREATE INDEX IF NOT EXISTS result_moved ON result (at) WHERE changes > 0`,
	`CREATE INDEX IF NOT EXISTS host_search ON host (search)`,
	`CREATE INDEX IF NOT EXISTS host_serials ON host (serial)`,
	`CREATE TABLE IF NOT EXISTS judged (evidence TEXT PRIMARY KEY, result TEXT NOT NULL)`,
}

// Close lets go of the file.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.unlock())...)
}

// Maintain has SQLite look at its indexes. There are no partitions.
func (s *Store) Maintain(ctx context.Context, _, _ time.Time) error {
	if _, err := s.write.ExecContext(ctx, "PRAGMA optimize"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// View reads from one consistent state.
func (s *Store) View(ctx context.Context, f func(fleet.Reader) error) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was changed
	return f(sqldb.NewSession(ctx, conn{tx}, sqldb.Dialect{}, false))
}

// Update changes all or nothing.
func (s *Store) Update(ctx context.Context, f func(fleet.Tx) error) error {
	return s.update(ctx, func(_ *sql.Tx, t fleet.Tx) error { return f(t) })
}

func (s *Store) update(ctx context.Context, f func(*sql.Tx, fleet.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	d := sqldb.Dialect{Enqueue: func(ctx context.Context, jobs []fleet.Job) error { return s.queue.Enqueue(ctx, tx, jobs) }}
	session := sqldb.NewSession(ctx, conn{tx}, d, true)
	if err := f(tx, session); err != nil {
		return err
	}
	if err := session.Flush(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Waiting is how many jobs wait for a worker.
func (s *Store) Waiting(ctx context.Context) (int, error) { return s.queue.Waiting(ctx) }

// Work runs jobs.
func (s *Store) Work(ctx context.Context, w fleet.Workers) error { return s.queue.Work(ctx, w) }

// Jobs counts what is not done yet.
func (s *Store) Jobs(ctx context.Context) (map[fleet.Kind]map[string]int64, error) {
	rows, err := s.read.QueryContext(ctx, queue.Counting)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	defer rows.Close()
	return queue.Count(rows)
}

// conn runs statements in a transaction. SQLite numbers parameters as ?1.
type conn struct{ tx *sql.Tx }

func numbered(q string) string { return strings.ReplaceAll(q, "$", "?") }

func (c conn) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	r, err := c.tx.ExecContext(ctx, numbered(q), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (c conn) Query(ctx context.Context, q string, args ...any) (sqldb.Rows, error) {
	r, err := c.tx.QueryContext(ctx, numbered(q), args...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

type rows struct{ *sql.Rows }

func (r rows) Close() { _ = r.Rows.Close() } // Err tells of what went wrong

// JobPages shows the jobs as pages under a prefix, to whomever the caller lets in.
func (s *Store) JobPages(ctx context.Context, prefix string) (http.Handler, error) {
	return s.queue.Pages(ctx, prefix)
}
