// Package auditlog chains the lines of a log, so that one that was changed, removed
// or inserted shows.
package auditlog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Entry is one line of the audit log. Each names the hash of the one before.
type Entry struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Subject string    `json:"subject"`
	Detail  string    `json:"detail,omitempty"`
	Prev    string    `json:"prev"`
	Hash    string    `json:"hash"`
}

// Sum is the hash of an entry: SHA-256 over its JSON form without the hash. It
// covers the hash of the entry before, so that no line can be changed, removed or
// inserted without all later ones.
func (e Entry) Sum() string {
	e.Hash = ""
	b, err := json.Marshal(e)
	if err != nil {
		return "" // an entry is texts, a number and a time
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// ErrBroken is wrapped where an audit log is not what was written.
var ErrBroken = errors.New("the audit log was changed")

// Check verifies a stretch of the log that follows an entry with the hash
// prev, at sequence after.
func Check(after int64, prev string, entries []Entry) error {
	for _, e := range entries {
		after++
		switch {
		case e.Seq != after:
			return fmt.Errorf("%w: line %d follows line %d", ErrBroken, e.Seq, after-1)
		case e.Prev != prev:
			return fmt.Errorf("%w: line %d does not follow line %d", ErrBroken, e.Seq, e.Seq-1)
		case e.Hash != e.Sum():
			return fmt.Errorf("%w: line %d is not what was written", ErrBroken, e.Seq)
		}
		prev = e.Hash
	}
	return nil
}
