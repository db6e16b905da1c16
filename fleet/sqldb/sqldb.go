// Package sqldb keeps a fleet in SQL: the statements that SQLite and PostgreSQL
// share. What differs, the transaction and a few words of SQL, its caller brings.
package sqldb

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/fleet"
)

// Migrations are the numbered changes of the tables that both engines share.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Rows are the rows that a query gives.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// Conn runs statements, with parameters as $1 to $n.
type Conn interface {
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
}

// Dialect is where engines differ.
type Dialect struct {
	Lock    string // ends a SELECT of rows that this transaction will change
	Claim   string // the same, passing over rows that others hold
	Bytes   string // has a text compared byte by byte, as the indexes of what begins with a text do
	Enqueue func(ctx context.Context, jobs []fleet.Job) error
}

// Session is one transaction. It implements fleet.Tx.
type Session struct {
	ctx     context.Context
	conn    Conn
	dialect Dialect
	changes bool
	counts  counts
}

// NewSession reads, and changes when it may, in a transaction of the caller's.
func NewSession(ctx context.Context, c Conn, d Dialect, changes bool) *Session {
	return &Session{ctx: ctx, conn: c, dialect: d, changes: changes}
}

// lock is for rows that the transaction reads in order to change them.
func (s *Session) lock() string {
	if s.changes {
		return s.dialect.Lock
	}
	return ""
}

func (s *Session) exec(sql string, args ...any) (int64, error) {
	return s.conn.Exec(s.ctx, sql, args...)
}

// query calls scan for each row.
func (s *Session) query(scan func(Rows) error, sql string, args ...any) error {
	rows, err := s.conn.Query(s.ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// list reads a column of JSON documents.
func list[T any](s *Session, sql string, args ...any) ([]T, error) {
	out := []T{}
	err := s.query(func(r Rows) error {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			return fmt.Errorf("a record in the database: %w", err)
		}
		out = append(out, v)
		return nil
	}, sql, args...)
	return out, err
}

// one reads the one document that a query gives.
func one[T any](s *Session, what string, sql string, args ...any) (*T, error) {
	all, err := list[T](s, sql, args...)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(all) == 0:
		return nil, fmt.Errorf("%s: %w", what, fleet.ErrNotFound)
	}
	return &all[0], nil
}

func document(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// micros is how times are stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func limit(n, most int) int {
	if n <= 0 || n > most {
		return most
	}
	return n
}

var errReadOnly = errors.New("a view does not change anything")
