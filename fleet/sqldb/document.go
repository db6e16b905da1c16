package sqldb

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// Documents lists what is judged by now, in the order in which it came.
func (s *Session) Documents(kind string) ([]fleet.Document, error) {
	return s.documents(`SELECT doc, raw FROM document WHERE kind = $1 AND retired = 0 ORDER BY digest`, kind)
}

// InUse lists digests, in the order of Documents.
func (s *Session) InUse(kind string, about ...string) ([]string, error) {
	args, in := []any{kind, ""}, "$2"
	for _, a := range about {
		args = append(args, a)
		in += fmt.Sprintf(", $%d", len(args))
	}
	return s.texts(`SELECT digest FROM document WHERE kind = $1 AND retired = 0 AND about IN (`+in+`) ORDER BY digest`, args...)
}

// Document finds one, whether it is in use or not.
func (s *Session) Document(digest string) (*fleet.Document, error) {
	ds, err := s.documents(`SELECT doc, raw FROM document WHERE digest = $1`, digest)
	if err == nil && len(ds) == 0 {
		err = fmt.Errorf("document %s: %w", digest, fleet.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &ds[0], nil
}

func (s *Session) documents(sql string, args ...any) ([]fleet.Document, error) {
	out := []fleet.Document{}
	err := s.query(func(r Rows) error {
		var doc string
		var d fleet.Document
		if err := r.Scan(&doc, &d.Raw); err != nil {
			return err
		}
		raw := d.Raw
		err := json.Unmarshal([]byte(doc), &d)
		d.Raw = raw
		out = append(out, d)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	return out, nil
}

// PutDocument stores a document, or what is known of it; its bytes never change.
func (s *Session) PutDocument(d *fleet.Document) error {
	sum := sha256.Sum256(d.Raw)
	if d.Digest != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("document %s: the digest is not that of its bytes", d.Digest)
	}
	doc, err := document(d)
	if err == nil {
		_, err = s.exec(`INSERT INTO document (digest, kind, retired, about, doc, raw) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (digest) DO UPDATE SET retired = excluded.retired, doc = excluded.doc`,
			d.Digest, d.Kind, micros(d.Retired), d.About, doc, d.Raw)
	}
	if err != nil {
		return fmt.Errorf("document %s: %w", d.Digest, err)
	}
	return nil
}

// Exceptions lists those that have not expired at a time, the next to expire first.
func (s *Session) Exceptions(at time.Time) ([]fleet.Exception, error) {
	return list[fleet.Exception](s, `SELECT doc FROM exception WHERE expires > $1 ORDER BY expires, id`, micros(at))
}

// PutException stores one, or replaces the one with its id.
func (s *Session) PutException(e *fleet.Exception) error {
	doc, err := document(e)
	if err == nil {
		_, err = s.exec(`INSERT INTO exception (id, expires, doc) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET expires = excluded.expires, doc = excluded.doc`, e.ID, micros(e.Expires), doc)
	}
	if err != nil {
		return fmt.Errorf("exception %s: %w", e.ID, err)
	}
	return nil
}

// Accounts lists people and tokens.
func (s *Session) Accounts() ([]fleet.Account, error) {
	return s.accounts(`SELECT doc, secret FROM account ORDER BY name`)
}

// Account finds one by its name.
func (s *Session) Account(name string) (*fleet.Account, error) {
	as, err := s.accounts(`SELECT doc, secret FROM account WHERE name = $1`, name)
	if err == nil && len(as) == 0 {
		err = fmt.Errorf("account %.60q: %w", name, fleet.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &as[0], nil
}

func (s *Session) accounts(sql string, args ...any) ([]fleet.Account, error) {
	out := []fleet.Account{}
	err := s.query(func(r Rows) error {
		var doc string
		var secret []byte
		if err := r.Scan(&doc, &secret); err != nil {
			return err
		}
		var a fleet.Account
		err := json.Unmarshal([]byte(doc), &a)
		a.Secret = secret
		out = append(out, a)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	return out, nil
}

// PutAccount stores an account.
func (s *Session) PutAccount(a *fleet.Account) error {
	doc, err := document(a)
	if err == nil {
		_, err = s.exec(`INSERT INTO account (name, doc, secret) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, secret = excluded.secret`, a.Name, doc, a.Secret)
	}
	if err != nil {
		return fmt.Errorf("account %s: %w", a.Name, err)
	}
	return nil
}

// Append adds a line to the audit log. The head is one row, so that lines have
// one order whoever writes them.
func (s *Session) Append(e auditlog.Entry) (auditlog.Entry, error) {
	err := s.query(func(r Rows) error { return r.Scan(&e.Seq, &e.Prev) }, `SELECT seq, hash FROM audit_head WHERE one = 1`+s.dialect.Lock)
	if err != nil {
		return e, fmt.Errorf("audit log: %w", err)
	}
	e.Seq++
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Hash = e.Sum()
	doc, err := document(e)
	if err == nil {
		_, err = s.exec(`INSERT INTO audit (seq, doc, hash) VALUES ($1, $2, $3)`, e.Seq, doc, e.Hash)
	}
	if err == nil {
		_, err = s.exec(`UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1`, e.Seq, e.Hash)
	}
	if err != nil {
		return e, fmt.Errorf("audit log: %w", err)
	}
	return e, nil
}

// AuditLog lists a page of the log.
func (s *Session) AuditLog(after int64, n int) ([]auditlog.Entry, error) {
	return list[auditlog.Entry](s, `SELECT doc FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit(n, 10_000))
}

// AuditHead is the last line of the log.
func (s *Session) AuditHead() (seq int64, hash string, err error) {
	if err = s.query(func(r Rows) error { return r.Scan(&seq, &hash) }, `SELECT seq, hash FROM audit_head WHERE one = 1`); err != nil {
		err = fmt.Errorf("audit log: %w", err)
	}
	return seq, hash, err
}

// Enqueue adds jobs that run when the transaction is done.
func (s *Session) Enqueue(jobs ...fleet.Job) error {
	if !s.changes {
		return errReadOnly
	}
	if err := s.dialect.Enqueue(s.ctx, jobs); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}
