package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/outbox"
)

// ErrNotFound is wrapped where a store does not have what was asked for.
var ErrNotFound = errors.New("not found")

// ErrExists is wrapped where a store has it already.
var ErrExists = errors.New("exists already")

// Store keeps the fleet. Everything that belongs together happens in one
// transaction: evidence and the job that appraises it, a result and the end of
// its job.
type Store interface {
	// View reads from one consistent state.
	View(ctx context.Context, f func(Reader) error) error
	// Update changes all or nothing. It may run f again when the database asks
	// for it, so f has no other effects.
	Update(ctx context.Context, f func(Tx) error) error
	// Work runs jobs until the context ends, then lets running ones finish. Any
	// number of processes may work on one database.
	Work(ctx context.Context, w Workers) error
	Waiting(ctx context.Context) (int, error) // jobs that wait for a worker
	// Maintain does what the database itself needs from time to time: partitions for
	// the months that come, and without those whose results are all before a time.
	Maintain(ctx context.Context, now, before time.Time) error
	// Jobs counts what is not done yet by kind and status: "waiting", "running",
	// "failed" (and will be tried again) and "given up".
	Jobs(ctx context.Context) (map[Kind]map[string]int64, error)
	Close() error
}

// Reader asks a store. Lists are in a stable order, and pages begin after a key.
type Reader interface {
	Host(id string) (*Host, error)
	HostByEK(sha256 string) (*Host, error)
	Hosts(q HostQuery) ([]Host, error)
	Count() (Counts, error)
	Trend(since time.Time) ([]Counts, error) // what PutCounts kept, a line for each day, the oldest first
	Evidence(digest string) (*Evidence, error)
	EvidenceBefore(t time.Time, after string, limit int) ([]Evidence, error) // by digest, after one
	Result(id string) (*Result, error)
	Results(host string, before time.Time, limit int) ([]Result, error)
	Moved(since time.Time, limit int) ([]Result, error) // results with changes, the newest first
	OpenFindings(q FindingQuery) ([]Open, error)
	// Began lists machines of a profile on which a finding began within a time and
	// still stands.
	Began(profile string, code finding.Code, subject string, from, to time.Time, limit int) ([]string, error)
	Sharing(kind, value string, limit int) ([]Fact, error) // who else has it
	Shared(host string) ([]Fact, error)                    // facts of a machine that another one has too
	Facts(host string) ([]Fact, error)
	Profile(id string) (*Profile, error)
	Profiles(after string, limit int) ([]Profile, error)
	Features(profile string) ([]Feature, error)
	HostFeatures(host string) ([]string, error)
	Lot(profile, lot string) (*Profile, []Feature, error) // one lot of a profile, counted by itself
	HostsWith(profile, feature string, limit int) ([]string, error)
	Documents(kind string) ([]Document, error) // those in use
	Document(digest string) (*Document, error)
	// InUse lists the digests of those of a kind that are about one of several
	// things, or about any.
	InUse(kind string, about ...string) ([]string, error)
	Library(limit int) ([]Document, error) // all that ever were here, the newest first, without their bytes
	// Exceptions lists those that have not expired at a time, all for the zero time.
	Exceptions(at time.Time) ([]Exception, error)
	Accounts() ([]Account, error)
	Account(name string) (*Account, error)
	Challenge(nonce []byte) (*Challenge, error)                  // without taking it
	Spent(name, what string, day time.Time) (n int64, err error) // of a quota
	AuditLog(after int64, limit int) ([]auditlog.Entry, error)
	AuditHead() (seq int64, hash string, err error) // its last line
	// History lists results in the order in which they came, after one.
	History(after time.Time, id string, limit int) ([]Result, error)
}

// Tx changes a store.
type Tx interface {
	Reader
	outbox.Box             // what waits to be told, and what was
	PutHost(h *Host) error // inserts, or replaces the one with this id
	// Due claims machines whose time has come and which nobody else claimed, the
	// longest overdue first, and sets their next time to until: who does not come
	// back gives them free then.
	Due(now, until time.Time, mode Mode, limit int) ([]Host, error)
	PutChallenge(c Challenge) error
	TakeChallenge(nonce []byte) (*Challenge, error) // once: the second time it is not found
	PutEvidence(e *Evidence) error                  // ErrExists when its digest is known
	PutResult(r *Result) error
	PutCounts(c Counts) error               // replaces those of the day of c.At, UTC
	PutOpen(host string, open []Open) error // replaces those of the machine
	PutFacts(host string, facts []Fact) error
	PutFeatures(host string, p Profile, keys []string) error // and counts them
	PutDocument(d *Document) error
	PutException(e *Exception) error
	PutAccount(a *Account) error
	Spend(name, what string, day time.Time, n int64) (spent int64, err error) // with what was spent before
	Append(e auditlog.Entry) (auditlog.Entry, error)                          // to the audit log; fills in sequence and hashes
	// Prune removes results before a time but never the last of a machine, what was
	// only for them, and challenges that nobody answers any more: of each so many at
	// most. It says how many it removed.
	Prune(now, before time.Time, limit int) (removed int64, err error)
	Enqueue(jobs ...Job) error
}

