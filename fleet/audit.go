package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

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

// ErrLogBroken is wrapped where an audit log is not what was written.
var ErrLogBroken = errors.New("the audit log was changed")

// CheckLog verifies a stretch of the log that follows an entry with the hash
// prev, at sequence after.
func CheckLog(after int64, prev string, entries []Entry) error {
	for _, e := range entries {
		after++
		switch {
		case e.Seq != after:
			return fmt.Errorf("%w: line %d follows line %d", ErrLogBroken, e.Seq, after-1)
		case e.Prev != prev:
			return fmt.Errorf("%w: line %d does not follow line %d", ErrLogBroken, e.Seq, e.Seq-1)
		case e.Hash != e.Sum():
			return fmt.Errorf("%w: line %d is not what was written", ErrLogBroken, e.Seq)
		}
		prev = e.Hash
	}
	return nil
}
