package attest

import (
	"bytes"
	"sync"

	"github.com/assay-hw/assay/evidence"
)

// Logs are event logs that were read, for whoever observes many machines: those of
// one model and one firmware mostly wrote the same log. What a log says, and what it
// gives for each register, depends on its bytes alone, and is worked out once. It is
// safe for concurrent use; the zero value is empty.
type Logs struct {
	mu   sync.Mutex
	read map[string]*Log // by the digest of the file
	size int             // of the files, in bytes
}

// mostLogs bounds the files of which the logs are kept, in bytes. What is kept of
// one is about three times as large.
const mostLogs = 16 << 20

// Observe is the function Observe, with logs that were read before. nil keeps none.
func (s *Logs) Observe(b *evidence.Bundle) *Observation {
	if s == nil {
		return Observe(b)
	}
	return observe(b, func(raw []byte) (*Log, error) { return s.parse(b.SHA256(logPath), raw) })
}

// parse returns the log with a digest. One that is not as it should be is read again
// each time.
func (s *Logs) parse(digest string, raw []byte) (*Log, error) {
	s.mu.Lock()
	l := s.read[digest]
	s.mu.Unlock()
	if l != nil {
		return l, nil
	}
	l, err := ParseLog(bytes.Clone(raw)) // the bundle's memory goes with the bundle
	if err != nil {
		return l, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read == nil || s.size+len(raw) > mostLogs {
		s.read, s.size = map[string]*Log{}, 0
	}
	if s.read[digest] == nil && len(raw) <= mostLogs {
		s.read[digest], s.size = l, s.size+len(raw)
	}
	return l, nil
}
