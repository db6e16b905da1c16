// Package outbox has the words for what waits to be told to somebody, and for what
// was told: a store keeps them in the transaction that stores what it is about.
package outbox

import "time"

// Entry is something about a subject that waits for a sink, or what the sink was
// last told of the subject and still holds.
type Entry struct {
	Sink    string
	Subject string // a machine, or who asked to be one
	Batch   string // with what it is told together; of what waits only
	At      time.Time
	Doc     []byte // JSON, for whoever tells
}

// Box keeps entries. A subject has one thing that was told for each sink, and one
// that waits in each batch.
type Box interface {
	// Told lists what the sinks hold of a subject.
	Told(subject string) ([]Entry, error)
	// ToldBefore lists what a sink was told before a time and still holds, the
	// oldest first.
	ToldBefore(sink string, before time.Time, limit int) ([]Entry, error)
	PutTold(e Entry) error
	DropTold(sink, subject string) error

	// Gather gives the batch in which things of one kind wait for a sink until a
	// time: the one that is open, or a new one with this id.
	Gather(sink, kind, id string, now, until time.Time) (string, error)
	// CloseBatch lets nothing more into a batch. What others are putting in is
	// waited for.
	CloseBatch(batch string) error
	PutWaiting(e Entry) error
	// Waiting lists what is in a batch, by subject, and counts it.
	Waiting(batch string, limit int) (es []Entry, total int, err error)
	// Behind reports whether something older waits about a subject of the batch.
	Behind(batch string) (bool, error)
	// Oldest is since when something waits for a sink; zero when nothing does.
	Oldest(sink string) (time.Time, error)
	// DropWaiting removes what waits about a subject.
	DropWaiting(sink, subject string) error
	// DropBatch removes a batch that was told, or that nobody will be told of.
	DropBatch(batch string) error
}
