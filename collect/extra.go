package collect

import (
	"context"
	"time"

	"github.com/assay-hw/assay/evidence"
)

// Extra is a source that the program brings. Package collect imports none, so
// that a scanner without it has not its libraries either.
type Extra struct {
	Name  string // also the directory of its artefacts
	Limit time.Duration
	Run   func(context.Context, *Sink)
}

func (x Extra) source() source {
	return source{name: x.Name, limit: x.Limit, run: func(t *task) { x.Run(t.ctx, &Sink{t, x.Name + "/"}) }}
}

// Sink takes what an extra source reads. Names are below the source's directory;
// what comes after the source's time is not taken any more.
type Sink struct {
	t   *task
	dir string
}

// At notes what is being read, for the case that it never answers.
func (s *Sink) At(name string) { s.t.at(s.dir + name) }

// Add stores bytes as they came.
func (s *Sink) Add(name string, data []byte) { s.t.add(s.dir+name, data) }

// Note records why something was not read.
func (s *Sink) Note(name string, st evidence.Status, reason string) {
	s.t.note(s.dir+name, st, reason)
}

// Fail records an error as the status that it means.
func (s *Sink) Fail(name string, err error) { s.t.fail(s.dir+name, err) }