// HostQuery selects machines. Empty fields select all.
type HostQuery struct {
	State   State
	Site    string
	Profile string
	Serial  string // of the chassis, whole
	Text    string // what a name, serial number or id begins with; when none does, a part of one, of maker or product
	Overdue time.Time
	Live    bool   // without those that were retired
	Sort    string // "name" (default), "state", "lastAttested", "since"
	Desc    bool   // the other way round
	After   string // key of the last machine of the page before (Key)
	Limit   int
}

// FindingQuery selects open findings.
type FindingQuery struct {
	Host    string
	Code    string
	AtLeast string // severity
	After   string // key of the last one of the page before (Open.Key)
	Limit   int
}

// Counts is the fleet in figures.
type Counts struct {
	At      time.Time       `json:"at,omitzero"` // of a day that is past
	Hosts   int64           `json:"hosts"`
	ByState map[State]int64 `json:"byState"`
	Oldest  time.Time       `json:"oldest"` // the machine that was attested the longest ago
}

// Profile is a kind of machine: those of one board, compared with each other.
type Profile struct {
	ID    string `json:"id"`
	Name  string `json:"name"`          // manufacturer, product
	Lot   string `json:"lot,omitempty"` // of a machine in it, where the supplier's lot is known
	Hosts int    `json:"hosts"`
}

// Kind is a kind of job.
type Kind string

// The jobs. Each is done at least once and counts once.
const (
	Appraise Kind = "appraise" // Key: digest of evidence
	Schedule Kind = "schedule" // periodic: who is due, who is late
	Collect  Kind = "collect"  // Key: id of a machine without an agent
	Prunes   Kind = "prune"    // periodic: what is older than it must be
	Alert    Kind = "alert"    // Key: a batch of what waits to be told to a sink
	Remind   Kind = "remind"   // periodic: what was told long ago and still stands
)

// Job is something to do later.
type Job struct {
	Kind  Kind
	Key   string // no second job of this kind and key waits at the same time
	Data  []byte // JSON, small
	Queue string // "" is "default"
	After time.Time
	Tries int // how often it is tried at most; 0 is six, about a quarter of an hour
}

// Handler does a job. What it returns is run in the transaction that ends the
// job, so that both happen or neither does. An error has the job tried again
// later, a few times, and then given up: GiveUp says what that means.
type Handler func(ctx context.Context, j Job) (func(Tx) error, error)

// Workers are the handlers by kind, and how to run them.
type Workers struct {
	Handlers map[Kind]Handler
	GiveUp   func(j Job, cause error) func(Tx) error // ends a job that failed for good
	Parallel int                                     // jobs at the same time; 0 is one for each processor
	Periodic map[Kind]time.Duration                  // one process of all that run does these
	Queues   map[string]int                          // beside "default": how many jobs of each at the same time
	Timeout  time.Duration                           // of one job; 0 is two minutes
	Rescue   time.Duration                           // after which a job of a process that died is done by another one; 0 is ten minutes
}

// Status values of evidence.
const (
	Accepted  = "accepted"
	Appraised = "appraised"
	Refused   = "refused"
)

// Key is after which the page begins that follows a machine, in an order.
func (h Host) Key(sort string) string {
	k := [2]string{h.Name, h.ID}
	switch sort {
	case "state":
		k[0] = string(h.State)
	case "lastAttested":
		k[0] = h.LastAttested.Format(time.RFC3339Nano)
	case "since":
		k[0] = h.Since.Format(time.RFC3339Nano)
	}
	b, err := json.Marshal(k)
	if err != nil {
		return "" // two texts
	}
	return string(b)
}

// Key is after which the page begins that follows a finding.
func (o *Open) Key() string {
	b, err := json.Marshal([3]string{o.Finding.Severity.String(), o.Host, o.Finding.Fingerprint})
	if err != nil {
		return "" // three texts
	}
	return string(b)
}
